//! Traffic control: the clsact qdisc of a link, and the filters of its ingress and egress that redirect, mark or drop
//! packets (linux/pkt_sched.h, pkt_cls.h, tc_act/*.h).

use std::net::IpAddr;

use rustix::io::Errno;

use super::Kernel;
use super::encode::Unspeakable;
use crate::net::tc::ingress::{FilterChange, MarkFilter, ServiceAddress, TcFilter};
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

/// The first of lvsd's priorities.
const FIRST_PRIORITY: u16 = 2330;
/// The priorities of lvsd's filters at an ingress: services of IPv4 and IPv6, then peers of IPv4 and IPv6. One each,
/// because the kernel keeps filters of one priority and one form in one hash table.
pub const FILTER_PRIORITIES: std::ops::RangeInclusive<u16> = FIRST_PRIORITY..=FIRST_PRIORITY + 3;

/// The priorities at an egress of the filters that drop reports of multicast groups of IPv4 and IPv6.
const REPORTS: [u16; 2] = [FIRST_PRIORITY + 4, FIRST_PRIORITY + 5];
/// ICMPv6 types of multicast listeners: report of version 1, done, report of version 2.
const LISTENER_REPORTS: [u8; 3] = [131, 132, 143];

/// TC_H_CLSACT, its ingress and egress, and its handle.
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
/// TCA_CLS_FLAGS_SKIP_HW: a card that filters by itself would have to hand the mark on, and few can.
const SKIP_HARDWARE: u32 = 1;

const ACTION_KIND: u16 = 1;
const ACTION_OPTIONS: u16 = 2;
/// TCA_MIRRED_PARMS, TCA_GACT_PARMS, TCA_SKBEDIT_PARMS.
const PARAMETERS: u16 = 2;
const SKBEDIT_MARK: u16 = 5;
const TO_INGRESS: u32 = 3;
/// TC_ACT_UNSPEC: the packet goes on to the next filter; TC_ACT_STOLEN.
const NEXT: u32 = u32::MAX;
const STOLEN: u32 = 4;
const DROPPED: u32 = 2;
const IGMP: u8 = 2;
const ICMPV6: u8 = 58;

/// ETH_P_ALL, ETH_P_IP, ETH_P_IPV6.
const ALL: u16 = 0x0003;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Why a change to qdiscs or filters failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcError {
    /// This kernel lacks the qdisc or the kind of filter, so that another attempt is of no use.
    pub is_unsupported: bool,
    pub words: String,
}

impl TcError {
    /// The kernel did not answer.
    pub fn no_answer(words: String) -> TcError {
        TcError { is_unsupported: false, words }
    }
}

impl From<Unspeakable> for TcError {
    fn from((errno, words): Unspeakable) -> TcError {
        let unsupported = [Errno::NOENT, Errno::OPNOTSUPP].map(Errno::raw_os_error);
        TcError { is_unsupported: unsupported.contains(&errno), words }
    }
}

impl Kernel {
    /// Adds the clsact qdisc to a link. False when the link has it already.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn add_clsact(&mut self, link: LinkIndex) -> Result<bool, TcError> {
        let mut request =
            Request::new(NEW_QDISC, CREATE | EXCLUSIVE, &header(link, CLSACT_HANDLE, CLSACT, 0));
        request.text(KIND, "clsact");
        match self.ask(&[request]) {
            Ok(()) => Ok(true),
            Err((errno, _)) if errno == Errno::EXIST.raw_os_error() => Ok(false),
            Err((errno, text)) => Err((errno, format!("clsact: {text}")).into()),
        }
    }

    /// Removes the clsact qdisc of a link, with all its filters.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn remove_clsact(&mut self, link: LinkIndex) -> Result<(), String> {
        let mut request = Request::new(DELETE_QDISC, 0, &header(link, CLSACT_HANDLE, CLSACT, 0));
        request.text(KIND, "clsact");
        self.ask(&[request]).or_else(is_gone).map_err(words)
    }

    /// Redirects all packets that leave by `from` to the ingress of `to`.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn redirect_to_ingress(&mut self, from: LinkIndex, to: LinkIndex) -> Result<(), String> {
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

    /// Drops a link's reports of the multicast groups it is a member of (IGMP, MLD).
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn drop_group_reports(&mut self, link: LinkIndex) -> Result<(), TcError> {
        self.add_clsact(link)?;
        let mut filters = vec![drops(link, REPORTS[0], IPV4, IGMP, None)];
        filters.extend(LISTENER_REPORTS.map(|kind| drops(link, REPORTS[1], IPV6, ICMPV6, Some(kind))));
        for filter in filters {
            match self.ask(&[filter]) {
                Ok(()) => {}
                // An earlier process added it.
                Err((errno, _)) if errno == Errno::EXIST.raw_os_error() => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        Ok(())
    }

    /// Changes a filter of a link's ingress; to remove a filter that is not there is a success.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn change_filter(&mut self, link: LinkIndex, change: &FilterChange) -> Result<(), TcError> {
        match change {
            FilterChange::Add(filter) => self.ask(&[flower(link, filter)]).map_err(TcError::from),
            FilterChange::Remove(f) => {
                let header = header(link, f.handle, INGRESS, info(f.priority, f.ether_type));
                let request = Request::new(DELETE_FILTER, 0, &header);
                self.ask(&[request]).or_else(is_gone).map_err(TcError::from)
            }
        }
    }

    /// The filters of a link's ingress that have lvsd's priorities, and whether there are other filters at its ingress
    /// or egress.
    ///
    /// # Errors
    /// In words, when the kernel does not answer or makes no sense.
    pub fn ingress_filters(&mut self, link: LinkIndex) -> Result<(Vec<TcFilter>, bool), String> {
        let mut ours = Vec::new();
        let mut has_others = false;
        for parent in [INGRESS, EGRESS] {
            let request = Request::new(GET_FILTER, DUMP, &header(link, 0, parent, 0));
            let found = self.rtnetlink.list(&request, tc_filter)?;
            let (here, elsewhere): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|f| parent == INGRESS && FILTER_PRIORITIES.contains(&f.priority));
            has_others |= !elsewhere.is_empty();
            ours.extend(here);
        }
        Ok((ours, has_others))
    }
}

fn priority(filter: &MarkFilter) -> u16 {
    let (services_v4, services_v6, peers_v4, peers_v6) =
        (FIRST_PRIORITY, FIRST_PRIORITY + 1, FIRST_PRIORITY + 2, FIRST_PRIORITY + 3);
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

fn flower(link: LinkIndex, filter: &MarkFilter) -> Request {
    let ServiceAddress { ip, protocol, port } = filter.to;
    let ether_type = ether_type(ip);
    let header = header(link, 0, INGRESS, info(priority(filter), ether_type));
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

/// A filter that drops packets of an IP protocol, or of one type of ICMPv6, that leave by a link.
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

/// A filter as the kernel lists it; None for the entry that only announces the filters of a priority.
pub(super) fn tc_filter(payload: &[u8]) -> Result<Option<TcFilter>, Malformed> {
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
    // At another priority it does not do what lvsd's filter does there.
    let filter = filter.filter(|f| self::priority(f) == priority && self::ether_type(f.to.ip) == ether_type);
    Ok(Some(TcFilter { priority, ether_type, handle, filter }))
}

/// What a flower filter matches and does; None when lvsd makes no such filter.
fn read_flower(options: &[u8]) -> Result<Option<MarkFilter>, Malformed> {
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
            // It matches on more.
            _ => return Ok(None),
        }
    }
    let to = ip.map(|ip| ServiceAddress { ip, protocol, port });
    Ok(to.zip(mark).map(|(to, mark)| MarkFilter { from, to, mark }))
}

/// The mark that a single skbedit action sets before the packet goes on to the next filter; None when the actions do
/// something else.
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

/// An action: the parameters of `tc_gen` and of its own kind, and one more attribute.
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
