//! SMTP_CHECK: conversation, tests.
//!
//! As keepalived: the greeting must be 220, `HELO` must be answered by 250, then `QUIT` by anything. Unlike keepalived's,
//! replies may have several lines (RFC 5321 section 4.2.1), as the greetings of many servers do. With `starttls` (RFC 3207) it
//! is `EHLO`, `STARTTLS`, and `EHLO` and `QUIT` within TLS.

use std::net::SocketAddr;

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::time::timeout;

use super::connect::{connect, in_words, refused};
use super::errno::When;
use super::outcome::{Certificate, Outcome, Phase};
use super::spec::Target;
use super::spec::smtp::SmtpQuestion;
use super::tap::{Seen, Tap};
use super::tls::{RunClients, TlsClient};
use crate::text;
use crate::time::Moment;

/// The longest line of a reply that is read: RFC 5321 section 4.5.3.1.5 allows 512 bytes, servers write more.
const LINE_LIMIT: u64 = 4096;
/// Most characters of a refusal that are quoted.
const SAID_LIMIT: usize = 120;
/// Most lines of a reply.
const LINES_LIMIT: usize = 100;

/// Bytes that are read at once.
const BUFFER: usize = 1024;

/// Talks once. Ends within twice the target's `connect_timeout`; [`Outcome::took`] is the caller's to fill. `clients` holds
/// the TLS client that STARTTLS needs; `begun` is when the probe begins.
pub(crate) async fn run(
    target: &Target,
    question: &SmtpQuestion,
    clients: &RunClients,
    begun: Moment,
) -> Outcome {
    let client = match question.starttls.as_ref().map(|settings| clients.client(settings)).transpose() {
        Ok(client) => client,
        Err(outcome) => return outcome,
    };
    let stream = match connect(target).await {
        Ok(stream) => stream,
        Err(outcome) => return outcome,
    };
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    let mut certificate = None;
    let talk = async {
        match client {
            None => talk(&mut stream, question).await,
            Some(client) => {
                let server = Server { client, address: target.address, begun };
                talk_within_tls(stream, question, &server, &mut certificate).await
            }
        }
    };
    let result = timeout(target.connect_timeout, talk).await;
    let outcome = match result {
        Ok(Ok(())) if client.is_some() => Outcome::pass("greeted over TLS"),
        Ok(Ok(())) => Outcome::pass("greeted"),
        Ok(Err(Trouble::Io(step, error))) => refused(target, When::Answered, &error).about(step.name()),
        Ok(Err(Trouble::Outcome(outcome))) => outcome,
        Err(_elapsed) => {
            Outcome::fail(Phase::Head, format!("no whole answer within {}", in_words(target.connect_timeout)))
        }
    };
    Outcome { certificate: certificate.map(Box::new), ..outcome }
}

/// What TLS needs.
struct Server<'a> {
    client: &'a TlsClient,
    address: SocketAddr,
    begun: Moment,
}

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Greeting,
    Helo,
    Ehlo,
    StartTls,
    Quit,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Greeting => "greeting",
            Step::Helo => "HELO",
            Step::Ehlo => "EHLO",
            Step::StartTls => "STARTTLS",
            Step::Quit => "QUIT",
        }
    }

    /// The code that passes; None: any reply.
    fn wanted(self) -> Option<u16> {
        match self {
            Step::Greeting | Step::StartTls => Some(220),
            Step::Helo | Step::Ehlo => Some(250),
            Step::Quit => None,
        }
    }
}

enum Trouble {
    Io(Step, std::io::Error),
    Outcome(Outcome),
}

async fn talk<S>(stream: &mut S, question: &SmtpQuestion) -> Result<(), Trouble>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    expect(stream, Step::Greeting).await?;
    say(stream, Step::Helo, &format!("HELO {}\r\n", question.helo_name)).await?;
    expect(stream, Step::Helo).await?;
    say(stream, Step::Quit, "QUIT\r\n").await?;
    expect(stream, Step::Quit).await
}

/// The conversation that goes on within TLS.
async fn talk_within_tls<S>(
    mut stream: BufReader<S>,
    question: &SmtpQuestion,
    server: &Server<'_>,
    certificate: &mut Option<Certificate>,
) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = format!("EHLO {}\r\n", question.helo_name);
    expect(&mut stream, Step::Greeting).await?;
    say(&mut stream, Step::Ehlo, &hello).await?;
    expect(&mut stream, Step::Ehlo).await?;
    say(&mut stream, Step::StartTls, "STARTTLS\r\n").await?;
    expect(&mut stream, Step::StartTls).await?;
    // Who says more before TLS begins may be on the way, and not the server (CVE-2011-0411).
    if !stream.buffer().is_empty() {
        let outcome = Outcome::fail(Phase::Judge, "STARTTLS: more was said before TLS began");
        return Err(Trouble::Outcome(outcome.with_first_bytes(stream.buffer())));
    }
    let Server { client, address, begun } = *server;
    let mut below = Seen::default();
    let secured = client.connect(Tap::new(stream.into_inner(), &mut below), address, begun).await;
    let mut secured = match secured {
        Ok(secured) => secured,
        Err(error) => return Err(Trouble::Outcome(client.refused(&error, &below).about("STARTTLS"))),
    };
    *certificate = secured.certificate;
    let result = match client.distrust(&secured) {
        Some(outcome) => Err(Trouble::Outcome(outcome.about("STARTTLS"))),
        None => {
            let mut stream = BufReader::with_capacity(BUFFER, &mut secured);
            let ended = async {
                say(&mut stream, Step::Ehlo, &hello).await?;
                expect(&mut stream, Step::Ehlo).await?;
                say(&mut stream, Step::Quit, "QUIT\r\n").await?;
                expect(&mut stream, Step::Quit).await
            };
            ended.await
        }
    };
    if result.is_err() {
        secured.forget_session();
    }
    result
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, step: Step, line: &str) -> Result<(), Trouble> {
    let written = async {
        stream.write_all(line.as_bytes()).await?;
        stream.flush().await
    };
    written.await.map_err(|error| Trouble::Io(step, error))
}

/// Reads a reply and judges its code.
async fn expect<S: AsyncBufRead + Unpin>(stream: &mut S, step: Step) -> Result<(), Trouble> {
    let fail = |reason: String, line: &[u8]| {
        let outcome = Outcome::fail(Phase::Judge, format!("{}: {reason}", step.name()));
        Trouble::Outcome(outcome.with_first_bytes(line))
    };
    let mut line = Vec::new();
    for _ in 0..LINES_LIMIT {
        line.clear();
        let mut limited = (&mut *stream).take(LINE_LIMIT);
        limited.read_until(b'\n', &mut line).await.map_err(|error| Trouble::Io(step, error))?;
        if line.is_empty() {
            return Err(fail("the connection was closed".to_owned(), &[]));
        }
        let Some((code, is_last)) = read_line(&line) else {
            return Err(fail("not an SMTP reply".to_owned(), &line));
        };
        if let Some(wanted) = step.wanted()
            && code != wanted
        {
            let said = text::plain(&String::from_utf8_lossy(line.trim_ascii()), SAID_LIMIT);
            return Err(fail(format!("`{said}`, wanted {wanted}"), &[]));
        }
        if is_last {
            return Ok(());
        }
    }
    Err(fail(format!("a reply of more than {LINES_LIMIT} lines"), &[]))
}

/// The code of a reply's line, and whether it is the last one (RFC 5321 section 4.2.1).
fn read_line(line: &[u8]) -> Option<(u16, bool)> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (code, rest) = line.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.first() {
        None | Some(b' ') => Some((code, true)),
        Some(b'-') => Some((code, false)),
        Some(_) => None,
    }
}

/// What a server may say: read as a greeting and as a reply to QUIT, to its end and in bounded memory.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn fuzz(mut said: &[u8]) {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for step in [Step::Greeting, Step::Quit] {
        let reading = std::pin::pin!(expect(&mut said, step)).poll(&mut context);
        assert!(reading.is_ready(), "bytes in memory are all there");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use std::sync::Arc;

    use crate::check::outcome::ProbeResult;
    use crate::check::scripted::{Step as Play, say, serve, target};
    use crate::check::spec::Question;
    use crate::check::spec::tls::TlsSettings;
    use crate::check::tls::TlsClients;

    async fn ask(script: Vec<Play>) -> (Outcome, String) {
        let (address, server) = serve(vec![script]).await;
        let question = SmtpQuestion { helo_name: "lb1.example.org".into(), starttls: None };
        let outcome = run(&target(address), &question, &RunClients::default(), Moment::default()).await;
        (outcome, server.await.unwrap().concat())
    }

    async fn ask_for_tls(script: Vec<Play>) -> (Outcome, String) {
        let (address, server) = serve(vec![script]).await;
        let starttls = Some(Arc::new(TlsSettings::default()));
        let question = Question::Smtp(Box::new(SmtpQuestion { helo_name: "lb1".into(), starttls }));
        let clients = TlsClients::default().of(&question);
        let Question::Smtp(question) = question else { unreachable!() };
        let outcome = run(&target(address), &question, &clients, Moment::default()).await;
        (outcome, server.await.unwrap().concat())
    }

    #[tokio::test]
    async fn tls_is_begun_and_must_succeed() {
        let hello = [say("220 a\r\n"), Play::Some, say("250-b\r\n250 STARTTLS\r\n"), Play::Some];
        let (outcome, heard) = ask_for_tls([&hello[..], &[say("502 no\r\n"), Play::Hold]].concat()).await;
        assert_eq!(outcome.reason, "STARTTLS: `502 no`, wanted 220");
        assert_eq!(heard, "EHLO lb1\r\nSTARTTLS\r\n");
        let (outcome, _) =
            ask_for_tls([&hello[..], &[say("220 go\r\n250 x\r\n"), Play::Hold]].concat()).await;
        assert_eq!(outcome.reason, "STARTTLS: more was said before TLS began");
        assert_eq!(outcome.first_bytes.as_deref(), Some("250 x\\r\\n"));
        let plain = [say("220 go\r\n"), Play::Some, say("500 what is that\r\n"), Play::Hold];
        let (outcome, _) = ask_for_tls([&hello[..], &plain].concat()).await;
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Handshake));
        assert!(outcome.reason.starts_with("STARTTLS: "), "{}", outcome.reason);
    }

    #[tokio::test]
    async fn a_server_that_greets_passes_and_hears_what_a_client_says() {
        for greeting in ["220 mail\r\n", "220\r\n", "220 mail\n", "220-mail\r\n220-is\r\n220 here\r\n"] {
            let (outcome, heard) = ask(vec![
                say(greeting),
                Play::Some,
                say("250-mail\r\n250 HELP\r\n"),
                Play::Some,
                say("221 bye\r\n"),
                Play::Hold,
            ])
            .await;
            assert_eq!((outcome.result, &*outcome.reason), (ProbeResult::Pass, "greeted"), "{greeting:?}");
            assert_eq!(heard, "HELO lb1.example.org\r\nQUIT\r\n");
        }
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_quoted() {
        let (outcome, _) = ask(vec![say("554 no service\x1b[2J here\r\n"), Play::Hold]).await;
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Judge));
        assert!(outcome.reason.starts_with("greeting: `554 no service"), "{}", outcome.reason);
        assert!(!outcome.reason.contains('\x1b'));
        let (outcome, _) = ask(vec![say("220 a\r\n"), Play::Some, say("421 busy\r\n"), Play::Hold]).await;
        assert_eq!(outcome.reason, "HELO: `421 busy`, wanted 250");
    }

    #[tokio::test]
    async fn what_is_no_reply_fails_with_its_beginning() {
        for (script, reason, first) in [
            (
                "HTTP/1.1 400 Bad Request\r\n",
                "greeting: not an SMTP reply",
                Some("HTTP/1.1 400 Bad Request\\r\\n"),
            ),
            ("220mail\r\n", "greeting: not an SMTP reply", Some("220mail\\r\\n")),
            ("220 half a line", "greeting: not an SMTP reply", Some("220 half a line")),
            ("", "greeting: the connection was closed", None),
        ] {
            let (outcome, _) = ask(vec![say(script)]).await;
            assert_eq!((outcome.result, &*outcome.reason), (ProbeResult::Fail, reason));
            assert_eq!(outcome.first_bytes.as_deref(), first);
        }
    }

    #[tokio::test]
    async fn a_reply_without_end_is_not_read_to_its_end() {
        let (outcome, _) = ask(vec![Play::Forever(b"220-more\r\n".to_vec())]).await;
        assert_eq!(outcome.reason, "greeting: a reply of more than 100 lines");
        let (outcome, _) = ask(vec![Play::Forever(vec![b'2'; 512])]).await;
        assert_eq!(outcome.reason, "greeting: not an SMTP reply");
    }

    #[tokio::test]
    async fn a_server_that_is_silent_or_slow_fails_in_time() {
        for script in [vec![Play::Hold], vec![Play::Drip(b"220 mail\r\n".to_vec(), Duration::from_secs(1))]] {
            let (address, _server) = serve(vec![script]).await;
            let mut target = target(address);
            target.connect_timeout = Duration::from_millis(80);
            let question = SmtpQuestion { helo_name: "a".into(), starttls: None };
            let outcome = run(&target, &question, &RunClients::default(), Moment::default()).await;
            assert_eq!(
                (outcome.result, &*outcome.reason),
                (ProbeResult::Fail, "no whole answer within 0.08 s")
            );
        }
    }

    #[tokio::test]
    async fn any_reply_to_quit_passes_and_none_fails() {
        let hello = [say("220 a\r\n"), Play::Some, say("250 b\r\n"), Play::Some];
        let (outcome, _) = ask([hello.to_vec(), vec![say("500 what\r\n"), Play::Hold]].concat()).await;
        assert_eq!(outcome.result, ProbeResult::Pass);
        let (outcome, _) = ask(hello.to_vec()).await;
        assert_eq!(
            (outcome.result, &*outcome.reason),
            (ProbeResult::Fail, "QUIT: the connection was closed")
        );
    }
}
