//! What the kernel does without being asked, and what a director did not add itself, beside keepalived: the host's own
//! address that is configured as a VIP, or comes after one; routes and rules after a death, and after the kernel
//! dropped them.

use std::time::Duration;

use rustix::process::Signal;

use crate::lab::daemon::{configure, lvsd};
use crate::lab::host::Host;
use crate::lab::judge::output;
use crate::lab::topology::batch;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim};

/// Longer than a Backup of priority 100 waits.
const ELECTION: Duration = seconds(6);
/// The host's own address, and a link besides where there is none.
const OWN: &str = "10.77.0.1/24";
const LATE: &str = "10.88.0.5/24";
const VIP: &str = "10.88.0.100/24";

type Part = fn(&Lab, Make) -> Verdict;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let _segment = lab.segment(1)?;
    batch(Some("d1"), "link add spare0 type dummy\nlink set spare0 up\n")?;
    lab.host("d1")?.sysctl(&[
        ("net.ipv4.conf.all.promote_secondaries", "0"),
        ("net.ipv4.conf.eth0.promote_secondaries", "0"),
        ("net.ipv4.conf.spare0.promote_secondaries", "0"),
    ])?;
    for make in [Make::Keepalived, Make::Lvsd] {
        let parts: [(&str, Part); 3] =
            [("own address", own_address), ("late address", late_address), ("routes and rules", routes)];
        for (name, part) in parts {
            lab.step(format!("{}: {name}", make.name()));
            part(lab, make).map_err(|e| format!("{}: {name}: {e}", make.name()))?;
        }
    }
    Ok(())
}

fn file(vip: &str, more: &str) -> String {
    format!(
        "vrrp_instance V {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority 100\n advert_int 1\n \
         virtual_ipaddress {{\n {vip}\n }}\n {more}\n}}\n"
    )
}

fn addresses(host: &Host, link: &str) -> Result<String, String> {
    output(host, &["ip", "-4", "addr", "show", "dev", link])
}

fn has(host: &Host, link: &str, address: &str) -> Result<bool, String> {
    Ok(addresses(host, link)?.contains(&format!("inet {address} ")))
}

/// A VIP that is the host's own address: with another prefix length, as of a file that gives none, and with its own.
fn own_address(lab: &Lab, make: Make) -> Verdict {
    for vip in ["10.77.0.1", OWN] {
        // keepalived removes it when it stops being Master, and all routes of the link with it.
        if make == Make::Keepalived && vip == OWN {
            continue;
        }
        let configuration = file(vip, "");
        let mut node = Node::new(lab, "d1", make, &configuration)?;
        batch(Some("d1"), "route replace default via 10.77.0.50\n")?;
        let is_whole = |host: &Host, when: &str| -> Verdict {
            let routes = output(host, &["ip", "route"])?;
            let found = addresses(host, "eth0")?;
            claim(found.contains(&format!("inet {OWN} ")), || {
                format!("{vip}, {when}: own address went: {found}")
            })?;
            let has_default = routes.contains("default via 10.77.0.50");
            claim(has_default, || format!("{vip}, {when}: the default route went: {routes}"))
        };
        if make == Make::Lvsd {
            let path = configure(lab, &node.host, &configuration)?.display().to_string();
            let said = lvsd(&node.host, &["check", "-c", &path])?.stdout;
            let words = "virtual address 10.77.0.1 is an address of this host already (10.77.0.1/24 on eth0)";
            claim(said.contains(words), || format!("check says: {said}"))?;
        }
        node.start(lab)?;
        pause(seconds(1));
        is_whole(&node.host, "as Backup")?;
        pause(ELECTION);
        is_whole(&node.host, "as Master")?;
        node.end(Signal::TERM)?;
        is_whole(&node.host, "after the stop")?;
        if make == Make::Lvsd {
            let log = node.log();
            claim(log.contains("is an address of this host already"), || format!("the log: {log}"))?;
        }
    }
    Ok(())
}

/// DHCP answers when the VIP is there already: the own address stays, with the VIP or without it.
fn late_address(lab: &Lab, make: Make) -> Verdict {
    for is_killed in [false, true] {
        let mut node = Node::new(lab, "d1", make, &file(&format!("{VIP} dev spare0"), ""))?;
        node.start(lab)?;
        wait_for("the VIP", seconds(10), || match has(&node.host, "spare0", VIP)? {
            true => Ok(()),
            false => Err("none".into()),
        })?;
        batch(Some("d1"), &format!("addr add {LATE} dev spare0\n"))?;
        pause(seconds(2));
        let found = addresses(&node.host, "spare0")?;
        let is_primary = found.contains(&format!("inet {LATE} scope global spare0"));
        claim(is_primary == (make == Make::Lvsd), || format!("primary: {found}"))?;
        match is_killed {
            // The guardian, where there is one, removes the VIP.
            true => node.kill_main()?,
            false => node.end(Signal::TERM)?,
        }
        pause(seconds(2));
        let found = addresses(&node.host, "spare0")?;
        claim(!found.contains(VIP), || format!("the VIP stayed: {found}"))?;
        if make == Make::Lvsd {
            claim(found.contains(LATE), || format!("the own address went with the VIP: {found}"))?;
            let setting = "/proc/sys/net/ipv4/conf/spare0/promote_secondaries";
            let promotes = output(&node.host, &["cat", setting])?;
            claim(promotes.trim() == "0", || format!("promote_secondaries became {promotes}"))?;
        }
        batch(Some("d1"), "addr flush dev spare0\n")?;
    }
    Ok(())
}

/// Routes and rules go with a death's successor, and come back when the kernel dropped them with their link's address.
fn routes(lab: &Lab, make: Make) -> Verdict {
    let more = "virtual_routes {\n 172.16.0.0/24 via 10.88.0.1 dev spare0\n }\n virtual_rules {\n from 10.99.0.0/24 \
                table 100 preference 1000\n }";
    let mut node = Node::new(lab, "d1", make, &file(&format!("{VIP} dev spare0"), more))?;
    let host = lab.host("d1")?;
    let are = |wanted: bool| -> Verdict {
        let routes = output(&host, &["ip", "route", "show", "proto", "18"])?;
        let rules = output(&host, &["ip", "rule"])?;
        let found = (routes.contains("172.16.0.0/24"), rules.contains("1000:"));
        claim(found == (wanted, wanted), || format!("route, rule: {found:?}"))
    };
    let become_ = |what: &str, wanted: bool, limit| wait_for(what, limit, || are(wanted));
    node.start(lab)?;
    become_("route and rule of a Master", true, seconds(10))?;
    // The link's only IPv4 address: the kernel drops the route and announces nothing.
    batch(Some("d1"), &format!("addr del {VIP} dev spare0\n"))?;
    pause(seconds(3));
    are(true)?;
    claim(has(&host, "spare0", VIP)?, || "the VIP is not back".to_owned())?;
    batch(Some("d1"), "link set spare0 down\n")?;
    pause(seconds(1));
    batch(Some("d1"), "link set spare0 up\n")?;
    become_("route and rule after the link came back", true, seconds(15))?;
    node.kill_all()?;
    are(true)?;
    node.start(lab)?;
    become_("what a death left is removed by a Backup", false, seconds(2))?;
    become_("route and rule of a Master again", true, seconds(10))?;
    node.end(Signal::TERM)?;
    are(false)
}
