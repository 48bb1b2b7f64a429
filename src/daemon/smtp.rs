//! One mail to a mail server: bounded in time and in what it may answer. It refuses to know what the mail says.
//!
//! No TLS and no password, as keepalived's: the server is meant to be one that takes mails from this host, most often
//! on it, and speaks TLS to the world.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Data, Mail as From, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::notify::mail::message::Mail;
use crate::notify::mail::outbox::Failure;
use crate::notify::mail::{MailSettings, Server};
use crate::notify::telling::plain;

/// Longest time of a conversation, once the connection has come about.
const CONVERSATION: Duration = Duration::from_secs(60);
/// Longest time of looking a name up.
const LOOK_UP: Duration = Duration::from_secs(30);
/// How long a server may take to hear our good-bye.
const GOOD_BYE: Duration = Duration::from_secs(1);
/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;
/// Most bytes a server may answer in a conversation.
const MAX_ANSWERS: usize = 64 << 10;
/// Most characters of a server's words that are told.
const MAX_WORDS: usize = 200;

/// Hands a mail to the server; who of the recipients was refused, and why.
///
/// # Errors
/// [`Failure`] when it was not taken for anybody.
pub async fn deliver(mail: Mail, settings: &MailSettings, host: &str) -> Result<Option<String>, Failure> {
    let server = &settings.server;
    let stream = connect(server, settings.connect_timeout).await?;
    let hello = ClientId::Domain(settings.hello.clone().unwrap_or_else(|| host.to_owned()));
    let conversation = timeout(CONVERSATION, converse(stream, &mail, &hello, server)).await;
    conversation.unwrap_or_else(|_| {
        Err(later(format!("{server} took longer than {} s: is it overloaded?", CONVERSATION.as_secs())))
    })
}

async fn connect(server: &Server, limit: Duration) -> Result<TcpStream, Failure> {
    let mut reason = format!("{server}: the name has no address: write one that is known, or an address");
    for address in addresses(server).await? {
        let error = match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {} s", limit.as_secs()),
        };
        let at = match server {
            Server::At(_) => server.to_string(),
            Server::Named(..) => format!("{server} ({address})"),
        };
        reason = format!("{at}: {error}: does a mail server listen there, and may this host reach it?");
    }
    Err(later(reason))
}

/// Names are looked up beside the event loop: a name server that does not answer holds a thread, and nobody up.
async fn addresses(server: &Server) -> Result<Vec<SocketAddr>, Failure> {
    match server {
        Server::At(address) => Ok(vec![*address]),
        Server::Named(name, port) => {
            let found = timeout(LOOK_UP, tokio::net::lookup_host((name.as_str(), *port))).await;
            match found {
                Ok(Ok(addresses)) => Ok(addresses.take(MAX_ADDRESSES).collect()),
                Ok(Err(error)) => {
                    Err(later(format!("{name}: {error}: write an address, or a name in /etc/hosts")))
                }
                Err(_) => Err(later(format!("{name}: no name server answers: write an address"))),
            }
        }
    }
}

async fn converse(
    stream: TcpStream,
    mail: &Mail,
    hello: &ClientId,
    server: &Server,
) -> Result<Option<String>, Failure> {
    let refuses = |what: &str, error: &Error| failure(server, what, error);
    let stream = Box::new(Bounded { stream, left: MAX_ANSWERS });
    let connected = AsyncSmtpConnection::connect_with_transport(stream, hello).await;
    let mut connection = connected.map_err(|error| refuses("this host", &error))?;
    let from = mail.envelope.from();
    let sender = from.map(ToString::to_string).unwrap_or_default();
    let said = connection.command(From::new(from.cloned(), Vec::new())).await;
    said.map_err(|error| refuses(&format!("the sender {sender}"), &error))?;
    let mut refused = Vec::new();
    for to in mail.envelope.to() {
        if let Err(error) = connection.command(Rcpt::new(to.clone(), Vec::new())).await {
            let failure = refuses(&format!("the recipient {to}"), &error);
            // Without an answer nothing more can be asked.
            if error.status().is_none() {
                return Err(failure);
            }
            refused.push(failure);
        }
    }
    let complaint = refused.first().map(|failure| failure.reason.clone());
    if refused.len() == mail.envelope.to().len() {
        part(&mut connection).await;
        // One that is only busy may take it later.
        let failure = refused.iter().find(|failure| !failure.is_final).or(refused.first());
        return failure.cloned().map_or(Ok(None), Err);
    }
    connection.command(Data).await.map_err(|error| refuses("the mail", &error))?;
    connection.message(&mail.bytes).await.map_err(|error| refuses("the mail", &error))?;
    part(&mut connection).await;
    Ok(complaint)
}

/// The mail is the server's already, or never will be: whatever comes of the good-bye.
async fn part(connection: &mut AsyncSmtpConnection) {
    let _ = timeout(GOOD_BYE, connection.quit()).await;
}

fn later(reason: String) -> Failure {
    Failure { is_final: false, reason }
}

/// What a server that answers with a code means, and one that does not.
fn failure(server: &Server, what: &str, error: &Error) -> Failure {
    let words = error.source().map(ToString::to_string).unwrap_or_default();
    let words: String = plain(&words).chars().take(MAX_WORDS).collect();
    let Some(code) = error.status() else {
        let words = if words.is_empty() { error.to_string() } else { words };
        return later(format!("{server} breaks off: {words}: look at its log"));
    };
    let code = code.to_string();
    let help = match code.as_str() {
        "530" | "538" => "it wants TLS or a password: name a server that takes mails from this host without",
        _ if error.is_permanent() => "its log says more",
        _ => "it is asked again",
    };
    Failure {
        is_final: error.is_permanent(),
        reason: format!("{server} refuses {what}: {code} {words}: {help}"),
    }
}

/// A connection that may answer so many bytes.
#[derive(Debug)]
struct Bounded {
    stream: TcpStream,
    left: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        Poll::Ready(match self.left.checked_sub(read) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(io::Error::other("it answers without end")),
        })
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Bounded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}
