//! MISC_CHECK: run, tests.
//!
//! A command's exit status says how the real server is: 0 is well, with the configured weight; with `misc_dynamic` 2
//! to 255 is well, too, and two more than its weight; everything else is a failure, a command that cannot run included. keepalived forgets the check
//! then, and the real server stays up for ever.

use std::future::pending;

use super::outcome::{Outcome, Phase};
use super::spec::misc::MiscQuestion;
use crate::script::{Ended, Ending, Launch, Runner};

/// Runs the command once. Ends some seconds after its limit at the latest; [`Outcome::took`] is the caller's to fill.
/// Dropping the future ends the process group.
pub(crate) async fn run(runner: &Runner, question: &MiscQuestion) -> Outcome {
    let launch = Launch {
        command: question.command.clone(),
        environment: Vec::new(),
        is_secure: question.is_secure,
        limit: question.limit,
        is_ours: true,
    };
    judge(question, &runner.run(launch, pending()).await)
}

fn judge(question: &MiscQuestion, ended: &Ended) -> Outcome {
    let weight = |status: i32| u8::try_from(status).ok().and_then(|status| status.checked_sub(2));
    let outcome = match &ended.ending {
        Ending::Exited(0) => Outcome::pass("exited with status 0"),
        Ending::HostCannot(why) => return Outcome::inconclusive(Phase::Socket, why.clone()),
        Ending::Exited(status) if question.is_dynamic && weight(*status).is_some() => {
            let weight = weight(*status);
            let reason = format!("exited with status {status}: weight {}", weight.unwrap_or_default());
            Outcome { weight, ..Outcome::pass(reason) }
        }
        Ending::TimedOut => {
            let limit = super::connect::in_words(question.limit);
            Outcome::fail(Phase::Body, format!("was ended: it took longer than {limit}"))
        }
        ending => Outcome::fail(Phase::Judge, ending.to_string()),
    };
    outcome.with_first_bytes(ended.output.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::outcome::ProbeResult;
    use crate::script::Command;

    async fn outcome(script: &str, is_dynamic: bool) -> Outcome {
        let words = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let command = Command { words, user: None, group: None };
        let limit = Duration::from_millis(if script.contains("sleep") { 100 } else { 20_000 });
        run(&Runner::new(1), &MiscQuestion { command, limit, is_dynamic, is_secure: false }).await
    }

    #[tokio::test]
    async fn the_exit_status_is_the_verdict_and_with_misc_dynamic_the_weight() {
        use ProbeResult::{Fail, Pass};
        for (script, is_dynamic, result, weight, reason) in [
            ("exit 0", false, Pass, None, "exited with status 0"),
            ("exit 1", false, Fail, None, "exited with status 1"),
            ("exit 12", false, Fail, None, "exited with status 12"),
            ("exit 0", true, Pass, None, "exited with status 0"),
            ("exit 1", true, Fail, None, "exited with status 1"),
            ("exit 2", true, Pass, Some(0), "exited with status 2: weight 0"),
            ("exit 255", true, Pass, Some(253), "exited with status 255: weight 253"),
            ("kill -9 $$", true, Fail, None, "was ended by signal 9"),
            ("sleep 30", true, Fail, None, "was ended: it took longer than 0.1 s"),
        ] {
            let outcome = outcome(script, is_dynamic).await;
            assert_eq!(
                (outcome.result, &*outcome.reason, outcome.weight),
                (result, reason, weight),
                "{script}"
            );
        }
    }

    #[tokio::test]
    async fn a_command_that_cannot_run_fails_and_says_why() {
        let command = Command { words: vec!["/nonexistent/check".to_owned()], user: None, group: None };
        let question =
            MiscQuestion { command, limit: Duration::from_secs(20), is_dynamic: false, is_secure: false };
        let outcome = run(&Runner::new(1), &question).await;
        assert_eq!(outcome.result, ProbeResult::Fail);
        assert_eq!(outcome.reason, "cannot be run: /nonexistent/check: there is no such file");
    }

    #[tokio::test]
    async fn what_a_failing_command_printed_is_kept() {
        let outcome = outcome("echo no leader; exit 1", false).await;
        assert_eq!(outcome.first_bytes.as_deref(), Some("no leader\\n"));
    }
}
