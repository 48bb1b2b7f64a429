//! Received packets: which instance they are for, whether they are accepted, what follows from them.
//!
//! Every host on the link can send anything here. What is not accepted changes nothing but counters, and is logged at most
//! once per kind, sender and minute. A packet that shows a mistake in a configuration is reported with what to change.

mod conflict;

use std::net::IpAddr;

use self::conflict::{difference, disagreement, in_vain};
use crate::time::Instant;
use crate::vrrp::event::Event;
use crate::vrrp::instance::{Claim, Reaction};
use crate::vrrp::io::{Datagram, Effect, State};
use crate::vrrp::member::Member;
use crate::vrrp::packet::{self, Flaw, Malformed, Received, ReceivedAuthentication};
use crate::vrrp::peers::PeerProfile;
use crate::vrrp::router::Router;
use crate::vrrp::settings::{Family, Transport, Version};

impl Router {
    /// A packet arrived.
    pub(in crate::vrrp) fn receive(&mut self, datagram: &Datagram, now: Instant, out: &mut Vec<Effect>) {
        if self.is_stopping() {
            return;
        }
        let received = match packet::decode(datagram) {
            Ok(received) => received,
            Err(malformed) => {
                let name = malformed.vrid.and_then(|vrid| self.instance_for(vrid, datagram));
                self.refuse(name.as_deref(), datagram, None, &malformed, now, out);
                return;
            }
        };
        let vrid = received.advert.vrid;
        let Some(name) = self.instance_for(vrid, datagram) else {
            *self.unknown_vrid.entry("unknown_vrid").or_default() += 1;
            if self.settings.logs_unknown_vrids {
                let reason = format!("VRID {vrid} is not configured there");
                self.report_drop(None, "unknown_vrid", datagram.source, reason, now, out);
            }
            return;
        };
        let wall = self.wall(now);
        let Some(member) = self.members.get_mut(&name) else { return };
        let is_below = member.binding.link != Some(datagram.link) && member.binding.link.is_some();
        if is_below && datagram.destination.is_multicast() {
            // Its macvlan is given the same packet.
            return;
        }
        if member.instance.source() == Some(datagram.source) {
            member.statistics.looped += 1;
            if !std::mem::replace(&mut member.has_reported_loop, true) {
                let reason =
                    "it has this host's own source address: it came back, or another host has that address";
                self.report_drop(Some(&name), "own", datagram.source, reason.to_owned(), now, out);
            }
            return;
        }
        let checked = check(member, &received, datagram).and_then(|()| {
            let expected = &member.instance.settings().authentication.clone();
            packet::authenticate(&received, datagram, expected, &mut member.replay, wall)
                .map_err(|malformed| malformed.flaw)
        });
        match checked {
            Err(flaw) => {
                let malformed = Malformed { vrid: Some(vrid), flaw };
                self.refuse(Some(&name), datagram, Some(&received), &malformed, now, out);
            }
            Ok(in_spite_of) => {
                if let Some(sequence) = received.sequence {
                    member.counters.saw_sequence(sequence);
                }
                if let Some(flaw) = in_spite_of {
                    let reason = format!("accepted though {flaw} (auth_hmac mode permissive)");
                    self.report_drop(Some(&name), "permissive", datagram.source, reason, now, out);
                }
                self.accept(&name, &received, datagram, now, out);
            }
        }
    }

    /// The instance an advertisement of that VRID is about, by where it arrived.
    fn instance_for(&self, vrid: u8, datagram: &Datagram) -> Option<String> {
        let family = if datagram.source.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        let is_meant = |m: &&Member| {
            let settings = m.settings();
            settings.vrid == vrid
                && settings.family == family
                && (m.binding.link == Some(datagram.link)
                    || m.binding.base == Some(datagram.link)
                    || settings.interface.is_none())
        };
        let mut all = self.members.values().filter(is_meant);
        let first = all.next()?;
        // Multicast and unicast ones of the same VRID are two virtual routers.
        let fits = |m: &&Member| is_multicast(m) == datagram.destination.is_multicast();
        let best = std::iter::once(first).chain(all).find(fits).unwrap_or(first);
        Some(best.settings().name.clone())
    }

    fn accept(
        &mut self,
        name: &str,
        received: &Received,
        datagram: &Datagram,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        self.learn_source(name, datagram);
        let joins_a_master = self.joins_a_master(name);
        let Some(member) = self.members.get_mut(name) else { return };
        member.instance.set_joins_a_master(joins_a_master);
        let source = datagram.source;
        let advert = &received.advert;
        member.statistics.accepted += 1;
        member.peers.accepted(source, profile(received, datagram), now);
        let usual = member.settings().advert_interval;
        let is_believed = member.instance.believes(advert.interval)
            || member.peers.has_repeated(source, advert.interval, usual, now);
        let interval = Some(advert.interval).filter(|_| is_believed);
        let claim = Claim { source, priority: advert.priority, interval };
        let (is_late, since) = (member.instance.is_late(now), member.instance.since());
        let reaction = member.instance.receive(now, claim);
        if advert.priority == 0 {
            member.statistics.priority_zero_received += 1;
        } else {
            let difference = match reaction {
                Reaction::Assert { is_in_vain: true, .. } => {
                    Some(("in_vain", in_vain(advert.priority, member.instance.priority())))
                }
                _ => disagreement(member, received, source, is_believed),
            };
            self.compare(name, source, difference, now, out);
        }
        let Some(member) = self.members.get_mut(name) else { return };
        match reaction {
            Reaction::Follow if member.owes_last_word && member.instance.is_outdone_by(claim) => {
                // Not while better ones may wait to be read: in a pass over all that arrived, or in the moment it yielded.
                if !self.is_catching_up() && now > since {
                    self.say_last_word(name, now, out);
                }
            }
            Reaction::Follow if joins_a_master && claim.priority > 0 => self.take_group_back(name, now, out),
            Reaction::Nothing | Reaction::Follow | Reaction::TakeOver => {}
            // An instance that is late decides when everything that arrived has been read.
            Reaction::Advertise if is_late => {}
            Reaction::Advertise => self.advertise(name, None, now, out),
            Reaction::Yield => self.yield_to(name, claim, is_late, now, out),
            Reaction::Assert { is_first, is_rival, is_due, .. } => {
                member.statistics.lower += 1;
                let is_silent = member.settings().ignores_lower_priority;
                let ours = member.instance.priority();
                if is_due && !is_silent && !is_late {
                    self.advertise(name, None, now, out);
                }
                if is_rival {
                    self.addresses_are_claimed(name, now);
                    let event = Event::LowerPriority {
                        instance: name.to_owned(),
                        source,
                        theirs: claim.priority,
                        ours,
                        is_over: false,
                    };
                    out.push(Effect::Event(event));
                }
                if is_first || is_rival {
                    self.announce_against_lower(name, now);
                }
            }
        }
    }

    /// An accepted peer and this host differ in something, or do not.
    fn compare(
        &mut self,
        name: &str,
        source: IpAddr,
        difference: Option<(&'static str, String)>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some(member) = self.members.get_mut(name) else { return };
        let instance = name.to_owned();
        match difference {
            Some((kind, what)) => {
                let what =
                    format!("{source} and this host differ on VRID {}: {what}", member.settings().vrid);
                if member.peers.add_conflict(source, kind, what.clone(), now) {
                    out.push(Effect::Event(Event::Conflict { instance, source, what }));
                }
            }
            None => {
                if member.peers.end_conflict(source) {
                    out.push(Effect::Event(Event::ConflictEnded { instance, source }));
                }
            }
        }
    }

    /// A packet is not accepted.
    fn refuse(
        &mut self,
        name: Option<&str>,
        datagram: &Datagram,
        received: Option<&Received>,
        malformed: &Malformed,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let (kind, source) = (malformed.kind(), datagram.source);
        let Some(member) = name.and_then(|name| self.members.get_mut(name)) else {
            *self.unknown_vrid.entry(kind).or_default() += 1;
            self.report_drop(None, kind, source, malformed.to_string(), now, out);
            return;
        };
        *member.statistics.dropped.entry(kind).or_default() += 1;
        let profile = received.map_or_else(|| unknown(datagram), |received| profile(received, datagram));
        member.peers.refused(source, profile, malformed.to_string(), now);
        let name = name.unwrap_or_default();
        // Priority 0 claims nothing, and a malformed packet says nothing about configuration.
        let is_claim = received.is_some_and(|received| received.advert.priority > 0);
        match difference(&malformed.flaw).filter(|_| is_claim) {
            None => self.report_drop(Some(name), kind, source, malformed.to_string(), now, out),
            Some(difference) => {
                let vrid = member.settings().vrid;
                let what = match member.state() {
                    State::Master => {
                        format!("{source} also says it is master of VRID {vrid}: {difference}")
                    }
                    _ => format!(
                        "{source} says it is master of VRID {vrid}, but its packets are not accepted: {difference}"
                    ),
                };
                if member.peers.add_conflict(source, kind, what.clone(), now) {
                    let event = Event::Conflict { instance: name.to_owned(), source, what };
                    out.push(Effect::Event(event));
                }
            }
        }
    }

    fn report_drop(
        &mut self,
        instance: Option<&str>,
        kind: &'static str,
        source: IpAddr,
        reason: String,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if let Some(suppressed) = self.log_limit.admit(kind, source, now) {
            let instance = instance.map(str::to_owned);
            out.push(Effect::Event(Event::Dropped { instance, source, reason, suppressed }));
        }
    }

    /// Ends the conflicts that no packet has repeated for long enough.
    pub(in crate::vrrp) fn end_conflicts(&mut self, name: &str, now: Instant, out: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(name) else { return };
        let ended = member.peers.end_conflicts(now);
        for (source, is_reported) in &ended {
            if *is_reported {
                let event = Event::ConflictEnded { instance: name.to_owned(), source: *source };
                out.push(Effect::Event(event));
            }
        }
        if !ended.is_empty() {
            // The other Master may have announced the same addresses last.
            self.announce_again(name);
        }
    }
}

fn is_multicast(member: &Member) -> bool {
    matches!(member.settings().transport, Transport::Multicast(_))
}

/// Step two: what this instance expects, before its authentication.
fn check(member: &Member, received: &Received, datagram: &Datagram) -> Result<(), Flaw> {
    let settings = member.settings();
    let is_multicast = datagram.destination.is_multicast();
    match &settings.transport {
        Transport::Multicast(_) if !is_multicast => return Err(Flaw::Transport { is_multicast }),
        Transport::Unicast { .. } if is_multicast => return Err(Flaw::Transport { is_multicast }),
        Transport::Multicast(_) => {}
        Transport::Unicast { peers, checks_source, .. } => {
            let peer = peers.iter().find(|peer| peer.address == datagram.source);
            if let Some(peer) = peer {
                let least = match member.binding.on_link_peers.contains(&peer.address) {
                    true => packet::HOP_LIMIT,
                    false => peer.min_hop_limit,
                };
                let (most, has) = (peer.max_hop_limit, datagram.hop_limit);
                if has < least || has > most {
                    return Err(Flaw::HopLimit { has, least, most });
                }
            } else if *checks_source {
                return Err(Flaw::Stranger);
            }
        }
    }
    let advert = &received.advert;
    if advert.version != settings.version {
        return Err(Flaw::Version { has: advert.version, expected: settings.version });
    }
    if advert.addresses.is_empty() && !settings.addresses.is_empty() {
        return Err(Flaw::NoAddresses);
    }
    if settings.version == Version::V2 && advert.interval != settings.advert_interval {
        return Err(Flaw::Interval { has: advert.interval, expected: settings.advert_interval });
    }
    Ok(())
}

fn profile(received: &Received, datagram: &Datagram) -> PeerProfile {
    let advert = &received.advert;
    PeerProfile {
        version: Some(advert.version),
        is_multicast: datagram.destination.is_multicast(),
        authentication: match (&received.hmac, received.authentication) {
            (Some(_), _) => "auth_hmac",
            (None, ReceivedAuthentication::None) => "none",
            (None, ReceivedAuthentication::Password(_)) => "PASS",
            (None, ReceivedAuthentication::Header) => "AH",
        },
        priority: Some(advert.priority),
        interval: Some(advert.interval),
        count: Some(advert.addresses.len()),
        checksum: received.checksum,
    }
}

fn unknown(datagram: &Datagram) -> PeerProfile {
    PeerProfile {
        version: None,
        is_multicast: datagram.destination.is_multicast(),
        authentication: "unknown",
        priority: None,
        interval: None,
        count: None,
        checksum: None,
    }
}
