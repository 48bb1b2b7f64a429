//! BFD: whether a neighbour can be reached, known within a fraction of a second (RFC 5880, asynchronous mode).
//!
//! Pure: [`Sessions::handle`](sessions::Sessions::handle) takes an input and the time and says what is to be done,
//! [`Sessions::deadline`](sessions::Sessions::deadline) when it wants to be asked again. [`packet`] reads and writes the one
//! packet there is, [`session`] is the standard's state machine with its timers, [`sessions`] finds the session a packet is for.
//! Sockets and the clock are the shell's (`daemon::router::bfd`). What a session's level means for virtual routers is decided
//! in `vrrp`, for real servers in `director`. No authentication, echo or demand mode of its own.

pub(crate) mod packet;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod status;

#[cfg(test)]
mod sim;
