//! Clients of ours: one request, or many, counted by the host that answered.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::host::Host;

/// Ports of clients with an address of their own are used one after the other: what a port's last connection left in
/// directors and servers for minutes would meet the next one, and in simulated time everything is within minutes.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
/// How long a client waits for a connection, and then for each part of the answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// Status code.
    pub status: u16,
    /// Body, without the line's end.
    pub body: String,
}

/// Who answered how often, and what went wrong how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hits {
    /// Answers by body: the answering host's name.
    pub answered: BTreeMap<String, u64>,
    /// Failures by reason.
    pub failed: BTreeMap<String, u64>,
}

impl Hits {
    /// Counts one request's outcome.
    pub(crate) fn count(&mut self, outcome: Result<Response, String>) {
        let (map, key) = match outcome {
            Ok(response) if response.status == 200 => (&mut self.answered, response.body),
            Ok(response) => (&mut self.failed, format!("status {}", response.status)),
            Err(reason) => (&mut self.failed, reason),
        };
        *map.entry(key).or_default() += 1;
    }

    /// Adds another's counts.
    pub(crate) fn add(&mut self, other: Hits) {
        for (name, n) in other.answered {
            *self.answered.entry(name).or_default() += n;
        }
        for (reason, n) in other.failed {
            *self.failed.entry(reason).or_default() += n;
        }
    }

    /// Requests that were answered.
    pub(crate) fn total_answered(&self) -> u64 {
        self.answered.values().sum()
    }

    /// Requests that failed.
    pub(crate) fn total_failed(&self) -> u64 {
        self.failed.values().sum()
    }
}

impl fmt::Display for Hits {
    /// `rs1=3 rs2=3`, and `; failed: REASON=1` when something did.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |map: &BTreeMap<String, u64>| {
            map.iter().map(|(k, n)| format!("{k}={n}")).collect::<Vec<_>>().join(" ")
        };
        f.write_str(&list(&self.answered))?;
        if !self.failed.is_empty() {
            write!(f, "; failed: {}", list(&self.failed))?;
        }
        Ok(())
    }
}

/// One request on a connection of its own, from a host.
///
/// # Errors
/// What went wrong, in a few words that count together (`connect: connection refused`).
pub(crate) fn get(host: &Host, url: &str) -> Result<Response, String> {
    host.enter(|| get_here(url))
}

/// `n` requests one after another from a host, each on a connection of its own.
///
/// # Errors
/// When the host cannot be entered; requests that fail are counted.
pub(crate) fn hits(host: &Host, n: usize, url: &str) -> Result<Hits, String> {
    host.enter(|| {
        let mut hits = Hits::default();
        for _ in 0..n {
            hits.count(get_here(url));
        }
        Ok(hits)
    })
}

/// One request from where the calling thread is.
///
/// # Errors
/// What went wrong, in a few words that count together.
pub(crate) fn get_here(url: &str) -> Result<Response, String> {
    get_from(None, url)
}

/// The same from one of its addresses.
///
/// # Errors
/// What went wrong, in a few words that count together.
pub(crate) fn get_from(source: Option<IpAddr>, url: &str) -> Result<Response, String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("not an http URL: {url}"))?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |i| rest.split_at(i));
    let has_port = authority.parse::<SocketAddr>().is_ok();
    let address = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let address: SocketAddr = address.parse().map_err(|e| format!("{authority}: {e}"))?;
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(|e| reason("socket", &e))?;
    if let Some(source) = source {
        let port = 10_000 + NEXT_PORT.fetch_add(1, Ordering::Relaxed) % 50_000;
        socket.bind(&SocketAddr::new(source, port).into()).map_err(|e| reason("bind", &e))?;
    }
    socket.connect_timeout(&address.into(), PATIENCE).map_err(|e| reason("connect", &e))?;
    let mut stream = TcpStream::from(socket);
    let fail = |e: io::Error| reason("request", &e);
    stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(fail)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(fail)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|e| reason("answer", &e))?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| "answer: cut short".to_owned())
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Response { status, body: body.trim_end().to_owned() })
}

fn reason(phase: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!("{phase}: timed out"),
        kind => format!("{phase}: {kind}"),
    }
}
