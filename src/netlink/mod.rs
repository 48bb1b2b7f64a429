//! What all of the kernel's netlink protocols share: messages, attributes, a socket whose waits are bounded, and the
//! conversation over it. `ipvs` speaks generic netlink with it, `net` rtnetlink and generic netlink.

pub(crate) mod attribute;
pub(crate) mod conversation;
pub(crate) mod generic;
pub(crate) mod message;
pub(crate) mod request;
pub(crate) mod socket;
