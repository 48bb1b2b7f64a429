//! Tools for scenarios about VRRP: a segment of directors, a tap on its wire, an injector, who holds a VIP.
//!
//! All times are `Instant`s of one process, so what the tap heard, what rtnetlink told and what a scenario did
//! compare. In simulated time they are exact; in real time they carry a thread's wake-up.

pub(crate) mod failover;
pub(crate) mod frame;
pub(crate) mod holders;
pub(crate) mod node;
pub(crate) mod packet_socket;
pub(crate) mod segment;
pub(crate) mod tap;
