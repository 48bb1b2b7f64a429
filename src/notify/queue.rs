//! Scripts in order: of one subject one at a time, of all together a bounded number.
//!
//! When a script hangs, its subject's later changes wait behind it. Of those the newest [`MAX_WAITING`] are kept and
//! the oldest folded away, so the last state is always told; a script sees the gap in LVSD_SEQUENCE. A script has
//! [`LIMIT`]; once a later change waits it has [`PATIENCE`] more, because a host that must become Master now cannot
//! wait for the end of what it did as Backup.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::telling::{Change, Subject, Telling};
use crate::script::Command;
use crate::time::Instant;

/// Changes of a subject that wait.
pub const MAX_WAITING: usize = 8;
/// Time of a script.
pub const LIMIT: Duration = Duration::from_secs(600);
/// What is left of it once a later change waits.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Scripts that run at once.
pub const MAX_RUNNING: usize = 32;

/// A script to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The command, its arguments complete.
    pub command: Command,
    /// What it is about.
    pub change: Change,
}

/// All scripts that run or wait.
#[derive(Debug, Default)]
pub struct Queues {
    waiting: BTreeMap<Subject, VecDeque<Job>>,
    runs: BTreeMap<Subject, Run>,
    /// Subjects with something to run and nothing running, in order of arrival.
    ready: VecDeque<Subject>,
    folded: u64,
    is_ending: bool,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    sequence: u64,
    give_up: Instant,
    is_hurried: bool,
}

impl Queues {
    /// Adds what a change has to run; how many changes were folded away for it.
    pub fn push(&mut self, now: Instant, telling: Telling) -> usize {
        let Telling { change, scripts, .. } = telling;
        if scripts.is_empty() {
            return 0;
        }
        let subject = change.subject.clone();
        let is_idle = !self.waiting.contains_key(&subject) && !self.runs.contains_key(&subject);
        let queue = self.waiting.entry(subject.clone()).or_default();
        queue.extend(scripts.into_iter().map(|command| Job { command, change: change.clone() }));
        let sequences: BTreeSet<u64> = queue.iter().map(|job| job.change.sequence).collect();
        let most = if self.is_ending { 1 } else { MAX_WAITING };
        let surplus = sequences.len().saturating_sub(most);
        if let Some(first) = sequences.iter().nth(surplus) {
            queue.retain(|job| job.change.sequence >= *first);
        }
        self.folded += surplus as u64;
        if let Some(run) = self.runs.get_mut(&subject) {
            run.press(now, queue, self.is_ending);
        }
        if is_idle {
            self.ready.push_back(subject);
        }
        surplus
    }

    /// The next script to run, if any may: it counts as running from now on.
    pub fn begin(&mut self, now: Instant) -> Option<Job> {
        if self.runs.len() >= MAX_RUNNING {
            return None;
        }
        let subject = self.ready.pop_front()?;
        let queue = self.waiting.get_mut(&subject)?;
        let job = queue.pop_front()?;
        let mut run = Run { sequence: job.change.sequence, give_up: now + LIMIT, is_hurried: false };
        run.press(now, queue, self.is_ending);
        if queue.is_empty() {
            self.waiting.remove(&subject);
        }
        self.runs.insert(subject, run);
        Some(job)
    }

    /// A subject's script has ended.
    pub fn ended(&mut self, subject: &Subject) {
        if self.runs.remove(subject).is_some() && self.waiting.contains_key(subject) {
            self.ready.push_back(subject.clone());
        }
    }

    /// Subjects whose script's time is over; each is said once.
    pub fn overdue(&mut self, now: Instant) -> Vec<Subject> {
        let is_over = |run: &Run| now >= run.give_up && !run.is_hurried;
        let mut overdue = Vec::new();
        for (subject, run) in self.runs.iter_mut().filter(|(_, run)| is_over(run)) {
            run.is_hurried = true;
            overdue.push(subject.clone());
        }
        overdue
    }

    /// When the first script's time is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.runs.values().filter(|run| !run.is_hurried).map(|run| run.give_up).min()
    }

    /// The daemon ends: of every subject only the last change is told, and what runs before it has no time left.
    pub fn end(&mut self, now: Instant) {
        self.is_ending = true;
        for (subject, queue) in &mut self.waiting {
            if let Some(last) = queue.back().map(|job| job.change.sequence) {
                queue.retain(|job| job.change.sequence == last);
            }
            if let Some(run) = self.runs.get_mut(subject) {
                run.press(now, queue, true);
            }
        }
    }

    /// Whether nothing runs or waits.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.runs.is_empty()
    }

    /// Changes folded away since the start.
    pub fn folded(&self) -> u64 {
        self.folded
    }
}

impl Run {
    /// A later change that waits shortens what is left of it.
    fn press(&mut self, now: Instant, waiting: &VecDeque<Job>, is_ending: bool) {
        if waiting.back().is_some_and(|last| last.change.sequence != self.sequence) {
            let patience = if is_ending { Duration::ZERO } else { PATIENCE };
            self.give_up = self.give_up.min(now + patience);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn telling(name: &str, sequence: u64, scripts: &[&str]) -> Telling {
        let command = |word: &&str| Command { words: vec![(*word).to_owned()], user: None, group: None };
        let change = Change {
            subject: Subject::Instance(name.to_owned()),
            state: "MASTER",
            previous: None,
            priority: Some(100),
            cause: String::new(),
            master: None,
            sequence,
        };
        Telling { change, scripts: scripts.iter().map(command).collect(), line: None, letter: None }
    }

    /// What begins now: program and sequence.
    fn begun(queues: &mut Queues, now: u64) -> String {
        let mut all = Vec::new();
        while let Some(job) = queues.begin(at(now)) {
            all.push(format!("{}{}", job.command.program(), job.change.sequence));
        }
        all.join(" ")
    }

    fn subject(name: &str) -> Subject {
        Subject::Instance(name.to_owned())
    }

    #[test]
    fn scripts_of_one_subject_run_in_order_and_others_beside_them() {
        let mut queues = Queues::default();
        queues.push(at(0), telling("a", 1, &["master", "any"]));
        queues.push(at(0), telling("b", 2, &["backup"]));
        queues.push(at(0), telling("a", 3, &["fault"]));
        assert_eq!(begun(&mut queues, 0), "master1 backup2");
        queues.ended(&subject("a"));
        assert_eq!(begun(&mut queues, 0), "any1");
        queues.ended(&subject("b"));
        queues.ended(&subject("a"));
        assert_eq!(begun(&mut queues, 0), "fault3");
        assert!(!queues.is_idle());
        queues.ended(&subject("a"));
        assert!(queues.is_idle());
        queues.ended(&subject("a"));
        assert_eq!(queues.push(at(1), telling("a", 4, &[])), 0);
        assert!(queues.is_idle(), "a change without scripts waits for nothing");
    }

    #[test]
    fn a_hanging_script_loses_patience_when_something_waits() {
        let mut queues = Queues::default();
        queues.push(at(0), telling("a", 1, &["backup", "any"]));
        begun(&mut queues, 0);
        assert_eq!(queues.deadline(), Some(at(600)), "nothing later waits: `any` is of the same change");
        queues.push(at(100), telling("a", 2, &["master"]));
        assert_eq!(queues.deadline(), Some(at(130)));
        queues.push(at(110), telling("a", 3, &["fault"]));
        assert_eq!(queues.deadline(), Some(at(130)), "from the first one that waits");
        assert_eq!(queues.overdue(at(129)), []);
        assert_eq!(queues.overdue(at(130)), [subject("a")]);
        assert_eq!((queues.overdue(at(131)), queues.deadline()), (vec![], None), "once");
        queues.ended(&subject("a"));
        assert_eq!(begun(&mut queues, 131), "any1");
        assert_eq!(queues.deadline(), Some(at(161)), "one that begins late has no more");
    }

    #[test]
    fn the_oldest_changes_that_wait_are_folded_away_whole() {
        let mut queues = Queues::default();
        queues.push(at(0), telling("a", 1, &["m", "any"]));
        begun(&mut queues, 0);
        let folded: usize = (2..12).map(|n| queues.push(at(1), telling("a", n, &["m", "any"]))).sum();
        assert_eq!((folded, queues.folded()), (3, 3), "the rest of the first, the second, the third");
        let mut order = Vec::new();
        for _ in 0..17 {
            queues.ended(&subject("a"));
            order.push(begun(&mut queues, 2));
        }
        assert_eq!(order.first().unwrap(), "m4");
        assert_eq!(order.get(15).unwrap(), "any11", "the last state is always told");
        assert!(queues.is_idle());
    }

    #[test]
    fn no_more_than_so_many_run_at_once_and_nobody_is_forgotten() {
        let mut queues = Queues::default();
        let name = |n: usize| format!("s{n}");
        for n in 0..100 {
            queues.push(at(0), telling(&name(n), n as u64, &["m"]));
        }
        let mut seen = BTreeSet::new();
        let mut running: VecDeque<Subject> = VecDeque::new();
        while !queues.is_idle() {
            while let Some(job) = queues.begin(at(0)) {
                assert!(seen.insert(job.change.sequence));
                running.push_back(job.change.subject);
            }
            assert!(running.len() <= MAX_RUNNING);
            queues.ended(&running.pop_front().unwrap());
        }
        assert_eq!(seen.len(), 100);
    }

    #[test]
    fn at_the_end_only_the_last_change_is_told_and_at_once() {
        let mut queues = Queues::default();
        queues.push(at(0), telling("a", 1, &["backup"]));
        queues.push(at(0), telling("b", 2, &["backup"]));
        begun(&mut queues, 0);
        queues.push(at(1), telling("a", 3, &["master"]));
        queues.push(at(1), telling("a", 4, &["stop", "any"]));
        queues.end(at(2));
        assert_eq!(queues.overdue(at(2)), [subject("a")], "b has nothing to wait for it");
        queues.push(at(2), telling("b", 5, &["stop"]));
        assert_eq!(queues.overdue(at(2)), [subject("b")]);
        queues.ended(&subject("a"));
        assert_eq!(begun(&mut queues, 2), "stop4");
    }
}
