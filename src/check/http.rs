//! HTTP_GET and SSL_GET: specification, conversation, tests.
//!
//! Each URL is asked on a connection of its own, in order, until one fails. The request is keepalived's, byte
//! for byte; the answer is read as HTTP/1.1 has it (chunked, any case of header names, the end of a body by
//! its length), leniently where a header line is odd, and never without a bound: 64 KiB of header, 16 MiB of
//! body, `connect_timeout` for the whole exchange, with the handshake of TLS. Redirects are not followed.

#[cfg(any(test, feature = "internals"))]
pub(crate) mod fuzz;

use std::error::Error as _;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body as _;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri, Version, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::connect::{connect, in_words};
use super::digest::Digest;
use super::errno::{self, Meaning, When};
use super::fetch::Fetch;
use super::hash::Hasher;
use super::outcome::{Certificate, Outcome, Phase, Verdict};
use super::pattern::Pattern;
use super::spec::Target;
use super::tap::{Seen, Tap};
use super::tls::{self, Tls};
use crate::time::Moment;

/// What HTTP_GET and SSL_GET ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HttpQuestion {
    /// Protocol version of the request line.
    pub version: HttpVersion,
    /// The URLs, all asked in one run, in order; at least one.
    pub urls: Vec<Url>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum HttpVersion {
    /// `1.0`.
    #[default]
    #[serde(rename = "1.0")]
    V1_0,
    /// `1.0C`: 1.0 with `Connection: close`.
    #[serde(rename = "1.0C")]
    V1_0Close,
    /// `1.1` with `Connection: close`.
    #[serde(rename = "1.1")]
    V1_1,
}

/// One URL and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Url {
    /// Request target, e.g. `/health`; sent as written, but for what a request line cannot carry: that is
    /// percent-encoded, and a slash goes before a path that lacks it.
    pub path: String,
    /// Value of the Host header; None: `address:port` of the target as keepalived writes it.
    pub virtualhost: Option<String>,
    /// Acceptable status codes, inclusive ranges within 100-599, sorted and merged; never empty.
    pub status: Vec<(u16, u16)>,
    /// What the body's digest must be.
    pub digest: Option<Digest>,
    /// What the body must match, or must not.
    pub pattern: Option<Pattern>,
    /// Asked over TLS, and how.
    pub tls: Option<Tls>,
}

/// Who asks, as keepalived says it.
const USER_AGENT: &str = "KeepAliveClient";
/// The longest header block read, in bytes.
const HEADER_LIMIT: usize = 64 * 1024;
/// The most header lines read.
const HEADER_LINES: usize = 256;
/// The longest body that is searched, in bytes: it is kept whole for that.
const SEARCHED_LIMIT: u64 = 1024 * 1024;
/// The longest body whose digest is computed, in bytes.
const DIGESTED_LIMIT: u64 = 16 * 1024 * 1024;
/// How much of a body without a digest is read, in bytes. A body that breaks off is a failure as much as a
/// wrong status, and a server whose small answer was read to its end is closed by FIN, not reset in the middle
/// of its write; more than this tells nothing new.
const READ_LIMIT: u64 = 64 * 1024;
/// How much of an answer that is not HTTP stands in the reason, in bytes.
const SHOWN: usize = 40;
/// How much of a body that is judged is kept to be shown, in bytes.
const KEPT: usize = 80;

/// Asks all URLs of `question`, each on a new connection, and stops at the first that fails.
///
/// Each URL may take `connect_timeout` for its connection and as long again for everything after.
/// [`Outcome::took`] is the caller's to fill; `begun` is when the probe begins.
pub(crate) async fn run(target: &Target, question: &HttpQuestion, begun: Moment) -> Outcome {
    let mut last = Outcome::inconclusive(Phase::Socket, "no url to ask");
    let mut soonest: Option<Box<Certificate>> = None;
    for url in &question.urls {
        last = ask(target, question.version, url, begun).await;
        soonest = soonest.into_iter().chain(last.certificate.take()).min();
        if last.verdict != Verdict::Pass {
            if question.urls.len() > 1 {
                last = last.about(&shortened(&url.path));
            }
            break;
        }
    }
    Outcome { certificate: soonest, ..last }
}

async fn ask(target: &Target, version: HttpVersion, url: &Url, begun: Moment) -> Outcome {
    let mut so_far = Progress::at(begun);
    begin(target, version, url, &mut so_far).await
}

/// Asks for one URL and takes the answer whole, whatever it is: what was taken, its status and its header.
pub(super) async fn fetch(
    target: &Target,
    version: HttpVersion,
    url: &Url,
    fetch: Fetch,
    begun: Moment,
) -> (Outcome, Option<(Fetch, u16, Vec<u8>)>) {
    let mut so_far = Progress::at(begun);
    so_far.answer.fetch = Some(fetch);
    so_far.seen.limit = HEADER_LIMIT;
    let outcome = begin(target, version, url, &mut so_far).await;
    let Progress { seen, answer, .. } = so_far;
    let fetched = answer.fetch.zip(answer.status).map(|(fetch, status)| (fetch, status, head_of(seen.first)));
    (outcome, fetched)
}

/// The header at the beginning of an answer, with the blank line behind it.
fn head_of(mut first: Vec<u8>) -> Vec<u8> {
    let end = |blank: &[u8]| first.windows(blank.len()).position(|w| w == blank).map(|at| at + blank.len());
    let end = end(b"\r\n\r\n").into_iter().chain(end(b"\n\n")).min();
    first.truncate(end.unwrap_or(first.len()));
    first
}

async fn begin(target: &Target, version: HttpVersion, url: &Url, so_far: &mut Progress) -> Outcome {
    let request = match request(target.address, version, url) {
        Ok(request) => request,
        Err(reason) => return Outcome::inconclusive(Phase::Send, reason),
    };
    let stream = match connect(target).await {
        Ok(stream) => stream,
        Err(outcome) => return outcome,
    };
    converse(stream, request, url, target, so_far).await
}

/// Sends `request` on `stream` and judges what comes back, within `connect_timeout`.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<Empty<Bytes>>,
    url: &Url,
    target: &Target,
    so_far: &mut Progress,
) -> Outcome {
    let within = target.connect_timeout;
    let result = match &url.tls {
        None => timeout(within, drive(stream, request, url, &mut so_far.seen, &mut so_far.answer)).await,
        Some(tls) => timeout(within, drive_secured(tls, stream, request, url, target.address, so_far)).await,
    };
    let outcome = match result {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => broken(&error, url, so_far),
        Err(_elapsed) => late(within, so_far),
    };
    let first = if so_far.answer.first.is_empty() { &so_far.seen.first } else { &so_far.answer.first };
    let outcome = if outcome.first_bytes.is_none() { outcome.with_first_bytes(first) } else { outcome };
    let certificate = so_far.certificate.map(Box::new);
    Outcome { certificate, ..outcome }.with_status(so_far.answer.status)
}

/// How far a conversation has come.
#[derive(Debug, Default)]
struct Progress {
    /// When the probe began.
    begun: Moment,
    /// What passed below TLS.
    below: Seen,
    /// Whether the handshake of TLS is under way.
    is_handshaking: bool,
    certificate: Option<Certificate>,
    seen: Seen,
    answer: Answer,
}

impl Progress {
    fn at(begun: Moment) -> Progress {
        Progress { begun, ..Progress::default() }
    }
}

/// How far an answer has come.
#[derive(Debug, Default)]
struct Answer {
    status: Option<u16>,
    /// Length of the body, where its header tells.
    length: Option<u64>,
    /// Bytes of the body read, decoded.
    body: u64,
    /// The first of them, where the body is what is judged.
    first: Vec<u8>,
    /// Who takes it whole, unjudged.
    fetch: Option<Fetch>,
}

impl Answer {
    fn take(&mut self, data: &[u8]) {
        self.body += data.len() as u64;
    }

    /// Keeps the beginning of what is judged.
    fn keep(&mut self, data: &[u8]) {
        let wanted = KEPT.saturating_sub(self.first.len());
        self.first.extend(data.iter().take(wanted));
    }
}

/// The exchange within TLS.
async fn drive_secured<S: AsyncRead + AsyncWrite + Unpin>(
    tls: &Tls,
    stream: S,
    request: Request<Empty<Bytes>>,
    url: &Url,
    server: SocketAddr,
    so_far: &mut Progress,
) -> hyper::Result<Outcome> {
    so_far.is_handshaking = true;
    let stream = Tap::new(stream, &mut so_far.below);
    let mut secured = match tls.client.connect(stream, server, so_far.begun).await {
        Ok(secured) => secured,
        Err(error) => return Ok(tls.client.refused(&error, &so_far.below)),
    };
    so_far.is_handshaking = false;
    so_far.certificate = secured.certificate;
    let result = match tls.client.distrust(&secured) {
        Some(outcome) => Ok(outcome),
        None => drive(&mut secured, request, url, &mut so_far.seen, &mut so_far.answer).await,
    };
    if !result.as_ref().is_ok_and(|outcome| outcome.verdict == Verdict::Pass) {
        secured.forget_session();
    }
    if tls.close_notify {
        secured.announce_end().await;
    }
    result
}

/// The exchange, with hyper's connection driven by this same task, so that nothing outlives the future.
async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<Empty<Bytes>>,
    url: &Url,
    seen: &mut Seen,
    answer: &mut Answer,
) -> hyper::Result<Outcome> {
    let io = TokioIo::new(Tap::new(stream, seen));
    let (mut sender, mut connection) = Builder::new()
        .title_case_headers(true)
        .ignore_invalid_headers_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .max_headers(HEADER_LINES)
        .max_buf_size(HEADER_LIMIT)
        .handshake(io)
        .await?;
    let mut exchange = pin!(exchange(&mut sender, request, url, answer));
    let mut is_open = true;
    poll_fn(|cx| {
        // The connection's own result is not asked for: what ends it reaches the exchange as well.
        if is_open && connection.poll_without_shutdown(cx).is_ready() {
            is_open = false;
        }
        exchange.as_mut().poll(cx)
    })
    .await
}

/// Sends the request, reads the answer as far as it matters, and judges it.
async fn exchange(
    sender: &mut SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
    url: &Url,
    answer: &mut Answer,
) -> hyper::Result<Outcome> {
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    answer.status = Some(status);
    if let Some(fetch) = &mut answer.fetch {
        return fetch.take(response, &mut answer.length, &mut answer.body).await;
    }
    if !url.status.iter().any(|&(first, last)| (first..=last).contains(&status)) {
        let reason = format!("status {status}, wanted {}", ranges(&url.status));
        return Ok(Outcome::fail(Phase::Judge, reason));
    }

    let mut body = response.into_body();
    answer.length = body.size_hint().exact();
    if url.digest.is_none() && url.pattern.is_none() {
        while let Some(frame) = body.frame().await {
            answer.take(data_of(&frame?));
            if answer.body > READ_LIMIT {
                break;
            }
        }
        return Ok(Outcome::pass(format!("status {status}")));
    }
    let limit = if url.pattern.is_some() { SEARCHED_LIMIT } else { DIGESTED_LIMIT };
    let mut hasher = url.digest.map(|digest| Hasher::new(digest.kind()));
    let mut text = Vec::new();
    while answer.body.max(answer.length.unwrap_or(0)) <= limit {
        let Some(frame) = body.frame().await else { return Ok(judge(url, status, hasher, text).await) };
        let frame = frame?;
        let data = data_of(&frame);
        if let Some(hasher) = &mut hasher {
            hasher.update(data);
        }
        if url.pattern.is_some() {
            text.extend_from_slice(data);
        }
        answer.keep(data);
        answer.take(data);
    }
    let what = if url.pattern.is_some() { "searched" } else { "digested" };
    Ok(Outcome::fail(Phase::Body, format!("body longer than {limit} bytes, the most that is {what}")))
}

/// Whether the body is as wanted: its digest first, then its text, as keepalived does.
async fn judge(url: &Url, status: u16, hasher: Option<Hasher>, text: Vec<u8>) -> Outcome {
    let mut as_wanted = format!("status {status}");
    if let (Some(wanted), Some(hasher)) = (url.digest, hasher) {
        let found = hasher.finish();
        if found != wanted {
            return Outcome::fail(Phase::Judge, format!("digest {found}, wanted {wanted}"));
        }
        as_wanted.push_str(", digest as wanted");
    }
    if let Some(pattern) = &url.pattern {
        match pattern.search(text).await {
            Ok(is_match) if is_match != pattern.is_unwanted => as_wanted.push_str(", body as wanted"),
            Ok(true) => return Outcome::fail(Phase::Judge, format!("body matches \"{pattern}\"")),
            Ok(false) => return Outcome::fail(Phase::Judge, format!("body does not match \"{pattern}\"")),
            Err(no_answer) => return Outcome::fail(Phase::Judge, no_answer.to_string()),
        }
    }
    Outcome::pass(as_wanted)
}

/// The bytes of a frame; trailers have none.
fn data_of(frame: &hyper::body::Frame<Bytes>) -> &[u8] {
    frame.data_ref().map_or(&[], |data| data)
}

/// The request, its header lines in keepalived's order.
fn request(address: SocketAddr, version: HttpVersion, url: &Url) -> Result<Request<Empty<Bytes>>, String> {
    let host = match &url.virtualhost {
        Some(host) => header::HeaderValue::from_bytes(host.as_bytes())
            .map_err(|_| format!("virtualhost \"{}\" cannot stand in a header", host.escape_debug()))?,
        None => header::HeaderValue::try_from(host_of(address)).map_err(|e| e.to_string())?,
    };
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = request_target(&url.path)?;
    *request.version_mut() = match version {
        HttpVersion::V1_0 | HttpVersion::V1_0Close => Version::HTTP_10,
        HttpVersion::V1_1 => Version::HTTP_11,
    };
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, header::HeaderValue::from_static(USER_AGENT));
    if version != HttpVersion::V1_0 {
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    headers.insert(header::HOST, host);
    Ok(request)
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`; an interface's scope is of no interest to the server.
fn host_of(address: SocketAddr) -> String {
    SocketAddr::new(address.ip(), address.port()).to_string()
}

/// Whether a Host header can carry this.
pub(crate) fn is_host(host: &str) -> bool {
    header::HeaderValue::from_bytes(host.as_bytes()).is_ok()
}

/// The path that is asked for when this one is configured: see [`Url::path`].
///
/// # Errors
/// When it can be no path, in the operator's words.
pub(crate) fn path_on_the_wire(path: &str) -> Result<String, String> {
    request_target(path).map(|target| target.to_string())
}

/// The request target: `path` as written, with what a request line cannot carry percent-encoded. One that is
/// neither a path nor absolute gets the slash it lacks.
fn request_target(path: &str) -> Result<Uri, String> {
    let mut encoded = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') && path != "*" && !is_absolute(path) {
        encoded.push('/');
    }
    for &byte in path.as_bytes() {
        match byte {
            0..=b' ' | b'"' | b'#' | b'<' | b'>' | b'`' | 0x7f.. => {
                let _ = write!(encoded, "%{byte:02X}");
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    let refused = |e: &dyn std::fmt::Display| format!("path \"{}\": {e}", shortened(path));
    if is_absolute(path) {
        Uri::try_from(encoded).map_err(|e| refused(&e))
    } else {
        PathAndQuery::try_from(encoded).map(Uri::from).map_err(|e| refused(&e))
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// What a conversation that broke says.
fn broken(error: &hyper::Error, url: &Url, so_far: &Progress) -> Outcome {
    let Progress { seen, answer, .. } = so_far;
    let phase = phase(seen, answer);
    let cause = io_error(error);
    let options = url.tls.as_ref().map(|tls| tls.client.options());
    if let Some(words) = cause.zip(options).and_then(|(cause, options)| tls::words(cause, options)) {
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
fn late(within: Duration, so_far: &Progress) -> Outcome {
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

/// `200-299, 304`.
fn ranges(status: &[(u16, u16)]) -> String {
    let words: Vec<String> = status
        .iter()
        .map(|&(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    words.join(", ")
}

/// A path short enough to stand before a reason.
fn shortened(path: &str) -> String {
    const LIMIT: usize = 40;
    match path.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", path.get(..end).unwrap_or_default()),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::hash::DigestKind;
    use crate::check::scripted::{Step, play, say, serve, target};

    const HELLO: &[u8] = b"hello world\n";

    #[tokio::test(start_paused = true)]
    async fn the_request_is_keepaliveds_byte_for_byte() {
        let v4 = "192.0.2.1:8080".parse().unwrap();
        let v6 = "[fe80::1%3]:80".parse().unwrap();
        for (address, version, virtualhost, wanted) in [
            (
                v4,
                HttpVersion::V1_0,
                None,
                "GET /h HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 192.0.2.1:8080\r\n\r\n",
            ),
            (
                v6,
                HttpVersion::V1_0,
                None,
                "GET /h HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: [fe80::1]:80\r\n\r\n",
            ),
            (
                v4,
                HttpVersion::V1_0Close,
                Some("Www.Example.com"),
                "GET /h HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: Www.Example.com\r\n\r\n",
            ),
            (
                v4,
                HttpVersion::V1_1,
                Some("a b:1,é"),
                "GET /h HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: a b:1,é\r\n\r\n",
            ),
        ] {
            let url = Url { virtualhost: virtualhost.map(str::to_owned), ..url("/h") };
            let request = request(address, version, &url).unwrap();
            let (outcome, heard) =
                converse_with(request, &url, &[Step::Request, say("HTTP/1.0 200 OK\r\n\r\n")]).await;
            assert_eq!((outcome.verdict, heard.as_str()), (Verdict::Pass, wanted));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_is_sent_as_written_but_for_what_a_request_line_cannot_carry() {
        for (path, wanted) in [
            ("/", "/"),
            ("/raw%2fpath/../a//b;c", "/raw%2fpath/../a//b;c"),
            ("/a?x=%20y&z=1|2{}'?^[]", "/a?x=%20y&z=1|2{}'?^[]"),
            ("/100%", "/100%"),
            ("/a?", "/a?"),
            ("*", "*"),
            ("http://Example.com:81/x", "http://Example.com:81/x"),
            ("/a b\t\"c\"#d<e>`é\x7f", "/a%20b%09%22c%22%23d%3Ce%3E%60%C3%A9%7F"),
            ("/?a b\"", "/?a%20b%22"),
            ("health", "/health"),
            ("a/b:c", "/a/b:c"),
            ("?a=1", "/?a=1"),
            ("", "/"),
        ] {
            let url = url(path);
            let request = request("192.0.2.1:80".parse().unwrap(), HttpVersion::V1_0, &url).unwrap();
            let (_, heard) = converse_with(request, &url, &[Step::Request]).await;
            assert_eq!(
                heard.lines().next(),
                Some(format!("GET {wanted} HTTP/1.0").as_str()),
                "path {path:?}"
            );
        }
    }

    #[test]
    fn every_character_can_stand_in_a_path_and_in_a_query() {
        for c in (0..=0x2ff).filter_map(char::from_u32) {
            for path in [format!("/{c}"), format!("/?{c}"), format!("{c}")] {
                let target = request_target(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")).to_string();
                assert!(target.bytes().all(|b| b.is_ascii_graphic()), "{path:?} became {target:?}");
            }
        }
    }

    #[test]
    fn what_no_request_can_carry_is_said_before_anything_is_sent() {
        let host = Url { virtualhost: Some("a\r\nX: b".to_owned()), ..url("/") };
        let address = "192.0.2.1:80".parse().unwrap();
        assert_eq!(
            request(address, HttpVersion::V1_0, &host).unwrap_err(),
            "virtualhost \"a\\r\\nX: b\" cannot stand in a header"
        );
        let long = request(address, HttpVersion::V1_0, &url(&"/x".repeat(40_000))).unwrap_err();
        assert!(long.starts_with("path \"/x/x"), "{long}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_decides_and_an_unwanted_one_names_the_wanted() {
        let url = Url { status: vec![(200, 204), (301, 301)], ..url("/") };
        for (status, verdict) in [
            (199, None),
            (200, Some(true)),
            (204, Some(true)),
            (205, Some(false)),
            (301, Some(true)),
            (302, Some(false)),
            (999, Some(false)),
        ] {
            let reply = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
            let outcome = answer_to(&url, &[Step::Request, say(reply), Step::Hold]).await;
            match verdict {
                // An interim answer: the real one never comes.
                None => assert_eq!(outcome.reason, "header not complete within 3 s"),
                Some(true) => assert_eq!((outcome.verdict, outcome.status), (Verdict::Pass, Some(status))),
                Some(false) => {
                    assert_eq!((outcome.verdict, outcome.phase), (Verdict::Fail, Phase::Judge));
                    assert_eq!(outcome.reason, format!("status {status}, wanted 200-204, 301"));
                    assert_eq!(outcome.status, Some(status));
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_digest_of_a_body_is_md5sums() {
        // printf 'hello world\n' | md5sum; | sha256sum
        let md5 = Digest::Md5(0x6f5902ac237024bdd0c176cb93063dc4_u128.to_be_bytes());
        let mut sha256 = [0; 32];
        sha256[..16].copy_from_slice(&0xa948904f2f0f479b8f8197694b30184b_u128.to_be_bytes());
        sha256[16..].copy_from_slice(&0x0d2ed1c1cd2a1ec0fb85d299a192a447_u128.to_be_bytes());
        for digest in [md5, Digest::Sha256(sha256)] {
            let url = Url { digest: Some(digest), ..url("/") };
            let right = answer_to(&url, &[Step::Request, say("HTTP/1.0 200 OK\r\n\r\n"), say(HELLO)]).await;
            assert_eq!((right.verdict, right.phase), (Verdict::Pass, Phase::Done), "{}", right.reason);
        }

        let url = Url { digest: Some(md5), ..url("/") };
        let wrong = answer_to(&url, &[Step::Request, say("HTTP/1.0 200 OK\r\n\r\nhello world")]).await;
        assert_eq!((wrong.verdict, wrong.phase), (Verdict::Fail, Phase::Judge));
        assert_eq!(
            wrong.reason,
            "digest 5eb63bbbe01eeed093cb22bb8f5acdc3, wanted 6f5902ac237024bdd0c176cb93063dc4"
        );
        let refused = answer_to(&url, &[Step::Request, say("HTTP/1.0 500 No\r\n\r\nhello world")]).await;
        assert_eq!(refused.reason, "status 500, wanted 200-299", "the status is judged before the digest");
    }

    #[test]
    fn a_wrong_sha256_fits_whole_into_a_reason_with_its_url() {
        let digest = Digest::Sha256([0xab; 32]).to_string();
        assert_eq!(digest, format!("sha256:{}", "ab".repeat(32)));
        let outcome = Outcome::fail(Phase::Judge, format!("digest {digest}, wanted {digest}"));
        assert_eq!(outcome.about(&shortened("/health")).reason.len(), "/health: ".len() + 158);
    }

    #[tokio::test]
    async fn a_body_is_matched_whole_however_it_comes() {
        let pattern = |text: &str, is_unwanted| {
            Pattern::new(text.as_bytes(), 0, (0, None), is_unwanted).map(Some).unwrap()
        };
        for (text, is_unwanted, reason) in [
            ("hello.*world", false, "status 200, body as wanted"),
            ("good bye", true, "status 200, body as wanted"),
            ("good bye", false, "body does not match \"good bye\""),
            ("lo wo", true, "body matches \"lo wo\""),
            ("HTTP/1.1", false, "body does not match \"HTTP/1.1\""),
        ] {
            let url = Url { pattern: pattern(text, is_unwanted), ..url("/") };
            for reply in [
                "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n8\r\no world\n\r\n0\r\n\r\n",
            ] {
                let outcome = answer_to(&url, &[Step::Request, say(reply), Step::Hold]).await;
                assert_eq!(outcome.reason, reason);
                let is_shown = outcome.verdict == Verdict::Fail;
                assert_eq!(outcome.first_bytes.as_deref(), is_shown.then_some("hello world\\n"));
            }
        }
        let both = Url { pattern: pattern("world", false), ..hello() };
        let reply = "HTTP/1.0 200 OK\r\n\r\nhello world\n";
        let outcome = answer_to(&both, &[Step::Request, say(reply)]).await;
        assert_eq!(outcome.reason, "status 200, digest as wanted, body as wanted");
    }

    #[tokio::test]
    async fn a_body_too_long_to_search_fails_and_one_at_the_limit_does_not() {
        let url = Url { pattern: Some(Pattern::new(b"end$", 0, (0, None), false).unwrap()), ..url("/") };
        let limit = usize::try_from(SEARCHED_LIMIT).unwrap();
        for (length, reason) in [
            (limit, "status 200, body as wanted"),
            (limit + 1, "body longer than 1048576 bytes, the most that is searched"),
        ] {
            let body = format!("{}end", "x".repeat(length - 3));
            let script = [Step::Request, say(format!("HTTP/1.0 200 OK\r\n\r\n{body}"))];
            assert_eq!(answer_to(&url, &script).await.reason, reason);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_please_is_kept_as_far_as_it_tells_something() {
        for (url, reply, first) in [
            (
                url("/"),
                "HTTP/1.0 503 Busy\r\nA: b\r\n\r\ngo away",
                "HTTP/1.0 503 Busy\\r\\nA: b\\r\\n\\r\\ngo away",
            ),
            (url("/"), "<html>\n", "<html>\\n"),
            (hello(), "HTTP/1.0 200 OK\r\n\r\nsomething else\n", "something else\\n"),
            (hello(), "HTTP/1.0 200 OK\r\nA: b\r\n", "HTTP/1.0 200 OK\\r\\nA: b\\r\\n"),
        ] {
            let outcome = answer_to(&url, &[Step::Request, say(reply)]).await;
            assert_eq!(outcome.first_bytes.as_deref(), Some(first));
        }
        let silent = answer_to(&url("/"), &[Step::Request, Step::Hold]).await;
        assert_eq!(silent.first_bytes, None);
        let passing =
            answer_to(&hello(), &[Step::Request, say("HTTP/1.0 200 OK\r\n\r\nhello world\n")]).await;
        assert_eq!((passing.verdict, passing.first_bytes), (Verdict::Pass, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_is_understood_wherever_the_network_splits_it() {
        let replies: [&[u8]; 6] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n",
            b"HTTP/1.1 200 OK\r\ncontent-length:12\r\nConnection: keep-alive\r\n\r\nhello world\n",
            b"HTTP/1.0 200\r\nCONTENT-LENGTH: 12\r\n\r\nhello world\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6;x=y\r\nhello \r\n6\r\nworld\n\r\n0\r\nT: t\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\nc\r\nhello world\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 \nServer: bare line feeds\nContent-length: 12\n\nhello world\n",
        ];
        let url = hello();
        for reply in replies {
            for at in 0..=reply.len() {
                let (first, second) = reply.split_at(at);
                // The server keeps the connection open: the end of the body is known by its length.
                let script = [
                    Step::Request,
                    say(first),
                    Step::Wait(Duration::from_millis(1)),
                    say(second),
                    Step::Hold,
                ];
                let outcome = answer_to(&url, &script).await;
                assert_eq!(
                    outcome.verdict,
                    Verdict::Pass,
                    "{} split at {at}: {}",
                    reply.escape_ascii(),
                    outcome.reason
                );
            }
            let script = [Step::Request, Step::Drip(reply.to_vec(), Duration::from_millis(1)), Step::Hold];
            let outcome = answer_to(&url, &script).await;
            assert_eq!(
                outcome.verdict,
                Verdict::Pass,
                "{} dripping: {}",
                reply.escape_ascii(),
                outcome.reason
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn odd_header_lines_do_not_hide_a_good_answer() {
        for header in [
            "No colon here\r\nContent-Length: 12",
            "Bad name!: \u{1}\r\nContent-Length: 12",
            ": empty\r\nContent-Length: 12",
            "Content-Length : 12",
            "Content-Length:\r\n 12",
        ] {
            let reply = format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\nhello world\n");
            let outcome = answer_to(&hello(), &[Step::Request, say(reply), Step::Hold]).await;
            assert_eq!(outcome.verdict, Verdict::Pass, "{header:?}: {}", outcome.reason);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_a_body_ends_with_its_header() {
        let url =
            Url { status: vec![(101, 399)], digest: Some(Digest::of(DigestKind::Md5, b"")), ..url("/") };
        for reply in [
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ] {
            let outcome = answer_to(&url, &[Step::Request, say(reply), Step::Hold]).await;
            assert_eq!(outcome.verdict, Verdict::Pass, "{reply:?}: {}", outcome.reason);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_http_is_shown() {
        for (reply, reason) in [
            ("<html>it works</html>\n", "not an HTTP reply: \"<html>it works</html>\\n\""),
            ("\x15\x03\x01\x00\x02\x02\x16", "not an HTTP reply: \"\\x15\\x03\\x01\\x00\\x02\\x02\\x16\""),
            (
                "\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\u{7f}",
                "not an HTTP reply: \"\\x00\\x00\\x12\\x04\\x00\\x00\\x00\\x00\\x00\\x00\\x03\\x00\\x00\\x00\\x7f\"",
            ),
            (
                "HTTP/1.1 OK\r\n\r\n",
                "malformed HTTP header (invalid HTTP status-code parsed): \"HTTP/1.1 OK\\r\\n\\r\\n\"",
            ),
            (
                "HTTP/3 200 OK\r\n\r\n",
                "malformed HTTP header (invalid HTTP version parsed): \"HTTP/3 200 OK\\r\\n\\r\\n\"",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                "malformed HTTP header (invalid content-length parsed): \"HTTP/1.1 200 OK\\r\\nContent-Length: x\\r\\n\\r\\n\"",
            ),
        ] {
            let outcome = answer_to(&url("/"), &[Step::Request, say(reply), Step::Hold]).await;
            assert_eq!((outcome.verdict, outcome.phase), (Verdict::Fail, Phase::Head));
            assert_eq!((&*outcome.reason, outcome.status), (reason, None));
        }
        let outcome = answer_to(&url("/"), &[say("SSH-2.0-OpenSSH_9.2\r\n"), Step::Hold]).await;
        assert_eq!(outcome.reason, "not an HTTP reply: \"SSH-2.0-OpenSSH_9.2\\r\\n\"");
        let outcome = answer_to(&url("/"), &[Step::Request, say([0xfe; 500]), Step::Hold]).await;
        assert_eq!(outcome.reason, format!("not an HTTP reply: \"{}\"", "\\xfe".repeat(40)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_breaks_off_fails_and_says_where() {
        for (reply, phase, reason) in [
            ("", Phase::Head, "closed the connection before answering"),
            ("HTTP/1.", Phase::Head, "closed the connection in the middle of its header"),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", Phase::Head, "closed the connection in the middle of its header"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello",
                Phase::Body,
                "closed the connection after 5 of 12 bytes of the body",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
                Phase::Body,
                "closed the connection after 0 of 12 bytes of the body",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
                Phase::Body,
                "closed the connection after 5 bytes of the body",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                Phase::Body,
                "closed the connection after 5 bytes of the body",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
                Phase::Body,
                "malformed chunk after 0 bytes of the body",
            ),
        ] {
            for url in [url("/"), hello()] {
                let outcome = answer_to(&url, &[Step::Request, say(reply)]).await;
                assert_eq!((outcome.verdict, outcome.phase), (Verdict::Fail, phase), "{reply:?}");
                assert_eq!(outcome.reason, reason, "{reply:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_exchange_has_one_time_limit_however_the_server_fills_it() {
        let second = Duration::from_secs(1);
        let head = || say("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
        let drip = |text: &str| Step::Drip(text.into(), second);
        for (script, phase, reason) in [
            (vec![Step::Hold], Phase::Head, "no answer within 3 s"),
            (vec![drip("HTTP/1.1 200 OK\r\n")], Phase::Head, "header not complete within 3 s"),
            (
                vec![Step::Forever(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())],
                Phase::Head,
                "header not complete within 3 s",
            ),
            (
                vec![head(), drip("hello world\n")],
                Phase::Body,
                "body not complete within 3 s, broke off after 2 of 12 bytes of the body",
            ),
            (
                vec![head(), say("hello"), Step::Hold],
                Phase::Body,
                "body not complete within 3 s, broke off after 5 of 12 bytes of the body",
            ),
            (
                vec![say("HTTP/1.0 200 OK\r\n\r\nhello"), Step::Hold],
                Phase::Body,
                "body not complete within 3 s, broke off after 5 bytes of the body",
            ),
        ] {
            let script = [vec![Step::Request], script].concat();
            let outcome = answer_to(&url("/"), &script).await;
            assert_eq!((outcome.verdict, outcome.phase), (Verdict::Fail, phase));
            assert_eq!(outcome.reason, reason);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_is_read_to_its_limit_and_no_further() {
        let endless = [Step::Request, say("HTTP/1.1 200 OK\r\n"), Step::Forever(vec![b'A'; 4096])];
        let outcome = answer_to(&url("/"), &endless).await;
        assert_eq!((outcome.verdict, outcome.phase), (Verdict::Fail, Phase::Head));
        assert_eq!(outcome.reason, "header longer than 65536 bytes");
        for (line, count, verdict) in [
            ("a".repeat(60_000), 1, Verdict::Pass),
            ("a".repeat(66_000), 1, Verdict::Fail),
            ("a".to_owned(), 255, Verdict::Pass),
            ("a".to_owned(), 256, Verdict::Fail),
        ] {
            let lines = format!("A: {line}\r\n").repeat(count);
            let reply = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
            let outcome = answer_to(&url("/"), &[Step::Request, say(reply), Step::Hold]).await;
            assert_eq!(outcome.verdict, verdict, "{count} lines of {} bytes: {}", line.len(), outcome.reason);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_body_is_read_only_as_far_as_it_matters() {
        let endless = [Step::Request, say("HTTP/1.0 200 OK\r\n\r\n"), Step::Forever(vec![b'x'; 64 * 1024])];
        assert_eq!(answer_to(&url("/"), &endless).await.verdict, Verdict::Pass);
        let outcome = answer_to(&hello(), &endless).await;
        assert_eq!((outcome.verdict, outcome.phase), (Verdict::Fail, Phase::Body));
        assert_eq!(outcome.reason, "body longer than 16777216 bytes, the most that is digested");
        let announced =
            [Step::Request, say("HTTP/1.1 200 OK\r\nContent-Length: 16777217\r\n\r\n"), Step::Hold];
        let outcome = answer_to(&hello(), &announced).await;
        assert_eq!(outcome.reason, "body longer than 16777216 bytes, the most that is digested");
    }

    #[tokio::test]
    async fn all_urls_are_asked_in_order_each_on_a_connection_of_its_own() {
        let ok = vec![Step::Request, say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Step::Hold];
        let (address, server) = serve(vec![ok.clone(), ok]).await;
        let outcome = run(&target(address), &question(&["/a", "/b"]), Moment::default()).await;
        assert_eq!((outcome.verdict, &*outcome.reason), (Verdict::Pass, "status 200"));
        let heard = server.await.unwrap();
        assert!(heard[0].starts_with("GET /a HTTP/1.0\r\n"), "{heard:?}");
        assert!(heard[1].starts_with("GET /b HTTP/1.0\r\n"), "{heard:?}");
    }

    #[tokio::test]
    async fn the_first_failing_url_ends_the_run_and_is_named() {
        let reply = |status: &str| vec![Step::Request, say(format!("HTTP/1.0 {status}\r\n\r\n"))];
        let (address, server) = serve(vec![reply("200 OK"), reply("503 Busy")]).await;
        let outcome = run(&target(address), &question(&["/a", "/b", "/c"]), Moment::default()).await;
        assert_eq!((outcome.verdict, outcome.status), (Verdict::Fail, Some(503)));
        assert_eq!(outcome.reason, "/b: status 503, wanted 200-299");
        assert_eq!(server.await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_reset_fails_and_says_where() {
        for (script, phase, reason) in [
            (vec![Step::Request], Phase::Head, "connection reset before answering"),
            (
                vec![
                    Step::Request,
                    say("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello"),
                    Step::Wait(Duration::from_millis(50)),
                ],
                Phase::Body,
                "connection reset after 5 of 12 bytes of the body",
            ),
        ] {
            let (address, _server) = serve(vec![[script, vec![Step::Reset]].concat()]).await;
            let outcome = run(&target(address), &question(&["/"]), Moment::default()).await;
            assert_eq!((outcome.verdict, outcome.phase), (Verdict::Fail, phase));
            assert_eq!((&*outcome.reason, outcome.errno), (reason, Some(libc::ECONNRESET)));
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_without_reading_the_request_passes() {
        let script = vec![say("HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n"), Step::Hold];
        let (address, _server) = serve(vec![script]).await;
        let question = HttpQuestion { urls: vec![hello()], ..question(&[]) };
        let outcome = run(&target(address), &question, Moment::default()).await;
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.reason);
    }

    #[tokio::test]
    async fn a_server_whose_small_answer_was_read_is_not_reset() {
        let body = "x".repeat(20_000);
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{body}");
        let (address, server) = serve(vec![vec![Step::Request, say(reply), Step::Hold]]).await;
        assert_eq!(run(&target(address), &question(&["/"]), Moment::default()).await.verdict, Verdict::Pass);
        assert!(server.await.unwrap()[0].ends_with("\r\n\r\n"));
    }

    #[tokio::test]
    async fn a_dropped_run_closes_its_connection() {
        let (address, server) = serve(vec![vec![Step::Request, Step::Hold, say("")]]).await;
        let (target, question) = (target(address), question(&["/"]));
        let mut run = Box::pin(run(&target, &question, Moment::default()));
        // Long enough for the request to arrive, as the server's record shows.
        assert!(timeout(Duration::from_millis(100), &mut run).await.is_err());
        drop(run);
        assert!(server.await.unwrap()[0].starts_with("GET / "));
    }

    #[test]
    fn a_run_may_move_between_threads() {
        fn is_send<T: Send>(_: &T) {}
        let (target, question) = (target("127.0.0.1:9".parse().unwrap()), question(&["/"]));
        is_send(&run(&target, &question, Moment::default()));
    }

    /// What is made of a server that plays `script`, over a pipe in virtual time, with 3 s to do it.
    async fn answer_to(url: &Url, script: &[Step]) -> Outcome {
        let request = request("192.0.2.1:80".parse().unwrap(), HttpVersion::V1_0, url).unwrap();
        converse_with(request, url, script).await.0
    }

    async fn converse_with(request: Request<Empty<Bytes>>, url: &Url, script: &[Step]) -> (Outcome, String) {
        let (client, mut server) = tokio::io::duplex(16 * 1024);
        let script = script.to_vec();
        let server = tokio::spawn(async move { play(&mut server, &script).await });
        let target =
            Target { connect_timeout: Duration::from_secs(3), ..target("192.0.2.1:80".parse().unwrap()) };
        let outcome = converse(client, request, url, &target, &mut Progress::default()).await;
        (outcome, server.await.unwrap())
    }

    fn url(path: &str) -> Url {
        Url {
            path: path.to_owned(),
            virtualhost: None,
            status: vec![(200, 299)],
            digest: None,
            pattern: None,
            tls: None,
        }
    }

    /// A URL whose body must be [`HELLO`].
    fn hello() -> Url {
        Url { digest: Some(Digest::of(DigestKind::Md5, HELLO)), ..url("/") }
    }

    fn question(paths: &[&str]) -> HttpQuestion {
        HttpQuestion { version: HttpVersion::V1_0, urls: paths.iter().map(|path| url(path)).collect() }
    }
}
