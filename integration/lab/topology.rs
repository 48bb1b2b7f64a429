//! The network of a lab: bridges, hosts, addresses, routes, built with as few executed programs as possible.
//!
//! The standard one:
//! ```text
//! clients 10.2.0.0/24 --- r --- front 10.1.0.0/24 (d1 d2 rs1 rs2 rs3 sorry)
//!      c                        back  10.3.0.0/24 (d1 d2 rs1 rs2 rs3)
//! ```
//! and the same in IPv6 as fd00:2::/64, fd00:1::/64, fd00:3::/64. All bridges live in the host `sw`, whose
//! ports are called HOST-INTERFACE.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::host::{Host, set_sysctls};
use super::{Lab, Verdict, judge};

/// The VIP most scenarios use.
pub(crate) const VIP: &str = "10.1.0.100";
/// The same in IPv6.
pub(crate) const VIP6: &str = "fd00:1::100";
/// The three real servers of the standard topology.
pub(crate) const REAL_SERVERS: [&str; 3] = ["rs1", "rs2", "rs3"];

/// The host that holds the bridges.
pub(crate) const SWITCH: &str = "sw";

/// A network to build.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    /// `ip` commands in the initial namespace: hosts, then the cables between them.
    hosts: Vec<String>,
    cables: String,
    /// `ip` commands within each host.
    inside: BTreeMap<String, String>,
    routers: Vec<String>,
}

impl Topology {
    /// A network of these bridges.
    pub(crate) fn new(bridges: &[&str]) -> Topology {
        let mut topology = Topology::default();
        topology.host(SWITCH);
        for bridge in bridges {
            topology.inside(
                SWITCH,
                &format!("link add {bridge} type bridge forward_delay 0 mcast_snooping 0 stp_state 0"),
            );
            topology.inside(SWITCH, &format!("link set {bridge} up"));
        }
        topology
    }

    /// Adds a host.
    pub(crate) fn host(&mut self, name: &str) -> &mut Topology {
        self.hosts.push(name.to_owned());
        self.inside(name, "link set lo up");
        self
    }

    /// Cables a host's interface to a bridge, with addresses (`10.1.0.11/24`).
    pub(crate) fn plug(
        &mut self,
        host: &str,
        interface: &str,
        bridge: &str,
        addresses: &[&str],
    ) -> &mut Topology {
        let port = format!("{host}-{interface}");
        let _ = writeln!(
            self.cables,
            "link add {port} netns {SWITCH} type veth peer name {interface} netns {host}"
        );
        self.inside(SWITCH, &format!("link set {port} master {bridge} up"));
        self.inside(host, &format!("link set {interface} up"));
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            self.inside(host, &format!("addr add {address} dev {interface}{nodad}"));
        }
        self
    }

    /// Gives an interface a MAC address, before it is plugged: its link-local address is made of it.
    pub(crate) fn mac(&mut self, host: &str, interface: &str, mac: &str) -> &mut Topology {
        self.inside(host, &format!("link set {interface} address {mac}"));
        self
    }

    /// Default routes of a host.
    pub(crate) fn gateway(&mut self, host: &str, v4: &str, v6: &str) -> &mut Topology {
        self.inside(host, &format!("route replace 0.0.0.0/0 via {v4}"));
        self.inside(host, &format!("route replace ::/0 via {v6}"));
        self
    }

    /// Makes a host forward packets.
    pub(crate) fn forwarding(&mut self, host: &str) -> &mut Topology {
        self.routers.push(host.to_owned());
        self
    }

    /// Client, router, two directors, three real servers, a sorry server.
    pub(crate) fn standard() -> Topology {
        let mut t = Topology::new(&["front", "client", "back"]);
        t.host("c").plug("c", "eth0", "client", &["10.2.0.2/24", "fd00:2::2/64"]);
        t.gateway("c", "10.2.0.1", "fd00:2::1");
        t.host("r").plug("r", "eth1", "client", &["10.2.0.1/24", "fd00:2::1/64"]);
        t.plug("r", "eth0", "front", &["10.1.0.1/24", "fd00:1::1/64"]).forwarding("r");
        for (name, number, back) in [
            ("d1", 11, true),
            ("d2", 12, true),
            ("rs1", 21, true),
            ("rs2", 22, true),
            ("rs3", 23, true),
            ("sorry", 29, false),
        ] {
            let front = [format!("10.1.0.{number}/24"), format!("fd00:1::{number}/64")];
            t.host(name).plug(name, "eth0", "front", &[&front[0], &front[1]]);
            if back {
                let back = [format!("10.3.0.{number}/24"), format!("fd00:3::{number}/64")];
                t.plug(name, "eth1", "back", &[&back[0], &back[1]]);
            }
            t.gateway(name, "10.1.0.1", "fd00:1::1");
        }
        t.forwarding("d1").forwarding("d2");
        t
    }

    fn inside(&mut self, host: &str, command: &str) {
        let lines = self.inside.entry(host.to_owned()).or_default();
        let _ = writeln!(lines, "{command}");
    }
}

impl Lab {
    /// Builds a network. ipv6, bridge and veth are modules in Debian's kernel and must be there before the
    /// first namespace.
    ///
    /// # Errors
    /// What `ip` said.
    pub(crate) fn build(&mut self, topology: &Topology) -> Verdict {
        judge::modprobe(&["ipv6", "bridge", "veth"])?;
        set_sysctls(&[
            ("net.core.devconf_inherit_init_net", "1"),
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.default.rp_filter", "0"),
            ("net.ipv6.conf.all.accept_dad", "0"),
            ("net.ipv6.conf.default.accept_dad", "0"),
            ("net.ipv6.conf.all.autoconf", "0"),
            ("net.ipv6.conf.default.autoconf", "0"),
            ("net.ipv6.conf.default.accept_ra", "0"),
        ])?;
        let mut first = String::new();
        for host in &topology.hosts {
            let _ = writeln!(first, "netns add {host}");
        }
        first.push_str(&topology.cables);
        batch(None, &first)?;
        for (name, commands) in &topology.inside {
            batch(Some(name), commands)?;
        }
        self.hosts = topology.hosts.iter().map(|n| Host::new(n)).collect();
        for router in &topology.routers {
            self.host(router)?.sysctl(&[
                ("net.ipv4.ip_forward", "1"),
                ("net.ipv6.conf.all.forwarding", "1"),
                ("net.ipv4.conf.all.send_redirects", "0"),
                ("net.ipv4.conf.default.send_redirects", "0"),
                ("net.ipv4.conf.eth0.send_redirects", "0"),
            ])?;
        }
        Ok(())
    }

    /// Builds the standard network, with IPVS in the kernel.
    ///
    /// # Errors
    /// What `ip` or `modprobe` said.
    pub(crate) fn standard(&mut self) -> Verdict {
        judge::modprobe(&["ip_vs"])?;
        self.build(&Topology::standard())
    }

    /// Gives VIPs to a director's eth0. IPv6 ones deprecated: they must not become the source of the
    /// director's own packets, which the real servers, owning the VIP too, would drop.
    ///
    /// # Errors
    /// What `ip` said.
    pub(crate) fn vips_on(&self, director: &str, vips: &[&str]) -> Verdict {
        let mut commands = String::new();
        for vip in vips {
            let _ = match vip.contains(':') {
                false => writeln!(commands, "addr add {vip}/32 dev eth0"),
                true => writeln!(commands, "addr add {vip}/128 dev eth0 nodad preferred_lft 0"),
            };
        }
        batch(Some(director), &commands)
    }

    /// Gives VIPs to `lo` of hosts, silently: what DR and TUN ask of a real server.
    ///
    /// # Errors
    /// What `ip` said.
    pub(crate) fn vips_on_lo(&self, hosts: &[&str], vips: &[&str]) -> Verdict {
        let mut commands = String::new();
        for vip in vips {
            let _ = match vip.contains(':') {
                false => writeln!(commands, "addr add {vip}/32 dev lo"),
                true => writeln!(commands, "addr add {vip}/128 dev lo nodad"),
            };
        }
        for name in hosts {
            let host = self.host(name)?;
            host.sysctl(&[("net.ipv4.conf.all.arp_ignore", "1"), ("net.ipv4.conf.all.arp_announce", "2")])?;
            batch(Some(name), &commands)?;
        }
        Ok(())
    }

    /// Makes the three real servers and the sorry server what DR needs.
    ///
    /// # Errors
    /// What `ip` said.
    pub(crate) fn dr_real_servers(&self, vips: &[&str]) -> Verdict {
        self.vips_on_lo(&["rs1", "rs2", "rs3", "sorry"], vips)
    }

    /// Makes the three real servers what TUN (ipip, ip6ip6) needs; the VIPs included.
    ///
    /// # Errors
    /// What `ip` or `modprobe` said.
    pub(crate) fn tun_real_servers(&self, vips: &[&str]) -> Verdict {
        self.vips_on_lo(&REAL_SERVERS, vips)?;
        judge::modprobe(&["ipip", "ip6_tunnel"])?;
        for name in REAL_SERVERS {
            batch(Some(name), "link set tunl0 up\nlink set ip6tnl0 up\n")?;
        }
        Ok(())
    }

    /// Makes the three real servers what NAT needs: the director `d1` is their default route.
    ///
    /// # Errors
    /// What `ip` said.
    pub(crate) fn nat_real_servers(&self) -> Verdict {
        for name in REAL_SERVERS {
            batch(Some(name), "route replace 0.0.0.0/0 via 10.3.0.11\nroute replace ::/0 via fd00:3::11\n")?;
        }
        Ok(())
    }

    /// Cuts a host's cable: nothing it sends or is sent arrives, and no link goes down.
    ///
    /// # Errors
    /// What `ip` said.
    pub(crate) fn cut(&self, host: &str, interface: &str) -> Verdict {
        batch(Some(SWITCH), &format!("link set {host}-{interface} down\n"))
    }

    /// Mends a cable.
    ///
    /// # Errors
    /// What `ip` said.
    pub(crate) fn mend(&self, host: &str, interface: &str) -> Verdict {
        batch(Some(SWITCH), &format!("link set {host}-{interface} up\n"))
    }
}

/// The front address of a standard host, e.g. `10.1.0.21` of rs1.
pub(crate) fn front(host: &str) -> Option<[IpAddr; 2]> {
    let number = match host {
        "d1" => "11",
        "d2" => "12",
        "rs1" => "21",
        "rs2" => "22",
        "rs3" => "23",
        "sorry" => "29",
        _ => return None,
    };
    Some([format!("10.1.0.{number}").parse().ok()?, format!("fd00:1::{number}").parse().ok()?])
}

/// Runs `ip -batch` with these lines, within a host or in the initial namespace.
///
/// # Errors
/// What `ip` said, with the lines.
pub(crate) fn batch(host: Option<&str>, lines: &str) -> Verdict {
    if lines.is_empty() {
        return Ok(());
    }
    let mut command = vec!["ip"];
    if let Some(host) = host {
        command.extend(["-n", host]);
    }
    command.extend(["-batch", "-"]);
    judge::run_with_input(&command, lines).map(drop).map_err(|e| format!("{e}\n{lines}"))
}
