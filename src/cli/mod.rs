//! The commands: arguments in, text and an exit status out. One file a command.

pub(crate) mod check;
pub(crate) mod convert;
mod doctor;
mod fix;
mod genhash;
mod handover;
pub(crate) mod keywords;
mod order;
mod plan;
mod real_server;
mod reload;
pub(crate) mod render;
mod router_status;
pub(crate) mod run;
pub(crate) mod schema;
mod socket;
pub(crate) mod status;
mod table;
#[cfg(test)]
mod tests;
mod why;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};

use crate::config::{Namespace, Reading, Strictness};
use crate::daemon::signals::SignalName;
use crate::daemon::startup::{Exit, default_config};
use crate::director::admin_override::OverrideChange;
use crate::text;

/// A layer-4 Linux Virtual Server director: keeps the kernel's IPVS table what your configuration and the
/// health of your real servers say.
#[derive(Debug, Parser)]
#[command(name = "lvsd", version, max_term_width = 100)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    /// Print the number of a signal by the name keepalived gives it: STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON,
    /// TDATA
    #[arg(long, value_name = "NAME", required = true)]
    signum: Option<SignalName>,
    #[command(subcommand)]
    command: Option<Commands>,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Run the director in the foreground.
    ///
    /// SIGTERM, SIGINT: stop, and remove lvsd's services. SIGHUP: read the configuration again; an error changes
    /// nothing. SIGUSR1, SIGUSR2, and keepalived's signal for JSON: write the status to status.json and status.txt in
    /// the run directory. Other signals do no harm. To leave everything in the kernel for the next start: `lvsd
    /// handover`.
    Run(run::RunArguments),
    /// Report every problem of a configuration; exit 0 when it can be run, 78 when not.
    Check(check::CheckArguments),
    /// Write a configuration in the other language: keepalived.conf as YAML, YAML as keepalived.conf.
    ///
    /// Standard error lists what is not as it was, each with its place and the reason. Exit 0: the result means the
    /// same; 1: something is lost; 78: the configuration cannot be run. Passwords are kept.
    Convert(convert::ConvertArguments),
    /// Show what `run` or a reload with this configuration would change in the kernel now; change nothing.
    ///
    /// Exit 0: nothing; 2: something; 78: the configuration cannot be run. Health is what the running lvsd says,
    /// else what the last one left, else every real server is assumed up.
    Plan(plan::PlanArguments),
    /// Make the running lvsd read its configuration again; exit 0 when it is in force, 78 when it is rejected and
    /// nothing changed.
    Reload(reload::ReloadArguments),
    /// Make the running lvsd end and leave everything in the kernel for the next start; exit 0 when it has ended.
    ///
    /// The next one has to start within about two advertisement intervals: else the VIPs are given up, and the peer
    /// takes over. Refused (exit 78) while the configuration has errors, because the next start would fail.
    Handover(handover::HandoverArguments),
    /// Show virtual servers, real servers and their health, as the running lvsd sees them.
    Status(status::StatusArguments),
    /// Show the last attempts of a real server's checkers, and why it is up or down.
    Why(why::WhyArguments),
    /// Send a real server no new connections, and remove it when the last one has ended.
    Drain(order::DrainArguments),
    /// Let a drained real server serve again.
    Undrain(order::Selection),
    /// Remove a real server at once, healthy or not.
    Disable(order::Selection),
    /// Let a drained or disabled real server serve again, as its health says.
    Enable(order::Selection),
    /// Give a real server another weight than the configured one.
    Weight(order::WeightArguments),
    /// Print the digest of a page, for `digest` in a check; flags and output are those of keepalived's genhash.
    Genhash(genhash::GenhashArguments),
    /// Configure this host as a DR or TUN real server: the VIP without ARP, and tunnel decapsulation.
    RealServer(real_server::RealServerArguments),
    /// Find what is wrong on this host, a director or a real server, for a configuration: what was seen, why it
    /// matters, and what helps. A director asks the network which other hosts have the VIPs.
    ///
    /// Exit 0: nothing; 1: warnings; 2: something is broken; 78: the configuration cannot be run.
    Doctor(doctor::DoctorArguments),
}

#[derive(Clone, Debug, clap::Args)]
struct ConfigArguments {
    /// The configuration, `-` for standard input [default: /etc/lvsd/lvsd.yaml, else /etc/keepalived/keepalived.conf]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What `@ID` in keepalived.conf is compared with [default: the name of this host up to the first dot]
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
    /// Unknown words are warnings, and are skipped with their blocks; never a server's check
    #[arg(long)]
    lenient: bool,
}

impl ConfigArguments {
    fn path(&self) -> PathBuf {
        match self.named() {
            Some(path) if path == Path::new("-") => PathBuf::from("/dev/stdin"),
            Some(path) => path.to_owned(),
            None => default_config(),
        }
    }

    /// The file that was named.
    fn named(&self) -> Option<&Path> {
        self.file.as_deref().or(self.config.as_deref())
    }

    fn reading(&self) -> Reading {
        let strictness = if self.lenient { Strictness::Lenient } else { Strictness::Strict };
        Reading { strictness, id: self.config_id.clone(), is_offline: false, namespace: Namespace::Enter }
    }
}

/// Runs the command that the arguments name and returns the process's exit status.
pub fn main() -> ExitCode {
    // The panic's message has been written; a service manager gets a status it can tell from a signal's.
    let mut exit = std::panic::catch_unwind(run_command).unwrap_or(Exit::Bug);
    if exit != Exit::Bug && IS_INCOMPLETE.load(Ordering::Relaxed) {
        exit = Exit::Output;
    }
    crate::daemon::log::flush();
    ExitCode::from(exit as u8)
}

fn run_command() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let is_asked_for = !error.use_stderr();
            if let Err(error) = error.print() {
                not_written(&error);
            }
            return if is_asked_for { Exit::Ok } else { Exit::Usage };
        }
    };
    let command = match (arguments.command, arguments.signum) {
        (Some(command), _) => command,
        (None, Some(name)) => return run::signum(name),
        // The parser has refused it.
        (None, None) => return Exit::Usage,
    };
    match command {
        Commands::Run(arguments) => run::run(&arguments),
        Commands::Check(arguments) => check::run(&arguments),
        Commands::Convert(arguments) => convert::run(&arguments),
        Commands::Plan(arguments) => plan::run(&arguments),
        Commands::Reload(arguments) => reload::run(&arguments),
        Commands::Handover(arguments) => handover::run(&arguments),
        Commands::Status(arguments) => status::run(&arguments),
        Commands::Why(arguments) => why::run(&arguments),
        Commands::Drain(arguments) => order::drain(&arguments),
        Commands::Undrain(selection) => order::change(&selection, OverrideChange::Undrain),
        Commands::Disable(selection) => order::change(&selection, OverrideChange::Disable),
        Commands::Enable(selection) => order::change(&selection, OverrideChange::Enable),
        Commands::Weight(arguments) => order::set_weight(&arguments),
        Commands::Genhash(arguments) => genhash::run(&arguments),
        Commands::RealServer(arguments) => real_server::run(&arguments),
        Commands::Doctor(arguments) => doctor::run(&arguments),
    }
}

/// A value for programs, as text.
fn json(value: &impl serde::Serialize) -> String {
    // Strings, numbers and lists always have a form.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Writes to standard output, what strangers said in it made harmless.
fn print(text: &str) {
    print_raw(&text::lines(text));
}

/// Writes to standard output as it is, for what is to steer a terminal. A reader that went away has read enough; any
/// other failure is remembered, and is the command's.
fn print_raw(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        not_written(&error);
    }
}

/// Whether something that was to be printed was not.
static IS_INCOMPLETE: AtomicBool = AtomicBool::new(false);

fn not_written(error: &std::io::Error) {
    if error.kind() != ErrorKind::BrokenPipe && !IS_INCOMPLETE.swap(true, Ordering::Relaxed) {
        complain(&format!("standard output cannot be written: {error}: not all of the answer is there"));
    }
}

/// Writes a report to standard error, where standard output has another purpose.
fn print_beside(text: &str) {
    let _ = std::io::stderr().lock().write_all(text::lines(text).as_bytes());
}

/// Writes a line about what went wrong to standard error.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "lvsd: {}", text::lines(text));
}
