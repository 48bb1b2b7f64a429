//! Runs the scenarios that were asked for, several kernels at a time, and says how they ended.

pub(crate) mod inside;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::Arguments;
use crate::boot::guest::{self, DIED, Order, Output, TIMED_OUT};
use crate::boot::kernel::{self, Clock};
use crate::boot::{interrupt, scratch};
use crate::lab::{FAILED, NOTE, SKIPPED};
use crate::scenarios::{Run, SCENARIOS, SHELL, Scenario, Time};

/// Lines of a failed scenario's log that are shown at once.
const SHOWN: usize = 25;
/// How many of them come before the one that says what failed.
const BEFORE: usize = 4;

/// Lines of a sentence's continuation in the summary: what was wanted, and what was seen.
const ANNOUNCED: usize = 2;
/// Characters of a line of the summary.
const WIDTH: usize = 240;

/// A scenario with such a limit, in seconds, is a long one.
const LONG_S: u64 = 400;

/// A scenario, and the clock it runs by.
#[derive(Clone, Copy)]
struct Job {
    scenario: &'static Scenario,
    clock: Clock,
}

impl Job {
    /// Its name; a scenario that runs by both clocks has two.
    fn name(&self) -> String {
        match (self.scenario.time, self.clock) {
            (Time::Both, Clock::Real) => format!("{}.real", self.scenario.name),
            _ => self.scenario.name.to_owned(),
        }
    }
}

/// How one scenario ended.
enum Ended {
    /// With the notes it wrote for the summary.
    Passed(Vec<String>),
    Failed(Failure),
    Skipped(String),
}

/// Why a scenario failed.
struct Failure {
    /// In one line, for the end of the run.
    summary: String,
    /// With the part of the log around it.
    report: String,
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure { summary: one_line(message.lines()), report: message }
    }
}

/// The runner: everything the command line asks for.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.list {
        for scenario in SCENARIOS {
            let time = match scenario.time {
                Time::Simulated => "",
                Time::Real => "real time",
                Time::Both => "both times",
                Time::Counted => "counted",
            };
            println!("{:<18} {time:<11} {}", scenario.name, scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    let chosen = match choose(&arguments.filters) {
        Ok(chosen) => chosen,
        Err(message) => {
            eprintln!("lab: {message}");
            return ExitCode::from(64);
        }
    };
    let jobs = if arguments.shell { Ok(Vec::new()) } else { jobs(&chosen) };
    let prepared = jobs.and_then(|jobs| {
        // All that is missing is missed now, not between two scenarios.
        for clock in jobs.iter().map(|j| j.clock).chain([Clock::Real]) {
            kernel::find(clock)?;
        }
        interrupt::watch().map(|()| jobs)
    });
    let jobs = match prepared {
        Ok(jobs) => jobs,
        Err(message) => {
            eprintln!("lab: {message}");
            println!("\n0 passed, {} failed", chosen.len().max(1));
            return ExitCode::FAILURE;
        }
    };
    scratch::sweep();
    if arguments.shell {
        return interactive(&arguments.filters);
    }
    if let [only] = jobs[..]
        && only.scenario.on_request
    {
        return demonstrate(only, arguments.keep);
    }
    run_all(arguments, jobs)
}

/// A scenario that is there to be watched: it says itself how it went.
fn demonstrate(job: Job, keep: bool) -> ExitCode {
    match run_one(job, true, keep) {
        Ended::Passed(_) => ExitCode::SUCCESS,
        Ended::Failed(Failure { report: message, .. }) | Ended::Skipped(message) => {
            eprintln!("lab: {message}");
            ExitCode::FAILURE
        }
    }
}

fn choose(filters: &[String]) -> Result<Vec<&'static Scenario>, String> {
    if filters.is_empty() {
        return Ok(SCENARIOS.iter().filter(|s| !s.on_request).collect());
    }
    for filter in filters {
        if !SCENARIOS.iter().any(|s| matches(s, filter)) {
            return Err(format!("no scenario is called {filter:?}; --list shows them"));
        }
    }
    Ok(SCENARIOS.iter().filter(|s| filters.iter().any(|f| matches(s, f))).collect())
}

/// A scenario that runs on request only is meant by its whole name only.
fn matches(scenario: &Scenario, filter: &str) -> bool {
    if scenario.on_request { scenario.name == filter } else { scenario.name.contains(filter) }
}

/// What the scenarios mean: one kernel each, or two.
fn jobs(chosen: &[&'static Scenario]) -> Result<Vec<Job>, String> {
    let is_all_real = kernel::is_all_real()?;
    let mut jobs = Vec::new();
    for scenario in chosen {
        let clocks: &[Clock] = match scenario.time {
            // Its figures would be the host's.
            Time::Counted => &[Clock::Counted],
            _ if is_all_real => &[Clock::Real],
            Time::Simulated => &[Clock::Simulated],
            Time::Real => &[Clock::Real],
            Time::Both => &[Clock::Simulated, Clock::Real],
        };
        jobs.extend(clocks.iter().map(|clock| Job { scenario, clock: *clock }));
    }
    // Long ones in real time wait more than they compute: first, beside others, and not at the end, alone.
    jobs.sort_by_key(|job| job.clock != Clock::Real || job.scenario.limit_s < LONG_S);
    Ok(jobs)
}

fn run_all(arguments: &Arguments, chosen: Vec<Job>) -> ExitCode {
    let started = Instant::now();
    let watched = arguments.verbose;
    let jobs = if watched { 1 } else { usize::from(arguments.jobs) };
    let total = chosen.len();
    let queue = Mutex::new(chosen.into_iter().collect::<VecDeque<_>>());
    let counts = Mutex::new([0_usize; 3]);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(total) {
            scope.spawn(|| {
                loop {
                    let Some(job) = lock(&queue).pop_front() else { return };
                    if arguments.verbose {
                        println!("--- {}: {}", job.name(), job.scenario.about);
                    }
                    let begun = Instant::now();
                    let ended = run_one(job, watched, arguments.keep);
                    let mut counts = lock(&counts);
                    let place = match &ended {
                        Ended::Passed(_) => 0,
                        Ended::Failed(_) => 1,
                        Ended::Skipped(_) => 2,
                    };
                    if let Some(count) = counts.get_mut(place) {
                        *count += 1;
                    }
                    let done: usize = counts.iter().sum();
                    report(job, &ended, begun.elapsed(), done, total);
                    if let Ended::Failed(failure) = ended {
                        lock(&failures).push(format!("FAILED {}: {}", job.name(), failure.summary));
                    }
                }
            });
        }
    });
    let [passed, failed, skipped] = counts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("\nlab: {:.0} s", started.elapsed().as_secs_f64());
    // A CI log is read from its end.
    for line in lock(&failures).iter() {
        println!("{line}");
    }
    let skipped = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    println!("{passed} passed, {failed} failed{skipped}");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(job: Job, ended: &Ended, took: Duration, done: usize, total: usize) {
    let (word, text, notes) = match ended {
        Ended::Passed(notes) => ("ok", job.scenario.about, notes.as_slice()),
        Ended::Failed(failure) => ("FAILED", failure.report.as_str(), &[][..]),
        Ended::Skipped(message) => ("skipped", message.as_str(), &[][..]),
    };
    println!("[{done:>2}/{total}] {word:<7} {:>5.1} s  {:<18} {text}", took.as_secs_f64(), job.name());
    for note in notes {
        println!("        {note}");
    }
}

fn run_one(job: Job, watched: bool, keep: bool) -> Ended {
    match job.scenario.run {
        Run::Outside(run) => match run() {
            Ok(()) => Ended::Passed(Vec::new()),
            Err(message) => Ended::Failed(message.into()),
        },
        Run::Inside(_) => run_guest(job, watched, keep),
    }
}

fn run_guest(job: Job, watched: bool, keep: bool) -> Ended {
    let scenario = job.scenario;
    let limit = scenario.limit();
    let order = Order {
        arguments: vec!["--inside".into(), scenario.name.into()],
        clock: job.clock,
        memory: scenario.memory,
        limit,
        output: if watched { Output::Stream } else { Output::Log },
    };
    let ending = match guest::boot(&order) {
        Ok(ending) => ending,
        Err(message) => return Ended::Failed(message.into()),
    };
    let log = ending.log();
    if ending.status == i32::from(SKIPPED) {
        return Ended::Skipped(log.lines().last().unwrap_or_default().to_owned());
    }
    // Who watches has seen them.
    let notes = log.lines().filter(|_| !watched).filter_map(|l| l.strip_prefix(NOTE)).map(str::to_owned);
    let mut notes: Vec<String> = notes.collect();
    if ending.status == 0 && !keep {
        return Ended::Passed(notes);
    }
    let place = artefacts(&job.name());
    let kept = match ending.scratch.keep(&place) {
        Ok(()) => format!("kept: {}", place.display()),
        Err(e) => format!("{}: {e}", place.display()),
    };
    if ending.status == 0 {
        notes.push(kept);
        return Ended::Passed(notes);
    }
    let reason = match ending.status {
        TIMED_OUT => format!("time limit of {} s", limit.as_secs()),
        DIED => format!("the guest died; its console ends with:\n{}", last_lines(&ending.console(), SHOWN)),
        status => format!("exit status {status}"),
    };
    let shown = if watched { String::new() } else { indent(&around_failure(&log)) };
    let summary = failed_sentence(&log).unwrap_or_else(|| one_line(reason.lines()));
    Ended::Failed(Failure { summary, report: format!("{reason}\n{shown}\n      {kept}") })
}

/// A shell in the lab's network, on this terminal.
fn interactive(filters: &[String]) -> ExitCode {
    let job = match filters {
        [] => SHELL,
        [one] if SCENARIOS.iter().any(|s| s.on_request && s.name == one) => one.as_str(),
        _ => {
            eprintln!("lab: --shell goes alone or with demo");
            return ExitCode::from(64);
        }
    };
    let order = Order {
        arguments: vec!["--inside".into(), job.into(), "--shell".into()],
        clock: Clock::Real,
        memory: 512,
        limit: Duration::from_secs(24 * 3600),
        output: Output::Terminal,
    };
    match guest::boot(&order) {
        Ok(ending) if ending.status == DIED => {
            eprintln!("lab: the guest died\n{}", last_lines(&ending.console(), SHOWN));
            ExitCode::FAILURE
        }
        Ok(ending) => ExitCode::from(u8::try_from(ending.status).unwrap_or(1)),
        Err(message) => {
            eprintln!("lab: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Where a scenario's artefacts are kept: `target/lab/NAME`.
fn artefacts(name: &str) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    target.parent().map_or_else(|| target.clone(), PathBuf::from).join("lab").join(name)
}

/// The part of a log that says what failed.
fn around_failure(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let failed = lines.iter().rposition(|l| l.contains(FAILED));
    let from = failed.map_or(lines.len().saturating_sub(SHOWN), |n| n.saturating_sub(BEFORE));
    lines.into_iter().skip(from).take(SHOWN).collect::<Vec<_>>().join("\n")
}

/// The sentence a scenario failed with, in one line.
fn failed_sentence(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().collect();
    let failed = lines.iter().rposition(|l| l.contains(FAILED))?;
    let (_, first) = lines.get(failed)?.split_once(FAILED)?;
    Some(one_line([first].into_iter().chain(lines.into_iter().skip(failed + 1))))
}

/// The first line, with the ones it announces by a colon at its end.
fn one_line<'a>(mut lines: impl Iterator<Item = &'a str>) -> String {
    let mut text = lines.next().unwrap_or_default().trim().to_owned();
    if text.ends_with(':') {
        for line in lines.take(ANNOUNCED) {
            text = format!("{text} {}", line.trim());
        }
    }
    text.chars().take(WIDTH).collect()
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

fn indent(text: &str) -> String {
    text.lines().map(|l| format!("        {l}\n")).collect::<String>().trim_end().to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
