//! `lvsd doctor`: looks at this host, says what is wrong with it and what helps, and does what is safe.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;

mod environment;
mod segment;

use super::real_server::{self, LocalHost};
use super::socket::SocketArguments;
use super::{ConfigArguments, check, complain, print};
use crate::config::{self, Config, Loaded};
use crate::daemon::control::{self, Command, DaemonStatus, Reply};
use crate::daemon::rights::Rights;
use crate::daemon::startup::Exit;
use crate::daemon::{clock, firewall, host_checks, process, sync_ids};
use crate::director::arp_problem;
use crate::director::event::count;
use crate::doctor::environment::Environment;
use crate::doctor::{self, Finding, Fix, Ipvs, Listed, Remark, Running, Severity, View};
use crate::host_setup::of_config;
use crate::net::firewall::Rules;
use crate::net::holders;
use crate::net::types::MacAddress;
use crate::net::{question, sysctl};
use crate::syntax::diagnostic::{Class, Diagnostic};

/// Longest list of modules that is read, in bytes.
const MODULES_LIMIT: u64 = 8 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    config: ConfigArguments,
    #[command(flatten)]
    socket: SocketArguments,
    /// For programs: one JSON object
    #[arg(long)]
    json: bool,
    /// Do what can be undone: settings at run time, links, and what a real server lacks; then look again
    #[arg(long)]
    fix: bool,
}

/// What is printed for programs.
#[derive(Serialize)]
struct Report {
    role: doctor::Role,
    done: Vec<Done>,
    findings: Vec<Listed>,
    /// What could not be looked at.
    unseen: Vec<String>,
}

/// A fix that was tried.
#[derive(Serialize)]
struct Done {
    fix: String,
    /// None when it succeeded.
    failure: Option<String>,
    /// It lasts until the next boot.
    #[serde(skip)]
    is_setting: bool,
}

/// One look.
struct Look {
    role: doctor::Role,
    findings: Vec<Finding>,
    unseen: Vec<String>,
}

pub(super) fn run(arguments: &DoctorArguments) -> Exit {
    let path = arguments.config.path();
    let loaded = config::load_once(&path, &arguments.config.reading());
    let Some(config) = loaded.config.clone() else {
        complain(&format!("no diagnosis:\n{}", check::report(&path, &loaded, false).text.trim_end()));
        if !loaded.is_silent && !path.exists() {
            complain("on a real server, copy its director's file here, and name it: `lvsd doctor -c FILE`");
        }
        return Exit::Config;
    };
    let remarks = remarks(&loaded);
    let mut look = match look(&config, &path, &remarks, arguments) {
        Ok(look) => look,
        Err((exit, text)) => {
            complain(&text);
            return exit;
        }
    };
    let done =
        if arguments.fix { fix(&config, &look.findings, &arguments.socket.run_dir) } else { Vec::new() };
    if !done.is_empty() {
        look = match self::look(&config, &path, &remarks, arguments) {
            Ok(look) => look,
            Err((exit, text)) => {
                complain(&text);
                return exit;
            }
        };
    }
    let exit = match look.findings.first().map(|worst| worst.severity) {
        Some(Severity::Broken) => Exit::Changes,
        Some(Severity::Warning) => Exit::Warnings,
        Some(Severity::Hint) | None => Exit::Ok,
    };
    print(&if arguments.json { json(look, done) } else { render(&look, &done) });
    exit
}

/// Warnings of the file.
fn remarks(loaded: &Loaded) -> Vec<Remark> {
    let warnings = loaded.diagnostics.iter().filter(|diagnostic| diagnostic.class == Class::Warning);
    let remark = |diagnostic: &Diagnostic| Remark {
        code: diagnostic.code,
        place: diagnostic.span.map(|span| loaded.sources.describe(span)).unwrap_or_default(),
        what: diagnostic.message.clone(),
        help: diagnostic.help.clone(),
    };
    warnings.map(remark).collect()
}

fn look(
    config: &Config,
    path: &Path,
    remarks: &[Remark],
    arguments: &DoctorArguments,
) -> Result<Look, (Exit, String)> {
    let mut here = LocalHost::read()?;
    let host = host_checks::facts();
    let directors: Vec<(String, u32)> =
        process::rivals().into_iter().map(|rival| (rival.name.to_owned(), rival.pid)).collect();
    let role = doctor::role(config, &host.own, !directors.is_empty());
    let mut unseen = Vec::new();
    let mut names: BTreeMap<MacAddress, BTreeSet<IpAddr>> = BTreeMap::new();
    let mut claims = BTreeSet::new();
    let (vips, reals) = arp_problem::addresses_to_ask(config);
    let mut asked = BTreeSet::new();
    let mut adverts = BTreeSet::new();
    let mut sync_messages = BTreeSet::new();
    if role.is_director {
        // It listens while others are asked.
        let listener = segment::AdvertListener::open(config, &here.host, &mut unseen);
        (claims, asked) = holders::ask_around(&here.host, &vips, &reals, &mut unseen, clock::now);
        adverts = listener.received();
        sync_messages = sync_ids::listen(config, &here.host, &mut unseen, clock::now);
        for neighbour in here.kernel.neighbours().unwrap_or_default() {
            names.entry(neighbour.mac).or_default().insert(neighbour.ip);
        }
    }
    let (of_vips, answered) = arp_problem::answers(claims, &vips);
    for (mac, ips) in answered {
        names.entry(mac).or_default().extend(ips);
    }
    let rules = if role.is_director { firewall::rules(&mut unseen) } else { Rules::default() };
    let mut answers = Vec::new();
    if role.is_real_server && !role.is_director {
        let served: BTreeSet<IpAddr> = of_config(config, &host.own).0.iter().map(|vip| vip.ip).collect();
        for ip in served {
            answers.extend(question::ask(&here.host, ip, clock::now).into_iter().map(|answer| (ip, answer)));
        }
    }
    let run_dir = &arguments.socket.run_dir;
    let mut prepare = format!("lvsd real-server up -c {}", path.display());
    if run_dir != Path::new(super::run::RUN_DIR) {
        prepare.push_str(&format!(" --run-dir {}", run_dir.display()));
    }
    let (running, silence) = running(arguments, &directors, &mut unseen);
    let lvsds: Vec<u32> = directors.iter().filter(|(name, _)| name == "lvsd").map(|(_, pid)| *pid).collect();
    let commands =
        Rights::of_directors().into_iter().filter_map(|rights| Some(rights.lacking(config)?.to_string()));
    let commands = if role.is_director { commands.collect() } else { Vec::new() };
    let view = View {
        asked,
        adverts,
        sync_messages,
        remarks: remarks.to_vec(),
        environment: Environment { commands, ..environment::collect(Path::new("/"), &here.host, &lvsds) },
        ipvs: ipvs(&host),
        host,
        network: &here.host,
        prepared: Some(&here),
        others: process::meddlers(),
        silence,
        services: services(),
        directors,
        running,
        holders: of_vips,
        names,
        answers,
        firewall: rules,
        prepare,
        is_yaml: path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml")),
    };
    let findings = doctor::examine(config, &view);
    unseen.push(match (role.is_director, role.is_real_server) {
        (true, false) => "settings of the real servers: run doctor on each of them".to_owned(),
        (false, _) => {
            "what a director looks at: this host has the address of a real server, and no director runs \
                       here"
                .to_owned()
        }
        (true, true) => "settings of the other real servers: run doctor on each of them".to_owned(),
    });
    Ok(Look { role, findings, unseen })
}

/// What the running lvsd says, if one runs; else why it does not answer, where one should.
fn running(
    arguments: &DoctorArguments,
    directors: &[(String, u32)],
    unseen: &mut Vec<String>,
) -> (Option<Running>, Option<String>) {
    let path = arguments.socket.path();
    let failure = match control::ask(&path, Command::Status) {
        Ok(Reply::Status(status)) => {
            let DaemonStatus { trouble, director, router, last_reload, .. } = status.into_status();
            let rejected = last_reload.filter(|reload| !reload.is_accepted).map(|reload| reload.errors);
            return (Some(Running { trouble, director, router, rejected }), None);
        }
        Ok(_) => "it is of another version".to_owned(),
        Err(error) => error.to_string(),
    };
    let pid = directors.iter().find(|(name, _)| name == "lvsd").map(|(_, pid)| *pid);
    let why = match pid {
        Some(pid) => format!("lvsd (pid {pid}) at {}: {failure}", path.display()),
        None => format!("no lvsd runs at {}", path.display()),
    };
    unseen.push(format!("health of real servers, quorum, and how clients' connections get on: {why}"));
    (None, pid.map(|_| why))
}

/// How many services the kernel has; None when that cannot be read.
fn services() -> Option<usize> {
    use std::io::Read;
    let mut text = String::new();
    fs::File::open("/proc/net/ip_vs").ok()?.take(MODULES_LIMIT).read_to_string(&mut text).ok()?;
    let is_service =
        |line: &&str| ["TCP ", "UDP ", "SCTP ", "FWM "].iter().any(|word| line.starts_with(word));
    Some(text.lines().filter(is_service).count())
}

fn ipvs(host: &crate::doctor::host_checks::HostFacts<'_>) -> Ipvs {
    if (host.sysctl)("net.ipv4.vs.expire_nodest_conn").is_some() {
        return Ipvs::Loaded;
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let folder = Path::new("/lib/modules").join(release);
    let names = |file: &str| {
        use std::io::Read;
        let mut text = String::new();
        let list = fs::File::open(folder.join(file)).map(|list| list.take(MODULES_LIMIT));
        list.and_then(|mut list| list.read_to_string(&mut text)).is_ok_and(|_| text.contains("/ip_vs.ko"))
    };
    if names("modules.dep") || names("modules.builtin") { Ipvs::Loadable } else { Ipvs::Absent }
}

/// Does what is safe, each thing once.
fn fix(config: &Config, findings: &[Finding], run_dir: &Path) -> Vec<Done> {
    let mut done: Vec<Done> = Vec::new();
    for fix in findings.iter().filter_map(|finding| finding.fix.as_ref()).filter(|fix| fix.is_safe()) {
        if done.iter().any(|done| done.fix == fix.to_string()) {
            continue;
        }
        let outcome = match fix {
            Fix::Setting { name, value } => sysctl::write(name, value).map_err(|error| error.to_string()),
            Fix::LinkUp(link) => LocalHost::read()
                .map_err(|(_, text)| text)
                .and_then(|mut here| here.kernel.switch_link(link, true)),
            Fix::Prepare(_) => real_server::prepare(config, real_server::record_dir(run_dir)).map(drop),
            Fix::ByHand(_) | Fix::On(..) => continue,
        };
        let is_setting = matches!(fix, Fix::Setting { .. });
        done.push(Done { fix: fix.to_string(), failure: outcome.err(), is_setting });
    }
    done
}

fn json(look: Look, done: Vec<Done>) -> String {
    let findings = look.findings.into_iter().map(Listed::from);
    super::json(&Report { role: look.role, done, findings: findings.collect(), unseen: look.unseen })
}

fn render(look: &Look, done: &[Done]) -> String {
    let mut text = String::new();
    for Done { fix, failure, .. } in done {
        match failure {
            None => text.push_str(&format!("done: {fix}\n")),
            Some(why) => text.push_str(&format!("FAILED: {fix}: {why}\n")),
        }
    }
    if done.iter().any(|done| done.failure.is_none() && done.is_setting) {
        text.push_str("settings last until the next boot: write them to /etc/sysctl.d\n");
    }
    if !text.is_empty() {
        text.push('\n');
    }
    for finding in &look.findings {
        let severity = match finding.severity {
            Severity::Broken => "BROKEN",
            Severity::Warning => "warning",
            Severity::Hint => "hint",
        };
        text.push_str(&format!(
            "{severity}: {}\n  seen: {}\n  why:  {}\n",
            finding.what, finding.evidence, finding.why
        ));
        if let Some(fix) = &finding.fix {
            let is_safe = if fix.is_safe() { "    (--fix does it)" } else { "" };
            text.push_str(&format!("  fix:  {fix}{is_safe}\n"));
        }
        text.push('\n');
    }
    let role = match (look.role.is_director, look.role.is_real_server) {
        (true, true) => "director and real server",
        (true, false) => "director",
        (false, _) => "real server",
    };
    let of = |severity| look.findings.iter().filter(|finding| finding.severity == severity).count();
    let hints = count(of(Severity::Hint), "hint");
    text.push_str(&match (of(Severity::Broken), of(Severity::Warning)) {
        (0, 0) => format!("this host, as a {role}: nothing is wrong ({hints})\n"),
        (broken, warnings) => {
            format!("this host, as a {role}: {broken} broken, {}, {hints}\n", count(warnings, "warning"))
        }
    });
    look.unseen.iter().for_each(|what| text.push_str(&format!("not looked at: {what}\n")));
    text
}
