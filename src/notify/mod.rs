//! Notifications for the operator's scripts, FIFOs and mails: their content, their order, and what becomes of them when the
//! receiver is slow. Pure.
//!
//! Changes are notified in order, at least once, and no decision waits for a notification. [`vrrp`] puts changes of virtual
//! routers into keepalived's words; those of virtual servers come from above, as [`notification::Notification`]s too.
//! [`queue`] keeps the scripts of a subject in order, [`backlog`] the lines of a FIFO, [`mail`] decides about mails. The
//! shell runs, writes and sends.

pub(crate) mod backlog;
pub(crate) mod mail;
pub(crate) mod notification;
pub(crate) mod queue;
pub(crate) mod vrrp;
