//! Monitoring over HTTP: `/metrics` for Prometheus, `/status` as `lvsd status --json` prints it, `/healthz`.
//!
//! Reads only, and asks the main loop as an operator does. Bounded in connections, of one peer and of all, time and
//! sizes; one request a connection. Idle connections keep no other client out.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tracing::info;

use super::admission::{Limits, Stage};
use super::control::{Asker, Command, Reply};
use super::serve::{Progress, serve};
use super::snapshot::Snapshot;
use crate::text;

/// Connections at one time.
const CONNECTIONS: Limits = Limits { all: 64, of_peer: 16 };
/// Longest time until a request's head is there.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// Longest time for the whole of a connection.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Largest head of a request, in bytes, and most headers in it.
const HEAD_SIZE: usize = 16 << 10;
const HEADERS: usize = 64;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// What tells Prometheus the format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Listens at `address` and serves from then on.
///
/// # Errors
/// When the address cannot be listened at.
pub(crate) async fn listen(address: SocketAddr, asker: Asker) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    info!("metrics on http://{}/metrics", listener.local_addr()?);
    let answer = move |method: Method, path: String| {
        let asker = asker.clone();
        async move { answer(&asker, &method, &path).await }
    };
    // It ends with the process.
    let (end, ended) = oneshot::channel();
    tokio::spawn(async move {
        let _end = end;
        serve("metrics", listener, CONNECTIONS, ended, move |stream, progress| {
            converse(stream, progress, answer.clone())
        })
        .await;
    });
    Ok(())
}

/// One conversation: a request, and its answer.
async fn converse<F>(
    stream: TcpStream,
    progress: Progress,
    answer: impl Fn(Method, String) -> F + Clone + Send + 'static,
) -> io::Result<()>
where
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method().clone(), request.uri().path().to_owned());
        let progress = progress.clone();
        async move {
            progress.reached(Stage::Waiting).await;
            let response = response.await;
            progress.reached(Stage::Taking).await;
            Ok::<_, Infallible>(response)
        }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_SIZE)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(TIME_LIMIT, conversation).await {
        Ok(ended) => ended.map_err(io::Error::other),
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

async fn answer(asker: &Asker, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => with_status(asker, EXPOSITION, Snapshot::exposition).await,
        "/status" => with_status(asker, JSON, Snapshot::json).await,
        "/healthz" => match asker.ask(Command::Health).await {
            Reply::Health(None) => reply(StatusCode::OK, TEXT, "ok\n"),
            Reply::Health(Some(trouble)) => unavailable(&trouble),
            other => unavailable(&refusal(other)),
        },
        _ => reply(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /status and /healthz\n"),
    }
}

/// The status in some form, made beside the main loop: thousands of servers take a while to write down.
async fn with_status(
    asker: &Asker,
    form: &'static str,
    write: fn(&Snapshot) -> Bytes,
) -> Response<Full<Bytes>> {
    let status = match asker.ask(Command::Status).await {
        Reply::Status(status) => status,
        other => return unavailable(&refusal(other)),
    };
    match tokio::task::spawn_blocking(move || write(&status)).await {
        Ok(text) => reply(StatusCode::OK, form, text),
        Err(error) => unavailable(&format!("the answer broke, please report this: {error}")),
    }
}

fn refusal(reply: Reply) -> String {
    match reply {
        Reply::Error(error) => error,
        _ => "lvsd gave another answer than asked for, please report this".to_owned(),
    }
}

fn unavailable(reason: &str) -> Response<Full<Bytes>> {
    reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{}\n", text::lines(reason)))
}

fn reply(status: StatusCode, form: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_port_of_the_examples_is_no_other_exporters() {
        let unit = include_str!("../../examples/lvsd.service");
        let address = unit.split("--metrics ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let port = address.and_then(|address| address.rsplit(':').next()).expect("an address with a port");
        let port: u16 = port.parse().expect("a number");
        // Prometheus' list of default ports gives 9090 and on to itself and 9100 to 9999 to exporters, all of them by
        // now; what came later begins at 10000.
        assert!(!(9090..=10_999).contains(&port), "{port}");
    }
}
