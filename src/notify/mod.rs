//! What is told to the operator's scripts and FIFOs, in which order, and what becomes of it when they are slow. Pure.
//!
//! A change is told in order, at least once, and never waited for. [`vrrp`] puts changes of virtual routers into
//! keepalived's words ([`crate::vrrp`]'s events); those of virtual servers come from above, as [`notification::Notification`]s
//! too. [`queue`] keeps a subject's scripts in order, [`backlog`] a FIFO's lines, [`mail`] what mails tell. The shell runs,
//! writes and sends.

pub(crate) mod backlog;
pub(crate) mod mail;
pub(crate) mod notification;
pub(crate) mod queue;
pub(crate) mod vrrp;
