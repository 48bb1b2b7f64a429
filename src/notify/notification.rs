//! One change and its notifications: which scripts run, with which arguments and environment, the FIFO line, the mail.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::mail::content::MailContent;
use crate::ipvs::types::Family;
use crate::script::Command;
use crate::text;

/// Longest cause, in bytes.
const MAX_CAUSE: usize = 1024;

/// What changed. The scripts of one subject run one at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Instance(String),
    Group(String),
    /// A virtual server.
    VirtualServer(ServerName),
    /// A real server, as keepalived writes it, and its virtual server.
    RealServer(String, ServerName),
}

/// A virtual server as keepalived writes it, and what its text leaves open: `fwmark 7` of IPv4 and of IPv6 are two
/// virtual servers, and keepalived writes both `FWM 7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerName {
    /// `[10.0.0.1]:tcp:80`, `FWM 7`, `[web]:0`.
    pub text: String,
    /// Of a firewall mark.
    pub mark_family: Option<Family>,
}

impl Subject {
    pub(crate) fn name(&self) -> &str {
        match self {
            Subject::Instance(name)
            | Subject::Group(name)
            | Subject::VirtualServer(ServerName { text: name, .. })
            | Subject::RealServer(name, _) => name,
        }
    }

    /// keepalived's word for its kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Subject::Instance(_) => "INSTANCE",
            Subject::Group(_) => "GROUP",
            Subject::VirtualServer(_) => "VS",
            Subject::RealServer(..) => "RS",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Instance(name) => write!(f, "instance {name}"),
            Subject::Group(name) => write!(f, "sync group {name}"),
            Subject::VirtualServer(server) => {
                write!(f, "virtual server {}", as_in_status(&server.text, true))
            }
            Subject::RealServer(name, server) => {
                let server = as_in_status(&server.text, true);
                write!(f, "real server {} of virtual server {server}", as_in_status(name, false))
            }
        }
    }
}

/// keepalived's `[10.0.0.1]:tcp:80` as status and all other lines of the log have it: `10.0.0.1:80 tcp`.
fn as_in_status(text: &str, has_protocol: bool) -> String {
    let parts = || {
        let (ip, rest) = text.strip_prefix('[')?.split_once("]:")?;
        let (protocol, port) = rest.split_once(':')?;
        Some((SocketAddr::new(ip.parse().ok()?, port.parse().ok()?), protocol))
    };
    match parts() {
        Some((address, protocol)) if has_protocol => format!("{address} {protocol}"),
        Some((address, _)) => address.to_string(),
        None => text.to_owned(),
    }
}

/// What changed, and why: keepalived gives scripts no reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    pub subject: Subject,
    /// The state it is in, in keepalived's word.
    pub state: &'static str,
    /// The state it was in, where that was notified.
    pub previous: Option<&'static str>,
    /// Its effective priority.
    pub priority: Option<u8>,
    /// In the operator's words.
    pub cause: String,
    /// The Master heard of.
    pub master: Option<IpAddr>,
}

/// A change with everything that is run, written or sent for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    pub change: StateChange,
    /// Commands, in order.
    pub scripts: Vec<Command>,
    /// The line for FIFOs.
    pub line: Option<FifoLine>,
    /// What a mail says.
    pub mail: Option<MailContent>,
}

/// A line for FIFOs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FifoLine {
    /// The FIFOs and scripts it is for.
    pub audience: Audience,
    /// All of it, its end included.
    pub bytes: Vec<u8>,
}

/// Which FIFOs a line is for; `notify_fifo` hears both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    Vrrp,
    Lvs,
}

impl StateChange {
    /// What a script finds in its environment, beside the daemon's; `sequence` is the number of the change among all
    /// that this daemon notifies.
    pub(crate) fn environment(&self, sequence: u64) -> Vec<(String, String)> {
        let (name, server) = match &self.subject {
            Subject::Instance(name) | Subject::Group(name) => (name, None),
            Subject::VirtualServer(server) => (&server.text, None),
            Subject::RealServer(name, server) => (name, Some(&server.text)),
        };
        let mut all = vec![
            ("LVSD_KIND", self.subject.kind().to_owned()),
            ("LVSD_NAME", name.clone()),
            ("LVSD_STATE", self.state.to_owned()),
            ("LVSD_PREVIOUS", self.previous.unwrap_or_default().to_owned()),
            ("LVSD_CAUSE", plain(&self.cause)),
            ("LVSD_SEQUENCE", sequence.to_string()),
        ];
        all.extend(server.map(|server| ("LVSD_VIRTUAL_SERVER", server.clone())));
        all.extend(self.priority.map(|priority| ("LVSD_PRIORITY", priority.to_string())));
        all.extend(self.master.map(|master| ("LVSD_MASTER", master.to_string())));
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A cause may quote strangers: one line of it, and not too long.
pub(crate) fn plain(cause: &str) -> String {
    text::plain(cause, MAX_CAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_calls_servers_as_status_does() {
        let server = |text: &str| ServerName { text: text.to_owned(), mark_family: None };
        let real = Subject::RealServer("[fd00::1]:tcp:80".to_owned(), server("[10.0.0.1]:tcp:80"));
        assert_eq!(real.to_string(), "real server [fd00::1]:80 of virtual server 10.0.0.1:80 tcp");
        assert_eq!(Subject::VirtualServer(server("FWM 7")).to_string(), "virtual server FWM 7");
        assert_eq!(Subject::VirtualServer(server("[web]:0")).to_string(), "virtual server [web]:0");
    }

    #[test]
    fn a_script_finds_what_changed_and_why() {
        let server = ServerName { text: "[10.0.0.1]:tcp:80".to_owned(), mark_family: None };
        let change = StateChange {
            subject: Subject::RealServer("[10.1.0.1]:tcp:80".to_owned(), server),
            state: "DOWN",
            previous: Some("UP"),
            priority: None,
            cause: format!("HTTP_GET: \"a\nb\0\" {}", "é".repeat(MAX_CAUSE)),
            master: None,
        };
        let text: Vec<String> = change.environment(7).into_iter().map(|(n, v)| format!("{n}={v}")).collect();
        let (cause, rest): (Vec<_>, Vec<_>) = text.into_iter().partition(|v| v.starts_with("LVSD_CAUSE="));
        let expected = [
            "LVSD_KIND=RS",
            "LVSD_NAME=[10.1.0.1]:tcp:80",
            "LVSD_STATE=DOWN",
            "LVSD_PREVIOUS=UP",
            "LVSD_SEQUENCE=7",
            "LVSD_VIRTUAL_SERVER=[10.0.0.1]:tcp:80",
        ];
        assert_eq!(rest, expected);
        let cause = cause.first().unwrap();
        assert!(cause.starts_with("LVSD_CAUSE=HTTP_GET: \"a b \" é"), "{cause}");
        assert!(cause.len() <= "LVSD_CAUSE=".len() + MAX_CAUSE);
    }
}
