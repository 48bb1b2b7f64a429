//! The pair: two nodes with nginx and the VIP on lo, twenty clients, and the director.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use lvsd::internals::net::{Kernel, PacketSocket};
use rustix::process::Signal;

use crate::lab::client::{Hits, get_from};
use crate::lab::daemon::{Daemon, processes, status};
use crate::lab::host::Host;
use crate::lab::topology::{Topology, batch};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge};

/// The VIP of the file.
pub(super) const VIP: &str = "192.168.1.233";
pub(super) const URL: &str = "http://192.168.1.233/";
/// ipvsadm's words for the service as keepalived makes it.
pub(super) const BY_ADDRESS: &str = "-t 192.168.1.233:80";
/// How often a node asks itself.
const OWN_REQUESTS: usize = 4;
/// Packets that one request may cost both nodes together: there, forwarded, and room for checks.
const PACKETS_EACH: u64 = 15;

/// The nodes and their clients.
pub(super) struct Pair {
    pub a: Host,
    pub b: Host,
    pub client: Host,
    _nginx: [Daemon; 2],
}

/// Which daemon directs, and which one moves the VIP.
pub(super) enum Director {
    /// keepalived both.
    Keepalived,
    /// lvsd both.
    Lvsd,
    /// lvsd directs, a script moves the VIP where a scenario wants it.
    Script,
}

/// What came of some requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub answered: BTreeMap<String, u64>,
    pub failed: u64,
    /// Who answered which client.
    pub by_client: BTreeMap<IpAddr, String>,
    /// What the first that failed said.
    pub trouble: Option<String>,
    /// Packets both nodes received meanwhile.
    pub packets: u64,
    requests: u64,
}

impl Pair {
    pub(super) fn build(lab: &mut Lab) -> Result<Pair, String> {
        judge::modprobe(&["ip_vs"])?;
        let mut t = Topology::new(&["lan"]);
        for (name, number) in [("a", 129), ("b", 131)] {
            t.host(name).plug(
                name,
                "eth0",
                "lan",
                &[&format!("192.168.1.{number}/24"), &format!("fd00::{number}/64")],
            );
        }
        let clients = (50..=79).map(|n| format!("192.168.1.{n}/24"));
        let clients: Vec<String> = clients.chain(["fd00::50/64".to_owned()]).collect();
        let clients: Vec<&str> = clients.iter().map(String::as_str).collect();
        t.host("c").plug("c", "eth0", "lan", &clients);
        lab.build(&t)?;
        let (a, b, client) = (lab.host("a")?, lab.host("b")?, lab.host("c")?);
        for host in [&a, &b] {
            dr_script(host)?;
        }
        let nginx = |host: &Host| {
            let name = host.name();
            let server =
                format!("server {{ listen 80; listen [::]:80; location / {{ return 200 \"{name}\\n\"; }} }}");
            Daemon::nginx_with(lab, host, &format!("access_log off;\n{server}"))
        };
        let nginx = [nginx(&a)?, nginx(&b)?];
        Ok(Pair { a, b, client, _nginx: nginx })
    }

    /// Nothing in the tables and no VIP on the network, as after a reboot.
    pub(super) fn bare(&self) -> Verdict {
        for host in [&self.a, &self.b] {
            take_vip(host)?;
            judge::output(host, &["ipvsadm", "-C"])?;
        }
        Ok(())
    }

    /// Every client asks once.
    pub(super) fn clients_ask(&self) -> Result<Round, String> {
        let before = self.received()?;
        let mut round = self.client.enter(|| {
            let mut round = Round::default();
            for n in 60..=79 {
                let client = IpAddr::from([192, 168, 1, n]);
                round.count(Some(client), get_from(Some(client), URL).map(|r| r.body));
            }
            Ok(round)
        })?;
        round.packets = self.received()?.saturating_sub(before);
        Ok(round)
    }

    /// A node asks for its own VIP.
    pub(super) fn asks_itself(&self, host: &Host) -> Result<Round, String> {
        self.ask(host, URL, OWN_REQUESTS)
    }

    /// A host asks for a URL, so often.
    pub(super) fn ask(&self, host: &Host, url: &str, often: usize) -> Result<Round, String> {
        let before = self.received()?;
        let mut round = host.enter(|| {
            let mut round = Round::default();
            for _ in 0..often {
                round.count(None, get_from(None, url).map(|r| r.body));
            }
            Ok(round)
        })?;
        round.packets = self.received()?.saturating_sub(before);
        Ok(round)
    }

    /// Every client asks, and every request succeeds without a loop between the nodes.
    pub(super) fn all_is_well(&self, lab: &Lab, when: &str) -> Verdict {
        let mut rounds = vec![("clients", self.clients_ask()?)];
        rounds.push(("a", self.asks_itself(&self.a)?));
        rounds.push(("b", self.asks_itself(&self.b)?));
        rounds
            .into_iter()
            .try_for_each(|(who, round)| round.judge(lab, &format!("{when}: requests of {who}")))
    }

    fn received(&self) -> Result<u64, String> {
        let mut all = 0;
        for host in [&self.a, &self.b] {
            // What /proc/net shows is the reading thread's.
            let text = host.enter(|| {
                std::fs::read_to_string("/proc/thread-self/net/dev").map_err(|e| format!("net/dev: {e}"))
            })?;
            let line = text.lines().find_map(|l| l.trim().strip_prefix("eth0:")).ok_or("no eth0")?;
            all +=
                line.split_ascii_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).ok_or("no count")?;
        }
        Ok(all)
    }
}

impl Round {
    fn count(&mut self, client: Option<IpAddr>, outcome: Result<String, String>) {
        self.requests += 1;
        match outcome {
            Ok(name) => {
                *self.answered.entry(name.clone()).or_default() += 1;
                if let Some(client) = client {
                    self.by_client.insert(client, name);
                }
            }
            Err(error) => {
                self.failed += 1;
                self.trouble.get_or_insert(match client {
                    Some(client) => format!("{client}: {error}"),
                    None => error,
                });
            }
        }
    }

    /// Every request succeeded, and nothing went round.
    pub(super) fn judge(&self, lab: &Lab, what: &str) -> Verdict {
        lab.step(format!("{what}: {self}"));
        claim(self.failed == 0, || {
            format!("{what}: {self}: {}", self.trouble.as_deref().unwrap_or_default())
        })?;
        claim(self.packets <= self.bound(), || format!("{what}: packets went round: {self}"))
    }

    /// Packets that may have been received.
    fn bound(&self) -> u64 {
        self.requests * PACKETS_EACH
    }
}

impl fmt::Display for Round {
    /// `a=10 b=5, 5 FAILED, 462 packets`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hits = Hits { answered: self.answered.clone(), failed: BTreeMap::new() };
        let failed = match self.failed {
            0 => String::new(),
            n => format!("{n} of {} FAILED", self.requests),
        };
        let parts = [hits.to_string(), failed, format!("{} packets", self.packets)];
        let said: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(&said.join(", "))
    }
}

impl Director {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Director::Keepalived => "keepalived",
            Director::Lvsd => "lvsd",
            Director::Script => "lvsd and a script",
        }
    }

    /// Starts it with the file as it is.
    pub(super) fn start(&self, lab: &Lab, host: &Host) -> Result<Daemon, String> {
        match self {
            Director::Keepalived => Daemon::keepalived(lab, host, configuration(host)),
            Director::Lvsd => Daemon::lvsd(lab, host, configuration(host)),
            Director::Script => Daemon::lvsd(lab, host, by_script(host)),
        }
    }

    /// Has the VIP at a host, and nowhere else.
    pub(super) fn vip_to(&self, pair: &Pair, host: &Host) -> Verdict {
        let other = if host.name() == "a" { &pair.b } else { &pair.a };
        match self {
            Director::Script => {
                take_vip(other)?;
                give_vip(host)
            }
            // A keepalived that was killed leaves it where it was.
            Director::Keepalived => wait_for(&format!("the VIP is at {}", host.name()), seconds(15), || {
                if holds_vip(host)? { Ok(()) } else { Err("it is not".to_owned()) }
            }),
            Director::Lvsd => wait_for(&format!("the VIP is at {}", host.name()), seconds(15), || {
                let is_alone = holds_vip(host)? && !holds_vip(other)?;
                if is_alone { Ok(()) } else { Err("it is not".to_owned()) }
            }),
        }
    }

    /// Both have their tables, and both real servers in them.
    pub(super) fn wait_until_whole(&self, hosts: &[&Host]) -> Verdict {
        for host in hosts {
            wait_for(&format!("{} is whole", host.name()), seconds(30), || match self {
                Director::Keepalived => {
                    let table = judge::output(host, &["ipvsadm", "-Sn"])?;
                    if table.matches("-a ").count() == 2 { Ok(()) } else { Err(table) }
                }
                Director::Lvsd | Director::Script => is_marked(host),
            })?;
        }
        Ok(())
    }

    /// Kills it with all its processes.
    pub(super) fn kill(&self, daemon: &mut Option<Daemon>) -> Verdict {
        let Some(daemon) = daemon.take() else { return Ok(()) };
        // A parent makes lost children anew, children tidy up after a lost parent: it is stopped first, and dies last.
        daemon.signal(Signal::STOP)?;
        let parent = daemon.pid().to_string();
        let is_child = |id: &String| {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            status.lines().any(|line| line.split_whitespace().eq(["PPid:", &parent]))
        };
        let children: Vec<String> = processes("keepalived")?.into_iter().filter(is_child).collect();
        children.iter().try_for_each(|id| judge::run(&["kill", "-9", id]).map(drop))?;
        daemon.kill().map(drop)
    }
}

/// lvsd says that packets are marked, and holds both real servers of every virtual server.
pub(super) fn is_marked(host: &Host) -> Verdict {
    let status = status(host)?;
    let servers = status.pointer("/director/virtual_servers").and_then(|all| all.as_array());
    let is_whole = |server: &serde_json::Value| {
        let is_marked = server.pointer("/colocated/is_marked").is_some_and(|is| *is == true);
        let reals = server.get("real_servers").and_then(|all| all.as_array());
        let serves = |real: &&serde_json::Value| real.get("kernel_weight").is_some_and(|weight| *weight == 1);
        is_marked && reals.is_some_and(|all| all.iter().filter(serves).count() == 2)
    };
    let is_well = servers.is_some_and(|all| !all.is_empty() && all.iter().all(is_whole));
    if is_well { Ok(()) } else { Err(status.to_string()) }
}

pub(super) fn configuration(host: &Host) -> &'static str {
    if host.name() == "a" { include_str!("a.conf") } else { include_str!("b.conf") }
}

/// The same file without its instance: for when another program moves the VIP.
pub(super) fn by_script(host: &Host) -> &'static str {
    let text = configuration(host);
    text.find("virtual_server ").and_then(|at| text.get(at..)).unwrap_or(text)
}

/// The widely copied lvs_dr.sh.
fn dr_script(host: &Host) -> Verdict {
    batch(Some(host.name()), &format!("addr add {VIP}/32 brd {VIP} dev lo label lo:1\n"))?;
    host.sysctl(&[
        ("net.ipv4.conf.lo.arp_ignore", "1"),
        ("net.ipv4.conf.lo.arp_announce", "2"),
        ("net.ipv4.conf.all.arp_ignore", "1"),
        ("net.ipv4.conf.all.arp_announce", "2"),
    ])
}

fn holds_vip(host: &Host) -> Result<bool, String> {
    let addresses = judge::addresses(host)?;
    let vip: IpAddr = VIP.parse().map_err(|e| format!("{e}"))?;
    Ok(addresses.get("eth0").is_some_and(|all| all.contains(&vip)))
}

/// Takes the VIP from a host's network; from its lo never.
pub(super) fn take_vip(host: &Host) -> Verdict {
    if holds_vip(host)? { batch(Some(host.name()), &format!("addr del {VIP}/32 dev eth0\n")) } else { Ok(()) }
}

/// Gives a host the VIP, and tells the neighbours (a gratuitous ARP request, RFC 5227).
pub(super) fn give_vip(host: &Host) -> Verdict {
    if !holds_vip(host)? {
        batch(Some(host.name()), &format!("addr add {VIP}/32 dev eth0\n"))?;
    }
    let vip: std::net::Ipv4Addr = VIP.parse().map_err(|e| format!("{e}"))?;
    host.enter(|| {
        let known = Kernel::open()?.host()?;
        let link = known.link("eth0").ok_or("no eth0")?;
        let mac = link.mac.ok_or("no MAC")?.0;
        let mut frame = [[0xff; 6], mac].concat();
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(mac);
        frame.extend(vip.octets());
        frame.extend([0; 6]);
        frame.extend(vip.octets());
        frame.resize(60, 0);
        let sender = PacketSocket::open(link.index).map_err(|e| format!("frames: {e}"))?;
        sender.send(&frame).map_err(|e| format!("frames: {e}"))
    })
}
