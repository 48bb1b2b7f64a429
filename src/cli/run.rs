//! `lvsd run`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::debug_fn;

use super::{ConfigArguments, check, complain, print, status};
use crate::daemon::event_dispatcher;
use crate::daemon::log;
use crate::daemon::signals::SignalName;
use crate::daemon::startup::{Early, Exit, Failure, Options};
use crate::syntax::diagnostic::Class;
use crate::text;

/// Where lvsd keeps its lock, state and socket by default.
pub(super) const RUN_DIR: &str = "/run/lvsd";

#[derive(Debug, clap::Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Directory for the lock, the state file and the control socket
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    run_dir: PathBuf,
    /// Control socket [default: control.sock in the run directory]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Serve /metrics (Prometheus), /status (JSON) and /healthz over HTTP here; there is no password
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Form of the log on standard error; LVSD_LOG=debug says more
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// When a signal asks for the status (SIGUSR1, SIGUSR2, SIGRTMIN+2), also write keepalived.data, keepalived.stats
    /// and keepalived.json in keepalived's form into this folder, for exporters that read them
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "/tmp")]
    keepalived_dumps: Option<PathBuf>,
    /// Print the number of a signal by the name keepalived gives it, and exit
    #[arg(long, value_name = "NAME")]
    pub(super) signum: Option<SignalName>,
    /// Start although another director runs in this network namespace
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The number of a signal, for `kill -s $(lvsd --signum=DATA) PID`.
pub(super) fn signum(name: SignalName) -> Exit {
    print(&format!("{}\n", name.0));
    Exit::Ok
}

pub(super) fn run(arguments: &RunArguments) -> Exit {
    if let Some(name) = arguments.signum {
        return signum(name);
    }
    start_log(arguments.log_format);
    match start(arguments) {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            log::flush();
            complain(&failure.message);
            failure.exit
        }
    }
}

fn start(arguments: &RunArguments) -> Result<(), Failure> {
    let early = Early::new(&arguments.run_dir)?;
    log::detach();
    let path = arguments.config.path();
    let Some((early, mut loaded)) = early.read(&path, &arguments.config.reading()) else { return Ok(()) };
    for line in loaded.lines(Class::Warning).iter().filter(|_| loaded.config.is_some()) {
        warn!("{line}");
    }
    let Some(config) = loaded.config.take() else {
        let report = check::report(&path, &loaded, false).text;
        let exit = if loaded.is_silent { Exit::TryAgain } else { Exit::Config };
        return Err(Failure { exit, message: format!("not started:\n{}", report.trim_end()) });
    };
    // The text of the files is not needed any more.
    drop(loaded);
    let early = match &config.global.net_namespace {
        Some(name) => match early.enter(name)? {
            Some(early) => early,
            None => return Ok(()),
        },
        None => early,
    };
    let control = arguments.control.clone().unwrap_or_else(|| arguments.run_dir.join("control.sock"));
    let options = Options {
        config: path,
        reading: arguments.config.reading(),
        run_dir: arguments.run_dir.clone(),
        control,
        metrics: arguments.metrics,
        force: arguments.force,
        keepalived_dumps: arguments.keepalived_dumps.clone(),
        render: status::render,
    };
    early.run(&options, config)
}

/// Logs to standard error: a service manager adds time and name, a terminal gets colours.
fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("LVSD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A failure to write the log cannot be logged, and must not end the daemon.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| log::Writer);
    let log = log.log_internal_errors(false);
    match format {
        LogFormat::Text => {
            let fields = debug_fn(|writer, field, value| match field.name() {
                name if name.starts_with(event_dispatcher::MACHINE_FIELDS) => Ok(()),
                "message" => writer.write_str(&text::line(&format!("{value:?}"))),
                name => write!(writer, " {name}={}", text::line(&format!("{value:?}"))),
            });
            let log = log.fmt_fields(fields);
            log.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
        }
        LogFormat::Json => log.json().init(),
    }
}
