//! Asks for a page as HTTP_GET does and keeps the answer, for `lvsd genhash`.
//!
//! The conversation is that of a check, so that the digest printed is the digest compared later.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::{Body as _, Incoming};

use crate::check::hash::Hasher;
use crate::check::outcome::{Outcome, Phase, ProbeResult};
use crate::check::spec::Target;
use crate::check::spec::digest::{Digest, DigestKind};
use crate::check::spec::http::{HttpVersion, Url};
use crate::check::tls::RunClients;
use crate::time::Moment;

/// The longest body that is taken, in bytes: as much as a check digests.
const LIMIT: u64 = 16 * 1024 * 1024;

/// A page as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub status: u16,
    /// Digest of the body, with its transfer encoding undone.
    pub digest: Digest,
    /// The status line and the header as they came.
    pub head: Vec<u8>,
    /// The body, with its transfer encoding undone.
    pub body: Vec<u8>,
}

/// A page on its way.
#[derive(Debug)]
pub(super) struct Fetch {
    hasher: Hasher,
    body: Vec<u8>,
}

impl Fetch {
    /// Takes the whole body, within [`LIMIT`], and keeps count of it.
    pub(super) async fn take(
        &mut self,
        response: Response<Incoming>,
        length: &mut Option<u64>,
        count: &mut u64,
    ) -> hyper::Result<Outcome> {
        let status = response.status().as_u16();
        let mut body = response.into_body();
        *length = body.size_hint().exact();
        let too_long = || {
            let reason = format!("body longer than {LIMIT} bytes, the most that is digested");
            Ok(Outcome::fail(Phase::Body, reason))
        };
        if length.is_some_and(|length| length > LIMIT) {
            return too_long();
        }
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            let data: &[u8] = frame.data_ref().map_or(&[], Bytes::as_ref);
            *count += data.len() as u64;
            if *count > LIMIT {
                return too_long();
            }
            self.hasher.update(data);
            self.body.extend_from_slice(data);
        }
        Ok(Outcome::pass(format!("status {status}")))
    }
}

/// Asks for `url` and takes the whole answer, with any status; `begun` is when it begins.
///
/// # Errors
/// The outcome of a conversation that failed.
pub(crate) async fn fetch(
    target: &Target,
    version: HttpVersion,
    url: &Url,
    clients: &RunClients,
    kind: DigestKind,
    begun: Moment,
) -> Result<Page, Outcome> {
    let wanted = Fetch { hasher: Hasher::new(kind), body: Vec::new() };
    let (outcome, fetched) = super::take_whole(target, version, url, clients, wanted, begun).await;
    match (outcome.result, fetched) {
        (ProbeResult::Pass, Some((fetch, status, head))) => {
            Ok(Page { status, digest: fetch.hasher.finish(), head, body: fetch.body })
        }
        _ => Err(outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::scripted::{Step, say, serve, target};

    async fn ask(answer: impl IntoIterator<Item = Step>) -> Result<Page, Outcome> {
        let script = [Step::Request].into_iter().chain(answer).collect();
        let (address, _server) = serve(vec![script]).await;
        let url = Url::new("/page");
        fetch(
            &target(address),
            HttpVersion::V1_1,
            &url,
            &RunClients::default(),
            DigestKind::Md5,
            Moment::default(),
        )
        .await
    }

    #[tokio::test]
    async fn the_digest_is_of_the_body_whatever_the_status() {
        let page = ask([say("HTTP/1.0 404 Not Found\r\nX-Odd: Case\r\n\r\nhello world\n")]).await.unwrap();
        assert_eq!(page.status, 404);
        assert_eq!(page.digest.to_string(), "6f5902ac237024bdd0c176cb93063dc4");
        assert_eq!(page.head, b"HTTP/1.0 404 Not Found\r\nX-Odd: Case\r\n\r\n");
        assert_eq!(page.body, b"hello world\n");
    }

    #[tokio::test]
    async fn a_chunked_body_is_digested_without_its_framing() {
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n6\r\nworld\n\r\n0\r\n\r\n";
        assert_eq!(ask([say(answer)]).await.unwrap().digest.to_string(), "6f5902ac237024bdd0c176cb93063dc4");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_or_is_too_long_has_no_digest() {
        let broken = ask([say("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhello")]).await.unwrap_err();
        assert!(broken.reason.contains("after 5 of 9 bytes"), "{}", broken.reason);
        let long = ask([say("HTTP/1.0 200 OK\r\nContent-Length: 16777217\r\n\r\n")]).await.unwrap_err();
        assert!(long.reason.contains("longer than 16777216"), "{}", long.reason);
    }
}
