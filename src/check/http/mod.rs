//! HTTP_GET and SSL_GET: conversation, tests.
//!
//! Each URL is asked on a connection of its own, in order, until one fails. The [`request`] is keepalived's, byte
//! for byte; the [`reply`] is read as HTTP/1.1 has it (chunked, any case of header names, the end of a body by
//! its length), leniently where a header line is odd, and never without a bound: 64 KiB of header, 16 MiB of
//! [`body`], `connect_timeout` for the whole exchange, with the handshake of TLS. Redirects are not followed.

mod body;
mod failure;
pub(crate) mod fetch;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod fuzz;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::connect::connect;
use super::outcome::{Certificate, Outcome, Phase, ProbeResult};
use super::spec::Target;
use super::spec::http::{HttpQuestion, HttpVersion, Url};
use super::tap::{Seen, Tap};
use super::tls::{RunClients, TlsClient};
use crate::time::Moment;
use failure::{broken, late};
use fetch::Fetch;
use reply::{Answer, exchange};
pub(crate) use request::{is_header, is_host, path_on_the_wire};
use request::{request, shortened};

/// The longest header block read, in bytes.
const HEADER_LIMIT: usize = 64 * 1024;
/// The most header lines read.
const HEADER_LINES: usize = 256;

/// Asks all URLs of `question`, each on a new connection, and stops at the first that fails.
///
/// Each URL may take `connect_timeout` for its connection and as long again for everything after.
/// [`Outcome::took`] is the caller's to fill; `begun` is when the probe begins, and `clients` holds the TLS clients that
/// the question needs.
pub(crate) async fn run(
    target: &Target,
    question: &HttpQuestion,
    clients: &RunClients,
    begun: Moment,
) -> Outcome {
    let mut last = Outcome::inconclusive(Phase::Socket, "no url to ask");
    let mut soonest: Option<Box<Certificate>> = None;
    for url in &question.urls {
        last = begin(target, question.version, url, clients, &mut Progress::at(begun)).await;
        soonest = soonest.into_iter().chain(last.certificate.take()).min();
        if last.result != ProbeResult::Pass {
            if question.urls.len() > 1 {
                last = last.about(&shortened(&url.path));
            }
            break;
        }
    }
    Outcome { certificate: soonest, ..last }
}

/// Asks for one URL and takes the whole answer, good or bad: what was taken, its status and its header.
async fn take_whole(
    target: &Target,
    version: HttpVersion,
    url: &Url,
    clients: &RunClients,
    fetch: Fetch,
    begun: Moment,
) -> (Outcome, Option<(Fetch, u16, Vec<u8>)>) {
    let mut so_far = Progress::at(begun);
    so_far.answer.fetch = Some(fetch);
    so_far.seen.limit = HEADER_LIMIT;
    let outcome = begin(target, version, url, clients, &mut so_far).await;
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

async fn begin(
    target: &Target,
    version: HttpVersion,
    url: &Url,
    clients: &RunClients,
    so_far: &mut Progress,
) -> Outcome {
    let client = match url.tls.as_ref().map(|tls| clients.client(&tls.settings)).transpose() {
        Ok(client) => client,
        Err(outcome) => return outcome,
    };
    let request = match request(target.address, version, url) {
        Ok(request) => request,
        Err(reason) => return Outcome::inconclusive(Phase::Send, reason),
    };
    let stream = match connect(target).await {
        Ok(stream) => stream,
        Err(outcome) => return outcome,
    };
    converse(stream, request, url, client, target, so_far).await
}

/// Sends `request` on `stream` and judges what comes back, within `connect_timeout`.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<Empty<Bytes>>,
    url: &Url,
    client: Option<&TlsClient>,
    target: &Target,
    so_far: &mut Progress,
) -> Outcome {
    let within = target.connect_timeout;
    let result = match client {
        None => timeout(within, drive(stream, request, url, &mut so_far.seen, &mut so_far.answer)).await,
        Some(client) => {
            timeout(within, drive_secured(client, stream, request, url, target.address, so_far)).await
        }
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

/// The exchange within TLS.
async fn drive_secured<S: AsyncRead + AsyncWrite + Unpin>(
    client: &TlsClient,
    stream: S,
    request: Request<Empty<Bytes>>,
    url: &Url,
    server: SocketAddr,
    so_far: &mut Progress,
) -> hyper::Result<Outcome> {
    so_far.is_handshaking = true;
    let stream = Tap::new(stream, &mut so_far.below);
    let mut secured = match client.connect(stream, server, so_far.begun).await {
        Ok(secured) => secured,
        Err(error) => return Ok(client.refused(&error, &so_far.below)),
    };
    so_far.is_handshaking = false;
    so_far.certificate = secured.certificate;
    let result = match client.distrust(&secured) {
        Some(outcome) => Ok(outcome),
        None => drive(&mut secured, request, url, &mut so_far.seen, &mut so_far.answer).await,
    };
    if !result.as_ref().is_ok_and(|outcome| outcome.result == ProbeResult::Pass) {
        secured.forget_session();
    }
    if url.tls.as_ref().is_some_and(|tls| tls.close_notify) {
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
