//! TLS of conversations: clients and their sessions, the handshake, whom to trust, and what a refusal says.
//!
//! A specification says how to ask over TLS ([`super::spec::tls`]); a [`TlsClient`] does it, and keeps the sessions that
//! its next handshakes resume. Who runs conversations holds the [`TlsClients`], one for each settings. As keepalived, a
//! client verifies no certificate and sends no server name unless it is told to. What a server offers and rustls does not speak
//! is said in words ([`refusal`]).

mod certificate;
mod clients;
mod material;
mod refusal;
mod session;
mod verify;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::HandshakeKind;
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::outcome::{Certificate, CertificateTime, Outcome, Phase};
use super::spec::tls::TlsSettings;
use super::tap::Seen;
pub(crate) use clients::{RunClients, TlsClients};
pub(crate) use material::NotAnIdentity;
pub(super) use refusal::words;
use session::{Sessions, View};

use crate::time::Moment;

/// Asks over TLS with one set of settings.
#[derive(Debug)]
pub(crate) struct TlsClient {
    settings: Arc<TlsSettings>,
    config: ClientConfig,
    name: Option<ServerName<'static>>,
    sessions: Arc<Sessions>,
}

/// The cryptography all of this is done with.
fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn name_of(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| "it is neither a host's name nor an address".to_owned())
}

/// Whether a handshake can carry this server name.
pub(crate) fn is_server_name(name: &str) -> bool {
    matches!(name_of(name), Ok(ServerName::DnsName(_)))
}

/// Whether a client can be made of these settings.
///
/// # Errors
/// In the operator's words, when a name cannot be one.
pub(crate) fn verify(settings: &TlsSettings) -> Result<(), String> {
    names(settings).map(|_| ())
}

/// The name that is sent, and the name that the certificate must have.
fn names(settings: &TlsSettings) -> Result<Names, String> {
    let sent = match settings.server_name.as_deref().map(name_of).transpose()? {
        Some(ServerName::IpAddress(_)) => return Err("an address cannot be a server name".to_owned()),
        name => name,
    };
    let verified = settings.verify.as_ref().map(|(_, name)| name_of(name)).transpose()?;
    Ok((sent, verified))
}

/// The name that is sent, and the name that the certificate must have.
type Names = (Option<ServerName<'static>>, Option<ServerName<'static>>);

/// The time a handshake is made at; a client that makes none has none.
#[derive(Debug, Default)]
struct At(Option<UnixTime>);

impl rustls::time_provider::TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        self.0
    }
}

impl TlsClient {
    /// Makes the handshake with `server` on `stream`; `begun` is when the probe began, and as of when certificates are
    /// judged.
    ///
    /// # Errors
    /// The stream's, or a [`rustls::Error`] within: [`TlsClient::refused`] has the words for both.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        server: SocketAddr,
        begun: Moment,
    ) -> io::Result<Secured<S>> {
        let session = self.sessions.with(server, begun.now);
        // Everything behind the other fields is shared.
        let mut config = self.config.clone();
        config.time_provider = Arc::new(At(Some(UnixTime::since_unix_epoch(begun.wall))));
        config.resumption = Resumption::store(Arc::clone(&session) as _);
        let name = self.name.clone().unwrap_or_else(|| ServerName::IpAddress(server.ip().into()));
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = stream.inspect_err(|_| session.forget())?;
        let (_, connection) = stream.get_ref();
        if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
            session.begin();
        }
        let end = connection.peer_certificates().and_then(|chain| certificate::expires_at(chain.first()?));
        let certificate = end.map(|end| Certificate::new(end, begun.wall));
        Ok(Secured { stream, session, certificate })
    }

    /// Why a server is not trusted any more that was when its session began.
    pub(super) fn distrust<S>(&self, secured: &Secured<S>) -> Option<Outcome> {
        let is_over = secured.certificate.is_some_and(|c| c.time() == CertificateTime::Over);
        let is_over = is_over && self.settings.verify.is_some();
        is_over.then(|| Outcome::fail(Phase::Handshake, "certificate has expired"))
    }

    /// What a handshake that failed says; `seen` is what the server sent.
    pub(super) fn refused(&self, error: &io::Error, seen: &Seen) -> Outcome {
        refusal::outcome(error, seen, &self.settings).with_first_bytes(&seen.first)
    }
}

/// A stream within TLS.
#[derive(Debug)]
pub(super) struct Secured<S> {
    stream: TlsStream<S>,
    session: Arc<View>,
    /// The server's certificate, where it can be read.
    pub(super) certificate: Option<Certificate>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Secured<S> {
    /// Announces the end. Whether the server still hears it is its own business.
    pub(super) async fn announce_end(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Makes the next handshake with this server a full one.
    pub(super) fn forget_session(&self) {
        self.session.forget();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    /// Many servers close without announcing it: an answer that ends so is judged by its own length.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            result => result,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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

#[cfg(test)]
mod tests;
