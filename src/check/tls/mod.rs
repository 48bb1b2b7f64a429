//! TLS for SSL_GET: who is asked for, who is trusted, who we are, and the handshake.
//!
//! A set of options ([`TlsOptions`]) has one [`TlsClient`], shared by all checkers that have the same:
//! [`TlsClients`] makes them, in one reading of a configuration. As keepalived, it verifies nobody and sends no
//! server name unless it is told to. What a server offers and rustls does not speak is said in words
//! ([`refusal`]). It refuses to know what is said on the connection; [`super::http`] calls it.

mod certificate;
mod material;
mod refusal;
mod session;
mod verify;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, Resumption, WantsClientCert};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ConfigBuilder, HandshakeKind};
use serde::{Serialize, Serializer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::outcome::{Certificate, CertificateTime, Outcome, Phase};
use super::tap::Seen;
pub(crate) use material::{Authorities, Identity, NotAnIdentity};
pub(super) use refusal::words;
use session::{Sessions, View};
use verify::{Anyone, Verifier};

use crate::time::Moment;

/// How a URL is asked over TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Tls {
    /// With which options.
    pub client: Arc<TlsClient>,
    /// Whether the end is announced, as the standard wants it (keepalived `tls_compliant`).
    pub close_notify: bool,
}

/// What makes one TLS client different from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TlsOptions {
    /// Server name sent in the handshake (SNI).
    pub server_name: Option<String>,
    /// Fingerprint of the authorities that are trusted, and the name the certificate must have.
    pub verify: Option<(material::Fingerprint, String)>,
    /// Fingerprint of the client certificate and its key.
    pub identity: Option<material::Fingerprint>,
}

/// Asks over TLS with one set of options. Two with the same options are the same.
#[derive(Debug)]
pub struct TlsClient {
    options: TlsOptions,
    config: ClientConfig,
    name: Option<ServerName<'static>>,
    sessions: Arc<Sessions>,
}

/// The clients of a configuration, one for each set of options.
#[derive(Debug)]
pub(crate) struct TlsClients {
    provider: Arc<CryptoProvider>,
    all: BTreeMap<TlsOptions, Arc<TlsClient>>,
}

impl Default for TlsClients {
    fn default() -> TlsClients {
        TlsClients { provider: Arc::new(provider()), all: BTreeMap::new() }
    }
}

impl TlsClients {
    /// Whether a handshake can carry this server name.
    pub(crate) fn is_server_name(name: &str) -> bool {
        matches!(name_of(name), Ok(ServerName::DnsName(_)))
    }

    /// The client with these options: server name to send, whom to trust under which name, and who we are.
    ///
    /// # Errors
    /// In the operator's words, when a name cannot be one.
    pub(crate) fn client(
        &mut self,
        server_name: Option<&str>,
        verify: Option<(&Authorities, &str)>,
        identity: Option<&Identity>,
    ) -> Result<Arc<TlsClient>, String> {
        let options = TlsOptions {
            server_name: server_name.map(str::to_owned),
            verify: verify.map(|(authorities, name)| (authorities.fingerprint, name.to_owned())),
            identity: identity.map(|identity| identity.fingerprint),
        };
        if let Some(client) = self.all.get(&options) {
            return Ok(Arc::clone(client));
        }
        let name = match server_name.map(name_of).transpose()? {
            Some(ServerName::IpAddress(_)) => return Err("an address cannot be a server name".to_owned()),
            name => name,
        };
        let verifier: Arc<dyn ServerCertVerifier> = match verify {
            None => Arc::new(Anyone),
            Some((authorities, name)) => {
                Arc::new(Verifier::new(authorities, name_of(name)?, Arc::clone(&self.provider))?)
            }
        };
        let builder = self.builder(verifier)?;
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::clone(&identity.resolver) as _),
        };
        config.enable_sni = name.is_some();
        let client = Arc::new(TlsClient { options: options.clone(), config, name, sessions: Arc::default() });
        self.all.insert(options, Arc::clone(&client));
        Ok(client)
    }

    fn builder(
        &self,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
        let builder = ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::new(At::default()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
    }
}

/// The cryptography all of this is done with.
fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn name_of(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| "it is neither a host's name nor an address".to_owned())
}

/// The time a handshake is made at; a client that makes none has none.
#[derive(Debug, Default)]
struct At(Option<UnixTime>);

impl rustls::time_provider::TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        self.0
    }
}

impl TlsClient {
    pub fn options(&self) -> &TlsOptions {
        &self.options
    }

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
        let is_over = is_over && self.options.verify.is_some();
        is_over.then(|| Outcome::fail(Phase::Handshake, "certificate has expired"))
    }

    /// What a handshake that failed says; `seen` is what the server sent.
    pub(super) fn refused(&self, error: &io::Error, seen: &Seen) -> Outcome {
        refusal::outcome(error, seen, &self.options).with_first_bytes(&seen.first)
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

impl PartialEq for TlsClient {
    fn eq(&self, other: &TlsClient) -> bool {
        self.options == other.options
    }
}

impl Eq for TlsClient {}

impl PartialOrd for TlsClient {
    fn partial_cmp(&self, other: &TlsClient) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TlsClient {
    fn cmp(&self, other: &TlsClient) -> std::cmp::Ordering {
        self.options.cmp(&other.options)
    }
}

impl Serialize for TlsClient {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        self.options.serialize(serializer)
    }
}

#[cfg(test)]
mod tests;
