//! From a command line to a running director: every check that must pass first, in the order that costs least.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tracing::{info, warn};

use super::actuator::Actuator;
use super::asserter::Asserter;
use super::control::{Control, DaemonStatus};
use super::dump::Dumps;
use super::event_dispatcher::EventDispatcher;
use super::guardian::Guardian;
use super::guardian::claim::Predecessor;
use super::handover::Inherited;
use super::handshakes::HandshakeWatch;
use super::host_findings::HostFindings;
use super::host_watch::HostWatcher;
use super::lifecycle_scripts;
use super::main_loop::{self, Shell};
use super::memory::MemoryReturn;
use super::prober::Prober;
use super::process;
use super::reload::Reloads;
use super::rights::Rights;
use super::signals::Signals;
use super::snapshot::Snapshots;
use super::state_file::{self, RunDirectory};
use super::sysctls::{Keeper, KernelSettings};
use super::systemd::ServiceManager;
use super::trackers::Trackers;
use super::{clock, host_checks, orphans, router, web};
use crate::config::changes::SHOWN;
use crate::config::{self, Config, LifeScript, Loaded, Reading};
use crate::director::Director;
use crate::director::state::State;
use crate::ipvs::backend::{Backend, Error};
use crate::ipvs::netlink::{NetlinkBackend, is_loaded};
use crate::net::namespace;
use crate::vrrp::io::Input as RouterInput;

/// Exit status of lvsd (sysexits.h): what a service manager and a script may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    /// `lvsd doctor`: something may hurt, nothing is broken; `lvsd convert`: something is lost.
    Warnings = 1,
    /// `lvsd plan`: there is something to change; `lvsd doctor`: something is broken.
    Changes = 2,
    /// The command line makes no sense.
    Usage = 64,
    /// The kernel or another daemon stands in the way.
    Unavailable = 69,
    /// A bug of lvsd.
    Bug = 70,
    /// What was to be printed could not be written.
    Output = 74,
    /// Not now: a file system is full or does not answer. The service manager tries again.
    TryAgain = 75,
    Permission = 77,
    /// The configuration cannot be run.
    Config = 78,
}

/// Why `lvsd run` did not start, or how it ended.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// In the operator's words, with the next step.
    pub message: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }
}

/// What `lvsd run` was asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// How it is read, now and at every reload.
    pub reading: Reading,
    /// Lock, state file, and by default the control socket live here.
    pub run_dir: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// Where metrics, status and health are served over HTTP.
    pub metrics: Option<SocketAddr>,
    /// Start beside another director.
    pub force: bool,
    /// Folder of files in keepalived's form, written when a signal asks for the status.
    pub keepalived_dumps: Option<PathBuf>,
    /// The status as text for people.
    pub render: fn(&DaemonStatus) -> String,
}

/// What must be there before anything else: from here on a signal is an order and no longer a sudden end.
pub(crate) struct Early {
    guardian: io::Result<Guardian>,
    predecessor: Option<Predecessor>,
    runtime: Runtime,
    signals: Signals,
}

impl Early {
    /// Forks the guardian, which must be before there are threads, connects to that of a process that has handed over,
    /// and catches signals. What is dropped without having taken over lets the other one act at once.
    ///
    /// # Errors
    /// [`Failure`] when there is no event loop to be had.
    pub(crate) fn new(run_dir: &Path) -> Result<Early, Failure> {
        let guardian = Guardian::spawn(run_dir);
        let predecessor = Predecessor::find(run_dir);
        let (runtime, signals) = event_loop()?;
        Ok(Early { guardian, predecessor, runtime, signals })
    }

    /// Moves into the network namespace that the configuration names, with an event loop made there: threads stay where
    /// they were made. None when a signal ended it meanwhile.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be entered.
    pub(crate) fn enter(self, name: &str) -> Result<Option<Early>, Failure> {
        let failed = |error: io::Error| {
            let (problem, help) = namespace::in_words(name, &error);
            Failure::new(exit_of(&error), format!("{problem}: {help}"))
        };
        if !namespace::enter(name).map_err(failed)? {
            return Ok(Some(self));
        }
        info!("in network namespace {name} from now on");
        if let Some(error) = self.guardian.as_ref().ok().and_then(|guardian| guardian.follow().err()) {
            warn!("the guardian stays in the other network namespace: {error}");
        }
        let (runtime, signals) = event_loop()?;
        let Early { guardian, predecessor, runtime: left, signals: mut heard } = self;
        let is_over = left.block_on(async {
            tokio::select! {
                biased;
                () = heard.end() => true,
                () = tokio::task::yield_now() => false,
            }
        });
        drop(heard);
        left.shutdown_background();
        if is_over {
            info!("a stop was requested before anything began");
            return Ok(None);
        }
        Ok(Some(Early { guardian, predecessor, runtime, signals }))
    }

    /// Reads the configuration. None when a signal ended it meanwhile.
    pub(crate) fn read(mut self, path: &Path, reading: &Reading) -> Option<(Early, Loaded)> {
        info!("reading {}", path.display());
        let (path, reading) = (path.to_owned(), reading.clone());
        let loaded = self.runtime.block_on(async {
            let job = tokio::task::spawn_blocking(move || config::load(&path, &reading));
            tokio::select! {
                loaded = job => Some(loaded.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))),
                () = self.signals.end() => None,
            }
        });
        let Some(loaded) = loaded else {
            info!("a stop was requested before anything began");
            // The thread that reads is not waited for.
            self.runtime.shutdown_background();
            return None;
        };
        Some((self, loaded))
    }

    /// Runs the director until a signal or a command ends it.
    ///
    /// # Errors
    /// [`Failure`] when it cannot start, or could not clean up at the end.
    pub(crate) fn run(mut self, options: &Options, config: Config) -> Result<(), Failure> {
        refuse_rivals(options.force)?;
        if !config.vrrp.is_empty() {
            router::refuse_unpermitted(&config.vrrp)?;
        }
        let run_dir = RunDirectory::lock(&options.run_dir).map_err(|error| run_dir_failure(&error))?;
        process::raise_file_limit();
        if let Some(script) = &config.global.startup
            && self.runtime.block_on(begin_with(script, &config, &mut self.signals))
        {
            info!("a stop was requested before anything began");
            return Ok(());
        }
        let backend = match config.ipvs_need() {
            None => None,
            Some(need) => Some(open_kernel().map_err(|error| needed(&need, kernel_failure(&error)))?),
        };
        let guardians = Guardians { own: guard(self.guardian), predecessor: self.predecessor };
        let is_clean =
            self.runtime.block_on(direct(self.signals, options, config, run_dir, backend, guardians));
        // A file or a kernel that never answers must not keep the process from ending.
        self.runtime.shutdown_background();
        let is_clean = is_clean?;
        if is_clean {
            return Ok(());
        }
        let text = "stopped, but some of our services may still be in the kernel: see the log above, \
                    list them with `ipvsadm -Ln`; the next start removes them";
        Err(Failure::new(Exit::Unavailable, text))
    }
}

/// An event loop on this thread, and the signals it hears.
fn event_loop() -> Result<(Runtime, Signals), Failure> {
    let failed = |error| Failure::new(Exit::Unavailable, format!("cannot start the event loop: {error}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(failed)?
    };
    Ok((runtime, signals))
}

/// Runs the script before everything else; whether a signal came meanwhile. Then the shutdown script undoes it.
async fn begin_with(script: &LifeScript, config: &Config, signals: &mut Signals) -> bool {
    let is_secure = config.vrrp.secures_scripts;
    let mut is_told = false;
    let hurry = async {
        signals.end().await;
        is_told = true;
    };
    lifecycle_scripts::run("startup_script", script, is_secure, hurry).await;
    if let Some(script) = config.global.shutdown.as_ref().filter(|_| is_told) {
        lifecycle_scripts::run("shutdown_script", script, is_secure, signals.end()).await;
    }
    is_told
}

/// The guardian. Where there is nothing to guard yet, a reload may bring it.
fn guard(guardian: io::Result<Guardian>) -> Option<Guardian> {
    let complain = |error: &io::Error| {
        warn!(
            "no guardian: {error}: VIPs would stay here when lvsd dies, and its peers would take over only after the master-down interval"
        );
    };
    guardian.inspect_err(complain).ok()
}

/// This process's own guardian, and that of the one before.
struct Guardians {
    own: Option<Guardian>,
    predecessor: Option<Predecessor>,
}

/// Two directors of one table would undo each other's work, and two of the same virtual routers, too.
fn refuse_rivals(force: bool) -> Result<(), Failure> {
    let rivals = process::rivals();
    let Some(rival) = rivals.first() else { return Ok(()) };
    let what = if rival.is_certain {
        format!("{rival} runs in this network namespace already")
    } else {
        format!("{rival} may run in this network namespace: lvsd lacks the capabilities to look")
    };
    if !force {
        let next = "two would undo each other's work, VIPs and IPVS table: stop it first, or use --force";
        return Err(Failure::new(Exit::Unavailable, format!("{what}; {next}")));
    }
    warn!("{what}; going on because of --force");
    Ok(())
}

/// From a locked run directory and an open kernel to the end; whether that was clean.
async fn direct(
    signals: Signals,
    options: &Options,
    config: Config,
    run_dir: RunDirectory,
    backend: Option<Box<dyn Backend>>,
    guardians: Guardians,
) -> Result<bool, Failure> {
    let control = Control::listen(&options.control).map_err(|error| {
        let at = options.control.display();
        Failure::new(exit_of(&error), format!("control socket {at}: {error}; choose another --control"))
    })?;
    if let Some(address) = options.metrics {
        web::listen(address, control.asker()).await.map_err(|error| {
            Failure::new(
                Exit::Unavailable,
                format!("metrics on {address}: {error}; choose another --metrics"),
            )
        })?;
    }
    for problem in host_checks::check(&config) {
        warn!("this host: {problem}");
    }
    if let Some(lacking) = Rights::own().and_then(|own| own.lacking(&config)) {
        warn!("{lacking}");
    }
    let now = clock::now();
    let mut state = run_dir.load(now);
    // What a predecessor put into the kernel is removed, but IPVS is not loaded for that.
    if backend.is_none() && !is_loaded() {
        state = state.without_ipvs();
    }
    info!(
        config = %options.config.display(),
        virtual_servers = config.virtual_servers.len(),
        services_known_as_ours = state.owned.len(),
        servers_known_as_down = state.down.len(),
        "lvsd {} starts", env!("CARGO_PKG_VERSION")
    );
    warn_of_removals(&state, &config);
    let originals = run_dir.originals();
    let sysctls = Keeper::new(KernelSettings(originals.clone()), originals.load());
    let events = EventDispatcher::new(&config);
    let (router, guardian) = if config.vrrp.is_empty() {
        (None, guardians.own)
    } else {
        let (inputs, predecessor) = inherit(run_dir.masters().take(now), guardians.predecessor);
        let begun =
            router::Handle::start(Arc::clone(&config.vrrp), seed(), inputs, guardians.own, predecessor).await;
        (Some(begun.map_err(|(failure, _)| failure)?), None)
    };
    let config = Arc::new(config);
    let director = Director::new(Arc::clone(&config), state, seed(), now);
    let expires_templates = director.expires_templates(now);
    let mut shell = Shell {
        director,
        router,
        guardian,
        level: None,
        stop_by: None,
        snapshots: Snapshots::default(),
        awaiting_read: Vec::new(),
        turn_at: now,
        dumps: Dumps {
            run_dir: options.run_dir.clone(),
            keepalived: options.keepalived_dumps.clone(),
            render: options.render,
        },
        dumping: None,
        handing_over: Vec::new(),
        actuator: Actuator::new(backend, open_kernel),
        prober: Prober::new(process::file_limit()),
        control,
        run_dir,
        reloads: Reloads::new(options.config.clone(), options.reading.clone(), open_kernel),
        service_manager: ServiceManager::from_environment(),
        events,
        trackers: Trackers::new(),
        asserter: Asserter::new(),
        config,
        previous: None,
        memory_return: MemoryReturn::default(),
        host_watcher: HostWatcher::open(),
        handshakes: HandshakeWatch::default(),
        host_findings: HostFindings::default(),
        sysctls,
        started_at: now,
        watch_at: now,
        lost: None,
        forwards: None,
        expires_templates,
        unsaved: None,
        was_saved: None,
        pending_override: None,
        is_stopping: false,
    };
    shell.begin().await;
    // It ends with the event loop.
    drop(tokio::spawn(orphans::reap()));
    // A task of its own: waking the future that `block_on` polls costs a system call and a wait each time.
    match tokio::spawn(main_loop::run(shell, signals)).await {
        Ok(is_clean) => Ok(is_clean),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Failure::new(Exit::Bug, format!("the event loop ended by itself: {error}"))),
    }
}

/// A file that was torn or emptied while no lvsd ran is put in force at the start; what that takes away is said.
fn warn_of_removals(state: &State, config: &Config) {
    let configured: BTreeSet<_> = config.virtual_servers.iter().map(|server| server.id).collect();
    let gone: Vec<_> = state.owned.iter().filter(|id| !configured.contains(id)).collect();
    if gone.len() * 2 > state.owned.len() {
        let some: Vec<_> = gone.iter().take(SHOWN).map(ToString::to_string).collect();
        let owned = state.owned.len();
        warn!(
            "{} of the {owned} services of the last run are not in this configuration and will be removed ({}{})",
            gone.len(),
            some.join(", "),
            if gone.len() > some.len() { ", ..." } else { "" },
        );
    }
}

/// What the process before handed over, if its guardian still has it.
fn inherit(
    left: Option<Inherited>,
    predecessor: Option<Predecessor>,
) -> (Vec<RouterInput>, Option<Predecessor>) {
    let Some(Inherited { mut handover, age, is_guarded }) = left else { return (Vec::new(), None) };
    let predecessor = predecessor.and_then(|mut guardian| guardian.claim().then_some(guardian));
    if is_guarded && predecessor.is_none() {
        warn!(
            "this start is too late to go on as Master: the guardian of the process before has given the VIPs up"
        );
        handover.give_up();
    }
    (vec![RouterInput::Inherited { handover: Box::new(handover), age }], predecessor)
}

/// The configuration's default path: lvsd's own file, else keepalived's.
pub(crate) fn default_config() -> PathBuf {
    let own = Path::new("/etc/lvsd/lvsd.yaml");
    if own.exists() { own.to_owned() } else { PathBuf::from("/etc/keepalived/keepalived.conf") }
}

fn open_kernel() -> Result<Box<dyn Backend>, Error> {
    Ok(Box::new(NetlinkBackend::open()?))
}

/// A failure about IPVS, with what wants it: virtual routers do without.
fn needed(need: &str, failure: Failure) -> Failure {
    Failure { message: format!("{need} needs IPVS: {}", failure.message), ..failure }
}

fn run_dir_failure(error: &state_file::Error) -> Failure {
    match error {
        state_file::Error::Io(_, io) if io.kind() == std::io::ErrorKind::PermissionDenied => {
            Failure::new(Exit::Permission, format!("{error}: run as root, or choose another --run-dir"))
        }
        state_file::Error::Untrusted(..) => Failure::new(Exit::Permission, error.to_string()),
        state_file::Error::Io(_, io) => Failure::new(exit_of(io), error.to_string()),
        state_file::Error::Locked(..) => Failure::new(Exit::Unavailable, error.to_string()),
    }
}

/// A file system that is full or read-only may not be so for long: the service manager tries again.
fn exit_of(error: &io::Error) -> Exit {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        OutOfMemory | QuotaExceeded | ReadOnlyFilesystem | StorageFull => Exit::TryAgain,
        _ => Exit::Unavailable,
    }
}

pub(super) fn kernel_failure(error: &Error) -> Failure {
    match error {
        Error::NotPermitted(_) => Failure::new(
            Exit::Permission,
            format!("{error}; run as root, or give the binary or its unit CAP_NET_ADMIN"),
        ),
        _ => Failure::new(Exit::Unavailable, error.to_string()),
    }
}

/// Chance for the spread of first checks: it need not be secret, only different on every director.
pub(super) fn seed() -> u64 {
    clock::now().as_nanos() ^ (u64::from(std::process::id()) << 32)
}
