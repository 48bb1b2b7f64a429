//! What a conversation that broke off or took too long says.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use super::reply::Answer;
use super::{HEADER_LIMIT, Progress};
use crate::check::connect::in_words;
use crate::check::errno::{self, Meaning, When};
use crate::check::outcome::{Outcome, Phase};
use crate::check::spec::http::Url;
use crate::check::tap::Seen;
use crate::check::tls;

/// How much of an answer that is not HTTP stands in the reason, in bytes.
const SHOWN: usize = 40;

/// What a conversation that broke says.
pub(super) fn broken(error: &hyper::Error, url: &Url, so_far: &Progress) -> Outcome {
    let Progress { seen, answer, .. } = so_far;
    let phase = phase(seen, answer);
    let cause = io_error(error);
    let settings = url.tls.as_ref().map(|tls| &*tls.settings);
    if let Some(words) = cause.zip(settings).and_then(|(cause, settings)| tls::words(cause, settings)) {
        return Outcome::fail(phase, words);
    }
    let errno = cause.and_then(io::Error::raw_os_error);
    if let (Some(cause), Some(errno)) = (cause, errno) {
        let outcome = match errno::meaning(When::Answered, cause) {
            Meaning::ServerDown(words) => Outcome::fail(phase, format!("{words} {}", place(seen, answer))),
            Meaning::CannotAsk(words) | Meaning::AsRouted(_, words) => Outcome::inconclusive(phase, words),
        };
        return outcome.with_errno(Some(errno));
    }
    let first = seen.first.get(..SHOWN).unwrap_or(&seen.first).escape_ascii();
    let reason = if phase == Phase::Body {
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::UnexpectedEof) | None => {
                format!("closed the connection {}", place(seen, answer))
            }
            Some(_) => format!("malformed chunk {}", place(seen, answer)),
        }
    } else if error.is_parse() && seen.read >= HEADER_LIMIT as u64 {
        format!("header longer than {HEADER_LIMIT} bytes")
    } else if error.is_parse() && seen.first.trim_ascii_start().starts_with(b"HTTP/") {
        format!("malformed HTTP header ({error}): \"{first}\"")
    } else if error.is_parse() {
        format!("not an HTTP reply: \"{first}\"")
    } else {
        format!("closed the connection {}", place(seen, answer))
    };
    Outcome::fail(phase, reason)
}

/// What a conversation that was not done in time says.
pub(super) fn late(within: Duration, so_far: &Progress) -> Outcome {
    let Progress { seen, answer, .. } = so_far;
    let time = in_words(within);
    if so_far.is_handshaking {
        let reason = match so_far.below.read {
            0 => format!("no answer to the TLS handshake within {time}"),
            _ => format!("TLS handshake not complete within {time}"),
        };
        return Outcome::fail(Phase::Handshake, reason).with_first_bytes(&so_far.below.first);
    }
    let phase = phase(seen, answer);
    let reason = match phase {
        Phase::Send => format!("request not taken within {time}"),
        Phase::Body => format!("body not complete within {time}, broke off {}", place(seen, answer)),
        _ if seen.read == 0 => format!("no answer within {time}"),
        _ => format!("header not complete within {time}"),
    };
    Outcome::fail(phase, reason)
}

fn phase(seen: &Seen, answer: &Answer) -> Phase {
    match answer.status {
        Some(_) => Phase::Body,
        None if seen.written == 0 => Phase::Send,
        None => Phase::Head,
    }
}

/// Where an answer ended.
fn place(seen: &Seen, answer: &Answer) -> String {
    match (answer.status, answer.length) {
        (Some(_), Some(length)) => format!("after {} of {length} bytes of the body", answer.body),
        (Some(_), None) => format!("after {} bytes of the body", answer.body),
        (None, _) if seen.read == 0 => "before answering".to_owned(),
        (None, _) => "in the middle of its header".to_owned(),
    }
}

/// The error of the operating system, or of the body's framing, under one of hyper's.
fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref() {
            return Some(io);
        }
        source = error.source();
    }
    None
}
