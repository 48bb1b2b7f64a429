//! `assert`: the command that makes the addresses of a Master its own outside this host, at a cloud provider for example.
//!
//! It runs when its instance becomes Master, again after a pause while it fails, then each interval, and at once when
//! another host claimed the addresses. One run at a time: a run that has to end is waited for before the next begins.
//! The shell runs it; its result comes back as [`Input::Asserted`](super::io::Input::Asserted).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::io::{Assert, Effect, State};
use super::member::Member;
use super::router::Router;
use super::settings::{AssertSettings, Settings};
use crate::net::types::Prefix;
use crate::script::Ended;
use crate::text;
use crate::time::{Instant, milliseconds};

/// Before the first repetition of a run that failed; each later pause is twice as long, up to [`RETRY_MOST`].
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(30);
/// From one run to the next, however often another host claims the addresses.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of its output that are shown.
const MAX_OUTPUT: usize = 200;

/// Why a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Master,
    Retry,
    Interval,
    Claimed,
    Reload,
}

impl Reason {
    /// For the command's environment.
    fn word(self) -> &'static str {
        match self {
            Reason::Master => "master",
            Reason::Retry => "retry",
            Reason::Interval => "interval",
            Reason::Claimed => "claimed",
            Reason::Reload => "reload",
        }
    }
}

/// A run under way.
#[derive(Clone, Copy, Debug)]
struct Run {
    number: u64,
    since: Instant,
    /// The shell was told to end it.
    is_ending: bool,
}

/// How the last run ended.
#[derive(Clone, Debug)]
struct Last {
    at: Instant,
    is_success: bool,
    how: String,
}

/// The command of an instance.
#[derive(Debug, Default)]
struct Assertion {
    /// None: the configuration has it no more, and its last run has not ended yet.
    settings: Option<Arc<AssertSettings>>,
    is_master: bool,
    run: Option<Run>,
    /// When the next run begins, and why; while its instance is Master.
    next: Option<(Instant, Reason)>,
    /// When the last run began.
    begun: Option<Instant>,
    /// Another host claimed the addresses, or the command became another one, during the run.
    again: Option<Reason>,
    /// Failures in a row since its instance became Master.
    failures: u32,
    /// A run succeeded since its instance became Master.
    has_succeeded: bool,
    last: Option<Last>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    runs: u64,
    failed: u64,
}

/// The commands of all instances, by name.
#[derive(Debug, Default)]
pub(super) struct Assertions {
    all: BTreeMap<String, Assertion>,
    runs: u64,
}

/// How an instance's command gets on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AssertStatus {
    /// The command's program.
    pub program: String,
    /// The addresses were made this host's since its instance became Master, and nothing failed after that.
    pub is_asserted: bool,
    /// For how long it has been running.
    pub running_milliseconds: Option<u64>,
    /// When the next run begins.
    pub next_milliseconds: Option<u64>,
    /// Failures in a row.
    pub failures: u32,
    /// How the last run ended, in words.
    pub last: Option<String>,
    pub last_succeeded: Option<bool>,
    /// How long ago that was.
    pub last_milliseconds: Option<u64>,
    /// Since the start.
    pub runs: u64,
    pub failed: u64,
}

impl Assertion {
    /// Its instance is Master, or is not; the number of a run that has to end.
    fn follow(&mut self, is_master: bool, now: Instant) -> Option<u64> {
        let is_master = is_master && self.settings.is_some();
        if is_master == self.is_master {
            return None;
        }
        self.is_master = is_master;
        (self.failures, self.has_succeeded, self.again) = (0, false, None);
        self.next = is_master.then_some((now, Reason::Master));
        if is_master { None } else { self.end_run() }
    }

    /// The number of the run that the shell has to end.
    fn end_run(&mut self) -> Option<u64> {
        let run = self.run.as_mut().filter(|run| !run.is_ending)?;
        run.is_ending = true;
        Some(run.number)
    }

    /// Another host claimed the addresses.
    fn claimed(&mut self, now: Instant) {
        if !self.is_master {
            return;
        }
        if self.run.is_some() {
            // What runs may have been done before the other host's command.
            self.again = Some(Reason::Claimed);
            return;
        }
        let soon = self.begun.map_or(now, |begun| now.max(begun + PAUSE));
        if self.next.is_none_or(|(at, _)| soon < at) {
            self.next = Some((soon, Reason::Claimed));
        }
    }

    /// Other settings; the number of a run that has to end.
    fn reconfigure(&mut self, settings: Option<&Arc<AssertSettings>>, now: Instant) -> Option<u64> {
        let before = std::mem::replace(&mut self.settings, settings.cloned());
        let Some(settings) = settings else { return self.follow(false, now) };
        let is_same_command = before.is_some_and(|before| before.command == settings.command);
        if !self.is_master {
            return None;
        }
        if !is_same_command {
            (self.failures, self.has_succeeded, self.again) = (0, false, None);
            self.next = Some((now, Reason::Reload));
            return self.end_run();
        }
        if let (Some((at, Reason::Interval)), Some(begun)) = (self.next, self.begun) {
            self.next = Some((at.min(begun + settings.interval).max(now), Reason::Interval));
        }
        None
    }

    fn deadline(&self) -> Option<Instant> {
        self.next.filter(|_| self.run.is_none()).map(|(at, _)| at)
    }

    /// Begins a run that is due.
    fn begin(&mut self, number: u64, now: Instant) -> Option<(Arc<AssertSettings>, Reason)> {
        let (_, reason) = self.next.filter(|(at, _)| self.run.is_none() && *at <= now)?;
        let settings = self.settings.clone()?;
        self.next = None;
        self.run = Some(Run { number, since: now, is_ending: false });
        self.begun = Some(now);
        self.counts.runs += 1;
        Some((settings, reason))
    }

    /// A run ended; what an operator should hear of it.
    fn ended(&mut self, name: &str, number: u64, ended: &Ended, now: Instant) -> Option<Event> {
        let run = self.run.take_if(|run| run.number == number)?;
        let is_success = ended.ending.is_success();
        let mut how = ended.ending.to_string();
        if run.is_ending && !is_success {
            "was ended, because the instance was no longer Master or its command became another one"
                .clone_into(&mut how);
        } else if let Some(said) = said(&ended.output).filter(|_| !is_success) {
            how = format!("{how}: {said}");
        }
        let was_same = self.last.as_ref().is_some_and(|last| !last.is_success && last.how == how);
        self.last = Some(Last { at: now, is_success, how: how.clone() });
        if run.is_ending {
            return None;
        }
        let settings = self.settings.as_ref().filter(|_| self.is_master)?;
        let again = self.again.take();
        if is_success {
            let attempts = std::mem::take(&mut self.failures) + 1;
            let is_news = !std::mem::replace(&mut self.has_succeeded, true) || attempts > 1;
            let next = (run.since + settings.interval).max(now + PAUSE);
            self.next =
                Some(again.map_or((next, Reason::Interval), |reason| (now.max(run.since + PAUSE), reason)));
            let took = now.since(run.since);
            return is_news.then(|| Event::Asserted { instance: name.to_owned(), attempts, took });
        }
        self.counts.failed += 1;
        self.failures = self.failures.saturating_add(1);
        let retry = now + backoff(self.failures);
        self.next = Some(again.map_or((retry, Reason::Retry), |reason| (now.max(run.since + PAUSE), reason)));
        // The same failure again and again is said once; status and metrics count.
        let is_news = self.failures == 1 || !was_same;
        let retry_in = self.next.map(|(at, _)| at.since(now)).unwrap_or_default();
        is_news.then(|| Event::NotAsserted { instance: name.to_owned(), how, retry_in })
    }

    fn status(&self, now: Instant) -> Option<AssertStatus> {
        let settings = self.settings.as_ref()?;
        let last = self.last.as_ref();
        Some(AssertStatus {
            program: settings.command.program().to_owned(),
            is_asserted: self.is_master && self.has_succeeded && self.failures == 0,
            running_milliseconds: self.run.map(|run| milliseconds(now.since(run.since))),
            next_milliseconds: self.deadline().map(|at| milliseconds(at.since(now))),
            failures: self.failures,
            last: last.map(|last| last.how.clone()),
            last_succeeded: last.map(|last| last.is_success),
            last_milliseconds: last.map(|last| milliseconds(now.since(last.at))),
            runs: self.counts.runs,
            failed: self.counts.failed,
        })
    }
}

/// The pause after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(5)).min(RETRY_MOST)
}

/// The last line of a command's output: what failed stands there.
fn said(output: &str) -> Option<String> {
    let line = output.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(text::plain(line, MAX_OUTPUT))
}

impl Assertions {
    /// Those of other settings. What an instance was called before says `renames`, by its old name.
    pub(super) fn configure(
        &mut self,
        settings: &Settings,
        renames: &BTreeMap<String, String>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let before = std::mem::take(&mut self.all);
        for (name, assertion) in before {
            let name = renames.get(&name).cloned().unwrap_or(name);
            self.all.insert(name, assertion);
        }
        let mut wanted = BTreeMap::new();
        for instance in &settings.instances {
            if let Some(assert) = &instance.assert {
                wanted.insert(&instance.name, assert);
                self.all.entry(instance.name.clone()).or_default();
            }
        }
        for (name, assertion) in &mut self.all {
            let ending = assertion.reconfigure(wanted.get(name).copied(), now);
            out.extend(ending.map(Effect::EndAssert));
        }
        self.tidy();
    }

    /// Forgets what the configuration does not have any more, once its last run has ended.
    fn tidy(&mut self) {
        self.all.retain(|_, assertion| assertion.settings.is_some() || assertion.run.is_some());
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.all.values().filter_map(Assertion::deadline).min()
    }

    pub(super) fn status(&self, instance: &str, now: Instant) -> Option<AssertStatus> {
        self.all.get(instance)?.status(now)
    }
}

impl Router {
    /// Another host claimed the addresses of an instance, or of one family of it.
    pub(super) fn addresses_are_claimed(&mut self, instance: &str, now: Instant) {
        let pair = self.members.get(instance).and_then(|m| m.settings().pair.clone());
        if let Some(assertion) = self.assertions.all.get_mut(pair.as_deref().unwrap_or(instance)) {
            assertion.claimed(now);
        }
    }

    /// A run ended.
    pub(super) fn asserted(&mut self, number: u64, ended: &Ended, now: Instant, out: &mut Vec<Effect>) {
        for (name, assertion) in &mut self.assertions.all {
            out.extend(assertion.ended(name, number, ended, now).map(Effect::Event));
        }
        self.assertions.tidy();
    }

    /// Begins the runs that are due, and ends those of instances that are Master no longer.
    pub(super) fn assert_addresses(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut runs = self.assertions.runs;
        for (name, assertion) in &mut self.assertions.all {
            let member = self.members.get(name);
            let is_master = member.is_some_and(|m| m.state() == State::Master);
            out.extend(assertion.follow(is_master, now).map(Effect::EndAssert));
            let Some(member) = member else { continue };
            let attempt = assertion.failures.saturating_add(1);
            if let Some((settings, reason)) = assertion.begin(runs + 1, now) {
                runs += 1;
                out.push(Effect::Assert(Box::new(Assert {
                    number: runs,
                    command: settings.command.clone(),
                    environment: environment(member, &self.members, reason, attempt),
                    limit: settings.timeout,
                })));
            }
        }
        self.assertions.runs = runs;
    }
}

/// What the command is told.
fn environment(
    member: &Member,
    members: &BTreeMap<String, Member>,
    reason: Reason,
    attempt: u32,
) -> Vec<(String, String)> {
    let settings = member.settings();
    // Of a pair the addresses of both families.
    let other = members.values().find(|other| {
        settings.pair.is_some() && other.settings().pair == settings.pair && other.settings() != settings
    });
    let list = |text: &dyn Fn(&Prefix) -> String| -> String {
        let all = member.addresses().chain(other.into_iter().flat_map(Member::addresses));
        all.map(|a| text(&a.wanted.prefix)).collect::<Vec<_>>().join(" ")
    };
    let all = [
        ("LVSD_KIND", "INSTANCE".to_owned()),
        ("LVSD_NAME", settings.name.clone()),
        ("LVSD_STATE", "MASTER".to_owned()),
        ("LVSD_VRID", settings.vrid.to_string()),
        ("LVSD_PRIORITY", member.instance.priority().to_string()),
        ("LVSD_INTERFACE", settings.interface.clone().unwrap_or_default()),
        ("LVSD_SOURCE", member.instance.source().map(|ip| ip.to_string()).unwrap_or_default()),
        ("LVSD_ADDRESSES", list(&|prefix| prefix.ip.to_string())),
        ("LVSD_PREFIXES", list(&Prefix::to_string)),
        ("LVSD_REASON", reason.word().to_owned()),
        ("LVSD_ATTEMPT", attempt.to_string()),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
