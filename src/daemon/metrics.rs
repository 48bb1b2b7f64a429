//! The status as metrics. Derived from what `lvsd status --json` says, so that the two never disagree.
//!
//! The kernel's counters are as old as the last sweep: `lvsd_virtual_server_sample_age_seconds` says how old. A rate
//! over less than a sweep's interval means nothing.

use super::control::DaemonStatus;
use super::exposition::{Exposition, Kind, Labels};
use super::router_metrics;
use crate::director::problems;
use crate::director::status::{RealServerStatus, VirtualServerStatus};
use crate::doctor::Severity;

/// All metrics, in Prometheus' text format.
pub(crate) fn render(status: &DaemonStatus) -> String {
    let mut text = Exposition::default();
    daemon(&mut text, status);
    let virtual_servers: Vec<_> = status
        .director
        .virtual_servers
        .iter()
        .map(|server| (Labels::default().with("virtual_server", server.virtual_server), server))
        .collect();
    virtual_server_families(&mut text, &virtual_servers);
    let real_servers: Vec<_> = virtual_servers
        .iter()
        .flat_map(|(labels, server)| {
            server.real_servers.iter().map(|real| (labels.with("real_server", real.real_server), real))
        })
        .collect();
    real_server_families(&mut text, &real_servers);
    if let Some(router) = &status.router {
        router_metrics::render(&mut text, router);
    }
    router_metrics::render_checks(&mut text, &status.director.vrrp_checks);
    text.into_text()
}

fn daemon(text: &mut Exposition, status: &DaemonStatus) {
    use Kind::{Counter, Gauge};
    let bare = Labels::default();
    let director = &status.director;
    let mut one = |name: &str, kind: Kind, help: &str, value: f64| {
        text.family(name, kind, help, [(bare.clone(), value)]);
    };
    one("lvsd_uptime_seconds", Gauge, "Seconds since the daemon started.", float(status.uptime_seconds));
    one(
        "lvsd_ready",
        Gauge,
        "1 once the kernel held what it should for the first time.",
        bit(director.is_ready),
    );
    one("lvsd_healthy", Gauge, "1 while /healthz says 200.", bit(status.trouble.is_none()));
    one(
        "lvsd_converged",
        Gauge,
        "1 while the IPVS table matches the desired state.",
        bit(director.is_converged),
    );
    one("lvsd_kernel_up", Gauge, "1 while the kernel answers.", bit(director.kernel_trouble.is_none()));
    one(
        "lvsd_kernel_errors_total",
        Counter,
        "Operations the kernel refused and requests it did not answer.",
        float(director.kernel_errors),
    );
    one(
        "lvsd_drift_repaired_total",
        Counter,
        "Changes by other programs that were repaired.",
        float(director.drift_repaired),
    );
    one(
        "lvsd_services_adopted_total",
        Counter,
        "Services found in the kernel that became ours.",
        float(director.services_adopted),
    );
    one(
        "lvsd_foreign_services",
        Gauge,
        "Services in the kernel that are not configured here.",
        float(director.foreign_services.len() as u64),
    );
    one("lvsd_checkers", Gauge, "Distinct checkers.", float(director.checkers as u64));
    one(
        "lvsd_checkers_stale",
        Gauge,
        "Checkers that could not run for three intervals, for a reason of this host: their verdicts are held.",
        float(director.stale_checkers as u64),
    );
    one(
        "lvsd_check_overdue_seconds",
        Gauge,
        "How late the latest check is to begin or to end.",
        float(director.overdue_milliseconds) / 1000.0,
    );
    let host = [Severity::Broken, Severity::Warning].map(|severity| {
        let word = if severity == Severity::Broken { "broken" } else { "warning" };
        let count = status.host.iter().filter(|found| found.severity == severity).count();
        (bare.with("severity", word), count)
    });
    let help = "Findings about this host: settings, links, addresses, firewall.";
    text.family("lvsd_host_problems", Gauge, help, host);
    let version = bare.with("version", &status.version);
    text.family("lvsd_build_info", Gauge, "Always 1; the version is its label.", [(version, 1)]);
    let result = |name: &str| bare.with("result", name);
    let reloads =
        [(result("accepted"), status.reloads_accepted), (result("rejected"), status.reloads_rejected)];
    text.family("lvsd_reloads_total", Counter, "Reloads by their verdict.", reloads);
    if let Some(mail) = &status.mail {
        let changes = [("sent", mail.sent), ("failed", mail.failed), ("dropped", mail.dropped)]
            .map(|(name, count)| (result(name), count));
        text.family("lvsd_mail_changes_total", Counter, "Changes to report by mail, by result.", changes);
        let one = |value: u64| [(bare.clone(), value)];
        text.family(
            "lvsd_mails_total",
            Counter,
            "Mails the mail server took; one may tell many changes.",
            one(mail.mails),
        );
        text.family(
            "lvsd_mail_changes_waiting",
            Gauge,
            "Changes that wait to be reported by mail.",
            one(mail.waiting as u64),
        );
        text.family(
            "lvsd_mail_failing",
            Gauge,
            "1 while the mail server takes no mails.",
            one(mail.is_failing.into()),
        );
    }
    let last = status.last_reload.as_ref();
    let accepted = last.map(|r| (bare.clone(), u8::from(r.is_accepted)));
    text.family("lvsd_last_reload_accepted", Gauge, "1 when the last reload was put in force.", accepted);
    let age = last.map(|r| (bare.clone(), r.seconds_ago));
    text.family("lvsd_last_reload_age_seconds", Gauge, "Seconds since the last reload.", age);
}

/// A family of one value for each server.
type Row<S> = (&'static str, Kind, &'static str, fn(&S) -> Option<u64>);

fn virtual_server_families(text: &mut Exposition, servers: &[(Labels, &VirtualServerStatus)]) {
    use Kind::{Counter, Gauge};
    #[rustfmt::skip]
    let rows: &[Row<VirtualServerStatus>] = &[
        ("up", Gauge, "1 while the virtual server has quorum.", |s| flag(s.has_quorum)),
        ("live_weight", Gauge, "Weight of the real servers that are up.", |s| Some(s.live_weight)),
        ("quorum", Gauge, "Weight needed for quorum.", |s| Some(s.quorum.into())),
        ("checks_suspended", Gauge, "1 while its checks wait for this host to have the VIP (ha_suspend).", |s| flag(s.suspended.is_some())),
        ("in_kernel", Gauge, "1 while the service is in the kernel.", |s| flag(s.is_in_kernel)),
        ("degraded", Gauge, "1 while the kernel refuses a part of the service.", |s| flag(s.degraded.is_some())),
        ("sorry_active", Gauge, "1 while the sorry server serves.", |s| flag(s.sorry_server.as_ref()?.is_active)),
        ("staying", Gauge, "Real servers taken out by the configuration that serve until what replaces them is up.", |s| Some(s.staying.len() as u64)),
        ("leaving", Gauge, "Removed real servers that serve their last connections.", |s| Some(s.leaving.len() as u64)),
        ("sample_age_seconds", Gauge, "Age of the kernel's counters and connections below.", |s| s.sample_age_seconds),
        ("connections_total", Counter, "Connections scheduled.", |s| Some(s.stats.connections)),
        ("packets_in_total", Counter, "Packets from clients.", |s| Some(s.stats.packets_in)),
        ("packets_out_total", Counter, "Packets to clients (NAT only).", |s| Some(s.stats.packets_out)),
        ("bytes_in_total", Counter, "Bytes from clients.", |s| Some(s.stats.bytes_in)),
        ("bytes_out_total", Counter, "Bytes to clients (NAT only).", |s| Some(s.stats.bytes_out)),
    ];
    families(text, "lvsd_virtual_server", rows, servers);
    let problems = servers.iter().flat_map(|(labels, server)| {
        problems::Kind::ALL.iter().map(|kind| {
            let count = server.problems.iter().filter(|problem| problem.kind() == *kind).count();
            (labels.with("problem", kind.word()), count)
        })
    });
    let help = "Problems that clients suffer although the kernel holds what it should.";
    text.family("lvsd_virtual_server_problems", Gauge, help, problems);
}

fn real_server_families(text: &mut Exposition, servers: &[(Labels, &RealServerStatus)]) {
    use Kind::{Counter, Gauge};
    #[rustfmt::skip]
    let rows: &[Row<RealServerStatus>] = &[
        ("up", Gauge, "1 while the real server counts as up.", |s| flag(s.is_up)),
        ("state_age_seconds", Gauge, "Seconds since it went up or down.", |s| Some(s.since_seconds)),
        ("weight", Gauge, "Weight while it serves: as ordered by an operator, else as configured.", |s| Some(s.weight.into())),
        ("configured_weight", Gauge, "Weight by configuration.", |s| Some(s.configured_weight.into())),
        ("kernel_weight", Gauge, "Weight in the kernel; absent while it is not there.", |s| Some(s.kernel_weight?.into())),
        ("ordered", Gauge, "1 while an operator's order holds: drain, disable, weight.", |s| flag(s.order.is_some())),
        ("active_connections", Gauge, "Established connections.", |s| Some(s.connections.active.into())),
        ("inactive_connections", Gauge, "Connections in any other state.", |s| Some(s.connections.inactive.into())),
        ("persistence_templates", Gauge, "Clients held by persistence.", |s| Some(s.connections.persistent.into())),
        ("checks_total", Counter, "Runs of its checkers that ended.", |s| Some(s.checks)),
        ("check_failures_total", Counter, "Runs of its checkers that failed.", |s| Some(s.check_failures)),
        ("path_good", Gauge, "1 while packets for the VIP arrive there and are answered; absent where that is not checked.", |s| flag(s.path.as_ref()?.is_good?)),
        ("unverified_seconds", Gauge, "For how long a checker could not run, for a reason of this host.", |s| Some(s.unverified_seconds.unwrap_or(0))),
        ("connections_total", Counter, "Connections scheduled.", |s| Some(s.stats.connections)),
        ("packets_in_total", Counter, "Packets from clients.", |s| Some(s.stats.packets_in)),
        ("packets_out_total", Counter, "Packets to clients (NAT only).", |s| Some(s.stats.packets_out)),
        ("bytes_in_total", Counter, "Bytes from clients.", |s| Some(s.stats.bytes_in)),
        ("bytes_out_total", Counter, "Bytes to clients (NAT only).", |s| Some(s.stats.bytes_out)),
    ];
    families(text, "lvsd_real_server", rows, servers);
    let ends = servers.iter().flat_map(|(labels, server)| {
        server.certificates.iter().map(|c| (labels.with("target", c.target), c.not_after))
    });
    let help = "When the certificate a check was last shown ends, in seconds since 1970 UTC.";
    text.family("lvsd_real_server_certificate_not_after_seconds", Gauge, help, ends);
}

fn families<S>(text: &mut Exposition, prefix: &str, rows: &[Row<S>], servers: &[(Labels, &S)]) {
    for (name, kind, help, value) in rows {
        let samples = servers.iter().filter_map(|(labels, server)| Some((labels.clone(), value(server)?)));
        text.family(&format!("{prefix}_{name}"), *kind, help, samples);
    }
}

fn flag(is_so: bool) -> Option<u64> {
    Some(u64::from(is_so))
}

fn bit(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// Prometheus' numbers are floats; above 2^53 they are rounded.
#[allow(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}
