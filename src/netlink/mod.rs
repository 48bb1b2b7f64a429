//! What all of the kernel's netlink families share: messages, attributes, a socket whose waits are bounded.
//!
//! It refuses to know any family; [`crate::ipvs`] speaks generic netlink with it, [`crate::net`] rtnetlink.

pub(crate) mod attribute;
pub(crate) mod message;
pub(crate) mod request;
pub(crate) mod socket;
