//! The router's thread: a runtime of its own, before everything else on this machine where that is allowed.
//!
//! It owns the [`Router`](crate::vrrp::router::Router) and its sockets, and nothing of it ever waits for a disk, a
//! name, a configuration or the log: `wire` are the sockets (`socket`, `receive`, `frames`, `groups`), `timer` its deadlines,
//! `realtime` its place on the processor. What may wait for the kernel's locks has a thread beside it (`helper`).
//! [`Handle`] is the main loop's end of it, and both ends have a bounded queue (`mailbox`).

mod bfd;
mod epoll_set;
mod frames;
mod groups;
mod handle;
mod helper;
mod mailbox;
mod realtime;
mod receive;
mod socket;
mod task;
mod timer;
mod wire;

pub(crate) use handle::{Handle, RouterReport, refuse_unpermitted};
