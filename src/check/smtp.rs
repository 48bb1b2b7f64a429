//! SMTP_CHECK: conversation, tests.
//!
//! As keepalived: the greeting must be 220, `HELO` must be answered by 250, then `QUIT` by anything. Unlike keepalived's,
//! replies may have several lines (RFC 5321 section 4.2.1), as the greetings of many servers do.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::time::timeout;

use super::connect::{connect, in_words, refused};
use super::errno::When;
use super::outcome::{Outcome, Phase};
use super::spec::Target;
use super::spec::smtp::SmtpQuestion;
use crate::text;

/// The longest line of a reply that is read: RFC 5321 section 4.5.3.1.5 allows 512 bytes, servers write more.
const LINE_LIMIT: u64 = 4096;
/// Most characters of a refusal that are quoted.
const SAID_LIMIT: usize = 120;
/// Most lines of a reply.
const LINES_LIMIT: usize = 100;

/// Talks once. Ends within twice the target's `connect_timeout`; [`Outcome::took`] is the caller's to fill.
pub(crate) async fn run(target: &Target, question: &SmtpQuestion) -> Outcome {
    let stream = match connect(target).await {
        Ok(stream) => stream,
        Err(outcome) => return outcome,
    };
    let mut stream = BufStream::with_capacity(1024, 256, stream);
    match timeout(target.connect_timeout, talk(&mut stream, question)).await {
        Ok(Ok(())) => Outcome::pass("greeted"),
        Ok(Err(Trouble::Io(step, error))) => refused(target, When::Answered, &error).about(step.name()),
        Ok(Err(Trouble::Outcome(outcome))) => outcome,
        Err(_elapsed) => {
            Outcome::fail(Phase::Head, format!("no whole answer within {}", in_words(target.connect_timeout)))
        }
    }
}

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Greeting,
    Helo,
    Quit,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Greeting => "greeting",
            Step::Helo => "HELO",
            Step::Quit => "QUIT",
        }
    }

    /// The code that passes; None: any reply.
    fn wanted(self) -> Option<u16> {
        match self {
            Step::Greeting => Some(220),
            Step::Helo => Some(250),
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
    use crate::check::outcome::ProbeResult;
    use crate::check::scripted::{Step as Play, say, serve, target};

    async fn ask(script: Vec<Play>) -> (Outcome, String) {
        let (address, server) = serve(vec![script]).await;
        let outcome = run(&target(address), &SmtpQuestion { helo_name: "lb1.example.org".into() }).await;
        (outcome, server.await.unwrap().concat())
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
            let outcome = run(&target, &SmtpQuestion { helo_name: "a".into() }).await;
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
