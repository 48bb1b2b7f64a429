//! The whole effective specification of a checker: two checkers with equal specifications are one probe.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::dns::DnsQuestion;
use super::http::HttpQuestion;
use super::misc::MiscQuestion;
use super::path::PathQuestion;
use super::smtp::SmtpQuestion;
use super::udp::UdpQuestion;

/// Longest time that a command takes to end when its time is over.
const ENDING: Duration = Duration::from_secs(15);

/// A checker: whom to ask, what, and how often.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CheckerSpec {
    /// Whom to ask, and from where.
    pub target: Target,
    /// What to ask.
    pub question: Question,
    /// When to ask, and how many failures count; shared by all who are asked equally often.
    pub timing: Arc<Timing>,
    /// keepalived `log_all_failures`: every failing attempt is an event, not only the deciding one.
    pub log_all_failures: bool,
}

impl CheckerSpec {
    /// The longest time a run can take; one that is under way for longer hangs.
    pub fn longest_run(&self) -> Duration {
        let conversations = match &self.question {
            Question::Misc(question) => return question.limit.saturating_add(ENDING),
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

/// Whom to ask, and from where (keepalived `connect_ip`, `connect_port`, `connect_timeout`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Target {
    /// Address and port to connect to.
    pub address: SocketAddr,
    /// From where; None where nothing of it is said, as for most.
    pub source: Option<Box<Source>>,
    /// Time for the connection; and again, from then on, for the whole rest of the conversation.
    pub connect_timeout: Duration,
}

/// From where to ask (keepalived `bindto`, `bind_port`, `bind_if`, `fwmark`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Source {
    pub address: Option<IpAddr>,
    /// Source port, 1-65535.
    pub port: Option<u16>,
    /// Interface to bind to (SO_BINDTODEVICE), at most 15 bytes.
    pub interface: Option<String>,
    /// Mark on the socket's packets (SO_MARK).
    pub fwmark: Option<u32>,
}

impl Target {
    /// The same, asked from this address.
    pub fn bound_to(&self, ip: IpAddr) -> Target {
        let source = Source { address: Some(ip), ..self.source().clone() };
        Target { source: Some(Box::new(source)), ..self.clone() }
    }

    /// From where to ask.
    pub fn source(&self) -> &Source {
        const ANYWHERE: &Source = &Source { address: None, port: None, interface: None, fwmark: None };
        self.source.as_deref().unwrap_or(ANYWHERE)
    }
}

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
}

impl Question {
    /// keepalived's word for the checker.
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
        }
    }
}

impl Timing {
    /// From a failure that does not decide yet to the next run.
    pub fn pause_before_retry(&self) -> Duration {
        self.confirm.unwrap_or(self.delay_before_retry)
    }
}

/// When to ask, and how many failures count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Timing {
    /// From the beginning of a run to that of the next (keepalived `delay_loop`), once the first one is over.
    pub interval: Duration,
    /// Failures in a row beyond the first before the verdict is down (keepalived `retry`).
    pub retry: u32,
    /// From a failure that does not decide yet to the next run (keepalived `delay_before_retry`).
    pub delay_before_retry: Duration,
    /// From a failure that does not decide yet to the next run, where a failure is to be confirmed quickly and then
    /// acted on; None: `delay_before_retry`. An option of lvsd's own.
    pub confirm: Option<Duration>,
    /// Passes in a row that bring a server back that was down, at least 1 (keepalived: always 1).
    pub rise: u32,
    /// Longest random delay before the first run (keepalived `warmup`); None: spread over min(interval, 1 s).
    pub warmup: Option<Duration>,
}
