//! Specifications of checkers: plain data that can be compared, hashed and written down.
//!
//! A [`CheckerSpec`] says whom to ask ([`target`]), what to ask (one file per checker) and how often ([`timing`]). Two
//! checkers with equal specifications are one probe. Nothing here opens a socket or knows a conversation: those are the
//! modules beside this one, and they use it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub(crate) mod bfd;
pub(crate) mod digest;
pub(crate) mod dns;
pub(crate) mod file;
pub(crate) mod http;
pub(crate) mod misc;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod smtp;
pub(crate) mod target;
pub(crate) mod timing;
pub(crate) mod tls;
pub(crate) mod udp;

use bfd::BfdQuestion;
use dns::DnsQuestion;
use file::FileQuestion;
use http::HttpQuestion;
use misc::MiscQuestion;
use path::PathQuestion;
use smtp::SmtpQuestion;
pub(crate) use target::{Source, Target};
pub(crate) use timing::Timing;
use tls::TlsSettings;
use udp::UdpQuestion;

/// Longest time that a command takes to end when its time is over.
const ENDING: Duration = Duration::from_secs(15);

/// A checker: whom to ask, what, and how often.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CheckerSpec {
    /// Whom to ask, and from where.
    pub target: Target,
    /// What to ask.
    pub question: Question,
    /// When to ask, and how many failures count; shared by all checkers that have the same.
    pub timing: Arc<Timing>,
    /// keepalived `log_all_failures`: every failing attempt is an event, not only the deciding one.
    pub log_all_failures: bool,
}

impl CheckerSpec {
    /// The longest time a run can take; one that is under way for longer hangs.
    pub fn longest_run(&self) -> Duration {
        let conversations = match &self.question {
            Question::Misc(question) => return question.limit.saturating_add(ENDING),
            Question::Bfd(_) | Question::File(_) => return Duration::ZERO,
            Question::Tcp | Question::Path(_) | Question::Smtp(_) | Question::Udp(_) | Question::Ping => 1,
            // Over UDP, and over TCP where the answer is truncated.
            Question::Dns(_) => 2,
            Question::Http(question) => question.urls.len().max(1),
        };
        // One connect_timeout for the connection, one for the rest.
        self.target
            .connect_timeout
            .saturating_mul(2)
            .saturating_mul(u32::try_from(conversations).unwrap_or(u32::MAX))
    }
}

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// TCP_CHECK: does it accept a connection?
    Tcp,
    /// HTTP_GET or SSL_GET: do all URLs answer as they should?
    Http(Box<HttpQuestion>),
    /// `path_check`: does it take packets for the VIP, by the way clients' packets take?
    Path(Box<PathQuestion>),
    /// DNS_CHECK: does it answer a query?
    Dns(Box<DnsQuestion>),
    /// SMTP_CHECK: does it greet?
    Smtp(Box<SmtpQuestion>),
    /// UDP_CHECK: is a datagram answered, or not refused?
    Udp(Box<UdpQuestion>),
    /// MISC_CHECK: what does a command say?
    Misc(Box<MiscQuestion>),
    /// PING_CHECK: does it answer ICMP echo?
    Ping,
    /// BFD_CHECK: is the BFD session of this name up? The director knows, nothing is asked.
    Bfd(Box<BfdQuestion>),
    /// FILE_CHECK: what does the number in a file make of it? The director knows, nothing is asked.
    File(Box<FileQuestion>),
}

/// Something that reports, and is not asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reporter {
    /// A BFD session, by its name.
    Session(Box<str>),
    /// A `track_file`, by its name.
    File(Box<str>),
}

impl Question {
    /// BFD_CHECK of the session of this name.
    pub fn bfd(session: &str) -> Question {
        Question::Bfd(Box::new(BfdQuestion { session: session.into() }))
    }

    /// The keyword of the checker in keepalived.conf.
    pub fn keyword(&self) -> &'static str {
        match self {
            Question::Tcp => "TCP_CHECK",
            Question::Http(question) if question.urls.iter().any(|url| url.tls.is_some()) => "SSL_GET",
            Question::Http(_) => "HTTP_GET",
            Question::Path(_) => "path_check",
            Question::Dns(_) => "DNS_CHECK",
            Question::Smtp(_) => "SMTP_CHECK",
            Question::Udp(_) => "UDP_CHECK",
            Question::Misc(_) => "MISC_CHECK",
            Question::Ping => "PING_CHECK",
            Question::Bfd(_) => "BFD_CHECK",
            Question::File(_) => "FILE_CHECK",
        }
    }

    /// What reports the verdict, where no real server is asked.
    pub(crate) fn reporter(&self) -> Option<Reporter> {
        match self {
            Question::Bfd(question) => Some(Reporter::Session(question.session.clone())),
            Question::File(question) => Some(Reporter::File(question.file.clone())),
            _ => None,
        }
    }

    /// The settings of TLS that its conversation needs, each as often as it is used.
    pub fn tls(&self) -> impl Iterator<Item = &Arc<TlsSettings>> {
        let (urls, starttls) = match self {
            Question::Http(question) => (question.urls.as_slice(), None),
            Question::Smtp(question) => (&[] as &[_], question.starttls.as_ref()),
            _ => (&[] as &[_], None),
        };
        urls.iter().filter_map(|url| Some(&url.tls.as_ref()?.settings)).chain(starttls)
    }
}
