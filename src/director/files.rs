//! Files as FILE_CHECK sees them. A check of a file starts no probe: it takes the number that was last reported, at once when
//! that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::Director;
use super::sessions::Answer;
use crate::check::outcome::{Outcome, Phase};
use crate::check::spec::file::{Effect, FileQuestion};
use crate::check::spec::{Question, Reporter};
use crate::config::Config;
use crate::time::Instant;

/// A file is read within a moment, unless its file system hangs; after so long that is said.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLevel {
    /// Name of its `track_file`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) number: i64,
    /// Why it counts 0 though it says no number.
    pub(crate) complaint: Option<String>,
}

/// What is known of every file that checks follow.
#[derive(Debug, Default)]
pub(super) struct FileLevels(BTreeMap<String, Known>);

#[derive(Debug)]
enum Known {
    Reported(FileLevel),
    /// It is followed since then.
    Unknown {
        since: Instant,
    },
}

/// The files that checks of this configuration follow.
pub(crate) fn followed(config: &Config) -> BTreeSet<&str> {
    let servers = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    let checkers = servers.flat_map(|real| &real.checkers);
    checkers
        .filter_map(|checker| match &checker.spec.question {
            Question::File(question) => Some(&*question.file),
            _ => None,
        })
        .collect()
}

impl FileLevels {
    /// Knows the files of this configuration.
    pub(super) fn configure(&mut self, config: &Config, now: Instant) {
        let followed = followed(config);
        self.0.retain(|name, _| followed.contains(&**name));
        for name in followed {
            self.0.entry(name.to_owned()).or_insert(Known::Unknown { since: now });
        }
    }

    pub(super) fn answer(&self, question: &FileQuestion, now: Instant) -> Answer {
        let name = &question.file;
        match self.0.get(&**name) {
            Some(Known::Reported(level)) => answer(question, level),
            Some(Known::Unknown { since }) if now < *since + PATIENCE => Answer::Later(*since + PATIENCE),
            _ => {
                let text = format!("file {name} cannot be read: its file system does not answer");
                Answer::outcome(Outcome::inconclusive(Phase::Socket, text))
            }
        }
    }
}

fn answer(question: &FileQuestion, level: &FileLevel) -> Answer {
    let FileLevel { name, path, number, complaint } = level;
    let said = match complaint {
        Some(why) => format!("file {name} counts 0: {}: {why}", path.display()),
        None => format!("file {name} says {number}"),
    };
    match question.judge(*number) {
        Effect::Adds(0) => Answer::outcome(Outcome::pass(said)),
        Effect::Adds(added) => Answer::Outcome(Outcome::pass(format!("{said}: weight {added:+}")), added),
        Effect::Fails => Answer::outcome(Outcome::fail(Phase::Judge, said)),
    }
}

impl Director {
    /// A file was read, and says something else than before.
    pub(super) fn file_says(&mut self, level: FileLevel, now: Instant) {
        let reporter = Reporter::File(level.name.as_str().into());
        if let Some(known) = self.files.0.get_mut(&level.name) {
            *known = Known::Reported(level);
            self.checkers.begin_checks_of(&reporter, now);
        }
    }
}
