//! The body of a reply to HTTP_GET and SSL_GET: how much of it is read, and whether it is as wanted.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::{Body as _, Frame, Incoming};

use super::reply::Answer;
use crate::check::hash::Hasher;
use crate::check::outcome::{Outcome, Phase};
use crate::check::pattern;
use crate::check::spec::http::Url;

/// The longest body that is searched, in bytes: it is kept whole for that.
pub(super) const SEARCHED_LIMIT: u64 = 1024 * 1024;
/// The longest body whose digest is computed, in bytes.
const DIGESTED_LIMIT: u64 = 16 * 1024 * 1024;
/// How much of a body without a digest is read, in bytes. A body that breaks off is a failure as much as a
/// wrong status, and a server whose small answer was read to its end is closed by FIN, not reset in the middle
/// of its write; more than this tells nothing new.
const READ_LIMIT: u64 = 64 * 1024;

/// Reads the body as far as it matters and judges it.
pub(super) async fn read(
    response: Response<Incoming>,
    url: &Url,
    status: u16,
    answer: &mut Answer,
) -> hyper::Result<Outcome> {
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
        match pattern::search(pattern, text).await {
            Ok(is_match) if is_match != pattern.is_unwanted => as_wanted.push_str(", body as wanted"),
            Ok(true) => return Outcome::fail(Phase::Judge, format!("body matches \"{pattern}\"")),
            Ok(false) => return Outcome::fail(Phase::Judge, format!("body does not match \"{pattern}\"")),
            Err(no_answer) => return Outcome::fail(Phase::Judge, no_answer.to_string()),
        }
    }
    Outcome::pass(as_wanted)
}

/// The bytes of a frame; trailers have none.
pub(super) fn data_of(frame: &Frame<Bytes>) -> &[u8] {
    frame.data_ref().map_or(&[], |data| data)
}
