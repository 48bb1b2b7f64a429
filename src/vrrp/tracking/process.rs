//! `vrrp_track_process`: which processes are meant, and since when there are enough of them.

use std::sync::Arc;

use crate::time::Instant;
use crate::vrrp::settings::{ArgumentMatch, ProcessSettings};

/// Bytes the kernel keeps of a process's short name.
const SHORT_NAME: usize = 15;

/// A process of the host, as far as it is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its short name.
    pub name: String,
    /// Its command line; empty for threads of the kernel, and while it was not asked for.
    pub words: Vec<String>,
}

/// Whether a process's command line is needed to compare it.
pub(crate) fn needs_words(settings: &ProcessSettings) -> bool {
    settings.is_full_command || settings.arguments != ArgumentMatch::Any
}

/// Whether a process is meant.
pub(crate) fn is_meant(settings: &ProcessSettings, seen: &Seen) -> bool {
    let Some((program, arguments)) = settings.command.split_first() else { return false };
    let (has_program, rest) = match seen.words.split_first() {
        Some((first, rest)) if settings.is_full_command => (first == program, rest),
        None if settings.is_full_command => (false, &[][..]),
        other => (seen.name.as_bytes() == short(program), other.map_or(&[][..], |(_, rest)| rest)),
    };
    has_program && has_arguments(settings.arguments, arguments, rest)
}

/// The short name the kernel gives a program: the end of its path, cut.
fn short(program: &str) -> &[u8] {
    let name = program.rsplit('/').next().unwrap_or(program).as_bytes();
    name.get(..SHORT_NAME).unwrap_or(name)
}

fn has_arguments(how: ArgumentMatch, wanted: &[String], found: &[String]) -> bool {
    match (how, wanted.split_last()) {
        (ArgumentMatch::Any, _) => true,
        (ArgumentMatch::Exact, _) => wanted == found,
        (ArgumentMatch::Initial, _) | (ArgumentMatch::Partial, None) => found.starts_with(wanted),
        (ArgumentMatch::Partial, Some((last, first))) => {
            found.starts_with(first)
                && found.get(first.len()).is_some_and(|word| word.starts_with(last.as_str()))
        }
    }
}

/// A followed process.
#[derive(Debug)]
pub(crate) struct ProcessTrack {
    settings: Arc<ProcessSettings>,
    /// None before the first look.
    level: Option<bool>,
    /// What the last look saw, where that is not the level, and when it becomes it.
    pending: Option<Instant>,
}

impl ProcessTrack {
    /// Nothing is known yet.
    pub(crate) fn new(settings: Arc<ProcessSettings>) -> ProcessTrack {
        ProcessTrack { settings, level: None, pending: None }
    }

    /// The same under other settings; what is known stays.
    pub(crate) fn reconfigure(&mut self, settings: Arc<ProcessSettings>) {
        self.settings = settings;
        self.pending = None;
    }

    pub(crate) fn settings(&self) -> &Arc<ProcessSettings> {
        &self.settings
    }

    /// So many run now; the level where it changed. The first look decides at once.
    pub(crate) fn saw(&mut self, now: Instant, count: u32) -> Option<bool> {
        let is_well = (self.settings.quorum..=self.settings.quorum_max).contains(&count);
        if self.level == Some(is_well) {
            self.pending = None;
            return None;
        }
        // More of them may be too many: what counts is whether they came or went.
        let is_start = count >= self.settings.quorum;
        let delay = if is_start { self.settings.start_delay } else { self.settings.end_delay };
        let at = *self.pending.get_or_insert(now + delay);
        if now < at && self.level.is_some() {
            return None;
        }
        self.pending = None;
        self.level = Some(is_well);
        Some(is_well)
    }

    /// When it is looked at again, without further input.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings(command: &str) -> ProcessSettings {
        ProcessSettings {
            name: "p".to_owned(),
            command: command.split(' ').map(str::to_owned).collect(),
            arguments: ArgumentMatch::Any,
            weight: 0,
            is_reversed: false,
            quorum: 1,
            quorum_max: u32::MAX,
            start_delay: Duration::ZERO,
            end_delay: Duration::ZERO,
            is_full_command: false,
        }
    }

    #[test]
    fn the_table_of_comparisons() {
        use ArgumentMatch::{Any, Exact, Initial, Partial};
        let table = [
            // configured, comparison, whole command, short name, command line, meant
            ("haproxy", Any, false, "haproxy", "/usr/sbin/haproxy -f x", true),
            ("/usr/sbin/haproxy", Any, false, "haproxy", "haproxy", true),
            ("/usr/sbin/haproxy", Any, true, "haproxy", "haproxy", false),
            ("/usr/sbin/haproxy", Any, true, "haproxy", "/usr/sbin/haproxy -f x", true),
            ("haproxy", Any, true, "haproxy", "/usr/sbin/haproxy", false),
            ("haprox", Any, false, "haproxy", "haproxy", false),
            ("a-very-long-program-name", Any, false, "a-very-long-pro", "x", true),
            ("a-very-long-program-name", Any, true, "a-very-long-pro", "a-very-long-program-name", true),
            ("kworker", Any, true, "kworker", "", false),
            ("d -f x", Exact, false, "d", "d -f x", true),
            ("d -f x", Exact, false, "d", "d -f x -v", false),
            ("d -f x", Initial, false, "d", "d -f x -v", true),
            ("d -f x", Initial, false, "d", "d -f xy", false),
            ("d -f x", Partial, false, "d", "d -f xy -v", true),
            ("d -f x", Partial, false, "d", "d -fy xy", false),
            ("d -f x", Partial, false, "d", "d -f", false),
            ("d", Exact, false, "d", "d", true),
            ("d", Exact, false, "d", "d -v", false),
            ("d", Partial, false, "d", "d -v", true),
        ];
        for (command, arguments, is_full_command, name, line, expected) in table {
            let settings = ProcessSettings { arguments, is_full_command, ..settings(command) };
            let words = line.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect();
            let seen = Seen { name: name.to_owned(), words };
            let case = (command, arguments, is_full_command, line);
            assert_eq!(is_meant(&settings, &seen), expected, "{case:?}");
        }
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_table_of_quorums() {
        let table =
            [(1, u32::MAX, "dwww"), (2, u32::MAX, "ddww"), (1, 1, "dwdd"), (2, 2, "ddwd"), (0, 0, "wddd")];
        for (quorum, quorum_max, expected) in table {
            for (count, letter) in expected.chars().enumerate() {
                let settings = ProcessSettings { quorum, quorum_max, ..settings("d") };
                let mut track = ProcessTrack::new(Arc::new(settings));
                let case = (quorum, quorum_max, count);
                assert_eq!(track.saw(at(0), u32::try_from(count).unwrap()), Some(letter == 'w'), "{case:?}");
            }
        }
    }

    #[test]
    fn a_change_counts_when_it_has_lasted() {
        let settings = ProcessSettings {
            start_delay: Duration::from_millis(500),
            end_delay: Duration::from_millis(200),
            ..settings("d")
        };
        let mut track = ProcessTrack::new(Arc::new(settings));
        assert_eq!(track.saw(at(0), 1), Some(true), "the first look decides");
        assert_eq!((track.saw(at(1000), 0), track.deadline()), (None, Some(at(1200))));
        assert_eq!((track.saw(at(1100), 1), track.deadline()), (None, None), "a restart");
        assert_eq!(track.saw(at(2000), 0), None);
        assert_eq!(track.saw(at(2200), 0), Some(false));
        assert_eq!((track.saw(at(3000), 1), track.deadline()), (None, Some(at(3500))));
        assert_eq!(track.saw(at(3499), 1), None);
        assert_eq!(track.saw(at(3500), 1), Some(true));
    }
}
