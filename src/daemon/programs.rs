//! Other programs, asked for their output: bounded in time and size.

use std::io::{ErrorKind, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest output that is read, in bytes.
const LIMIT: u64 = 32 << 20;

/// What a program answered.
pub(super) enum Answered {
    /// It is not installed.
    Absent,
    Output(String),
}

/// Runs a program to its end.
///
/// # Errors
/// In words, when it fails, or does not end.
pub(super) fn ask(program: &str, arguments: &[&str]) -> Result<Answered, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Answered::Absent),
        Err(error) => return Err(format!("{program}: {error}")),
    };
    let Some(output) = child.stdout.take() else { return Err(format!("{program}: no output")) };
    let (sender, receiver) = mpsc::sync_channel(1);
    // It ends with the program's output, at the latest when the program is killed.
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = output.take(LIMIT).read_to_end(&mut text);
        let _ = sender.send(read.map(|_| text));
    });
    let text = receiver.recv_timeout(PATIENCE);
    if text.is_err() {
        let _ = child.kill();
    }
    let ended = child.wait().map_err(|error| format!("{program}: {error}"))?;
    match text {
        Err(_) => Err(format!("{program} did not answer within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Ok(Ok(_)) if !ended.success() => Err(format!("{program} failed ({ended})")),
        Ok(Ok(text)) => Ok(Answered::Output(String::from_utf8_lossy(&text).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_answers_is_absent_or_fails() {
        assert!(matches!(ask("echo", &["hello"]), Ok(Answered::Output(text)) if text == "hello\n"));
        assert!(matches!(ask("lvsd-no-such-program", &[]), Ok(Answered::Absent)));
        assert!(ask("false", &[]).is_err_and(|why| why.starts_with("false failed")));
    }
}
