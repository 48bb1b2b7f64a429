//! Virtual servers whose director is one of their real servers, too: found from configuration and own addresses.
//!
//! What another such director forwards here is still addressed to the VIP, and would be scheduled again, perhaps back
//! to where it came from. So the service of such a virtual server is one of a firewall mark, and packets get the mark
//! on arrival, unless another of its real servers sent them, which may be a director, too. Requests made on this
//! host carry no mark either and are answered by it. Pure; `net::tc::ingress` sets the marks.

pub(crate) mod placement;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::marks::Marks;
use crate::config::{Config, VirtualServer, VirtualServerId};
use crate::ipvs::types::{Forwarding, Protocol};
use crate::net::tc::ingress::{FwmarkRule, ServiceAddress};

/// The addresses of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalAddresses {
    pub own: BTreeSet<IpAddr>,
    /// Those of them that it has on a link of the network, and not only for itself (on `lo`, or a dummy).
    pub on_network: BTreeSet<IpAddr>,
    /// The links of all of them, by the kernel's numbers.
    pub links: BTreeMap<IpAddr, u32>,
}

/// How packets to a virtual server are kept from looping between directors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// They get this mark, unless a peer sent them.
    Mark(u32),
    /// The service is in the kernel only while this host holds the VIP.
    WhileActive(Obstacle),
}

/// Why packets cannot be marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "its words are below")]
pub(crate) enum Obstacle {
    Kernel,
    PortOfNat,
    NoMarkLeft,
}

/// A virtual server of which this host is a real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Colocated {
    /// Its real servers that are this host.
    pub own: Vec<SocketAddr>,
    /// The others: one that is a director may send packets of the VIP here.
    pub peers: BTreeSet<IpAddr>,
    /// What is done.
    pub remedy: Remedy,
}

impl Colocated {
    /// The mark of its packets.
    pub(crate) fn mark(&self) -> Option<u32> {
        match self.remedy {
            Remedy::Mark(mark) => Some(mark),
            Remedy::WhileActive(_) => None,
        }
    }
}

/// The virtual servers of which this host is a real server beside others, by DR or TUN.
pub(crate) fn find(
    config: &Config,
    own: &BTreeSet<IpAddr>,
    can_mark: bool,
) -> BTreeMap<VirtualServerId, Colocated> {
    let mut marks = Marks::of(config);
    let mut found: Vec<(&VirtualServer, Vec<SocketAddr>, BTreeSet<IpAddr>)> = config
        .virtual_servers
        .iter()
        .filter(|server| matches!(server.id, VirtualServerId::Address { .. }))
        .filter_map(|server| people(server, own).map(|(mine, peers)| (server, mine, peers)))
        .collect();
    // In an order that does not follow the file's: moving a block changes no mark.
    found.sort_by_key(|(server, _, _)| server.id);
    let mut all = BTreeMap::new();
    for (server, mine, peers) in found {
        let remedy = match obstacle(server, can_mark) {
            Some(obstacle) => Remedy::WhileActive(obstacle),
            None => marks.take(server.id).map_or(Remedy::WhileActive(Obstacle::NoMarkLeft), Remedy::Mark),
        };
        all.insert(server.id, Colocated { own: mine, peers, remedy });
    }
    all
}

/// Virtual servers by firewall mark of which this host is a real server: the rules that mark their packets are not in the
/// file.
pub(crate) fn marked_elsewhere<'a>(
    config: &'a Config,
    own: &'a BTreeSet<IpAddr>,
) -> impl Iterator<Item = VirtualServerId> + 'a {
    let servers = config.virtual_servers.iter();
    servers
        .filter(|s| matches!(s.id, VirtualServerId::Fwmark { .. }) && people(s, own).is_some())
        .map(|s| s.id)
}

/// The real servers of a virtual server that are this host, and the addresses of the others; None unless there are both.
fn people(server: &VirtualServer, own: &BTreeSet<IpAddr>) -> Option<(Vec<SocketAddr>, BTreeSet<IpAddr>)> {
    let reals = server.real_servers.iter().map(|real| (real.address, real.forwarding));
    // A sorry server of this host's own is not among them: peers send here only what goes to a real server.
    let is_own = |at: &SocketAddr| at.ip().is_loopback() || own.contains(&at.ip());
    let sorry = server.sorry_server.iter().map(|sorry| (sorry.address, sorry.forwarding));
    let all = reals.chain(sorry.filter(|(at, _)| !is_own(at)));
    let direct = all.filter(|(_, forwarding)| is_direct(*forwarding)).map(|(at, _)| at);
    let (mine, others): (Vec<_>, Vec<_>) = direct.partition(is_own);
    let peers: BTreeSet<IpAddr> = others.iter().map(SocketAddr::ip).collect();
    (!mine.is_empty() && !peers.is_empty()).then_some((mine, peers))
}

/// Whether packets arrive still addressed to the VIP.
fn is_direct(forwarding: Forwarding) -> bool {
    matches!(forwarding, Forwarding::Dr | Forwarding::Tun(_))
}

fn obstacle(server: &VirtualServer, can_mark: bool) -> Option<Obstacle> {
    let VirtualServerId::Address { port, .. } = server.id else { return None };
    // Of a persistent service by mark the kernel never changes ports.
    let changes_port = server.persistence.is_some()
        && server
            .real_servers
            .iter()
            .any(|real| real.forwarding == Forwarding::Nat && real.address.port() != port);
    match (can_mark, changes_port) {
        (false, _) => Some(Obstacle::Kernel),
        (true, true) => Some(Obstacle::PortOfNat),
        (true, false) => None,
    }
}

/// The packets of a virtual server that are to be marked.
pub(crate) fn fwmark_rule(id: VirtualServerId, colocated: &Colocated) -> Option<FwmarkRule> {
    let VirtualServerId::Address { protocol, address, port } = id else { return None };
    let protocol = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    };
    let to = ServiceAddress { ip: address, protocol, port: Some(port).filter(|port| *port != 0) };
    Some(FwmarkRule { to, mark: colocated.mark()?, peers: colocated.peers.clone() })
}

impl fmt::Display for Colocated {
    /// What follows `virtual server 192.168.1.233:80 tcp: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own: Vec<String> = self.own.iter().map(ToString::to_string).collect();
        write!(f, "this host is one of its real servers ({}): ", own.join(", "))?;
        match self.remedy {
            Remedy::Mark(mark) => {
                let peers: Vec<String> = self.peers.iter().map(ToString::to_string).collect();
                let peers = peers.join(" or ");
                write!(f, "its packets get mark {mark:#x} on arrival, unless {peers} sent them")
            }
            Remedy::WhileActive(obstacle) => write!(
                f,
                "its service is in the kernel only while this host holds the VIP, because {obstacle}; a request to \
                 the VIP made on this host itself may fail then"
            ),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Obstacle::Kernel => {
                "this kernel cannot mark packets on arrival (sch_ingress, cls_flower, act_skbedit)"
            }
            Obstacle::PortOfNat => {
                "a NAT real server has another port, which a persistent service by mark would not change"
            }
            Obstacle::NoMarkLeft => "all of lvsd's marks are in use",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Strictness;
    use crate::config::load::load_from;
    use crate::syntax::files::MemoryFiles;

    const PAIR: &str = "virtual_server 192.168.1.233 80 {\nlb_algo wrr\nlb_kind DR\nprotocol TCP\n\
        persistence_timeout 50\nreal_server 192.168.1.129 80 {\nweight 1\n}\n\
        real_server 192.168.1.131 80 {\nweight 1\n}\n}\n";

    #[test]
    fn a_host_among_the_real_servers_is_found_with_its_peers_and_no_other_host_is() {
        let config = config(PAIR);
        let own = |text: &[&str]| text.iter().map(|ip| ip.parse().unwrap()).collect::<BTreeSet<IpAddr>>();
        let found = find(&config, &own(&["192.168.1.129", "192.168.1.233"]), true);
        let [(id, it)] = &found.iter().collect::<Vec<_>>()[..] else { panic!("{found:?}") };
        assert_eq!(it.own, ["192.168.1.129:80".parse().unwrap()]);
        assert_eq!(it.peers, own(&["192.168.1.131"]));
        let other = find(&config, &own(&["192.168.1.131"]), true);
        assert_eq!(other[id].mark(), it.mark(), "the same mark on both");
        assert!(find(&config, &own(&["192.168.1.50", "192.168.1.233"]), true).is_empty());
        let nat = self::config(&PAIR.replace("lb_kind DR", "lb_kind NAT"));
        assert!(find(&nat, &own(&["192.168.1.129"]), true).is_empty(), "NAT changes the address");
        let alone = self::config(&PAIR.replace("192.168.1.131", "127.0.0.1"));
        assert!(
            find(&alone, &own(&["192.168.1.129"]), true).is_empty(),
            "no other director that could send it back"
        );
    }

    #[test]
    fn a_sorry_server_may_be_the_peer() {
        let text =
            PAIR.replace("real_server 192.168.1.131 80 {\nweight 1\n}\n", "sorry_server 192.168.1.131 80\n");
        let found = find(&config(&text), &["192.168.1.129".parse().unwrap()].into(), true);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_sorry_server_of_its_own_makes_no_director_colocated() {
        for sorry in ["127.0.0.1", "192.168.1.50"] {
            let more = format!("sorry_server {sorry} 80\n}}\n");
            let text = format!("{}{more}", PAIR.strip_suffix("}\n").unwrap());
            let own: BTreeSet<IpAddr> =
                ["192.168.1.50", "192.168.1.233"].map(|ip| ip.parse().unwrap()).into();
            assert_eq!(find(&config(&text), &own, true), BTreeMap::new(), "{sorry}");
        }
    }

    #[test]
    fn marks_avoid_those_of_the_configuration_and_do_not_follow_the_files_order() {
        let second = PAIR.replace("1.233 80", "1.234 443");
        let own: BTreeSet<IpAddr> = ["192.168.1.129".parse().unwrap()].into();
        let marks = |text: &str| -> BTreeMap<VirtualServerId, Option<u32>> {
            find(&config(text), &own, true).into_iter().map(|(id, c)| (id, c.mark())).collect()
        };
        let both = marks(&format!("{PAIR}{second}"));
        assert_eq!(both, marks(&format!("{second}{PAIR}")));
        assert_eq!(both.values().collect::<BTreeSet<_>>().len(), 2);
        let first = marks(PAIR).values().next().copied().flatten().unwrap();
        let heading = format!("virtual_server fwmark {first}");
        let taken = PAIR.replace("virtual_server 192.168.1.233 80", &heading);
        let moved = marks(&format!("{PAIR}{taken}"));
        assert_eq!(moved.values().collect::<Vec<_>>(), [&Some(first + 1)]);
        let elsewhere: Vec<_> = marked_elsewhere(&config(&taken), &own).map(|id| id.to_string()).collect();
        assert_eq!(elsewhere, [format!("fwmark {first}")]);
    }

    #[test]
    fn what_cannot_be_marked_says_why() {
        let own: BTreeSet<IpAddr> = ["192.168.1.129".parse().unwrap()].into();
        let said =
            |text: &str, can_mark| find(&config(text), &own, can_mark).values().next().unwrap().to_string();
        assert!(said(PAIR, true).ends_with("on arrival, unless 192.168.1.131 sent them"));
        assert!(said(PAIR, false).contains("only while this host holds the VIP, because this kernel cannot"));
        let nat = "real_server 192.168.1.132 8080 {\nweight 1\nlvs_method NAT\n}\n}\n";
        let mixed = format!("{}{nat}", PAIR.strip_suffix("}\n").unwrap());
        assert!(said(&mixed, true).contains("has another port"));
        assert!(said(&mixed.replace("persistence_timeout 50\n", ""), true).contains("get mark"));
    }

    fn config(text: &str) -> Config {
        let files = MemoryFiles::new(&[("/keepalived.conf", text)]);
        let loaded = load_from(&files, std::path::Path::new("/keepalived.conf"), Strictness::Strict);
        loaded.config.expect("a configuration")
    }
}
