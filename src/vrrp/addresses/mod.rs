//! The addresses, routes, rules and VMACs of virtual routers.
//!
//! [`desired`] derives from settings and states what this host should have, [`reconcile`] compares it with what the kernel
//! has and plans the operations, [`announce`] decides which of its addresses are announced, when, and by which frames.

pub(crate) mod announce;
mod desired;
pub(crate) mod reconcile;
