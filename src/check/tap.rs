//! A stream that remembers what passed: how many bytes each way, and the first ones read.
//!
//! An outcome needs both ("closed the connection before answering", "not an HTTP reply: ..."), and hyper's
//! errors tell neither. It also keeps hyper from reading before the request is out: servers that answer
//! without reading (health scripts behind inetd) would be taken for servers that speak unasked.
//! [`super::http`] calls it, under TLS and above it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many of the first bytes are remembered by default.
const FIRST: usize = 80;

/// What passed through a [`Tap`].
#[derive(Debug)]
pub(super) struct Seen {
    pub written: u64,
    pub read: u64,
    /// The first bytes read, at most `limit`.
    pub first: Vec<u8>,
    /// How many of them are remembered.
    pub limit: usize,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { written: 0, read: 0, first: Vec::new(), limit: FIRST }
    }
}

/// A stream whose traffic is noted in `seen`.
#[derive(Debug)]
pub(super) struct Tap<'a, S> {
    stream: S,
    seen: &'a mut Seen,
    /// The reader that waits for the first write.
    waiting: Option<Waker>,
}

impl<'a, S> Tap<'a, S> {
    pub(super) fn new(stream: S, seen: &'a mut Seen) -> Tap<'a, S> {
        Tap { stream, seen, waiting: None }
    }

    fn note_written(&mut self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(n)) = result {
            self.seen.written += *n as u64;
            if let Some(waker) = self.waiting.take() {
                waker.wake();
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.written == 0 {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let new = buf.filled().get(before..).unwrap_or_default();
        self.seen.read += new.len() as u64;
        let wanted = self.seen.limit.saturating_sub(self.seen.first.len());
        self.seen.first.extend(new.iter().take(wanted));
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_written(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_written(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
