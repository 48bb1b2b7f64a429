//! `lvsd real-server`: prepares this host to serve a VIP behind DR or TUN, undoes that, proves it, writes it down.
//!
//! The file is long because `up`, `down`, `status` and `emit` have one selection of VIPs and one way to report; the plan
//! and the texts of the files are in [`crate::host_setup`].

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use super::{complain, print};
use crate::config::{self, Namespace, Reading};
use crate::daemon::boot_file::{BootFile, Scope};
use crate::daemon::clock;
use crate::daemon::process;
use crate::daemon::startup::Exit;
use crate::doctor::environment::Capability;
use crate::host_setup::emit::{self, Format};
use crate::host_setup::plan::{self, HostChange, Plan, View};
use crate::host_setup::record::Record;
use crate::host_setup::{Arrival, Preparation, TunnelKind, Vip, of_config};
use crate::net::kernel::Kernel;
use crate::net::sysctl;
use crate::net::types::{Host, Op, Prefix};
use crate::syntax::diagnostic::Class;

/// Where the record is kept by default: not the daemon's directory, which may end with the daemon.
const RECORD_DIR: &str = "/run/lvsd-real-server";
/// The record's name in there.
const RECORD: &str = "real-server.json";

/// Where the record is kept when this is the daemon's run directory.
pub(super) fn record_dir(run_dir: &Path) -> &Path {
    if run_dir == Path::new(super::run::RUN_DIR) { Path::new(RECORD_DIR) } else { run_dir }
}

#[derive(Debug, clap::Args)]
pub(super) struct RealServerArguments {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Make this host accept packets for the VIPs, and keep that to itself
    Up(UpArguments),
    /// Put back exactly what `up` found
    Down(DownArguments),
    /// Say whether this host is prepared; exit 0 yes, 2 no
    Status(StatusArguments),
    /// Print files that do the same at every boot, with the reasons
    Emit(EmitArguments),
}

#[derive(Clone, Debug, clap::Args)]
struct Selection {
    /// VIPs, separated by commas
    #[arg(long, value_name = "ADDR", value_delimiter = ',', required_unless_present = "config")]
    vip: Vec<IpAddr>,
    /// How packets arrive
    #[arg(long, value_enum, default_value = "dr")]
    method: Method,
    /// Encapsulation of --method tun
    #[arg(long, value_enum, default_value = "ipip")]
    tunnel: Encapsulation,
    /// UDP port of --tunnel gue
    #[arg(long, value_name = "PORT", default_value = "6080", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The director's configuration: VIPs and methods are taken from it for this host's addresses
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["vip", "method", "tunnel"])]
    config: Option<PathBuf>,
    /// This host's address in the configuration, or towards the director [default: any of its own]
    #[arg(long = "as", value_name = "ADDR")]
    own: Option<IpAddr>,
    /// The link that has the VIPs
    #[arg(long, value_name = "LINK", default_value = "lo")]
    dev: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    Dr,
    Tun,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Encapsulation {
    Ipip,
    Gre,
    Gue,
}

#[derive(Debug, clap::Args)]
struct UpArguments {
    #[command(flatten)]
    selection: Selection,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Where what was found is kept for `down`
    #[arg(long, value_name = "DIR", default_value = RECORD_DIR)]
    run_dir: PathBuf,
}

#[derive(Debug, clap::Args)]
struct DownArguments {
    /// VIPs, separated by commas [default: all that `up` prepared]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    vip: Vec<IpAddr>,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Where `up` kept what it found
    #[arg(long, value_name = "DIR", default_value = RECORD_DIR)]
    run_dir: PathBuf,
}

#[derive(Debug, clap::Args)]
struct StatusArguments {
    #[command(flatten)]
    selection: Selection,
}

#[derive(Debug, clap::Args)]
struct EmitArguments {
    #[command(flatten)]
    selection: Selection,
    /// The program that reads it
    #[arg(long, value_enum)]
    format: Format,
}

pub(super) fn run(arguments: &RealServerArguments) -> Exit {
    let result = match &arguments.command {
        Commands::Up(arguments) => up(arguments),
        Commands::Down(arguments) => down(arguments),
        Commands::Status(arguments) => status(arguments),
        Commands::Emit(arguments) => emit(arguments),
    };
    result.unwrap_or_else(|Failure { exit, text }| {
        complain(&text);
        exit
    })
}

struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { exit, text: text.into() }
    }
}

/// Whether this process may change the network.
fn may_administer() -> bool {
    process::has_capability(Capability::NetAdmin.number())
}

/// A failure of the kernel: permission, or unavailable.
fn refused(text: String) -> Failure {
    let exit = if may_administer() { Exit::Unavailable } else { Exit::Permission };
    Failure::new(exit, text)
}

/// This host.
pub(super) struct LocalHost {
    pub(super) kernel: Kernel,
    pub(super) host: Host,
}

impl LocalHost {
    /// Reads this host; the error for commands that change nothing.
    pub(super) fn read() -> Result<LocalHost, (Exit, String)> {
        LocalHost::open().map_err(|failure| (failure.exit, failure.text))
    }

    fn open() -> Result<LocalHost, Failure> {
        let mut kernel = Kernel::open().map_err(refused)?;
        let host = kernel.host().map_err(refused)?;
        Ok(LocalHost { kernel, host })
    }

    fn own(&self) -> BTreeSet<IpAddr> {
        self.host.addresses.iter().map(|held| held.prefix.ip).collect()
    }

    fn make(&mut self, change: &HostChange) -> Result<(), String> {
        let kernel = &mut self.kernel;
        match change {
            HostChange::Setting { family, link, name, to, .. } => write(family, link, name, *to),
            HostChange::AddLink { name, kind } => kernel.add_link(name, kind),
            HostChange::LinkUp { name } => kernel.switch_link(name, true),
            HostChange::AddGue { port, is_ipv6 } => kernel.read_gue(*port, *is_ipv6, true),
            HostChange::AddAddress { link, ip } => {
                let op = Op::AddAddress(std::sync::Arc::new(plan::address(link, *ip)));
                first_refusal(kernel.apply(&[op]))
            }
        }
    }

    /// Undoes a change; None if another program has changed it since: it is left alone.
    fn undo(&mut self, change: &HostChange) -> Result<Option<()>, String> {
        match change {
            HostChange::Setting { from: None, .. } => Ok(Some(())),
            HostChange::Setting { family, link, name, from: Some(from), to } => {
                match self.setting(family, link, name) {
                    None => Ok(Some(())),
                    Some(now) if now == *to || now == *from => write(family, link, name, *from).map(Some),
                    Some(_) => Ok(None),
                }
            }
            HostChange::AddLink { name, .. } => {
                // The kernel's own catch-all links stay as long as their module is loaded.
                let _ = self.kernel.switch_link(name, false);
                match self.kernel.remove_link(name) {
                    Err(text) if !may_administer() => Err(text),
                    _ => Ok(Some(())),
                }
            }
            HostChange::LinkUp { name } => match self.link(name) {
                None => Ok(Some(())),
                Some(_) => self.kernel.switch_link(name, false).map(Some),
            },
            HostChange::AddGue { port, is_ipv6 } => self.kernel.read_gue(*port, *is_ipv6, false).map(Some),
            HostChange::AddAddress { link, ip } => {
                let Some(index) = self.host.link(link).map(|link| link.index) else { return Ok(Some(())) };
                let length = if ip.is_ipv4() { 32 } else { 128 };
                let op = Op::RemoveAddress { link: index, prefix: Prefix { ip: *ip, length } };
                first_refusal(self.kernel.apply(&[op])).map(Some)
            }
        }
    }
}

impl View for LocalHost {
    fn setting(&self, family: &str, link: &str, name: &str) -> Option<u32> {
        sysctl::read_of_link(family, link, name).ok()?.parse().ok()
    }

    fn link(&self, name: &str) -> Option<bool> {
        self.host.link(name).map(|link| link.is_up)
    }

    fn lengths(&self, link: &str, ip: IpAddr) -> Vec<u8> {
        let Some(index) = self.host.link(link).map(|link| link.index) else { return Vec::new() };
        let held = self.host.addresses.iter().filter(|held| held.link == index && held.prefix.ip == ip);
        held.map(|held| held.prefix.length).collect()
    }
}

fn write(family: &str, link: &str, name: &str, value: u32) -> Result<(), String> {
    sysctl::write_of_link(family, link, name, &value.to_string()).map_err(|error| {
        let next =
            if error.kind() == ErrorKind::PermissionDenied { ": run as root (CAP_NET_ADMIN)" } else { "" };
        format!("net/{family}/conf/{link}/{name}: {error}{next}")
    })
}

fn first_refusal(refusals: Vec<crate::net::types::Refusal>) -> Result<(), String> {
    refusals.into_iter().next().map_or(Ok(()), |refusal| Err(refusal.text))
}

fn up(arguments: &UpArguments) -> Result<Exit, Failure> {
    let mut here = LocalHost::open()?;
    let preparation = preparation(&arguments.selection, Some(&here))?;
    let Plan { changes, notes } =
        plan::plan(&preparation, &here).map_err(|text| Failure::new(Exit::Config, text))?;
    if arguments.dry_run {
        let text: String = changes.iter().map(|change| format!("{change}\n")).collect();
        print(&text);
        print_notes(&notes);
        return Ok(Exit::Ok);
    }
    make_all(&mut here, &changes, &arguments.run_dir, &mut |change| print(&format!("done: {change}\n")))?;
    if changes.is_empty() {
        print("nothing to do: this host is prepared\n");
    }
    print_notes(&notes);
    Ok(Exit::Ok)
}

/// Makes changes, and keeps in the run directory what `down` needs.
fn make_all(
    here: &mut LocalHost,
    changes: &[HostChange],
    run_dir: &Path,
    done: &mut dyn FnMut(&HostChange),
) -> Result<(), Failure> {
    let file = record_file(run_dir)?;
    let before = load(&file)?;
    let mut record = before.clone();
    let mut made = Vec::new();
    for change in changes {
        record.add(change);
        let outcome = save(&file, &record).and_then(|()| here.make(change).map_err(refused));
        if let Err(failure) = outcome {
            return Err(take_back(here, &file, &before, &made, change, failure));
        }
        done(change);
        made.push(change.clone());
    }
    Ok(())
}

/// Prepares this host for the VIPs of a configuration as `up` does; what was done.
pub(super) fn prepare(config: &config::Config, run_dir: &Path) -> Result<Vec<String>, String> {
    let attempt = || {
        let mut here = LocalHost::open()?;
        let preparation = Preparation { vips: of_config(config, &here.own()).0, device: "lo".to_owned() };
        let plan = plan::plan(&preparation, &here).map_err(|text| Failure::new(Exit::Config, text))?;
        let mut done = Vec::new();
        make_all(&mut here, &plan.changes, run_dir, &mut |change| done.push(change.to_string()))?;
        Ok(done)
    };
    attempt().map_err(|failure: Failure| failure.text)
}

/// A failure half-way: what was done is undone, what an earlier `up` did stays.
fn take_back(
    here: &mut LocalHost,
    file: &BootFile,
    before: &Record,
    made: &[HostChange],
    failed: &HostChange,
    failure: Failure,
) -> Failure {
    let mut left = Vec::new();
    for change in made.iter().rev() {
        if let Err(text) = here.undo(change) {
            left.push(format!("{}: {text}", change.undone()));
        }
    }
    let text = if left.is_empty() {
        let _ = save(file, before);
        format!("{failed}: {}; what was done before it has been undone", failure.text)
    } else {
        format!(
            "{failed}: {}; and could not undo: {}; try `lvsd real-server down`",
            failure.text,
            left.join("; ")
        )
    };
    Failure { text, ..failure }
}

fn down(arguments: &DownArguments) -> Result<Exit, Failure> {
    let file = record_file(&arguments.run_dir)?;
    let record = load(&file)?;
    if record.changes.is_empty() {
        print("nothing to do: `up` has changed nothing on this host, or was undone\n");
        return Ok(Exit::Ok);
    }
    let (undone, kept) = record.parted(&arguments.vip);
    if let Some(vip) = arguments.vip.iter().find(|vip| !record.has(**vip)) {
        let text = format!("`up` has not prepared this host for {vip}: lvsd real-server status --vip {vip}");
        return Err(Failure::new(Exit::Usage, text));
    }
    if arguments.dry_run {
        let lines = undone.iter().rev().map(|change| format!("{}\n", change.undone()));
        print(&lines.collect::<String>());
        return Ok(Exit::Ok);
    }
    let mut here = LocalHost::open()?;
    let mut left = Record { changes: kept };
    let mut first = None;
    for change in undone.iter().rev() {
        match here.undo(change) {
            Ok(Some(())) => print(&format!("done: {}\n", change.undone())),
            Ok(None) => complain(&format!("{change}: changed by another program since, left alone")),
            Err(text) => {
                complain(&format!("{}: {text}", change.undone()));
                left.changes.insert(0, change.clone());
                first.get_or_insert(text);
            }
        }
    }
    save(&file, &left)?;
    match first {
        None => Ok(Exit::Ok),
        Some(text) => Err(refused(format!("not everything was put back: {text}"))),
    }
}

fn status(arguments: &StatusArguments) -> Result<Exit, Failure> {
    let here = LocalHost::open()?;
    let preparation = preparation(&arguments.selection, Some(&here))?;
    let Plan { changes, notes } =
        plan::plan(&preparation, &here).map_err(|text| Failure::new(Exit::Config, text))?;
    for vip in &preparation.vips {
        let has = if here.lengths(&preparation.device, vip.ip).is_empty() { "MISSING on" } else { "on" };
        print(&format!("{} {has} {}\n", vip.ip, preparation.device));
        for asked in crate::net::question::ask(&here.host, vip.ip, clock::now) {
            print(&format!("  {asked}\n"));
        }
    }
    if changes.iter().all(HostChange::is_spare) {
        print("this host is prepared\n");
        return Ok(Exit::Ok);
    }
    print("to be done (`lvsd real-server up` does it):\n");
    changes.iter().for_each(|change| print(&format!("  {change}\n")));
    print_notes(&notes);
    Ok(Exit::Changes)
}

fn emit(arguments: &EmitArguments) -> Result<Exit, Failure> {
    // Written for another host as well: this one need not have its addresses.
    let here = if arguments.selection.config.is_some() && arguments.selection.own.is_none() {
        LocalHost::open().ok()
    } else {
        None
    };
    let preparation = preparation(&arguments.selection, here.as_ref())?;
    print(&emit::emit(&preparation, arguments.format));
    Ok(Exit::Ok)
}

fn preparation(selection: &Selection, here: Option<&LocalHost>) -> Result<Preparation, Failure> {
    let vips = match &selection.config {
        None => selection.vip.iter().map(|ip| Vip { ip: *ip, arrival: arrival(selection, *ip) }).collect(),
        Some(path) => configured(selection, path, here)?,
    };
    if let Some(odd) = vips.iter().find(|vip| vip.ip.is_multicast() || vip.ip.is_unspecified()) {
        return Err(Failure::new(Exit::Usage, format!("{} is no VIP", odd.ip)));
    }
    Ok(Preparation { vips, device: selection.dev.clone() })
}

fn arrival(selection: &Selection, ip: IpAddr) -> Arrival {
    let tunnel = match selection.tunnel {
        Encapsulation::Ipip => TunnelKind::Ipip,
        Encapsulation::Gre => TunnelKind::Gre,
        Encapsulation::Gue => TunnelKind::Gue { port: selection.port },
    };
    match selection.method {
        Method::Dr => Arrival::Dr,
        Method::Tun => Arrival::Tun { tunnel, is_outer_ipv6: selection.own.unwrap_or(ip).is_ipv6() },
    }
}

fn configured(
    selection: &Selection,
    path: &Path,
    here: Option<&LocalHost>,
) -> Result<BTreeSet<Vip>, Failure> {
    let loaded = config::load_once(path, &Reading { namespace: Namespace::Enter, ..Reading::default() });
    let Some(config) = loaded.config else {
        return Err(Failure::new(Exit::Config, loaded.lines(Class::Error).join("\nlvsd: ")));
    };
    let own = match (selection.own, here) {
        (Some(own), _) => BTreeSet::from([own]),
        (None, Some(here)) => here.own(),
        (None, None) => BTreeSet::new(),
    };
    let (vips, ignored) = of_config(&config, &own);
    print_notes(&ignored);
    if vips.is_empty() {
        let who = selection.own.map_or("an address of this host".to_owned(), |own| own.to_string());
        let text = format!(
            "{}: no virtual server has {who} as a real server by DR or TUN: name it with --as, or the VIPs with --vip",
            path.display()
        );
        return Err(Failure::new(Exit::Config, text));
    }
    Ok(vips)
}

fn print_notes(notes: &[String]) {
    notes.iter().for_each(|note| complain(&format!("note: {note}")));
}

/// The record's file in this run directory.
fn record_file(run_dir: &Path) -> Result<BootFile, Failure> {
    let scope =
        Scope::current().map_err(|error| Failure::new(Exit::Unavailable, format!("/proc: {error}")))?;
    Ok(BootFile { path: run_dir.join(RECORD), scope })
}

/// The record of this boot and network namespace; empty where there is none.
///
/// A record of another network namespace is an error, for [`save`] would replace it.
fn load(file: &BootFile) -> Result<Record, Failure> {
    let unusable = |error: std::io::Error| {
        let text = format!(
            "{}: {error}: what `up` found is not known; remove the file to begin anew",
            file.path.display()
        );
        Failure::new(Exit::Unavailable, text)
    };
    if let Some(record) = file.read().map_err(unusable)? {
        return Ok(record);
    }
    match file.written_in().map_err(unusable)? {
        Some(scope) if scope.boot_id == file.scope.boot_id => {
            let text = format!(
                "{}: belongs to another network namespace: give each its own --run-dir",
                file.path.display()
            );
            Err(Failure::new(Exit::Unavailable, text))
        }
        _ => Ok(Record::default()),
    }
}

/// Replaces the record, whole or not at all; an empty one is removed.
fn save(file: &BootFile, record: &Record) -> Result<(), Failure> {
    let attempt = || {
        if let Some(dir) = file.path.parent() {
            fs::create_dir_all(dir)?;
        }
        if record.changes.is_empty() { file.remove() } else { file.write(0o644, record) }
    };
    attempt().map_err(|error| {
        let exit =
            if error.kind() == ErrorKind::PermissionDenied { Exit::Permission } else { Exit::Unavailable };
        let text = format!("{}: {error}: run as root, or choose another --run-dir", file.path.display());
        Failure::new(exit, text)
    })
}
