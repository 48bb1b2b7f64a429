//! The reply to HTTP_GET and SSL_GET: its status, and how far it has come.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1::SendRequest;

use super::body;
use super::fetch::Fetch;
use crate::check::outcome::{Outcome, Phase};
use crate::check::spec::http::Url;

/// How much of a body that is judged is kept to be shown, in bytes.
const KEPT: usize = 80;

/// How far an answer has come.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: Option<u16>,
    /// Length of the body, where its header tells.
    pub(super) length: Option<u64>,
    /// Bytes of the body read, decoded.
    pub(super) body: u64,
    /// The first of them, where the body is what is judged.
    pub(super) first: Vec<u8>,
    /// Takes the reply whole, without judging it.
    pub(super) fetch: Option<Fetch>,
}

impl Answer {
    pub(super) fn take(&mut self, data: &[u8]) {
        self.body += data.len() as u64;
    }

    /// Keeps the beginning of what is judged.
    pub(super) fn keep(&mut self, data: &[u8]) {
        let wanted = KEPT.saturating_sub(self.first.len());
        self.first.extend(data.iter().take(wanted));
    }
}

/// Sends the request, reads the answer as far as it matters, and judges it.
pub(super) async fn exchange(
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
    body::read(response, url, status, answer).await
}

/// `200-299, 304`.
fn ranges(status: &[(u16, u16)]) -> String {
    let words: Vec<String> = status
        .iter()
        .map(|&(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    words.join(", ")
}
