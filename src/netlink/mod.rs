//! What all of the kernel's netlink families share: messages, attributes, a socket whose waits are bounded.
//!
//! It refuses to know any family; `ipvs` speaks generic netlink with it, `net` rtnetlink.

pub(crate) mod attribute;
pub(crate) mod message;
pub(crate) mod request;
pub(crate) mod socket;
