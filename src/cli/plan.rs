//! `lvsd plan`.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::socket::SocketArguments;
use super::table::Table;
use super::{ConfigArguments, check, complain, print};
use crate::config::{self, Strictness, VirtualServerId};
use crate::daemon::plan::{self, HealthSource, Plan};
use crate::daemon::startup::Exit;
use crate::daemon::sysctls;
use crate::director::preview::Change;
use crate::director::status::VirtualServerStatus;
use crate::ipvs::types::{Destination, Service, SyncRole};
use crate::text;

/// What becomes of a server that is replaced.
const STAYS: &str = "serves until what replaces it is up (2 minutes at most)";

#[derive(Debug, clap::Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    config: ConfigArguments,
    #[command(flatten)]
    socket: SocketArguments,
    /// For machines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &PlanArguments) -> Exit {
    let socket = arguments.socket.path();
    let daemon = plan::running(&socket);
    let mut reading = arguments.config.reading();
    let path = match (&daemon, arguments.config.named()) {
        // Its own, as a reload would read it.
        (Ok(daemon), None) => {
            reading.id = reading.id.or_else(|| daemon.config_id.clone());
            if daemon.is_lenient {
                reading.strictness = Strictness::Lenient;
            }
            daemon.config.clone()
        }
        _ => arguments.config.path(),
    };
    let loaded = config::load_once(&path, &reading);
    let Some(config) = loaded.config.clone() else {
        complain(&format!("no plan:\n{}", check::report(&path, &loaded, false).text.trim_end()));
        return Exit::Config;
    };
    let plan = match plan::plan(config, &arguments.socket.run_dir, daemon) {
        Ok(plan) => plan,
        Err(failure) => {
            complain(&failure.message);
            return failure.exit;
        }
    };
    print(&if arguments.json { json(&path, &plan) } else { render(&path, &socket, &plan) });
    if plan.preview.changes.is_empty() { Exit::Ok } else { Exit::Changes }
}

/// The plan as JSON.
#[derive(Serialize)]
struct Document<'a> {
    config: &'a Path,
    health: HealthSource,
    /// Why no running lvsd was asked.
    no_answer: Option<&'a str>,
    orders_known: bool,
    changes: &'a [Change],
    connections_cut: u64,
    without_quorum: Vec<Loss>,
    degraded: Vec<Degraded<'a>>,
    foreign_services: &'a [VirtualServerId],
}

/// A virtual server that would be without quorum.
#[derive(Serialize)]
struct Loss {
    virtual_server: VirtualServerId,
    live_weight: u64,
    quorum: u32,
    sorry_server_serves: bool,
    is_so_already: bool,
}

/// A virtual server the kernel would refuse a part of.
#[derive(Serialize)]
struct Degraded<'a> {
    virtual_server: VirtualServerId,
    reason: &'a str,
}

fn json(path: &Path, plan: &Plan) -> String {
    let document = Document {
        config: path,
        health: plan.health,
        no_answer: plan.unanswered.as_deref(),
        orders_known: plan.are_orders_known,
        changes: &plan.preview.changes,
        connections_cut: plan.preview.changes.iter().map(Change::cut).sum(),
        without_quorum: losses(plan),
        degraded: degraded(plan),
        foreign_services: &plan.preview.status.foreign_services,
    };
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn losses(plan: &Plan) -> Vec<Loss> {
    let loss = |s: &VirtualServerStatus| Loss {
        virtual_server: s.virtual_server,
        live_weight: s.live_weight,
        quorum: s.quorum,
        sorry_server_serves: s.sorry_server.as_ref().is_some_and(|sorry| sorry.is_active),
        is_so_already: plan.without_quorum.contains(&s.virtual_server),
    };
    plan.preview.status.virtual_servers.iter().filter(|s| !s.has_quorum).map(loss).collect()
}

fn degraded(plan: &Plan) -> Vec<Degraded<'_>> {
    let servers = plan.preview.status.virtual_servers.iter();
    servers
        .filter_map(|s| Some(Degraded { virtual_server: s.virtual_server, reason: s.degraded.as_deref()? }))
        .collect()
}

fn render(path: &Path, socket: &Path, plan: &Plan) -> String {
    let health = match plan.health {
        HealthSource::Daemon { pid } => format!("as the running lvsd (pid {pid}) sees it"),
        HealthSource::StateFile => {
            "as the last lvsd left it; every server that was not down is assumed up".to_owned()
        }
        HealthSource::Assumed => "unknown, every real server is assumed up".to_owned(),
    };
    let mut text = format!("{} and this kernel; health: {health}\n", text::line(&path.display().to_string()));
    if let Some(why) = &plan.unanswered {
        let orders = if plan.are_orders_known {
            "operators' orders are as the last lvsd left them"
        } else {
            "operators' orders (drain, disable, weight) are unknown"
        };
        let _ = writeln!(
            text,
            "no lvsd answers at {} ({why}): {orders}",
            text::line(&socket.display().to_string())
        );
    }
    text.push('\n');
    let changes = &plan.preview.changes;
    if !changes.is_empty() {
        text.push_str(&rows(changes));
        text.push('\n');
    }
    for loss in losses(plan) {
        let verb = if loss.is_so_already { "stays" } else { "would be" };
        let sorry = if loss.sorry_server_serves { ": its sorry server serves" } else { "" };
        let Loss { virtual_server, live_weight, quorum, .. } = loss;
        let _ = writeln!(
            text,
            "virtual server {virtual_server} {verb} without quorum, weight {live_weight}, quorum {quorum}{sorry}"
        );
    }
    for Degraded { virtual_server, reason } in degraded(plan) {
        let _ = writeln!(text, "virtual server {virtual_server} would be degraded: {reason}");
    }
    for foreign in &plan.preview.status.foreign_services {
        let _ = writeln!(text, "foreign service {foreign} is left alone");
    }
    let cut: u64 = changes.iter().map(Change::cut).sum();
    if cut > 0 {
        let _ = writeln!(text, "{cut} active connections would be cut");
    }
    let _ = match changes.len() {
        0 => writeln!(text, "nothing to change"),
        1 => writeln!(text, "1 change"),
        n => writeln!(text, "{n} changes"),
    };
    text
}

fn rows(changes: &[Change]) -> String {
    let mut table = Table::default();
    table.row(["", "WHAT", "NOW", "THEN", "CONNECTIONS"]);
    let mut headed = None;
    for change in changes {
        match change {
            Change::Service { service, mark, before, after } => {
                headed = Some((*service, *mark));
                let (now, then) = (before.as_ref().map(words), after.as_ref().map(words));
                table.row(cells(&heading(*service, *mark), now, then, String::new()));
            }
            Change::Destination { service, mark, destination, before, after, connections, drains, stays } => {
                if headed.replace((*service, *mark)) != Some((*service, *mark)) {
                    table.row(["", &heading(*service, *mark), "", "", ""]);
                }
                let active = connections.active;
                let effect = match after {
                    None if active > 0 => format!("{active} active are cut"),
                    _ if *drains => format!("{active} active end first, then it is removed"),
                    _ => String::new(),
                };
                let effect = match (stays, effect.is_empty()) {
                    (false, _) => effect,
                    (true, true) => STAYS.to_owned(),
                    (true, false) => format!("{STAYS}, then {effect}"),
                };
                let (now, then) = (before.map(destination_words), after.map(destination_words));
                table.row(cells(&format!("  {destination}"), now, then, effect));
            }
            Change::Timeouts { after: t } => {
                let then = format!("tcp {} tcpfin {} udp {}", t.tcp, t.tcp_fin, t.udp);
                table.row(["~", "timeouts", "", &then, ""]);
            }
            Change::Setting { name, before, after } => {
                let what = format!("setting {}", sysctls::full(name));
                table.row(["~", &what, before.as_deref().unwrap_or_default(), after, ""]);
            }
            Change::StartSync { role, interface } => {
                table.row(["+", &format!("sync daemon ({})", role_word(*role)), "", interface, ""]);
            }
            Change::StopSync { role } => {
                table.row(["-", &format!("sync daemon ({})", role_word(*role)), "", "", ""]);
            }
        }
    }
    table.render()
}

fn heading(service: VirtualServerId, mark: Option<u32>) -> String {
    match mark {
        // This host is one of its real servers, too.
        Some(mark) => format!("service {service} by mark {mark:#x}"),
        None => format!("service {service}"),
    }
}

/// A row of a table of changes: its sign, what changes, as it is, as it will be, and what follows.
pub(super) fn cells(what: &str, now: Option<String>, then: Option<String>, effect: String) -> [String; 5] {
    let sign = match (&now, &then) {
        (None, _) => "+",
        (Some(_), None) => "-",
        (Some(_), Some(_)) => "~",
    };
    [sign.to_owned(), what.to_owned(), now.unwrap_or_default(), then.unwrap_or_default(), effect]
}

fn words(service: &Service) -> String {
    let mut text = service.scheduler.to_string();
    if service.flags.0 != 0 {
        let _ = write!(text, " flags {:#x}", service.flags.0);
    }
    if let Some(persistence) = &service.persistence {
        let _ = write!(text, " persistent {} s /{}", persistence.timeout, persistence.prefix);
    }
    if let Some(engine) = &service.persistence_engine {
        let _ = write!(text, " engine {engine}");
    }
    text
}

fn destination_words(d: Destination) -> String {
    let mut text = format!("{} weight {}", d.forwarding, d.weight);
    if d.upper_threshold > 0 || d.lower_threshold > 0 {
        let _ = write!(text, " thresholds {}-{}", d.lower_threshold, d.upper_threshold);
    }
    text
}

fn role_word(role: SyncRole) -> &'static str {
    match role {
        SyncRole::Master => "master",
        SyncRole::Backup => "backup",
    }
}
