//! Traffic control at a link's doors (clsact): what is turned round, marked, dropped, or let pass.
//!
//! linux/pkt_sched.h, pkt_cls.h, tc_act/*.h. It refuses to know why.

use std::net::IpAddr;

use rustix::io::Errno;

use super::Kernel;
use super::encode::Unspeakable;
use crate::net::door::{Filter, Standing, Step, Target};
use crate::net::types::{LinkIndex, MacAddress};
use crate::netlink::attribute::{Malformed, attributes, take_u32};
use crate::netlink::request::{CREATE, DUMP, EXCLUSIVE, Request};

const NEW_QDISC: u16 = 36;
const DELETE_QDISC: u16 = 37;
const NEW_FILTER: u16 = 44;
const DELETE_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;
/// Length of `struct tcmsg`.
const HEADER: usize = 20;

/// The priorities that are ours at an ingress: services of IPv4 and IPv6, then peers of IPv4 and IPv6. One each,
/// because the kernel keeps filters of one priority and one form in one hash table.
const FIRST_PLACE: u16 = 2330;
/// All of them.
pub const PLACES: std::ops::RangeInclusive<u16> = FIRST_PLACE..=FIRST_PLACE + 3;

/// The priorities at an egress of what drops reports of IPv4 and IPv6.
const REPORTS: [u16; 2] = [FIRST_PLACE + 4, FIRST_PLACE + 5];
/// ICMPv6's, of multicast listeners: reports of version 1, what ends them, reports of version 2.
const LISTENER_REPORTS: [u8; 3] = [131, 132, 143];

/// TC_H_CLSACT, its two doors, and its handle.
const CLSACT: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
const CLSACT_HANDLE: u32 = 0xffff_0000;

const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const MATCHALL_ACTIONS: u16 = 2;
const FLOWER_ACTIONS: u16 = 3;
const FLOWER_ETHER_SOURCE: u16 = 6;
const FLOWER_ETHER_SOURCE_MASK: u16 = 7;
const FLOWER_ETHER_TYPE: u16 = 8;
const FLOWER_IP_PROTOCOL: u16 = 9;
const FLOWER_IPV4_DESTINATION: u16 = 12;
const FLOWER_IPV4_DESTINATION_MASK: u16 = 13;
const FLOWER_IPV6_DESTINATION: u16 = 16;
const FLOWER_IPV6_DESTINATION_MASK: u16 = 17;
/// Destination ports of TCP, UDP and SCTP.
const FLOWER_PORTS: [(u8, u16); 3] = [(6, 19), (17, 21), (132, 42)];
/// Their masks: the kernel's own, as none was given.
const FLOWER_PORT_MASKS: [u16; 3] = [36, 38, 40];
const FLOWER_FLAGS: u16 = 22;
const FLOWER_ICMPV6_TYPE: u16 = 55;
const FLOWER_ICMPV6_TYPE_MASK: u16 = 56;
const FLOWER_IN_HARDWARE: u16 = 86;
/// TCA_CLS_FLAGS_SKIP_HW: a card that filters by itself would have to tell marks, and few can.
const SKIP_HARDWARE: u32 = 1;

const ACTION_KIND: u16 = 1;
const ACTION_OPTIONS: u16 = 2;
/// TCA_MIRRED_PARMS, TCA_GACT_PARMS, TCA_SKBEDIT_PARMS.
const PARAMETERS: u16 = 2;
const SKBEDIT_MARK: u16 = 5;
const TO_INGRESS: u32 = 3;
/// TC_ACT_UNSPEC: the next filter is asked; TC_ACT_STOLEN.
const NEXT: u32 = u32::MAX;
const STOLEN: u32 = 4;
const DROPPED: u32 = 2;
const IGMP: u8 = 2;
const ICMPV6: u8 = 58;

/// ETH_P_ALL, ETH_P_IP, ETH_P_IPV6.
const ALL: u16 = 0x0003;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// What the kernel refused at a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// It has no such thing, and gets none by being asked again.
    pub is_lacking: bool,
    pub words: String,
}

impl Refused {
    /// Nobody knows whether it was refused.
    pub fn silence(words: String) -> Refused {
        Refused { is_lacking: false, words }
    }
}

impl From<Unspeakable> for Refused {
    fn from((errno, words): Unspeakable) -> Refused {
        let lacking = [Errno::NOENT, Errno::OPNOTSUPP].map(Errno::raw_os_error);
        Refused { is_lacking: lacking.contains(&errno), words }
    }
}

impl Kernel {
    /// Makes the doors of a link; whether they were not there.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn add_doors(&mut self, link: LinkIndex) -> Result<bool, Refused> {
        let mut request =
            Request::new(NEW_QDISC, CREATE | EXCLUSIVE, &header(link, CLSACT_HANDLE, CLSACT, 0));
        request.text(KIND, "clsact");
        match self.ask(&[request]) {
            Ok(()) => Ok(true),
            Err((errno, _)) if errno == Errno::EXIST.raw_os_error() => Ok(false),
            Err((errno, text)) => Err((errno, format!("clsact: {text}")).into()),
        }
    }

    /// Removes the doors of a link, with every filter there.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn remove_doors(&mut self, link: LinkIndex) -> Result<(), String> {
        let mut request = Request::new(DELETE_QDISC, 0, &header(link, CLSACT_HANDLE, CLSACT, 0));
        request.text(KIND, "clsact");
        self.ask(&[request]).or_else(is_gone).map_err(words)
    }

    /// Has all that leaves by `from` arrive at `to` instead.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn turn_round(&mut self, from: LinkIndex, to: LinkIndex) -> Result<(), String> {
        let mut request =
            Request::new(NEW_FILTER, CREATE | EXCLUSIVE, &header(from, 0, EGRESS, info(1, ALL)));
        request.text(KIND, "matchall").nested(OPTIONS, |options| {
            options.nested(MATCHALL_ACTIONS, |actions| {
                let numbers = [0, 0, STOLEN, 0, 0, TO_INGRESS, to.0];
                action(actions, "mirred", &numbers, None);
            });
        });
        self.ask(&[request]).map_err(words)
    }

    /// Has a link make no reports of the multicast groups it is a member of (IGMP, MLD).
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn silence_reports(&mut self, link: LinkIndex) -> Result<(), Refused> {
        self.add_doors(link)?;
        let mut filters = vec![drops(link, REPORTS[0], IPV4, IGMP, None)];
        filters.extend(LISTENER_REPORTS.map(|kind| drops(link, REPORTS[1], IPV6, ICMPV6, Some(kind))));
        for filter in filters {
            match self.ask(&[filter]) {
                Ok(()) => {}
                // A life before this one did.
                Err((errno, _)) if errno == Errno::EXIST.raw_os_error() => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        Ok(())
    }

    /// Takes a step at a link's ingress; to remove what is not there is a success.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn take_step(&mut self, link: LinkIndex, step: &Step) -> Result<(), Refused> {
        match step {
            Step::Add(filter) => self.ask(&[flower(link, filter)]).map_err(Refused::from),
            Step::Remove(s) => {
                let header = header(link, s.handle, INGRESS, info(s.priority, s.ether_type));
                let request = Request::new(DELETE_FILTER, 0, &header);
                self.ask(&[request]).or_else(is_gone).map_err(Refused::from)
            }
        }
    }

    /// What stands in our places at a link's ingress, and whether anything else stands at its doors.
    ///
    /// # Errors
    /// In words, when the kernel does not answer or makes no sense.
    pub fn filters(&mut self, link: LinkIndex) -> Result<(Vec<Standing>, bool), String> {
        let mut ours = Vec::new();
        let mut has_others = false;
        for door in [INGRESS, EGRESS] {
            let request = Request::new(GET_FILTER, DUMP, &header(link, 0, door, 0));
            let found = self.rtnetlink.list(&request, standing)?;
            let (here, elsewhere): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|s| door == INGRESS && PLACES.contains(&s.priority));
            has_others |= !elsewhere.is_empty();
            ours.extend(here);
        }
        Ok((ours, has_others))
    }
}

/// Where a filter stands: its priority.
fn place(filter: &Filter) -> u16 {
    let (services_v4, services_v6, peers_v4, peers_v6) =
        (FIRST_PLACE, FIRST_PLACE + 1, FIRST_PLACE + 2, FIRST_PLACE + 3);
    match (filter.from, filter.to.ip) {
        (None, IpAddr::V4(_)) => services_v4,
        (None, IpAddr::V6(_)) => services_v6,
        (Some(_), IpAddr::V4(_)) => peers_v4,
        (Some(_), IpAddr::V6(_)) => peers_v6,
    }
}

fn ether_type(ip: IpAddr) -> u16 {
    if ip.is_ipv4() { IPV4 } else { IPV6 }
}

fn flower(link: LinkIndex, filter: &Filter) -> Request {
    let Target { ip, protocol, port } = filter.to;
    let ether_type = ether_type(ip);
    let header = header(link, 0, INGRESS, info(place(filter), ether_type));
    let mut request = Request::new(NEW_FILTER, CREATE | EXCLUSIVE, &header);
    request.text(KIND, "flower").nested(OPTIONS, |options| {
        if let Some(MacAddress(mac)) = &filter.from {
            options.attribute(FLOWER_ETHER_SOURCE, mac).attribute(FLOWER_ETHER_SOURCE_MASK, &[0xff; 6]);
        }
        options.attribute(FLOWER_ETHER_TYPE, &ether_type.to_be_bytes());
        options.attribute(FLOWER_IP_PROTOCOL, &[protocol]);
        match ip {
            IpAddr::V4(ip) => options
                .attribute(FLOWER_IPV4_DESTINATION, &ip.octets())
                .attribute(FLOWER_IPV4_DESTINATION_MASK, &[0xff; 4]),
            IpAddr::V6(ip) => options
                .attribute(FLOWER_IPV6_DESTINATION, &ip.octets())
                .attribute(FLOWER_IPV6_DESTINATION_MASK, &[0xff; 16]),
        };
        let attribute = FLOWER_PORTS.iter().find(|(known, _)| *known == protocol);
        if let (Some((_, attribute)), Some(port)) = (attribute, port) {
            options.attribute(*attribute, &port.to_be_bytes());
        }
        options.number(FLOWER_FLAGS, SKIP_HARDWARE);
        options.nested(FLOWER_ACTIONS, |actions| {
            action(actions, "skbedit", &[0, 0, NEXT, 0, 0], Some((SKBEDIT_MARK, filter.mark)));
        });
    });
    request
}

/// Drops what leaves of an IP protocol, and of one kind of ICMPv6.
fn drops(link: LinkIndex, priority: u16, ether_type: u16, protocol: u8, kind: Option<u8>) -> Request {
    let header = header(link, 0, EGRESS, info(priority, ether_type));
    let mut request = Request::new(NEW_FILTER, CREATE | EXCLUSIVE, &header);
    request.text(KIND, "flower").nested(OPTIONS, |options| {
        options.attribute(FLOWER_ETHER_TYPE, &ether_type.to_be_bytes());
        options.attribute(FLOWER_IP_PROTOCOL, &[protocol]);
        if let Some(kind) = kind {
            options.attribute(FLOWER_ICMPV6_TYPE, &[kind]).attribute(FLOWER_ICMPV6_TYPE_MASK, &[0xff]);
        }
        options.number(FLOWER_FLAGS, SKIP_HARDWARE);
        options.nested(FLOWER_ACTIONS, |actions| action(actions, "gact", &[0, 0, DROPPED, 0, 0], None));
    });
    request
}

/// A filter as the kernel shows it; None for the line that only says that some follow.
fn standing(payload: &[u8]) -> Result<Option<Standing>, Malformed> {
    let (handle, info) = (take_u32(payload, 8)?, take_u32(payload, 16)?);
    if handle == 0 {
        return Ok(None);
    }
    let [low, high, a, b] = info.to_le_bytes();
    let (priority, ether_type) = (u16::from_le_bytes([a, b]), u16::from_be(u16::from_le_bytes([low, high])));
    let (mut kind, mut options) = (String::new(), None);
    for a in attributes(payload.get(HEADER..).unwrap_or_default()) {
        let a = a?;
        match a.kind {
            KIND => kind = a.text(),
            OPTIONS => options = Some(a.payload),
            _ => {}
        }
    }
    let filter = match options.filter(|_| kind == "flower") {
        Some(options) => read_flower(options)?,
        None => None,
    };
    // In another's place it is not what it should be there.
    let filter = filter.filter(|f| place(f) == priority && self::ether_type(f.to.ip) == ether_type);
    Ok(Some(Standing { priority, ether_type, handle, filter }))
}

/// What a flower looks for and does; None when that is nothing of ours.
fn read_flower(options: &[u8]) -> Result<Option<Filter>, Malformed> {
    let (mut from, mut ip, mut protocol, mut port, mut mark) = (None, None, 0, None, None);
    for a in attributes(options) {
        let a = a?;
        match a.kind {
            FLOWER_ETHER_SOURCE => from = a.payload.first_chunk().copied().map(MacAddress),
            FLOWER_IP_PROTOCOL => protocol = a.u8()?,
            FLOWER_IPV4_DESTINATION => ip = Some(IpAddr::V4(a.ipv4()?)),
            FLOWER_IPV6_DESTINATION => ip = Some(IpAddr::V6(a.ipv6()?)),
            kind if FLOWER_PORTS.iter().any(|(_, port)| *port == kind) => port = Some(a.port()?),
            FLOWER_ACTIONS => mark = read_actions(a.payload)?,
            FLOWER_ETHER_SOURCE_MASK | FLOWER_IPV4_DESTINATION_MASK | FLOWER_IPV6_DESTINATION_MASK => {
                if a.payload.iter().any(|byte| *byte != 0xff) {
                    return Ok(None);
                }
            }
            FLOWER_ETHER_TYPE | FLOWER_FLAGS | FLOWER_IN_HARDWARE => {}
            kind if FLOWER_PORT_MASKS.contains(&kind) => {}
            // It looks for more.
            _ => return Ok(None),
        }
    }
    let to = ip.map(|ip| Target { ip, protocol, port });
    Ok(to.zip(mark).map(|(to, mark)| Filter { from, to, mark }))
}

/// The mark a single skbedit gives before the next filter is asked; None when it is something else.
fn read_actions(actions: &[u8]) -> Result<Option<u32>, Malformed> {
    let mut all = attributes(actions);
    let (Some(only), None) = (all.next().transpose()?, all.next()) else { return Ok(None) };
    let (mut kind, mut verdict, mut mark) = (String::new(), None, None);
    for a in attributes(only.payload) {
        let a = a?;
        match a.kind {
            ACTION_KIND => kind = a.text(),
            ACTION_OPTIONS => {
                for a in attributes(a.payload) {
                    let a = a?;
                    match a.kind {
                        PARAMETERS => verdict = Some(take_u32(a.payload, 8)?),
                        SKBEDIT_MARK => mark = Some(a.u32()?),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(mark.filter(|_| kind == "skbedit" && verdict == Some(NEXT)))
}

/// An action; its parameters are those of `tc_gen`, and what follows them.
fn action(actions: &mut Request, kind: &str, parameters: &[u32], more: Option<(u16, u32)>) {
    let parameters: Vec<u8> = parameters.iter().flat_map(|n| n.to_ne_bytes()).collect();
    actions.nested(1, |action| {
        action.text(ACTION_KIND, kind).nested(ACTION_OPTIONS, |options| {
            options.attribute(PARAMETERS, &parameters);
            if let Some((attribute, value)) = more {
                options.number(attribute, value);
            }
        });
    });
}

fn header(link: LinkIndex, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, link.0, handle, parent, info].iter().flat_map(|n| n.to_ne_bytes()).collect()
}

/// Priority and protocol of a filter.
fn info(priority: u16, ether_type: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(ether_type.to_be())
}

fn is_gone((errno, text): Unspeakable) -> Result<(), Unspeakable> {
    let gone = [Errno::NOENT, Errno::INVAL, Errno::NODEV].map(Errno::raw_os_error);
    if gone.contains(&errno) { Ok(()) } else { Err((errno, text)) }
}

fn words((_, text): Unspeakable) -> String {
    text
}
