//! Reloads: a thread reads the file, the main loop applies it, and each requester gets the verdict.
//!
//! One is read at a time. A request that arrives meanwhile gets the next one: the file may have changed after it was
//! read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::actuator::Open;
use super::clock;
use super::control::{ReloadOutcome, Reply};
use super::host_checks;
use super::rights::Rights;
use crate::config::changes::{self, Change};
use crate::config::{self, Config, Namespace, Reading, Strictness};
use crate::syntax::diagnostic::Class;
use crate::time::Instant;

/// Changes listed in the answer to a reload; the status carries them until the next one.
pub(crate) const CHANGES_LIMIT: usize = 200;

/// A file that was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    config: Option<Config>,
    errors: Vec<String>,
    warnings: Vec<String>,
    /// Against what was in force.
    changes: Vec<Change>,
    more_changes: usize,
    summary: String,
    /// A file system did not answer.
    is_silent: bool,
}

/// A requester that waits for a verdict.
type Waiter = oneshot::Sender<Reply>;

/// A reload that begins after the one under way.
#[derive(Debug, Default)]
struct Next {
    waiting: Vec<Waiter>,
    allows_removal: bool,
}

#[derive(Debug)]
pub(crate) struct Reloads {
    path: PathBuf,
    reading: Reading,
    open: Open,
    job: Option<JoinHandle<Read>>,
    /// The requesters of the one under way; bounded by the control socket's connections.
    waiting: Vec<Waiter>,
    /// Another one is wanted.
    next: Option<Next>,
    last: Option<(Instant, Read)>,
    accepted: u64,
    rejected: u64,
}

impl Reloads {
    /// Reloads of this file, its unknown words treated in this way. IPVS is tried by `open` when one brings the first that
    /// needs it.
    pub(crate) fn new(path: PathBuf, reading: Reading, open: Open) -> Reloads {
        Reloads {
            path,
            // This process is where it has to be.
            reading: Reading { namespace: Namespace::Stay, ..reading },
            open,
            job: None,
            waiting: Vec::new(),
            next: None,
            last: None,
            accepted: 0,
            rejected: 0,
        }
    }

    /// Whether unknown words are only warnings.
    pub(crate) fn is_lenient(&self) -> bool {
        matches!(self.reading.strictness, Strictness::Lenient)
    }

    /// What `@ID` is compared with, where it is not the host's name.
    pub(crate) fn config_id(&self) -> Option<&str> {
        self.reading.id.as_deref()
    }

    /// Begins one, which may remove most of what is in force or not, or notes that another one is wanted after the one
    /// under way.
    pub(crate) fn begin(&mut self, waiter: Option<Waiter>, allows_removal: bool, in_force: &Arc<Config>) {
        if self.job.is_some() {
            let next = self.next.get_or_insert_default();
            // A read that never ends must not collect requesters that gave up.
            next.waiting.retain(|w| !w.is_closed());
            next.waiting.extend(waiter);
            next.allows_removal |= allows_removal;
            return;
        }
        info!("reading {}", self.path.display());
        self.waiting.extend(waiter);
        let (path, reading, in_force) = (self.path.clone(), self.reading.clone(), Arc::clone(in_force));
        let open = in_force.ipvs_need().is_none().then_some(self.open);
        self.job = Some(tokio::task::spawn_blocking(move || {
            let read = read(&path, &reading);
            let read = match open {
                Some(open) => tried(read, &path, open),
                None => read,
            };
            compared(read, &path, &in_force, allows_removal)
        }));
    }

    /// lvsd ends: nothing is applied any more. A reading under way is dropped, and its requesters get the reason.
    pub(crate) fn end(&mut self, why: &str) {
        if self.job.take().is_some() {
            warn!("reload: {} is not put in force: {why}", self.path.display());
        }
        let next = self.next.take().unwrap_or_default();
        for waiter in self.waiting.drain(..).chain(next.waiting) {
            // A requester that has gone needs no answer.
            let _ = waiter.send(Reply::Error(why.to_owned()));
        }
    }

    /// The file that was read; waits for ever when none is.
    pub(crate) async fn finished(&mut self) -> Read {
        let Some(job) = &mut self.job else { return std::future::pending().await };
        let result = job.await;
        self.job = None;
        result.unwrap_or_else(|error| Read {
            errors: vec![format!("reading the configuration broke, please report this: {error}")],
            ..Read::default()
        })
    }

    /// Sends the verdict and begins the next one that is wanted; returns the configuration to put in force, if it has no
    /// errors.
    pub(crate) fn conclude(&mut self, mut read: Read, in_force: &Arc<Config>) -> Option<Arc<Config>> {
        let path = self.path.display();
        for line in &read.warnings {
            warn!("reload: {line}");
        }
        let config = read.config.take().map(Arc::new);
        if config.is_some() {
            self.accepted += 1;
            info!("reload: {path} is in force: {}", read.summary);
        } else {
            self.rejected += 1;
            for line in &read.errors {
                error!("reload: {line}");
            }
            let count = match read.errors.len() {
                1 => "1 error".to_owned(),
                n => format!("{n} errors"),
            };
            error!("reload rejected, nothing changed: {path} has {count}");
        }
        let now = clock::now();
        self.last = Some((now, read));
        if let Some(outcome) = self.outcome(now) {
            for waiter in self.waiting.drain(..) {
                // The status has it for requesters that have gone.
                let _ = waiter.send(Reply::Reload(outcome.clone()));
            }
        }
        if let Some(next) = self.next.take() {
            self.waiting = next.waiting;
            self.begin(None, next.allows_removal, config.as_ref().unwrap_or(in_force));
        }
        config
    }

    /// How the last one ended.
    pub(crate) fn outcome(&self, now: Instant) -> Option<ReloadOutcome> {
        self.last.as_ref().map(|(at, read)| ReloadOutcome {
            is_accepted: read.errors.is_empty(),
            config: self.path.clone(),
            seconds_ago: now.since(*at).as_secs(),
            errors: read.errors.clone(),
            warnings: read.warnings.clone(),
            summary: read.summary.clone(),
            changes: read.changes.clone(),
            more_changes: read.more_changes,
            is_silent: read.is_silent,
            config_id: self.reading.id.clone(),
        })
    }

    /// Whether one is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.job.is_some()
    }

    /// Whether the last one was rejected.
    pub(crate) fn is_last_rejected(&self) -> bool {
        self.last.as_ref().is_some_and(|(_, read)| !read.errors.is_empty())
    }

    /// How many were put in force, and how many were rejected.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.accepted, self.rejected)
    }

    /// The configuration file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn read(path: &Path, reading: &Reading) -> Read {
    let loaded = config::load(path, reading);
    let errors = loaded.lines(Class::Error);
    let warnings = match &loaded.config {
        Some(config) => {
            let problems =
                host_checks::check(config).into_iter().map(|problem| format!("this host: {problem}"));
            let lacking =
                Rights::own().and_then(|own| own.lacking(config)).map(|lacking| lacking.to_string());
            loaded.lines(Class::Warning).into_iter().chain(problems).chain(lacking).collect()
        }
        None => Vec::new(),
    };
    Read { config: loaded.config, errors, warnings, is_silent: loaded.is_silent, ..Read::default() }
}

/// The same, unless it needs an IPVS that the kernel does not have: then nothing of it is put in force.
fn tried(mut read: Read, path: &Path, open: Open) -> Read {
    let need = read.config.as_ref().and_then(Config::ipvs_need);
    if let Some(need) = need
        && let Err(error) = open()
    {
        read.config = None;
        read.errors.push(format!("{}: {need} needs IPVS: {error}", path.display()));
    }
    read
}

/// With what it changes; refused where it takes away so much that it is more likely torn than meant.
fn compared(mut read: Read, path: &Path, in_force: &Config, allows_removal: bool) -> Read {
    let Some(config) = &read.config else { return read };
    if config.global.net_namespace != in_force.global.net_namespace {
        let name = |config: &Config| config.global.net_namespace.clone().unwrap_or("none".to_owned());
        read.errors.push(format!(
            "{}: `net_namespace` cannot change while lvsd runs, from {} to {}: restart lvsd",
            path.display(),
            name(in_force),
            name(config)
        ));
        read.config = None;
        return read;
    }
    let removals: Vec<String> =
        changes::removals(in_force, config).into_iter().map(|removal| removal.to_string()).collect();
    if !allows_removal && !removals.is_empty() {
        let path = path.display();
        let next = "if it is meant so, `lvsd reload --allow-removal` puts it in force";
        read.errors.extend(removals.into_iter().map(|removal| format!("{path}: {removal}; {next}")));
        read.config = None;
        return read;
    }
    read.warnings.extend(removals);
    let mut all = changes::changes(in_force, config);
    read.summary = changes::summary(&all);
    read.more_changes = all.len().saturating_sub(CHANGES_LIMIT);
    all.truncate(CHANGES_LIMIT);
    read.changes = all;
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::backend::{Backend, Error};
    use crate::ipvs::memory::MemoryBackend;

    #[tokio::test]
    async fn a_request_during_a_reload_gets_the_verdict_of_the_next() {
        let (path, in_force) = (PathBuf::from("/nonexistent/keepalived.conf"), Arc::default());
        let mut reloads = Reloads::new(path, Reading::default(), without_ipvs);
        let (first, first_verdict) = oneshot::channel();
        let (second, mut second_verdict) = oneshot::channel();
        reloads.begin(Some(first), false, &in_force);
        reloads.begin(Some(second), false, &in_force);
        let read = reloads.finished().await;
        assert!(reloads.conclude(read, &in_force).is_none());
        assert!(matches!(first_verdict.await, Ok(Reply::Reload(outcome)) if !outcome.is_accepted));
        assert!(second_verdict.try_recv().is_err(), "its file may have changed since");
        assert!(reloads.is_under_way());
        let read = reloads.finished().await;
        assert!(reloads.conclude(read, &in_force).is_none());
        let Ok(Reply::Reload(outcome)) = second_verdict.await else { panic!("no verdict") };
        assert_eq!(outcome.errors, ["/nonexistent/keepalived.conf: there is no such file"]);
        assert_eq!((reloads.counts(), reloads.is_last_rejected()), ((0, 2), true));
    }

    #[tokio::test]
    async fn a_reload_during_a_stop_is_not_applied_and_its_requester_gets_the_reason() {
        let path = std::env::temp_dir().join(format!("lvsd-reload-end-{}.conf", std::process::id()));
        let in_force = Arc::default();
        std::fs::write(&path, "global_defs {\n    router_id ROUTER\n}\n").unwrap();
        let mut reloads = Reloads::new(path.clone(), Reading::default(), with_ipvs);
        let (waiters, verdicts): (Vec<_>, Vec<_>) = (0..2).map(|_| oneshot::channel()).unzip();
        waiters.into_iter().for_each(|waiter| reloads.begin(Some(waiter), false, &in_force));
        reloads.end("lvsd stops");
        for verdict in verdicts {
            assert_eq!(verdict.await, Ok(Reply::Error("lvsd stops".to_owned())));
        }
        assert!(!reloads.is_under_way());
        let never = tokio::time::timeout(std::time::Duration::from_millis(200), reloads.finished());
        assert!(never.await.is_err(), "nothing is put in force any more");
        let _ = std::fs::remove_file(path);
    }

    #[tokio::test]
    async fn the_first_virtual_server_on_a_kernel_without_ipvs_is_refused_with_its_reason_and_the_next_step()
    {
        let path = std::env::temp_dir().join(format!("lvsd-reload-{}.conf", std::process::id()));
        for (text, need) in [
            (
                "virtual_server 10.1.0.100 80 {\n    protocol TCP\n    real_server 10.1.0.21 80 {\n    }\n}\n",
                Some("virtual server 10.1.0.100:80 tcp"),
            ),
            ("global_defs {\n    lvs_timeouts tcp 900\n}\n", Some("lvs_timeouts")),
            ("global_defs {\n    lvs_sync_daemon eth0\n}\n", Some("lvs_sync_daemon")),
            ("global_defs {\n    router_id ROUTER\n}\n", None),
        ] {
            std::fs::write(&path, text).unwrap();
            let mut in_force = Arc::default();
            let mut reloads = Reloads::new(path.clone(), Reading::default(), without_ipvs);
            reloads.begin(None, false, &in_force);
            let read = reloads.finished().await;
            assert_eq!(reloads.conclude(read, &in_force).is_some(), need.is_none(), "{text}");
            let errors = reloads.outcome(clock::now()).unwrap().errors;
            let said = format!(
                "{}: {} needs IPVS: the kernel has no IPVS: modprobe ip_vs",
                path.display(),
                need.unwrap_or("")
            );
            assert_eq!(errors, need.map(|_| said).into_iter().collect::<Vec<_>>());

            // Where there is one it is put in force, and from then on the reconciler sees to what the kernel says.
            let mut reloads = Reloads::new(path.clone(), Reading::default(), with_ipvs);
            reloads.begin(None, false, &in_force);
            let read = reloads.finished().await;
            in_force = reloads.conclude(read, &in_force).expect(text);
            reloads.open = without_ipvs;
            reloads.begin(None, false, &in_force);
            let read = reloads.finished().await;
            assert!(reloads.conclude(read, &in_force).is_some(), "{text}");
        }
        let _ = std::fs::remove_file(path);
    }

    fn without_ipvs() -> Result<Box<dyn Backend>, Error> {
        Err(Error::NoIpvs("modprobe ip_vs".to_owned()))
    }

    fn with_ipvs() -> Result<Box<dyn Backend>, Error> {
        Ok(Box::new(MemoryBackend::new()))
    }
}
