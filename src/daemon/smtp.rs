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
use crate::notify::mail::outbox::DeliveryFailure;
use crate::notify::mail::{MailSettings, Server};
use crate::notify::notification::plain;

/// Longest time of a conversation, once the connection has come about.
const CONVERSATION: Duration = Duration::from_secs(60);
/// Longest time of looking a name up.
const LOOK_UP: Duration = Duration::from_secs(30);
/// How long a server may take to hear QUIT.
const GOOD_BYE: Duration = Duration::from_secs(1);
/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;
/// Most bytes a server may answer in a conversation.
const MAX_ANSWERS: usize = 64 << 10;
/// Most characters of a server's words that are quoted.
const MAX_WORDS: usize = 200;

/// Hands a mail to the server; the refused recipients, with the server's reply.
///
/// # Errors
/// [`DeliveryFailure`] when the server accepted no recipient.
pub(super) async fn deliver(
    mail: Mail,
    settings: &MailSettings,
    host: &str,
) -> Result<Option<String>, DeliveryFailure> {
    let server = &settings.server;
    let stream = connect(server, settings.connect_timeout).await?;
    let hello = ClientId::Domain(settings.hello.clone().unwrap_or_else(|| host.to_owned()));
    let conversation = timeout(CONVERSATION, converse(stream, &mail, &hello, server)).await;
    conversation.unwrap_or_else(|_| {
        Err(later(format!("{server} took longer than {} s: is it overloaded?", CONVERSATION.as_secs())))
    })
}

async fn connect(server: &Server, limit: Duration) -> Result<TcpStream, DeliveryFailure> {
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

/// Names are looked up beside the event loop: a name server that does not answer blocks a thread, and not the loop.
async fn addresses(server: &Server) -> Result<Vec<SocketAddr>, DeliveryFailure> {
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
) -> Result<Option<String>, DeliveryFailure> {
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

/// Ends the conversation. The mail has been accepted or refused before, so the answer to QUIT does not matter.
async fn part(connection: &mut AsyncSmtpConnection) {
    let _ = timeout(GOOD_BYE, connection.quit()).await;
}

fn later(reason: String) -> DeliveryFailure {
    DeliveryFailure { is_final: false, reason }
}

/// What a server that answers with a code means, and one that does not.
fn failure(server: &Server, what: &str, error: &Error) -> DeliveryFailure {
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
    DeliveryFailure {
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lettre::address::Envelope;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers as it is set, each command by its own line; what it was sent.
    async fn converse_with(
        answers: &[(&'static str, &'static str)],
    ) -> (Result<Option<String>, DeliveryFailure>, Vec<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let answers = answers.to_vec();
        let answer = move |line: &str| {
            let found = answers.iter().find(|(begin, _)| line.starts_with(begin));
            let usual = if line.starts_with("DATA") { "354 go on" } else { "250 yes" };
            found.map_or(usual, |(_, answer)| *answer)
        };
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            let mut heard = Vec::new();
            let mut is_data = false;
            let mut say = answer("greeting").to_owned();
            loop {
                // A client that has left does not read.
                let _ = writer.write_all(format!("{say}\r\n").as_bytes()).await;
                let line = loop {
                    let Ok(Some(line)) = lines.next_line().await else { return heard };
                    heard.push(line.clone());
                    if !is_data || line == "." {
                        break line;
                    }
                };
                is_data = line == "DATA";
                say = answer(&line).to_owned();
            }
        });
        let settings = MailSettings {
            server: Server::At(at),
            to: Vec::new(),
            from: None,
            hello: Some("lb1".to_owned()),
            router: None,
            connect_timeout: Duration::from_secs(5),
        };
        let to = ["a@example.org", "b@example.org"].map(|to| to.parse().unwrap()).to_vec();
        let envelope = Envelope::new(Some("lvs@example.org".parse().unwrap()), to).unwrap();
        let mail = Mail { envelope, bytes: b"Subject: x\r\n\r\n.hidden\r\n".to_vec() };
        let result = deliver(mail, &settings, "host").await;
        let result =
            result.map_err(|f| DeliveryFailure { reason: f.reason.replace(&at.to_string(), "SERVER"), ..f });
        let result = result.map(|complaint| complaint.map(|c| c.replace(&at.to_string(), "SERVER")));
        (result, server.await.unwrap())
    }

    #[tokio::test]
    async fn a_mail_is_handed_over_and_a_dot_does_not_end_it() {
        let (result, heard) = converse_with(&[("greeting", "220 hello")]).await;
        assert_eq!(result, Ok(None));
        let expected = [
            "EHLO lb1",
            "MAIL FROM:<lvs@example.org>",
            "RCPT TO:<a@example.org>",
            "RCPT TO:<b@example.org>",
            "DATA",
            "Subject: x",
            "",
            "..hidden",
            "",
            ".",
            "QUIT",
        ];
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn one_refused_recipient_does_not_keep_others_from_their_mail() {
        let refusal = ("RCPT TO:<a", "550-5.1.1 no\r\n550 such user");
        let (result, heard) = converse_with(&[("greeting", "220 hello"), refusal]).await;
        let complaint =
            "SERVER refuses the recipient a@example.org: 550 5.1.1 no such user: its log says more";
        assert_eq!(result, Ok(Some(complaint.to_owned())));
        assert!(heard.contains(&"..hidden".to_owned()), "{heard:?}");
    }

    #[tokio::test]
    async fn a_refusal_is_final_and_trouble_is_not() {
        let failure = |is_final: bool, reason: &str| DeliveryFailure { is_final, reason: reason.to_owned() };
        let hello = ("greeting", "220 hello");
        let (result, _) = converse_with(&[hello, ("RCPT", "550 no"), ("RCPT TO:<b", "450 not now")]).await;
        assert!(result.is_err_and(|f| f.is_final), "no recipient is accepted");
        let (result, _) = converse_with(&[hello, ("RCPT TO:<a", "550 no"), ("RCPT", "450 busy")]).await;
        let reason = "SERVER refuses the recipient b@example.org: 450 busy: it is asked again";
        assert_eq!(result, Err(failure(false, reason)));
        let (result, _) = converse_with(&[("greeting", "421 closed")]).await;
        assert_eq!(result, Err(failure(false, "SERVER refuses this host: 421 closed: it is asked again")));
        let (result, _) = converse_with(&[hello, (".", "554 spam")]).await;
        assert_eq!(result, Err(failure(true, "SERVER refuses the mail: 554 spam: its log says more")));
        let (result, _) = converse_with(&[("greeting", "what is that")]).await;
        assert!(result.as_ref().is_err_and(|f| !f.is_final && f.reason.contains("breaks off")), "{result:?}");
    }

    #[tokio::test]
    async fn a_server_without_a_listener_is_named() {
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let error = connect(&Server::At(closed), Duration::from_secs(5)).await.unwrap_err();
        let begin = format!("{closed}: Connection refused");
        assert!(!error.is_final && error.reason.starts_with(&begin), "{}", error.reason);
    }
}
