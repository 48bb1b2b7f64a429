//! Scripts in order: of one subject one at a time, of each [`Class`] a bounded number.
//!
//! When a script hangs, later changes of its subject wait. The newest [`MAX_WAITING`] of them are kept and older ones are
//! dropped, so the last state is always notified; a script sees the gap in LVSD_SEQUENCE. A script may run for [`LIMIT`].
//! Once a later change waits it has [`PATIENCE`] more, because a host that becomes Master cannot wait for the script of
//! its time as Backup. The same limit applies when all slots of a class are taken and subjects wait for one: to as many
//! scripts as subjects wait, the longest-running ones first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::notification::{Notification, StateChange, Subject};
use crate::script::Command;
use crate::time::Instant;

/// Changes of a subject that wait.
pub(crate) const MAX_WAITING: usize = 8;
/// Time of a script.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);
/// What is left of it once a later change waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Scripts of a class that run at once.
pub(crate) const MAX_RUNNING: usize = 32;

/// Subjects whose scripts run in places of their own: those of real servers, of which there may be thousands, never
/// keep a virtual router's waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// VRRP instances and sync groups.
    Routers,
    VirtualServers,
    RealServers,
}

impl Class {
    /// All of them; the first ones begin first.
    pub(crate) const ALL: [Class; 3] = [Class::Routers, Class::VirtualServers, Class::RealServers];

    pub(crate) fn of(subject: &Subject) -> Class {
        match subject {
            Subject::Instance(_) | Subject::Group(_) => Class::Routers,
            Subject::VirtualServer(_) => Class::VirtualServers,
            Subject::RealServer(..) => Class::RealServers,
        }
    }
}

/// Why a script's time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// It had [`LIMIT`].
    Limit,
    /// A later change of its subject waits.
    LaterChange,
    /// Other subjects of its class wait for a place.
    Others,
}

/// A script to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// The command, its arguments complete.
    pub command: Command,
    /// What it is about.
    pub change: StateChange,
    /// The number of the change among all that this daemon notifies, from 1; those that run no script count, too.
    pub sequence: u64,
}

/// All scripts that run or wait.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    waiting: BTreeMap<Subject, VecDeque<Job>>,
    runs: BTreeMap<Subject, Run>,
    /// Subjects with something to run and nothing running, in order of arrival.
    ready: BTreeMap<Class, VecDeque<Subject>>,
    folded: u64,
    is_ending: bool,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    sequence: u64,
    begun: Instant,
    give_up: Instant,
    why: EndReason,
    is_hurried: bool,
}

impl Queues {
    /// Adds what the change of that number has to run; how many changes were folded away for it.
    pub(crate) fn push(&mut self, now: Instant, sequence: u64, notification: Notification) -> usize {
        let Notification { change, scripts, .. } = notification;
        if scripts.is_empty() {
            return 0;
        }
        let subject = change.subject.clone();
        let is_idle = !self.waiting.contains_key(&subject) && !self.runs.contains_key(&subject);
        let queue = self.waiting.entry(subject.clone()).or_default();
        queue.extend(scripts.into_iter().map(|command| Job { command, change: change.clone(), sequence }));
        let sequences: BTreeSet<u64> = queue.iter().map(|job| job.sequence).collect();
        let most = if self.is_ending { 1 } else { MAX_WAITING };
        let surplus = sequences.len().saturating_sub(most);
        if let Some(first) = sequences.iter().nth(surplus) {
            queue.retain(|job| job.sequence >= *first);
        }
        self.folded += surplus as u64;
        if let Some(run) = self.runs.get_mut(&subject) {
            run.press_behind(now, queue, self.is_ending);
        }
        if is_idle {
            self.ready.entry(Class::of(&subject)).or_default().push_back(subject);
        }
        surplus
    }

    /// The next script to run, if any may: it counts as running from now on.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<Job> {
        let job = Class::ALL.into_iter().find_map(|class| self.begin_of(class, now));
        if job.is_none() {
            Class::ALL.into_iter().for_each(|class| self.press(class, now));
        }
        job
    }

    fn begin_of(&mut self, class: Class, now: Instant) -> Option<Job> {
        if self.runs.keys().filter(|subject| Class::of(subject) == class).count() >= MAX_RUNNING {
            return None;
        }
        let subject = self.ready.get_mut(&class)?.pop_front()?;
        let queue = self.waiting.get_mut(&subject)?;
        let job = queue.pop_front()?;
        let (sequence, give_up) = (job.sequence, now + LIMIT);
        let mut run = Run { sequence, begun: now, give_up, why: EndReason::Limit, is_hurried: false };
        run.press_behind(now, queue, self.is_ending);
        if queue.is_empty() {
            self.waiting.remove(&subject);
        }
        self.runs.insert(subject, run);
        Some(job)
    }

    /// Each subject that waits for a slot limits one running script, the oldest first.
    fn press(&mut self, class: Class, now: Instant) {
        let count = self.ready.get(&class).map_or(0, VecDeque::len);
        if count == 0 {
            return;
        }
        let of_class = self.runs.iter_mut().filter(|(subject, _)| Class::of(subject) == class);
        let mut runs: Vec<&mut Run> = of_class.map(|(_, run)| run).collect();
        runs.sort_by_key(|run| run.begun);
        runs.into_iter().take(count).for_each(|run| run.press(now, EndReason::Others, self.is_ending));
    }

    /// A subject's script has ended.
    pub(crate) fn ended(&mut self, subject: &Subject) {
        if self.runs.remove(subject).is_some() && self.waiting.contains_key(subject) {
            self.ready.entry(Class::of(subject)).or_default().push_back(subject.clone());
        }
    }

    /// Subjects whose script's time is over, and why; each is said once.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<(Subject, EndReason)> {
        let is_over = |run: &Run| now >= run.give_up && !run.is_hurried;
        let mut overdue = Vec::new();
        for (subject, run) in self.runs.iter_mut().filter(|(_, run)| is_over(run)) {
            run.is_hurried = true;
            overdue.push((subject.clone(), run.why));
        }
        overdue
    }

    /// When the first script's time is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.runs.values().filter(|run| !run.is_hurried).map(|run| run.give_up).min()
    }

    /// The daemon ends: of every subject only the last change is notified, and the script that runs before it has no time left.
    pub(crate) fn end(&mut self, now: Instant) {
        self.is_ending = true;
        for (subject, queue) in &mut self.waiting {
            if let Some(last) = queue.back().map(|job| job.sequence) {
                queue.retain(|job| job.sequence == last);
            }
            if let Some(run) = self.runs.get_mut(subject) {
                run.press_behind(now, queue, true);
            }
        }
        Class::ALL.into_iter().for_each(|class| self.press(class, now));
    }

    /// Whether nothing runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.runs.is_empty()
    }

    /// Changes folded away since the start.
    pub(crate) fn folded(&self) -> u64 {
        self.folded
    }
}

impl Run {
    /// A later change that waits shortens what is left of it.
    fn press_behind(&mut self, now: Instant, waiting: &VecDeque<Job>, is_ending: bool) {
        if waiting.back().is_some_and(|last| last.sequence != self.sequence) {
            self.press(now, EndReason::LaterChange, is_ending);
        }
    }

    fn press(&mut self, now: Instant, why: EndReason, is_ending: bool) {
        let patience = if is_ending { Duration::ZERO } else { PATIENCE };
        if now + patience < self.give_up {
            (self.give_up, self.why) = (now + patience, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::notification::ServerName;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn notification(name: &str, scripts: &[&str]) -> Notification {
        let command = |word: &&str| Command { words: vec![(*word).to_owned()], user: None, group: None };
        let change = StateChange {
            subject: Subject::Instance(name.to_owned()),
            state: "MASTER",
            previous: None,
            priority: Some(100),
            cause: String::new(),
            master: None,
        };
        Notification { change, scripts: scripts.iter().map(command).collect(), line: None, mail: None }
    }

    /// What begins now: program and sequence.
    fn begun(queues: &mut Queues, now: u64) -> String {
        let mut all = Vec::new();
        while let Some(job) = queues.begin(at(now)) {
            all.push(format!("{}{}", job.command.program(), job.sequence));
        }
        all.join(" ")
    }

    fn subject(name: &str) -> Subject {
        Subject::Instance(name.to_owned())
    }

    #[test]
    fn scripts_of_one_subject_run_in_order_and_others_beside_them() {
        let mut queues = Queues::default();
        queues.push(at(0), 1, notification("a", &["master", "any"]));
        queues.push(at(0), 2, notification("b", &["backup"]));
        queues.push(at(0), 3, notification("a", &["fault"]));
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
        assert_eq!(queues.push(at(1), 4, notification("a", &[])), 0);
        assert!(queues.is_idle(), "a change without scripts waits for nothing");
    }

    #[test]
    fn a_hanging_script_loses_patience_when_something_waits() {
        let mut queues = Queues::default();
        queues.push(at(0), 1, notification("a", &["backup", "any"]));
        begun(&mut queues, 0);
        assert_eq!(queues.deadline(), Some(at(600)), "nothing later waits: `any` is of the same change");
        queues.push(at(100), 2, notification("a", &["master"]));
        assert_eq!(queues.deadline(), Some(at(130)));
        queues.push(at(110), 3, notification("a", &["fault"]));
        assert_eq!(queues.deadline(), Some(at(130)), "from the first one that waits");
        assert_eq!(queues.overdue(at(129)), []);
        assert_eq!(queues.overdue(at(130)), [(subject("a"), EndReason::LaterChange)]);
        assert_eq!((queues.overdue(at(131)), queues.deadline()), (vec![], None), "once");
        queues.ended(&subject("a"));
        assert_eq!(begun(&mut queues, 131), "any1");
        assert_eq!(queues.deadline(), Some(at(161)), "one that begins late has no more");
    }

    #[test]
    fn the_oldest_changes_that_wait_are_folded_away_whole() {
        let mut queues = Queues::default();
        queues.push(at(0), 1, notification("a", &["m", "any"]));
        begun(&mut queues, 0);
        let folded: usize = (2..12).map(|n| queues.push(at(1), n, notification("a", &["m", "any"]))).sum();
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
    fn no_more_than_so_many_run_at_once_and_no_subject_is_forgotten() {
        let mut queues = Queues::default();
        let name = |n: usize| format!("s{n}");
        for n in 0..100 {
            queues.push(at(0), n as u64, notification(&name(n), &["m"]));
        }
        let mut seen = BTreeSet::new();
        let mut running: VecDeque<Subject> = VecDeque::new();
        while !queues.is_idle() {
            while let Some(job) = queues.begin(at(0)) {
                assert!(seen.insert(job.sequence));
                running.push_back(job.change.subject);
            }
            assert!(running.len() <= MAX_RUNNING);
            queues.ended(&running.pop_front().unwrap());
        }
        assert_eq!(seen.len(), 100);
    }

    /// Hanging scripts of as many real servers as run at once, begun a second apart.
    fn full_of_real_servers() -> Queues {
        let mut queues = Queues::default();
        for n in 0..MAX_RUNNING as u64 {
            queues.push(at(n), n, real_server(n));
            assert_eq!(begun(&mut queues, n), format!("rs{n}"));
        }
        queues
    }

    fn real_server(n: u64) -> Notification {
        let mut notification = notification("", &["rs"]);
        let server = ServerName { text: "vs".to_owned(), mark_family: None };
        notification.change.subject = Subject::RealServer(format!("rs{n}"), server);
        notification
    }

    #[test]
    fn hanging_scripts_of_real_servers_keep_no_virtual_router_or_virtual_server_waiting() {
        let mut queues = full_of_real_servers();
        let mut quorum = real_server(100);
        if let Subject::RealServer(_, server) = quorum.change.subject {
            quorum.change.subject = Subject::VirtualServer(server);
        }
        queues.push(at(40), 99, real_server(99));
        queues.push(at(40), 100, quorum);
        queues.push(at(40), 101, notification("a", &["master"]));
        assert_eq!(begun(&mut queues, 40), "master101 rs100");
    }

    #[test]
    fn a_waiting_script_shortens_the_time_of_those_running_longest() {
        let mut queues = full_of_real_servers();
        assert_eq!(queues.deadline(), Some(at(600)), "no script waits");
        queues.push(at(100), 100, real_server(100));
        queues.push(at(100), 101, real_server(101));
        assert_eq!((begun(&mut queues, 100).as_str(), queues.deadline()), ("", Some(at(130))));
        let overdue = queues.overdue(at(130));
        let expected = [0, 1].map(|n| (real_server(n).change.subject, EndReason::Others));
        assert_eq!(overdue, expected, "as many as wait, and no more");
        overdue.iter().for_each(|(subject, _)| queues.ended(subject));
        assert_eq!(begun(&mut queues, 131), "rs100 rs101");
        assert_eq!(queues.deadline(), Some(at(602)), "no script waits any more");
        queues.push(at(200), 102, real_server(102));
        queues.end(at(200));
        assert_eq!(queues.overdue(at(200)), [(real_server(2).change.subject, EndReason::Others)]);
    }

    #[test]
    fn at_the_end_only_the_last_change_is_reported_and_at_once() {
        let mut queues = Queues::default();
        queues.push(at(0), 1, notification("a", &["backup"]));
        queues.push(at(0), 2, notification("b", &["backup"]));
        begun(&mut queues, 0);
        queues.push(at(1), 3, notification("a", &["master"]));
        queues.push(at(1), 4, notification("a", &["stop", "any"]));
        queues.end(at(2));
        assert_eq!(
            queues.overdue(at(2)),
            [(subject("a"), EndReason::LaterChange)],
            "b has nothing to wait for it"
        );
        queues.push(at(2), 5, notification("b", &["stop"]));
        assert_eq!(queues.overdue(at(2)), [(subject("b"), EndReason::LaterChange)]);
        queues.ended(&subject("a"));
        assert_eq!(begun(&mut queues, 2), "stop4");
    }
}
