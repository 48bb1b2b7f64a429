//! Health checks: what to ask a real server, the conversation, and the history that makes a verdict.
//!
//! One file per checker holds its keywords, its specification, its conversation and its tests ([`tcp`],
//! [`http`]); [`spec`] holds what all checkers share, [`outcome`] what a run ends with, [`schedule`] the pure
//! machine that turns outcomes into health, [`connect`] the socket every conversation begins with. This layer
//! refuses to know virtual servers and pools: who cares about a verdict is the director's business.

pub mod outcome;
pub mod spec;
pub mod digest;
pub mod http;
