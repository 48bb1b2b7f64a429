//! A NAT pair's inside: the links that VIPs are on, which VRRP does not run over. One that dies, in each way, moves all
//! VIPs; one that changes while in use leaves neighbours with the truth, and no VIP where it does not belong.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::client::get;
use crate::lab::host::Host;
use crate::lab::topology::{SWITCH, Topology, batch};
use crate::lab::vrrp::frame::Message;
use crate::lab::vrrp::holders::Holders;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::{VIP, WIRE};
use crate::lab::vrrp::tap::Tap;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim, judge, same};

const NAT: &str = include_str!("nat.conf");
/// The bridge of the real servers.
const INNER: &str = "inner";
/// The real servers' gateway.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 100);
/// What is done at once is done in this time, on a busy machine in real time too.
const AT_ONCE: Duration = Duration::from_millis(400);
/// A priority of 0, the skew of priority 100, and what looking takes.
const LEFT: Duration = Duration::from_millis(1500);
/// Three intervals and the skew of priority 150, and what looking takes.
const RETURN: Duration = seconds(6);
/// The same after a start, on a busy machine.
const START: Duration = seconds(15);
/// Clients doubt what they know of a neighbour after some seconds.
const SERVED: Duration = seconds(8);

/// A part of the scenario.
type Part = fn(&Net, &Lab) -> Verdict;

struct Net {
    outer: Tap,
    inner: Tap,
    holders: Holders,
    client: Host,
    _web: Web,
}

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let net = Net::build(lab)?;
    let pairs =
        [(Make::Keepalived, Make::Keepalived), (Make::Lvsd, Make::Keepalived), (Make::Lvsd, Make::Lvsd)];
    for (first, second) in pairs {
        let names = format!("{} with priority 150, {} with 100", first.name(), second.name());
        lab.step(&names);
        net.inside_dies(lab, first, second).map_err(|e| format!("{names}: {e}"))?;
    }
    let parts: [(&str, Part); 6] = [
        ("an inside that is not there at the start", Net::comes_late),
        ("another MAC address", Net::changes_mac),
        ("another name", Net::is_renamed),
        ("a port of a bridge", Net::becomes_port),
        ("a link that nothing tracks", Net::untracked),
        ("the base of a VMAC is made anew", Net::base_made_anew),
    ];
    for (name, part) in parts {
        lab.step(name);
        part(&net, lab).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ill {
    Cut,
    Down,
    Deleted,
}

impl Net {
    fn build(lab: &mut Lab) -> Result<Net, String> {
        judge::modprobe(&["ip_vs", "macvlan"])?;
        let mut network = Topology::new(&[WIRE, INNER]);
        for number in [1, 2] {
            let name = format!("d{number}");
            network.host(&name).mac(&name, "eth0", &mac(number, 0)).mac(&name, "eth1", &mac(number, 1));
            network.plug(&name, "eth0", WIRE, &[&format!("10.77.0.{number}/24")]);
            network.plug(&name, "eth1", INNER, &[&format!("10.78.0.{number}/24")]).forwarding(&name);
        }
        network.host("c").plug("c", "eth0", WIRE, &["10.77.0.50/24"]);
        network.host("rs1").plug("rs1", "eth0", INNER, &["10.78.0.21/24"]);
        lab.build(&network)?;
        batch(Some("rs1"), &format!("route replace 0.0.0.0/0 via {GATEWAY}\n"))?;
        Ok(Net {
            outer: Tap::start(lab)?,
            inner: Tap::on(lab, INNER)?,
            holders: Holders::start(&[lab.host("d1")?, lab.host("d2")?])?,
            client: lab.host("c")?,
            _web: Web::start(&lab.host("rs1")?)?,
        })
    }

    /// The Master's inside dies in each way: the other director has all VIPs as soon as the protocol allows, and
    /// serves; it works again: back, and announced on both sides.
    fn inside_dies(&self, lab: &Lab, first: Make, second: Make) -> Verdict {
        let mut one = node(lab, "d1", first, NAT, 150)?;
        let mut two = node(lab, "d2", second, NAT, 100)?;
        let begun = Instant::now();
        one.start(lab)?;
        two.start(lab)?;
        self.is_with("d1", begun, START)?;
        self.serves()?;
        for ill in [Ill::Cut, Ill::Down, Ill::Deleted] {
            // All is said of the return before.
            pause(seconds(6));
            let died = Instant::now();
            match ill {
                Ill::Cut => lab.cut("d1", "eth1")?,
                Ill::Down => batch(Some("d1"), "link set eth1 down\n")?,
                Ill::Deleted => batch(Some("d1"), "link del eth1\n")?,
            }
            self.is_with("d2", died, LEFT).map_err(|e| format!("{ill:?}: {e}"))?;
            claim(held(lab, "d1")?.is_empty(), || format!("{ill:?}: VIPs on d1"))?;
            self.serves().map_err(|e| format!("{ill:?}: {e}"))?;
            let mended = Instant::now();
            match ill {
                Ill::Cut => lab.mend("d1", "eth1")?,
                Ill::Down => batch(Some("d1"), "link set eth1 up\n")?,
                Ill::Deleted => plug(1, "eth1")?,
            }
            self.is_with("d1", mended, RETURN).map_err(|e| format!("{ill:?}, mended: {e}"))?;
            self.announced(mended, [1, 1], RETURN).map_err(|e| format!("{ill:?}, mended: {e}"))?;
            self.serves().map_err(|e| format!("{ill:?}, mended: {e}"))?;
        }
        if first == Make::Lvsd {
            let log = one.log();
            // One that is deleted is switched off first.
            for why in ["has no carrier", "is down"] {
                let words = format!("interface eth1, which has the virtual address {GATEWAY}/24, {why}");
                claim(log.contains(&words), || format!("no {words:?} in\n{log}"))?;
            }
            claim(!log.contains("cannot announce"), || log.clone())?;
        }
        one.end(Signal::TERM)?;
        two.end(Signal::TERM)?;
        same("what is left", &(held(lab, "d1")?, held(lab, "d2")?), &(Vec::new(), Vec::new()))
    }

    fn comes_late(&self, lab: &Lab) -> Verdict {
        batch(Some("d1"), "link del eth1\n")?;
        let mut one = node(lab, "d1", Make::Lvsd, NAT, 150)?;
        one.start(lab)?;
        pause(seconds(8));
        same("VIPs while it is not there", &held(lab, "d1")?, &Vec::new())?;
        let came = Instant::now();
        plug(1, "eth1")?;
        self.is_with("d1", came, RETURN)?;
        self.announced(came, [1, 1], RETURN)?;
        self.serves()?;
        one.end(Signal::TERM)
    }

    /// While it is Master: neighbours hear of it at once, on that side alone.
    fn changes_mac(&self, lab: &Lab) -> Verdict {
        let mut one = self.master(lab, NAT)?;
        for (link, tap, vip) in [("eth0", &self.outer, VIP), ("eth1", &self.inner, GATEWAY)] {
            let changed = Instant::now();
            batch(Some("d1"), &format!("link set {link} address 02:00:00:00:77:01\n"))?;
            announced(tap, vip, changed, AT_ONCE, [2, 0, 0, 0, 0x77, 1])?;
            self.serves()?;
            batch(Some("d1"), &format!("link set {link} address {}\n", mac(1, u8::from(link == "eth1"))))?;
            pause(seconds(1));
        }
        claim(!one.log().contains("Master ->"), || one.log())?;
        one.end(Signal::TERM)
    }

    /// The VIP is not left on the link that has another name, and all are back when it has its own again.
    fn is_renamed(&self, lab: &Lab) -> Verdict {
        let mut two = node(lab, "d2", Make::Lvsd, NAT, 100)?;
        two.start(lab)?;
        let mut one = self.master(lab, NAT)?;
        // Without its own link it cannot say that it leaves.
        for (link, left) in [("eth1", LEFT), ("eth0", RETURN)] {
            let renamed = Instant::now();
            batch(
                Some("d1"),
                &format!("link set {link} down\nlink set {link} name other\nlink set other up\n"),
            )?;
            self.is_with("d2", renamed, left)?;
            same("VIPs of d1", &held(lab, "d1")?, &Vec::new())?;
            self.serves()?;
            let back = Instant::now();
            batch(
                Some("d1"),
                &format!("link set other down\nlink set other name {link}\nlink set {link} up\n"),
            )?;
            self.is_with("d1", back, RETURN).map_err(|e| format!("{link} again: {e}"))?;
            self.announced(back, [1, 1], RETURN)?;
            self.serves()?;
            pause(seconds(6));
        }
        one.end(Signal::TERM)?;
        two.end(Signal::TERM)
    }

    /// VRRP's own link becomes a port of a bridge, which gets its packets: the other director is Master, alone, until
    /// it is taken out again.
    fn becomes_port(&self, lab: &Lab) -> Verdict {
        let mut two = node(lab, "d2", Make::Lvsd, NAT, 100)?;
        two.start(lab)?;
        let mut one = self.master(lab, NAT)?;
        let enslaved = Instant::now();
        batch(Some("d1"), "link add br0 type bridge\nlink set eth0 master br0\n")?;
        self.is_with("d2", enslaved, RETURN)?;
        // Deaf, it would be Master by now.
        pause(RETURN);
        same("VIPs of d1", &held(lab, "d1")?, &Vec::new())?;
        let words = "interface eth0 is a port of br0, which gets its packets: write `interface br0`";
        claim(one.log().contains(words), || one.log())?;
        let free = Instant::now();
        batch(Some("d1"), "link set eth0 nomaster\nlink del br0\n")?;
        self.is_with("d1", free, RETURN)?;
        self.announced(free, [1, 1], RETURN)?;
        self.serves()?;
        one.end(Signal::TERM)?;
        two.end(Signal::TERM)
    }

    /// `no_track`: it stays Master, says nothing on a link that is down, and announces when the link is back.
    fn untracked(&self, lab: &Lab) -> Verdict {
        let untracked = NAT.replace("dev eth1", "dev eth1 no_track");
        let untracked = untracked
            .replace("    priority", "    dont_track_primary\n    garp_master_refresh 1\n    priority");
        let mut one = self.master(lab, &untracked)?;
        for (link, tap, vip) in [("eth1", &self.inner, GATEWAY), ("eth0", &self.outer, VIP)] {
            batch(Some("d1"), &format!("link set {link} down\n"))?;
            pause(seconds(5));
            let back = Instant::now();
            batch(Some("d1"), &format!("link set {link} up\n"))?;
            announced(tap, vip, back, AT_ONCE, [2, 0, 0, 0, u8::from(link == "eth1"), 1])?;
            self.serves()?;
        }
        let log = one.log();
        claim(!log.contains("Master ->") && !log.contains("cannot announce"), || log.clone())?;
        one.end(Signal::TERM)
    }

    /// As `systemctl restart networking` or a VLAN's restart do: its sockets and its VMAC are made anew, the base has
    /// the settings that a VMAC needs, and gets back what its own were.
    fn base_made_anew(&self, lab: &Lab) -> Verdict {
        let with_vmac = NAT.replace("    advert_int", "    use_vmac\n    advert_int");
        let mut one = self.master(lab, &with_vmac)?;
        let wanted =
            || settings(lab, "eth0").and_then(|s| same("the base's settings", &s, &["1".into(), "1".into()]));
        wanted()?;
        let deleted = Instant::now();
        batch(Some("d1"), "link del eth0\n")?;
        self.holders.wait("d1", GATEWAY.into(), false, deleted, AT_ONCE)?;
        pause(seconds(2));
        let again = Instant::now();
        plug(1, "eth0")?;
        self.is_with("d1", again, RETURN)?;
        announced(&self.outer, VIP, again, RETURN, [0, 0, 0x5e, 0, 1, 51])?;
        wanted()?;
        self.serves()?;
        let renamed = Instant::now();
        batch(Some("d1"), "link set eth0 down\nlink set eth0 name other\nlink set other up\n")?;
        self.holders.wait("d1", GATEWAY.into(), false, renamed, AT_ONCE)?;
        wait_for("the VMAC is gone", seconds(3), || {
            let links = judge::output(&one.host, &["ip", "-br", "link"])?;
            if links.contains("vrrp") { Err(links) } else { Ok(()) }
        })?;
        same("settings of the renamed base", &settings(lab, "other")?, &["0".into(), "0".into()])?;
        let back = Instant::now();
        batch(Some("d1"), "link set other down\nlink set other name eth0\nlink set eth0 up\n")?;
        self.is_with("d1", back, RETURN)?;
        wanted()?;
        self.serves()?;
        one.end(Signal::TERM)?;
        same("the base's settings after it", &settings(lab, "eth0")?, &["0".into(), "0".into()])
    }

    /// lvsd on d1, Master, and all has been said.
    fn master(&self, lab: &Lab, configuration: &str) -> Result<Node, String> {
        let mut one = node(lab, "d1", Make::Lvsd, configuration, 150)?;
        let begun = Instant::now();
        one.start(lab)?;
        self.is_with("d1", begun, START)?;
        self.serves()?;
        pause(seconds(6));
        Ok(one)
    }

    /// Both VIPs come to a director, and the other has none.
    fn is_with(&self, director: &str, from: Instant, patience: Duration) -> Verdict {
        let mut last = from;
        for vip in [VIP, GATEWAY] {
            last = last.max(self.holders.wait(director, vip.into(), true, from, patience)?);
        }
        let other = if director == "d1" { "d2" } else { "d1" };
        wait_for(&format!("no VIP is on {other}"), AT_ONCE, || {
            let now = Instant::now();
            let at = [VIP, GATEWAY].map(|vip| self.holders.at(vip.into(), now));
            if at.iter().flatten().any(|host| host == other) { Err(format!("{at:?}")) } else { Ok(()) }
        })
    }

    /// Both VIPs are announced, each where it is, from the MAC addresses of these directors' links.
    fn announced(&self, from: Instant, [outer, inner]: [u8; 2], patience: Duration) -> Verdict {
        announced(&self.outer, VIP, from, patience, [2, 0, 0, 0, 0, outer])?;
        announced(&self.inner, GATEWAY, from, patience, [2, 0, 0, 0, 1, inner])
    }

    /// A client is answered by the real server, whose answer goes through the inner VIP.
    fn serves(&self) -> Verdict {
        wait_for("the client is served", SERVED, || {
            let response = get(&self.client, &format!("http://{VIP}/"))?;
            if response.body == "rs1" { Ok(()) } else { Err(response.body) }
        })
    }
}

fn announced(tap: &Tap, vip: Ipv4Addr, from: Instant, patience: Duration, mac: [u8; 6]) -> Verdict {
    tap.wait(&format!("{vip} is at {mac:02x?}"), from, patience, |p| match p.message {
        Message::GratuitousArp { address, mac: theirs } if address == vip && theirs == mac => Some(()),
        _ => None,
    })
}

fn node(lab: &Lab, name: &str, make: Make, text: &str, priority: u8) -> Result<Node, String> {
    Node::new(lab, name, make, &format!("$PRIORITY={priority}\n{text}"))
}

fn mac(number: u8, link: u8) -> String {
    format!("02:00:00:00:{link:02x}:{number:02x}")
}

/// Plugs a director's link in again that was deleted.
fn plug(number: u8, link: &str) -> Verdict {
    let (which, bridge) = if link == "eth0" { (0, WIRE) } else { (1, INNER) };
    let (name, port) = (format!("d{number}"), format!("d{number}-{link}"));
    batch(None, &format!("link add {port} netns {SWITCH} type veth peer name {link} netns {name}\n"))?;
    batch(Some(SWITCH), &format!("link set {port} master {bridge} up\n"))?;
    let address = format!("10.7{}.0.{number}/24", 7 + which);
    let mac = mac(number, which);
    batch(
        Some(&name),
        &format!("link set {link} address {mac}\nlink set {link} up\naddr add {address} dev {link}\n"),
    )
}

/// The VIPs of a director, on any link.
fn held(lab: &Lab, director: &str) -> Result<Vec<(String, IpAddr)>, String> {
    let all: BTreeMap<_, _> = judge::addresses(&lab.host(director)?)?;
    let vips = [IpAddr::from(VIP), IpAddr::from(GATEWAY)];
    let found = all.into_iter().flat_map(|(link, all)| all.into_iter().map(move |ip| (link.clone(), ip)));
    Ok(found.filter(|(_, ip)| vips.contains(ip)).collect())
}

/// arp_ignore and arp_filter of a link of d1.
fn settings(lab: &Lab, link: &str) -> Result<[String; 2], String> {
    lab.host("d1")?.enter(|| {
        let read = |name: &str| {
            let path = format!("/proc/sys/net/ipv4/conf/{link}/{name}");
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
            Ok::<_, String>(text.trim().to_owned())
        };
        Ok([read("arp_ignore")?, read("arp_filter")?])
    })
}
