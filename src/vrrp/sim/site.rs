//! Settings for simulated routers: one place that knows every field, so that a scenario names only what it is about.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::types::{Address, Prefix, Vmac};
use crate::vrrp::handover::{Handover, InstanceHandover};
use crate::vrrp::packet::{Counters, ReplayWindow};
use crate::vrrp::settings::{
    Announcing, Authentication, Beginning, Checksum, Family, GroupSettings, InstanceSettings, NotifyCommands,
    Peer, Settings, Track, TrackTarget, Transport, Version, Virtual, VirtualAddress,
};

/// An IPv4 instance of version 3 on e0 that advertises every second.
pub(crate) fn instance(name: &str, vrid: u8, priority: u8) -> InstanceSettings {
    InstanceSettings {
        name: name.to_owned(),
        family: Family::Ipv4,
        interface: Some("e0".to_owned()),
        vrid,
        priority,
        version: Version::V3,
        advert_interval: Duration::from_secs(1),
        beginning: if priority == 255 { Beginning::Master } else { Beginning::Backup },
        preempts: true,
        preempts_ill: false,
        preempt_delay: Duration::ZERO,
        is_strict: false,
        transport: Transport::Multicast([224, 0, 0, 18].into()),
        source: None,
        checksum: Checksum::PseudoHeader,
        authentication: Authentication::None,
        vmac: None,
        advertises_from_base: false,
        addresses: vec![vip("e0", [10, 0, 0, vrid].into(), 24)],
        excluded: Vec::new(),
        routes: Vec::new(),
        rules: Vec::new(),
        announcing: announcing(),
        missed_adverts: 3,
        ignores_lower_priority: false,
        answers_higher_priority: true,
        owner_ignores_adverts: false,
        ignores_own_link: false,
        promotes_secondaries: false,
        pair: None,
        tracks: Vec::new(),
        receive_buffer: None,
        assert: None,
        notify: NotifyCommands::default(),
    }
}

/// The same of IPv6.
pub(crate) fn instance6(name: &str, vrid: u8, priority: u8) -> InstanceSettings {
    InstanceSettings {
        family: Family::Ipv6,
        transport: Transport::Multicast(IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x12])),
        addresses: vec![
            vip("e0", IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 1, u16::from(vrid)]), 64),
            vip("e0", IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 1, u16::from(vrid)]), 64),
        ],
        ..instance(name, vrid, priority)
    }
}

pub(crate) fn announcing() -> Announcing {
    Announcing {
        delay: Duration::from_secs(5),
        repeat: 5,
        refresh: Duration::ZERO,
        refresh_repeat: 1,
        lower_priority_delay: Duration::from_secs(5),
        lower_priority_repeat: 5,
        extra: Duration::ZERO,
        extra_on_all: false,
    }
}

/// A virtual address.
pub(crate) fn vip(link: &str, ip: IpAddr, length: u8) -> VirtualAddress {
    Virtual { wanted: Arc::new(address(link, ip, length)), is_tracked: true }
}

pub(crate) fn address(link: &str, ip: IpAddr, length: u8) -> Address {
    Address {
        link: link.to_owned(),
        prefix: Prefix { ip, length },
        peer: None,
        broadcast: None,
        scope: 0,
        label: None,
        flags: if ip.is_ipv6() { 2 } else { 0 },
        preferred_lifetime: None,
    }
}

/// Unicast to these nodes' addresses on e0.
pub(crate) fn unicast(nodes: &[u8]) -> Transport {
    let peer = |n: &u8| Peer { address: [10, 0, 0, 200 + n].into(), min_hop_limit: 0, max_hop_limit: 255 };
    Transport::Unicast {
        peers: nodes.iter().map(peer).collect(),
        hop_limit: 255,
        checks_source: false,
        guards_ttl: false,
    }
}

/// The instance's own macvlan, addresses moved there.
pub(crate) fn on_vmac(mut settings: InstanceSettings) -> InstanceSettings {
    let name = format!("vrrp.{}", settings.vrid);
    let is_ipv6 = settings.family == Family::Ipv6;
    let kind = if is_ipv6 { 2 } else { 1 };
    for vip in &mut settings.addresses {
        vip.wanted = Arc::new(Address { link: name.clone(), ..Address::clone(&vip.wanted) });
    }
    let mac = [0, 0, 0x5e, 0, kind, settings.vrid];
    settings.vmac = Some(Arc::new(Vmac { name, base: "e0".to_owned(), mac, is_ipv6 }));
    settings
}

/// Follows a script.
pub(crate) fn script(name: &str, weight: i16) -> Track {
    Track { target: TrackTarget::Script(name.to_owned()), weight, is_reversed: false }
}

/// A sync group.
pub(crate) fn group(name: &str, members: &[&str]) -> GroupSettings {
    GroupSettings {
        name: name.to_owned(),
        is_pair: false,
        members: members.iter().map(|m| (*m).to_owned()).collect(),
        tracks: Vec::new(),
        counts_weights: false,
        notify: NotifyCommands::default(),
    }
}

/// All of it.
pub(crate) fn settings(instances: Vec<InstanceSettings>) -> Settings {
    Settings { instances: instances.into_iter().map(Arc::new).collect(), ..Settings::default() }
}

/// What a life hands over that was Master of this instance, an instant after it said so.
pub(crate) fn handed_over_as_master(settings: &InstanceSettings) -> Handover {
    let handed = InstanceHandover {
        vrid: settings.vrid,
        family: settings.family,
        interface: settings.interface.clone(),
        is_sole_for: Some(settings.advert_interval * u32::from(settings.missed_adverts)),
        interval: settings.advert_interval,
        counters: Counters::new(),
        replay: ReplayWindow::new(),
    };
    Handover { instances: [(settings.name.clone(), handed)].into(), ..Handover::default() }
}
