//! Runs and watches what virtual routers track: scripts, files, processes. The router gets the resulting levels, and the
//! director those of files that checks follow.
//!
//! When a script runs and what its runs amount to is decided by [`crate::vrrp::tracking`]. Nothing here blocks: scripts are processes, files are read on threads of their own.

mod files;
mod processes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::OpenOptions;
use std::future::pending;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, error, info, warn};

use crate::daemon::clock;
use crate::director::files::FileLevel;
use crate::script::{Ended, Ending, Launch, Runner, shortage};
use crate::time::Instant;
use crate::vrrp::io::{Input, TrackLevel};
use crate::vrrp::settings::{ScriptSettings, Settings, TrackTarget};
use crate::vrrp::tracking::script::{Complaint, Due, ScriptTrack};
use files::{Files, Followers};
use processes::Processes;

/// Scripts that run at once, none of them twice: fewer than there are threads to begin them on. The others wait, and
/// count as failed when they have waited too long.
const MAX_RUNNING: usize = 256;
/// In the place of a program: the file behind it is opened.
const OPEN: &str = "<";

/// All that is followed.
#[derive(Debug)]
pub(crate) struct Trackers {
    scripts: BTreeMap<String, Script>,
    runs: JoinSet<(String, Ended)>,
    runner: Runner,
    files: Files,
    processes: Processes,
    is_secure: bool,
    /// Levels that the main loop has not fetched yet: of each target as many as it had changes in one round.
    news: VecDeque<News>,
}

/// A level that is new.
#[derive(Debug)]
pub(crate) enum News {
    /// To the router.
    Router(Input),
    /// To the director.
    Director(FileLevel),
}

#[derive(Debug)]
struct Script {
    track: ScriptTrack,
    run: Option<AbortHandle>,
}

impl Trackers {
    /// Follows nothing yet.
    pub(crate) fn new() -> Trackers {
        Trackers {
            scripts: BTreeMap::new(),
            runs: JoinSet::new(),
            runner: Runner::new(MAX_RUNNING),
            files: Files::default(),
            processes: Processes::default(),
            is_secure: false,
            news: VecDeque::new(),
        }
    }

    /// Follows what these settings follow, and nothing else; what goes on keeps its level. Needs the event loop's
    /// context.
    pub(crate) fn configure(&mut self, settings: &Settings, checked_files: &BTreeSet<&str>) {
        self.is_secure = settings.secures_scripts;
        let followed = settings.followed();
        let is_followed = |target: TrackTarget| followed.contains(&target);
        let now = clock::now();
        let mut before = std::mem::take(&mut self.scripts);
        for (name, settings) in &settings.scripts {
            if !is_followed(TrackTarget::Script(name.clone())) {
                continue;
            }
            let script = match before.remove(name) {
                Some(mut script) if script.track.settings().command == settings.command => {
                    script.track.reconfigure(Arc::clone(settings));
                    script
                }
                other => {
                    other.iter().for_each(Script::abort);
                    Script { track: ScriptTrack::new(Arc::clone(settings), now), run: None }
                }
            };
            self.scripts.insert(name.clone(), script);
        }
        before.values().for_each(Script::abort);
        let files = settings.files.iter().map(|(name, file)| {
            let router = is_followed(TrackTarget::File(name.clone()));
            (Arc::clone(file), Followers { router, director: checked_files.contains(&**name) })
        });
        self.files.configure(files.filter(|(_, by)| by.router || by.director).collect());
        let processes =
            settings.processes.iter().filter(|(name, _)| is_followed(TrackTarget::Process((*name).clone())));
        self.processes.configure(processes.map(|(_, process)| Arc::clone(process)).collect());
    }

    /// The next level that is new to what follows it; may be left and entered again at any time.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            self.advance(clock::now());
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            let deadline = self.scripts.values().map(|script| script.track.deadline()).min();
            tokio::select! {
                Some(run) = self.runs.join_next() => {
                    // An aborted run has no script any more.
                    if let Ok((name, ended)) = run {
                        self.ended(&name, &ended);
                    }
                }
                files::News { level, followers } = self.files.next() => {
                    if followers.router {
                        let target = TrackTarget::File(level.name.clone());
                        self.news.push_back(tracked(target, TrackLevel::Counts(level.number)));
                    }
                    if followers.director {
                        self.news.push_back(News::Director(level));
                    }
                }
                (name, is_well) = self.processes.next() => {
                    let what = if is_well { "enough run, and not too many" } else { "too few or too many run" };
                    info!("vrrp_track_process {name}: {what}");
                    self.news.push_back(tracked(TrackTarget::Process(name), TrackLevel::Is(is_well)));
                }
                () = clock::sleep_until(deadline) => {}
            }
        }
    }

    /// Begins what is due.
    fn advance(&mut self, now: Instant) {
        for (name, script) in &mut self.scripts {
            if now < script.track.deadline() {
                continue;
            }
            let due = script.track.advance(now);
            if due.begins {
                let run = begin(&self.runner, script.track.settings(), self.is_secure);
                let name = name.clone();
                script.run = Some(self.runs.spawn(async move { (name, run.await) }));
            }
            let why = "its time is over and it still runs";
            self.news.extend(log_due(name, &due, why, ""));
        }
    }

    fn ended(&mut self, name: &str, ended: &Ended) {
        let Some(script) = self.scripts.get_mut(name) else { return };
        script.run = None;
        let output = ended.output.trim_end();
        debug!(output, "vrrp_script {name}: {}", ended.ending);
        let due = match &ended.ending {
            Ending::HostCannot(why) => script.track.not_run(why.clone()),
            ending => script.track.ended(ending.is_success(), ending.cannot_run()),
        };
        self.news.extend(log_due(name, &due, &ended.ending.to_string(), output));
    }
}

impl Default for Trackers {
    fn default() -> Trackers {
        Trackers::new()
    }
}

impl Script {
    fn abort(&self) {
        self.run.iter().for_each(AbortHandle::abort);
    }
}

/// One run of a script.
fn begin(
    runner: &Runner,
    settings: &ScriptSettings,
    is_secure: bool,
) -> impl Future<Output = Ended> + Send + use<> {
    let (runner, limit, command) = (runner.clone(), settings.timeout, settings.command.clone());
    async move {
        match command.words.as_slice() {
            [first, path] if first == OPEN => opened(path.clone()).await,
            _ => {
                let launch = Launch { command, environment: Vec::new(), is_secure, limit, is_ours: true };
                runner.run(launch, pending()).await
            }
        }
    }
}

/// Whether a file can be opened, as the form `<PATH` of a script asks.
async fn opened(path: String) -> Ended {
    let open = move || {
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(nonblocking).open(path)
    };
    let (ending, output) = match tokio::task::spawn_blocking(open).await {
        Ok(Ok(_)) => (Ending::Exited(0), String::new()),
        Ok(Err(error)) if shortage::is_hosts(&error) => {
            (Ending::HostCannot(format!("{error}: {}", shortage::advice(&error))), String::new())
        }
        Ok(Err(error)) => (Ending::Exited(1), error.to_string()),
        Err(error) => (Ending::CannotRun(error.to_string()), String::new()),
    };
    Ended { ending, output }
}

/// Logs what is new about a script; the input for the router.
fn log_due(name: &str, due: &Due, why: &str, output: &str) -> Option<News> {
    match &due.complaint {
        Some(Complaint::CannotRun(why)) => {
            error!("vrrp_script {name}: counts as failed, because it cannot do its work: {why}");
        }
        Some(Complaint::HostCannot(why)) => {
            warn!("vrrp_script {name}: counts as it did, because this host cannot run it: {why}");
        }
        Some(Complaint::RunsAgain) => info!("vrrp_script {name}: does its work again"),
        None => {}
    }
    let is_up = due.level?;
    if is_up {
        info!("vrrp_script {name}: succeeded");
    } else if due.begins {
        info!("vrrp_script {name}: counts as failed until it has succeeded (init_fail)");
    } else {
        warn!(output, "vrrp_script {name}: failed: {why}");
    }
    Some(tracked(TrackTarget::Script(name.to_owned()), TrackLevel::Is(is_up)))
}

fn tracked(target: TrackTarget, level: TrackLevel) -> News {
    News::Router(Input::Tracked { target, level })
}

#[cfg(test)]
mod tests;
