//! Traffic control at a link's doors (clsact): what is turned round, marked, or let pass.
//!
//! linux/pkt_sched.h, pkt_cls.h, tc_act/*.h. It refuses to know why.

use std::net::IpAddr;

use rustix::io::Errno;

use super::Kernel;
use super::encode::Unspeakable;
use crate::net::types::{LinkIndex, MacAddress};
use crate::netlink::request::{CREATE, EXCLUSIVE, Request};

const NEW_QDISC: u16 = 36;
const DELETE_QDISC: u16 = 37;
const NEW_FILTER: u16 = 44;
const DELETE_FILTER: u16 = 45;

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
const FLOWER_PORTS: [(u8, u16); 3] = [(6, 19), (17, 21), (132, 44)];

const ACTION_KIND: u16 = 1;
const ACTION_OPTIONS: u16 = 2;
/// TCA_MIRRED_PARMS, TCA_GACT_PARMS, TCA_SKBEDIT_PARMS.
const PARAMETERS: u16 = 2;
const SKBEDIT_MARK: u16 = 5;
/// TCA_INGRESS_REDIR.
const TO_INGRESS: u32 = 3;
/// TC_ACT_OK and TC_ACT_STOLEN.
const PASS: u32 = 0;
const STOLEN: u32 = 4;

/// ETH_P_ALL, ETH_P_IP, ETH_P_IPV6.
const ALL: u16 = 0x0003;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// What a filter at the ingress looks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arriving {
    /// Frames of a neighbour.
    From(MacAddress),
    /// Packets to a service.
    To {
        /// Its address.
        ip: IpAddr,
        /// 6 TCP, 17 UDP, 132 SCTP.
        protocol: u8,
        /// Its port; None: any.
        port: Option<u16>,
    },
}

/// A filter at the ingress: of several the one with the least priority that matches counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filter {
    /// 1 to 65535; one filter each.
    pub priority: u16,
    /// What it looks for.
    pub arriving: Arriving,
    /// The mark what matches gets; None: it passes as it is, and no later filter is asked.
    pub mark: Option<u32>,
}

impl Kernel {
    /// Makes the doors of a link; whether they were not there.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn add_doors(&mut self, link: LinkIndex) -> Result<bool, String> {
        let mut request =
            Request::new(NEW_QDISC, CREATE | EXCLUSIVE, &header(link, CLSACT_HANDLE, CLSACT, 0));
        request.text(KIND, "clsact");
        match self.ask(&[request]) {
            Ok(()) => Ok(true),
            Err((errno, _)) if errno == Errno::EXIST.raw_os_error() => Ok(false),
            Err((_, text)) => Err(format!("clsact: {text}")),
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

    /// Adds a filter at a link's ingress; one of that priority that is there is replaced.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn add_filter(&mut self, link: LinkIndex, filter: &Filter) -> Result<(), String> {
        self.remove_filter(link, filter.priority)?;
        self.ask(&[flower(link, filter)]).map_err(words)
    }

    /// Removes the filter of a priority from a link's ingress; one that is not there is a success.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn remove_filter(&mut self, link: LinkIndex, priority: u16) -> Result<(), String> {
        let request = Request::new(DELETE_FILTER, 0, &header(link, 0, INGRESS, info(priority, 0)));
        self.ask(&[request]).or_else(is_gone).map_err(words)
    }
}

fn flower(link: LinkIndex, filter: &Filter) -> Request {
    let ether_type = match &filter.arriving {
        Arriving::From(_) => ALL,
        Arriving::To { ip: IpAddr::V4(_), .. } => IPV4,
        Arriving::To { ip: IpAddr::V6(_), .. } => IPV6,
    };
    let mut request = Request::new(
        NEW_FILTER,
        CREATE | EXCLUSIVE,
        &header(link, 0, INGRESS, info(filter.priority, ether_type)),
    );
    request.text(KIND, "flower").nested(OPTIONS, |options| {
        match &filter.arriving {
            Arriving::From(MacAddress(mac)) => {
                options.attribute(FLOWER_ETHER_SOURCE, mac).attribute(FLOWER_ETHER_SOURCE_MASK, &[0xff; 6]);
            }
            Arriving::To { ip, protocol, port } => {
                options.attribute(FLOWER_ETHER_TYPE, &ether_type.to_be_bytes());
                options.attribute(FLOWER_IP_PROTOCOL, &[*protocol]);
                match ip {
                    IpAddr::V4(ip) => options
                        .attribute(FLOWER_IPV4_DESTINATION, &ip.octets())
                        .attribute(FLOWER_IPV4_DESTINATION_MASK, &[0xff; 4]),
                    IpAddr::V6(ip) => options
                        .attribute(FLOWER_IPV6_DESTINATION, &ip.octets())
                        .attribute(FLOWER_IPV6_DESTINATION_MASK, &[0xff; 16]),
                };
                let attribute = FLOWER_PORTS.iter().find(|(known, _)| known == protocol);
                if let (Some((_, attribute)), Some(port)) = (attribute, port) {
                    options.attribute(*attribute, &port.to_be_bytes());
                }
            }
        }
        options.nested(FLOWER_ACTIONS, |actions| match filter.mark {
            None => action(actions, "gact", &[0, 0, PASS, 0, 0], None),
            Some(mark) => action(actions, "skbedit", &[0, 0, PASS, 0, 0], Some((SKBEDIT_MARK, mark))),
        });
    });
    request
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

/// `struct tcmsg`.
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
