//! Answers of any form, for `crate::fuzz`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{HttpVersion, Progress, Target, Url, converse, request};
use crate::check::spec::pattern::Pattern;

/// The MD5 of the body `hello world` and a line feed.
const HELLO_WORLD: &str = "6f5902ac237024bdd0c176cb93063dc4";

/// Judges an answer by its status, by its digest and by an expression.
///
/// The first byte: bits 0 to 6 how many bytes arrive at once, less one; bit 7 whether an expression is searched.
pub(crate) fn reply(bytes: &[u8]) {
    let [first, bytes @ ..] = bytes else { return };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime without I/O");
    let target = Target {
        address: ([192, 0, 2, 1], 80).into(),
        source: None,
        connect_timeout: Duration::from_secs(60),
    };
    let by_status = Url::new("/");
    let by_digest = Url { digest: HELLO_WORLD.parse().ok(), ..by_status.clone() };
    let mut urls = vec![by_status.clone(), by_digest];
    if first & 0x80 != 0 {
        let pattern = Pattern::new(b"hello (world|all)", 0, (0, Some(9)), false);
        urls.push(Url { pattern: Some(pattern), ..by_status });
    }
    for url in urls {
        let request = request(target.address, HttpVersion::V1_1, &url).expect("a path that can be asked for");
        let server = Server { rest: bytes, step: usize::from(first & 0x7f) + 1 };
        let outcome =
            runtime.block_on(converse(server, request, &url, None, &target, &mut Progress::default()));
        assert!(!outcome.reason.is_empty());
    }
}

/// Takes every request, and answers what it was given, a few bytes at a time; then it closes.
struct Server<'a> {
    rest: &'a [u8],
    step: usize,
}

impl AsyncRead for Server<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.step.min(buffer.remaining()).min(self.rest.len());
        let (now, rest) = self.rest.split_at(length);
        buffer.put_slice(now);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
