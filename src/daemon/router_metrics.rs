//! Virtual routers and BFD sessions as metrics, from the same status as `lvsd status`.

use super::exposition::{Exposition, Kind, Labels};
use crate::bfd::packet::{Flaw, State as SessionState};
use crate::bfd::status::SessionStatus;
use crate::director::track_checks::TrackCheckStatus;
use crate::vrrp::assertion::AssertStatus;
use crate::vrrp::io::State;
use crate::vrrp::packet::KINDS;
use crate::vrrp::status::{InstanceStatus, PeerStatus, Status};

/// A family of one value for each instance.
type Row<S> = (&'static str, Kind, &'static str, fn(&S) -> u64);

/// The checks that virtual routers track; the director runs them.
pub(super) fn render_checks(text: &mut Exposition, checks: &[TrackCheckStatus]) {
    use Kind::{Counter, Gauge};
    if checks.is_empty() {
        return;
    }
    let bare = Labels::default();
    #[rustfmt::skip]
    let rows: &[Row<TrackCheckStatus>] = &[
        ("check_up", Gauge, "1 while the vrrp_check counts as up.", |c| (c.is_up == Some(true)).into()),
        ("check_runs_total", Counter, "Runs of the vrrp_check.", |c| c.checks),
        ("check_failures_total", Counter, "Runs of the vrrp_check that failed.", |c| c.check_failures),
    ];
    for (name, kind, help, value) in rows {
        let samples = checks.iter().map(|check| (bare.with("check", &check.name), value(check)));
        text.family(&format!("lvsd_vrrp_{name}"), *kind, help, samples);
    }
}

pub(super) fn render(text: &mut Exposition, router: &Status) {
    use Kind::{Counter, Gauge};
    let bare = Labels::default();
    if !router.sessions.is_empty() {
        render_sessions(text, router);
    }
    let instances: Vec<(Labels, &InstanceStatus)> =
        router.instances.iter().map(|i| (bare.with("instance", &i.name).with("vrid", i.vrid), i)).collect();
    let states = instances.iter().flat_map(|(labels, instance)| {
        [State::Init, State::Backup, State::Master, State::Fault].map(|state| {
            let name = state.to_string().to_lowercase();
            (labels.with("state", name), u8::from(instance.state == state))
        })
    });
    text.family("lvsd_vrrp_state", Gauge, "1 for the state the instance is in.", states);
    #[rustfmt::skip]
    let rows: &[Row<InstanceStatus>] = &[
        ("priority", Gauge, "Effective priority.", |i| i.priority.into()),
        ("base_priority", Gauge, "Configured priority.", |i| i.base_priority.into()),
        ("state_age_seconds", Gauge, "Seconds since its last transition.", |i| i.since_milliseconds / 1000),
        ("addresses_held", Gauge, "Addresses of it that are on this host.", |i| i.addresses.iter().filter(|a| a.is_held).count() as u64),
        ("conflict", Gauge, "1 while a peer of its VRID has a conflicting configuration.", |i| i.has_conflict.into()),
        ("peers", Gauge, "Other routers that advertise its VRID.", |i| i.peers.len() as u64),
        ("became_master_total", Counter, "How often it became Master.", |i| i.counters.became_master),
        ("adverts_sent_total", Counter, "Advertisements sent.", |i| i.counters.sent),
        ("adverts_received_total", Counter, "Advertisements accepted.", |i| i.counters.accepted),
        ("priority_zero_sent_total", Counter, "Advertisements of priority 0 sent.", |i| i.counters.priority_zero_sent),
        ("priority_zero_received_total", Counter, "Advertisements of priority 0 received.", |i| i.counters.priority_zero_received),
        ("lower_priority_received_total", Counter, "Advertisements of a lower priority that a Master received.", |i| i.counters.lower_priority_received),
        ("looped_total", Counter, "Own advertisements that came back.", |i| i.counters.looped),
        ("restored_total", Counter, "Addresses, routes and rules of it that another program removed, and that were restored.", |i| i.counters.restored),
    ];
    for (name, kind, help, value) in rows {
        let samples = instances.iter().map(|(labels, instance)| (labels.clone(), value(instance)));
        text.family(&format!("lvsd_vrrp_{name}"), *kind, help, samples);
    }
    #[rustfmt::skip]
    let rows: &[Row<AssertStatus>] = &[
        ("ok", Gauge, "1 while the command of assert has succeeded since the instance became Master, and failed no more.", |a| a.is_asserted.into()),
        ("failures", Gauge, "Failures of the command of assert in a row.", |a| a.failures.into()),
        ("runs_total", Counter, "Runs of the command of assert.", |a| a.runs),
        ("failed_total", Counter, "Those that failed.", |a| a.failed),
    ];
    if instances.iter().any(|(_, instance)| instance.assert.is_some()) {
        for (name, kind, help, value) in rows {
            let asserts = instances.iter().filter_map(|(labels, i)| Some((labels, i.assert.as_ref()?)));
            let samples = asserts.map(|(labels, assert)| (labels.clone(), value(assert)));
            text.family(&format!("lvsd_vrrp_assert_{name}"), *kind, help, samples);
        }
    }
    // Every kind is there from the start: a counter that appears with 1 has no rate.
    let dropped = instances.iter().flat_map(|(labels, instance)| {
        let counted = &instance.counters.dropped;
        let unusual = counted.keys().map(String::as_str).filter(|kind| !KINDS.contains(kind));
        let kinds: Vec<&str> = KINDS.iter().copied().chain(unusual).collect();
        let count = |kind: &str| counted.get(kind).copied().unwrap_or(0);
        kinds.into_iter().map(move |kind| (labels.with("kind", kind), count(kind))).collect::<Vec<_>>()
    });
    text.family("lvsd_vrrp_dropped_total", Counter, "Packets for the instance that were dropped.", dropped);
    let unknown = router.unknown_vrid.iter().map(|(kind, count)| (bare.with("kind", kind), *count));
    text.family(
        "lvsd_vrrp_unknown_vrid_total",
        Counter,
        "Packets that belong to no instance, by kind.",
        unknown,
    );
    let peers: Vec<(Labels, &PeerStatus)> = instances
        .iter()
        .flat_map(|(labels, i)| i.peers.iter().map(|s| (labels.with("source", s.source), s)))
        .collect();
    #[rustfmt::skip]
    let rows: &[Row<PeerStatus>] = &[
        ("accepted_total", Counter, "Advertisements of another peer that were accepted.", |s| s.accepted),
        ("refused_total", Counter, "Packets of another peer that were refused.", |s| s.refused),
        ("conflict", Gauge, "1 while this peer and this host cannot agree.", |s| s.conflict.is_some().into()),
    ];
    for (name, kind, help, value) in rows {
        let samples = peers.iter().map(|(labels, peer)| (labels.clone(), value(peer)));
        text.family(&format!("lvsd_vrrp_peer_{name}"), *kind, help, samples);
    }
    let late = [(bare.clone(), router.late_times)];
    text.family("lvsd_vrrp_late_total", Counter, "How often its timers ran late.", late);
    let refused = [(bare, router.refused.len())];
    text.family(
        "lvsd_vrrp_refused",
        Gauge,
        "Addresses, routes, rules and links the kernel refuses.",
        refused,
    );
}

fn render_sessions(text: &mut Exposition, router: &Status) {
    use Kind::{Counter, Gauge};
    let bare = Labels::default();
    let sessions: Vec<(Labels, &SessionStatus)> = router
        .sessions
        .iter()
        .map(|s| (bare.with("session", &s.name).with("neighbor", s.neighbor), s))
        .collect();
    let states = sessions.iter().flat_map(|(labels, session)| {
        [SessionState::AdminDown, SessionState::Down, SessionState::Init, SessionState::Up].map(|state| {
            let name = state.to_string().to_lowercase();
            (labels.with("state", name), u8::from(session.state == state))
        })
    });
    text.family("lvsd_bfd_state", Gauge, "1 for the state the session is in.", states);
    #[rustfmt::skip]
    let rows: &[Row<SessionStatus>] = &[
        ("state_age_seconds", Gauge, "Seconds since its last change of state.", |s| s.since_milliseconds / 1000),
        ("detection_microseconds", Gauge, "Silence after which its neighbor is taken for unreachable; 0 before it was heard.", |s| s.detection_microseconds.unwrap_or(0)),
        ("trouble", Gauge, "1 while it can send or receive nothing, for a reason of this host.", |s| s.trouble.is_some().into()),
        ("came_up_total", Counter, "How often it came up.", |s| s.came_up),
        ("went_down_total", Counter, "How often it went down.", |s| s.went_down),
        ("sent_total", Counter, "Packets sent.", |s| s.sent),
        ("received_total", Counter, "Packets accepted.", |s| s.received),
    ];
    for (name, kind, help, value) in rows {
        let samples = sessions.iter().map(|(labels, session)| (labels.clone(), value(session)));
        text.family(&format!("lvsd_bfd_{name}"), *kind, help, samples);
    }
    // Every kind is there from the start: a counter that appears with 1 has no rate.
    let dropped = sessions.iter().flat_map(|(labels, session)| {
        let count = |flaw: Flaw| session.dropped.get(flaw.kind()).copied().unwrap_or(0);
        Flaw::OF_SESSIONS.map(|flaw| (labels.with("kind", flaw.kind()), count(flaw)))
    });
    text.family("lvsd_bfd_dropped_total", Counter, "Packets of its neighbor that were dropped.", dropped);
    let unknown = router.unknown_sessions.iter().map(|(kind, count)| (bare.with("kind", kind), *count));
    text.family("lvsd_bfd_unknown_total", Counter, "Packets that belong to no session, by kind.", unknown);
}
