//! What one run of a probe ends with. A failed probe is data, not an error.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text;

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What it says about the real server.
    #[serde(rename = "verdict")]
    pub result: ProbeResult,
    /// Where the conversation ended.
    pub phase: Phase,
    /// In the operator's words, e.g. `status 503, wanted 200-299` or `connection refused`; bounded to 200 bytes.
    pub reason: Cow<'static, str>,
    /// errno, where the kernel gave one.
    pub errno: Option<i32>,
    /// HTTP status, where one was read.
    pub status: Option<u16>,
    /// The weight that the run asks for (MISC_CHECK with misc_dynamic): 0 to 253.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// How long the run took.
    pub took: Duration,
    /// The first bytes of an answer that did not please, escaped; bounded to 80 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bytes: Option<Box<str>>,
    /// The server's certificate, where one was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Box<Certificate>>,
}

/// What is known of a certificate that was shown. Of two, the one that ends first is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Certificate {
    /// When it ends (X.509 `notAfter`), in seconds since 1970 UTC.
    pub not_after: u64,
    /// How long it was still valid when it was shown; zero when it was not any more.
    pub expires_in: Duration,
}

impl Certificate {
    /// A certificate that ends at one time, shown at another; both since 1970 UTC.
    pub fn new(end: Duration, now: Duration) -> Certificate {
        Certificate { not_after: end.as_secs(), expires_in: end.saturating_sub(now) }
    }

    /// What is to be said of its time.
    pub fn time(&self) -> CertificateTime {
        match self.expires_in {
            Duration::ZERO => CertificateTime::Over,
            left if left < RENEWAL => CertificateTime::Short,
            _ => CertificateTime::Enough,
        }
    }
}

/// What is to be said of the time a certificate has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateTime {
    #[default]
    Enough,
    /// It must be renewed: less than two weeks.
    Short,
    /// It is over.
    Over,
}

/// What one run says about the real server. Several results decide its [`Health`](super::schedule::Health).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeResult {
    /// It answered as it should.
    Pass,
    /// It did not.
    Fail,
    /// Nothing: the probe could not be made for a reason of this host (EPERM, EADDRNOTAVAIL, EMFILE, ...).
    #[serde(rename = "unverified")]
    Inconclusive,
}

/// Where a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Opening and binding the socket.
    Socket,
    Connect,
    /// Agreeing on TLS.
    Handshake,
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

/// How long before a certificate's end it is reported.
const RENEWAL: Duration = Duration::from_secs(14 * 86_400);
/// The longest reason, in bytes.
const REASON_LIMIT: usize = 200;
/// The most that is kept of an answer, in characters after escaping.
const FIRST_BYTES_LIMIT: usize = 80;

impl Outcome {
    /// The real server answered as it should.
    pub fn pass(reason: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::new(ProbeResult::Pass, Phase::Done, reason.into())
    }

    /// The real server did not answer as it should; `phase` is where that showed.
    pub fn fail(phase: Phase, reason: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::new(ProbeResult::Fail, phase, reason.into())
    }

    /// The probe could not be made, for a reason of this host; the reason names the next step.
    pub fn inconclusive(phase: Phase, reason: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::new(ProbeResult::Inconclusive, phase, reason.into())
    }

    fn new(result: ProbeResult, phase: Phase, reason: Cow<'static, str>) -> Outcome {
        Outcome {
            result,
            phase,
            reason: told(reason),
            errno: None,
            status: None,
            weight: None,
            took: Duration::ZERO,
            first_bytes: None,
            certificate: None,
        }
    }

    /// The same outcome with the kernel's errno.
    pub fn with_errno(self, errno: Option<i32>) -> Outcome {
        Outcome { errno, ..self }
    }

    /// The same outcome with the HTTP status that was read.
    pub fn with_status(self, status: Option<u16>) -> Outcome {
        Outcome { status, ..self }
    }

    /// Whether another run ended in the same way; the time it took does not matter.
    pub fn is_like(&self, other: &Outcome) -> bool {
        self.result == other.result && self.phase == other.phase && self.reason == other.reason
    }

    /// The same outcome with the first bytes of an answer, unless it passed or there are none.
    pub fn with_first_bytes(self, bytes: &[u8]) -> Outcome {
        if self.result == ProbeResult::Pass || bytes.is_empty() {
            return self;
        }
        Outcome { first_bytes: Some(escaped(bytes).into()), ..self }
    }

    /// The same outcome, its reason preceded by what it is about.
    pub fn about(self, what: &str) -> Outcome {
        Outcome { reason: told(format!("{what}: {}", self.reason).into()), ..self }
    }
}

/// As many of the first bytes as find place, escaped.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let escape = byte.escape_ascii();
        if text.len() + escape.len() > FIRST_BYTES_LIMIT {
            break;
        }
        text.extend(escape.map(char::from));
    }
    text
}

/// A reason may quote what a server or its certificate says: one line of it that steers nothing, within the limit.
fn told(reason: Cow<'static, str>) -> Cow<'static, str> {
    let reason = match reason {
        Cow::Borrowed(own) => Cow::Borrowed(own),
        Cow::Owned(quoted) => Cow::Owned(text::line(&quoted).into_owned()),
    };
    text::bounded(reason, REASON_LIMIT)
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Socket => "socket",
            Phase::Connect => "connect",
            Phase::Handshake => "handshake",
            Phase::Send => "send",
            Phase::Head => "head",
            Phase::Body => "body",
            Phase::Judge => "judge",
            Phase::Done => "done",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_said_steers_nothing_and_is_bounded() {
        let reason = Outcome::fail(Phase::Handshake, format!("certificate is for {}", "\x1b[2J\n")).reason;
        assert_eq!(reason, "certificate is for \\u001b[2J\\n");
        let outcome = Outcome::fail(Phase::Head, "\0".repeat(150)).about("/\r");
        assert!(outcome.reason.len() <= 200 && outcome.reason.starts_with("/\\r: \\u0000"), "{outcome:?}");
        assert_eq!(Outcome::fail(Phase::Head, "x".repeat(200)).reason, "x".repeat(200));
    }

    #[test]
    fn first_bytes_are_escaped_whole_and_bounded_and_a_pass_has_none() {
        let fail = |bytes: &[u8]| Outcome::fail(Phase::Head, "x").with_first_bytes(bytes).first_bytes;
        assert_eq!(fail(b"a\r\n\0\xff\"").as_deref(), Some("a\\r\\n\\x00\\xff\\\""));
        assert_eq!(fail(&[b'a'; 500]), Some("a".repeat(80).into()));
        assert_eq!(fail(&[0xff; 500]), Some("\\xff".repeat(20).into()));
        assert_eq!(fail(b"ab\n".repeat(50).as_slice()), Some("ab\\n".repeat(20).into()));
        assert_eq!(fail(b""), None);
        assert_eq!(Outcome::pass("x").with_first_bytes(b"abc").first_bytes, None);
    }

    #[test]
    fn what_an_outcome_is_about_comes_first_and_counts_towards_the_limit() {
        let outcome = Outcome::fail(Phase::Judge, "y".repeat(199)).about("/health");
        assert!(outcome.reason.starts_with("/health: yyy"), "{}", outcome.reason);
        assert_eq!(outcome.reason.len(), 200);
    }
}
