//! What `lvsd doctor` finds at virtual routers: a firewall between a pair, a VRID in use by another router, an address
//! that no host answers for. Found on the host it concerns, gone after the printed fix.

use rustix::process::Signal;

use super::{doctor, find, fix_of};
use crate::lab::daemon::Daemon;
use crate::lab::host::Host;
use crate::lab::judge::{addresses, modprobe, output};
use crate::lab::topology::VIP;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim, same};

fn pair(priority: u8) -> String {
    format!(
        "vrrp_instance WEB {{\n    interface eth0\n    virtual_router_id 51\n    priority {priority}\n    \
         advert_int 1\n    \
         virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n{}",
        super::DR
    )
}

const OTHER: &str = "vrrp_instance OTHER {
    interface eth0
    virtual_router_id 51
    priority 200
    virtual_ipaddress {
        10.1.0.200/24
    }
}
";

pub(crate) fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    modprobe(&["dummy", "sch_ingress", "cls_matchall", "act_mirred"])?;
    let [one, two, third] = [lab.host("d1")?, lab.host("d2")?, lab.host("rs3")?];
    let _webs = [Web::start(&lab.host("rs1")?)?, Web::start(&lab.host("rs2")?)?];
    let configurations = [pair(150), pair(100)];
    let daemons =
        [Daemon::lvsd(lab, &one, &configurations[0])?, Daemon::lvsd(lab, &two, &configurations[1])?];
    let files = [
        lab.write("one.conf", &configurations[0])?.display().to_string(),
        lab.write("two.conf", &configurations[1])?.display().to_string(),
    ];
    wait_for("the better one is Master", seconds(20), || holds(&one, VIP, true))?;
    wait_for("the other one is not", seconds(20), || holds(&two, VIP, false))?;

    lab.step("a pair that is well is told nothing");
    for (host, file) in [(&one, &files[0]), (&two, &files[1])] {
        well(host, file)?;
    }

    lab.step("one host's firewall drops advertisements: both are Master");
    let rules = "add table inet filter; add chain inet filter input { type filter hook input priority 0; }; \
                 add rule inet filter input meta l4proto 112 drop";
    output(&two, &["nft", rules])?;
    wait_for("both are Master", seconds(20), || holds(&two, VIP, true))?;
    let said = doctor(&two, &files[1], &["--json"])?;
    same("exit code", &said.code, &Some(2))?;
    claim(said.text.contains("arrive at eth0 and do not reach lvsd"), || said.text.clone())?;
    claim(find(&said.text, &format!("another host has VIP {VIP}, too"))?.is_some(), || said.text.clone())?;
    let fix = fix_of(&said, "vrrp_instance WEB: this host's firewall drops advertisements of other routers")?;
    lab.note(&fix);
    let seen = doctor(&one, &files[0], &["--json"])?;
    claim(seen.text.contains(&format!("another host has VIP {VIP}, too")), || seen.text.clone())?;
    output(&two, &["sh", "-c", &fix])?;
    wait_for("one is Master", seconds(20), || holds(&two, VIP, false))?;
    well(&two, &files[1])?;
    output(&two, &["nft", "flush ruleset"])?;

    lab.step("a stranger has the same number");
    let stranger = Daemon::lvsd(lab, &third, OTHER)?;
    wait_for("the stranger is Master", seconds(20), || holds(&third, "10.1.0.200", true))?;
    let said = doctor(&two, &files[1], &["--json"])?;
    let fix = fix_of(&said, "vrrp_instance WEB: another virtual router on eth0 has VRID 51, too")?;
    lab.note(&fix);
    same("the fix", &fix.as_str(), &"write `virtual_router_id 1` in vrrp_instance WEB on all its routers")?;
    stranger.end(Signal::TERM)?;
    let stranger = Daemon::lvsd(lab, &third, &OTHER.replace("51", "1"))?;
    wait_for("the stranger is Master of another number", seconds(20), || holds(&third, "10.1.0.200", true))?;
    wait_for("the better one is Master again", seconds(20), || holds(&one, VIP, true))?;
    wait_for("the other one is not", seconds(20), || holds(&two, VIP, false))?;
    let said = doctor(&two, &files[1], &["--json"])?;
    same(&format!("exit code: {}", said.text), &said.code, &Some(0))?;
    claim(find(&said.text, "other virtual routers send on eth0")?.is_some(), || said.text.clone())?;
    stranger.end(Signal::TERM)?;

    lab.step("a Master whose address no host answers for");
    one.sysctl(&[("net.ipv4.conf.eth0.arp_ignore", "8")])?;
    let said = doctor(&two, &files[1], &["--json"])?;
    same("exit code", &said.code, &Some(2))?;
    let fix = fix_of(&said, &format!("no host answers for VIP {VIP}, though a Master advertises it"))?;
    claim(fix.starts_with("on 10.1.0.11: ") && fix.contains("arp_ignore"), || fix.clone())?;
    one.sysctl(&[("net.ipv4.conf.eth0.arp_ignore", "0")])?;
    well(&two, &files[1])?;
    daemons.into_iter().try_for_each(|daemon| daemon.end(Signal::TERM))
}

fn well(host: &Host, file: &str) -> Verdict {
    let said = doctor(host, file, &[])?;
    same(&format!("exit code on {}: {}", host.name(), said.text), &said.code, &Some(0))
}

fn holds(host: &Host, address: &str, wanted: bool) -> Verdict {
    let held = addresses(host)?;
    let is_held = held.get("eth0").is_some_and(|all| all.iter().any(|ip| ip.to_string() == address));
    if is_held == wanted { Ok(()) } else { Err(format!("{} holds {address}: {is_held}", host.name())) }
}
