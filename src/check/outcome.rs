//! What one run of a probe ends with. A failed probe is data, not an error.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What it says about the real server.
    pub verdict: Verdict,
    /// Where the conversation ended.
    pub phase: Phase,
    /// In the operator's words, e.g. `status 503, wanted 200-299` or `connection refused`; bounded to 200 bytes.
    pub reason: String,
    /// errno, where the kernel gave one.
    pub errno: Option<i32>,
    /// HTTP status, where one was read.
    pub status: Option<u16>,
    /// How long the run took.
    pub took: Duration,
}

/// What a run says about the real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It answered as it should.
    Pass,
    /// It did not.
    Fail,
    /// Nothing: the probe could not be made for a reason of this host (EPERM, EADDRNOTAVAIL, EMFILE, ...).
    Unverified,
}

/// Where a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Opening and binding the socket.
    Socket,
    /// Connecting.
    Connect,
    /// Sending the request.
    Send,
    /// Waiting for and reading the answer's head.
    Head,
    /// Reading the answer's body.
    Body,
    /// Judging the answer.
    Judge,
    /// All of it.
    Done,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Socket => "socket",
            Phase::Connect => "connect",
            Phase::Send => "send",
            Phase::Head => "head",
            Phase::Body => "body",
            Phase::Judge => "judge",
            Phase::Done => "done",
        })
    }
}
