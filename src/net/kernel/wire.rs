//! The numbers of rtnetlink (linux/rtnetlink.h, if_link.h, if_addr.h, fib_rules.h).
//!
//! Nothing but numbers; `encode` and `decode` give them their meaning.

pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

pub(super) const NEW_LINK: u16 = 16;
pub(super) const DELETE_LINK: u16 = 17;
pub(super) const GET_LINK: u16 = 18;
pub(super) const NEW_ADDRESS: u16 = 20;
pub(super) const DELETE_ADDRESS: u16 = 21;
pub(super) const GET_ADDRESS: u16 = 22;
pub(super) const NEW_ROUTE: u16 = 24;
pub(super) const DELETE_ROUTE: u16 = 25;
pub(super) const GET_ROUTE: u16 = 26;
pub(super) const NEW_NEIGHBOUR: u16 = 28;
pub(super) const DELETE_NEIGHBOUR: u16 = 29;
pub(super) const GET_NEIGHBOUR: u16 = 30;
pub(super) const NEW_RULE: u16 = 32;
pub(super) const DELETE_RULE: u16 = 33;
pub(super) const GET_RULE: u16 = 34;

/// Length of `struct ifinfomsg`.
pub(super) const LINK_HEADER: usize = 16;
/// Length of `struct ifaddrmsg`.
pub(super) const ADDRESS_HEADER: usize = 8;
/// Length of `struct ndmsg`.
pub(super) const NEIGHBOUR_HEADER: usize = 12;
/// Length of `struct rtmsg` and of `struct fib_rule_hdr`.
pub(super) const ROUTE_HEADER: usize = 12;
/// Length of `struct rtnexthop`.
pub(super) const HOP_HEADER: usize = 8;

pub(super) const ETHERNET: u16 = 1;
pub(super) const IFF_UP: u32 = 0x1;
pub(super) const IFF_LOOPBACK: u32 = 0x8;
pub(super) const IFF_RUNNING: u32 = 0x40;
pub(super) const IFF_NOARP: u32 = 0x80;
pub(super) const IFF_LOWER_UP: u32 = 0x1_0000;

pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_LINK: u16 = 5;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_IFALIAS: u16 = 20;
pub(super) const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_LINK_NETNSID: u16 = 37;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
pub(super) const IFLA_INFO_SLAVE_KIND: u16 = 4;
pub(super) const IFLA_MACVLAN_MODE: u16 = 1;
pub(super) const MACVLAN_PRIVATE: u32 = 1;
pub(super) const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
pub(super) const IFLA_INET_CONF: u16 = 1;
pub(super) const PROMOTE_SECONDARIES: u16 = 20;
pub(super) const GENERATE_NONE: u8 = 1;

pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_LABEL: u16 = 3;
pub(super) const IFA_BROADCAST: u16 = 4;
pub(super) const IFA_CACHEINFO: u16 = 6;
pub(super) const IFA_FLAGS: u16 = 8;
/// Since Linux 5.18; before, it is skipped.
pub(super) const IFA_PROTO: u16 = 11;
pub(super) const IFA_F_SECONDARY: u32 = 0x01;
pub(super) const IFA_F_OPTIMISTIC: u32 = 0x04;
pub(super) const IFA_F_DADFAILED: u32 = 0x08;
/// IFA_F_DEPRECATED: no source of new connections.
pub(super) const IFA_F_DEPRECATED: u32 = 0x20;
pub(super) const IFA_F_TENTATIVE: u32 = 0x40;
/// Flags an operator may give and the kernel keeps: HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN.
pub(super) const IFA_F_GIVEN: u32 = 0x10 | 0x100 | 0x200 | 0x400;
pub(super) const FOREVER: u32 = u32::MAX;

pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_SRC: u16 = 2;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_PRIORITY: u16 = 6;
pub(super) const RTA_PREFSRC: u16 = 7;
pub(super) const RTA_METRICS: u16 = 8;
pub(super) const RTA_MULTIPATH: u16 = 9;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const RTA_VIA: u16 = 18;
/// RTNH_F_ONLINK, in a route's flags and in a hop's.
pub(super) const ONLINK: u8 = 4;
/// RTM_F_CLONED: an entry of a cache.
pub(super) const CLONED: u32 = 0x200;

pub(super) const NDA_DST: u16 = 1;
pub(super) const NDA_LLADDR: u16 = 2;
/// NUD_INCOMPLETE, NUD_FAILED: its address is not, or no longer, known.
pub(super) const NUD_SILENT: u16 = 0x01 | 0x20;
/// NUD_NOARP: no resolution needed.
pub(super) const NUD_NOARP: u16 = 0x40;
/// NTF_USE: as if a packet went there.
pub(super) const NTF_USE: u8 = 1;

pub(super) const FRA_DST: u16 = 1;
pub(super) const FRA_SRC: u16 = 2;
pub(super) const FRA_IIFNAME: u16 = 3;
pub(super) const FRA_GOTO: u16 = 4;
pub(super) const FRA_PRIORITY: u16 = 6;
pub(super) const FRA_FWMARK: u16 = 10;
pub(super) const FRA_SUPPRESS_IFGROUP: u16 = 13;
pub(super) const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
pub(super) const FRA_TABLE: u16 = 15;
pub(super) const FRA_FWMASK: u16 = 16;
pub(super) const FRA_OIFNAME: u16 = 17;
pub(super) const FRA_UID_RANGE: u16 = 20;
/// Since Linux 4.17; before, it is skipped.
pub(super) const FRA_PROTOCOL: u16 = 21;
pub(super) const FRA_IP_PROTO: u16 = 22;
pub(super) const FRA_SPORT_RANGE: u16 = 23;
pub(super) const FRA_DPORT_RANGE: u16 = 24;
pub(super) const INVERT: u32 = 2;
