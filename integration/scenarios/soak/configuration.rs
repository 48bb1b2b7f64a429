//! Configurations by chance: what a file says, as data, so that what the kernel should hold can be worked out
//! without lvsd's own reading of the file.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use fastrand::Rng;
use lvsd::internals::config::VirtualServerId;
use lvsd::internals::ipvs::{Family, Forwarding, Protocol};

use crate::lab::topology::{REAL_SERVERS, VIP, VIP6, front};

/// Schedulers the soak changes among.
const SCHEDULERS: [&str; 8] = ["rr", "wrr", "lc", "wlc", "sh", "mh", "sed", "nq"];

/// What a file says.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    /// Its virtual servers.
    pub virtual_servers: Vec<VirtualServer>,
}

/// A virtual server.
#[derive(Clone, Debug)]
pub(super) struct VirtualServer {
    pub id: VirtualServerId,
    pub scheduler: &'static str,
    pub forwarding: Forwarding,
    /// Seconds; 0: none.
    pub persistence: u32,
    pub quorum: u32,
    pub hysteresis: u32,
    /// Address, and whether it stays with weight 0 while it is not needed.
    pub sorry: Option<(SocketAddr, bool)>,
    pub real_servers: Vec<RealServer>,
    delay_loop: u32,
    retry: u32,
}

/// A real server.
#[derive(Clone, Copy, Debug)]
pub(super) struct RealServer {
    pub at: SocketAddr,
    pub weight: u32,
    pub inhibit: bool,
    pub check: Check,
}

/// How a real server is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Not at all.
    None,
    /// By a connection to this port.
    Tcp(u16),
    /// By a request for /health to this port.
    Http(u16),
}

/// What all files are about: which virtual servers there can be, and how their servers are checked.
fn kinds() -> Vec<(VirtualServerId, Forwarding, Check)> {
    let by = |protocol, address: &str, port| {
        let address = address.parse().ok()?;
        Some(VirtualServerId::Address { protocol, address, port })
    };
    let kinds = [
        (by(Protocol::Tcp, VIP, 80), Forwarding::Dr, Check::Http(80)),
        (by(Protocol::Tcp, VIP, 8081), Forwarding::Dr, Check::Tcp(8081)),
        (by(Protocol::Tcp, VIP, 8082), Forwarding::Nat, Check::Http(8082)),
        (by(Protocol::Tcp, VIP6, 80), Forwarding::Dr, Check::Http(80)),
        (by(Protocol::Udp, VIP, 53), Forwarding::Dr, Check::None),
        (Some(VirtualServerId::Fwmark { family: Family::Inet, mark: 7 }), Forwarding::Dr, Check::Http(80)),
    ];
    kinds.into_iter().filter_map(|(id, forwarding, check)| Some((id?, forwarding, check))).collect()
}

/// Every virtual server a file may have: what is not among them is a stranger's.
pub(super) fn ours() -> Vec<VirtualServerId> {
    kinds().into_iter().map(|(id, ..)| id).collect()
}

impl Configuration {
    /// One by chance: virtual servers and real servers come and go, weights, schedulers, quorum, ... change.
    pub(super) fn random(rng: &mut Rng) -> Configuration {
        let mut kinds = kinds();
        if rng.bool() {
            kinds.remove(rng.usize(..kinds.len()));
        }
        Configuration {
            virtual_servers: kinds
                .into_iter()
                .map(|(id, f, c)| VirtualServer::random(rng, id, f, c))
                .collect(),
        }
    }

    /// As lvsd reads it.
    pub(super) fn text(&self) -> String {
        self.virtual_servers.iter().map(VirtualServer::text).collect()
    }

    /// A file that no director should run, which is nearly this one.
    pub(super) fn broken(&self, rng: &mut Rng) -> String {
        let text = self.text();
        match rng.u8(..4) {
            0 => text.replacen("lb_algo", "lb_allgo", 1),
            1 => format!("{text}virtual_server {VIP} 80 {{\n    lb_algo rr\n"),
            2 => format!("{text}virtual_server 10.1.0.1000 80 {{\n}}\n"),
            _ => text.replacen("delay_loop ", "delay_loop soon", 1),
        }
    }
}

impl VirtualServer {
    fn random(rng: &mut Rng, id: VirtualServerId, forwarding: Forwarding, check: Check) -> VirtualServer {
        let (family, port) = match id {
            VirtualServerId::Address { address, port, .. } => (usize::from(address.is_ipv6()), port),
            // By mark and without address translation the packet's port stays as it is.
            VirtualServerId::Fwmark { .. } => (0, 0),
        };
        let address = |host| Some(SocketAddr::new(*front(host)?.get(family)?, port));
        let mut real_servers = Vec::new();
        for at in REAL_SERVERS.into_iter().filter_map(address) {
            let (weight, inhibit) = (rng.u32(1..=9), rng.u8(..4) == 0);
            real_servers.push(RealServer { at, weight, inhibit, check });
        }
        if rng.u8(..3) == 0 {
            real_servers.remove(rng.usize(..real_servers.len()));
        }
        let total: u32 = real_servers.iter().map(|r| r.weight).sum();
        let (quorum, hysteresis) =
            if rng.bool() { (1, 0) } else { (rng.u32(1..=total), u32::from(rng.bool())) };
        VirtualServer {
            id,
            scheduler: SCHEDULERS.get(rng.usize(..SCHEDULERS.len())).unwrap_or(&"rr"),
            forwarding,
            persistence: if rng.u8(..4) == 0 { rng.u32(10..=600) } else { 0 },
            quorum,
            // More could make a quorum that is never gained: a warning, and another case.
            hysteresis: hysteresis.min(quorum - 1).min(total - quorum),
            sorry: if check == Check::None { None } else { address("sorry").map(|a| (a, rng.u8(..4) == 0)) },
            real_servers,
            delay_loop: rng.u32(8..=16),
            retry: rng.u32(0..=2),
        }
    }

    fn text(&self) -> String {
        let (name, protocol) = match self.id {
            VirtualServerId::Address { protocol, address, port } => (
                format!("{address} {port}"),
                format!("    protocol {}\n", protocol.to_string().to_uppercase()),
            ),
            VirtualServerId::Fwmark { mark, .. } => (format!("fwmark {mark}"), String::new()),
        };
        let kind = if self.forwarding == Forwarding::Nat { "NAT" } else { "DR" };
        let mut text = format!(
            "virtual_server {name} {{\n    delay_loop {}\n    lb_algo {}\n    lb_kind {kind}\n{protocol}    \
             quorum {}\n    hysteresis {}\n",
            self.delay_loop, self.scheduler, self.quorum, self.hysteresis
        );
        if self.persistence > 0 {
            let _ = writeln!(text, "    persistence_timeout {}", self.persistence);
        }
        if let Some((at, inhibit)) = self.sorry {
            let _ = writeln!(text, "    sorry_server {}", address_and_port(at));
            if inhibit {
                text.push_str("    sorry_server_inhibit\n");
            }
        }
        for real in &self.real_servers {
            let _ = writeln!(
                text,
                "    real_server {} {{\n        weight {}",
                address_and_port(real.at),
                real.weight
            );
            if real.inhibit {
                text.push_str("        inhibit_on_failure\n");
            }
            let timing = format!(
                "connect_timeout 2\n            retry {}\n            delay_before_retry 1",
                self.retry
            );
            let _ = match real.check {
                Check::None => Ok(()),
                Check::Tcp(port) => {
                    writeln!(
                        text,
                        "        TCP_CHECK {{\n            connect_port {port}\n            {timing}\n        }}"
                    )
                }
                Check::Http(port) => writeln!(
                    text,
                    "        HTTP_GET {{\n            url {{\n                path /health\n                \
                     status_code 200\n            }}\n            connect_port {port}\n            {timing}\n        }}"
                ),
            };
            text.push_str("    }\n");
        }
        text.push_str("}\n");
        text
    }
}

/// keepalived's way to write both.
fn address_and_port(at: SocketAddr) -> String {
    let port = if at.port() == 0 { 80 } else { at.port() };
    format!("{} {port}", IpAddr::to_string(&at.ip()))
}
