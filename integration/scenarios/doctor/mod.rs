//! What `lvsd doctor` finds: each fault is made, found in the right words on the host it concerns, with an exit code;
//! the fix it prints is run as printed, and the finding is gone.

mod routers;

use serde_json::Value;

pub(super) use routers::run as run_routers;

use crate::lab::daemon::{Daemon, READY, lvsd, lvsd_binary, run_dir};
use crate::lab::host::Host;
use crate::lab::judge::{modprobe, output};
use crate::lab::topology::{VIP, VIP6};
use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict, claim, same};

const DR: &str = "virtual_server 10.1.0.100 80 {
    protocol TCP
    lb_algo rr
    lb_kind DR
    real_server 10.1.0.21 80 {
        TCP_CHECK {
        }
    }
    real_server 10.1.0.22 80 {
        TCP_CHECK {
        }
    }
}
";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    modprobe(&["dummy", "sch_ingress", "cls_matchall", "act_mirred", "ipip"])?;
    let director = &site.director;
    let real = lab.host("rs1")?;
    let dr = lab.write("dr.conf", DR)?.display().to_string();
    let tun = lab.write("tun.conf", &DR.replace("DR", "TUN"))?.display().to_string();
    let nat = lab.write("nat.conf", &DR.replace("DR", "NAT"))?.display().to_string();
    let mh = DR.replace("lb_algo rr", "lb_algo mh");
    let without = lab.write("mh.conf", &mh)?.display().to_string();
    let with = lab.write("mh-fallback.conf", &mh.replace("lb_algo mh", "lb_algo mh\n    mh-fallback"))?;

    lab.step("nothing is wrong with a site that works");
    for host in [director, &real] {
        let said = doctor(host, &dr, &[])?;
        lab.note(&said.text);
        same(&format!("exit code on {}: {}", host.name(), said.text), &said.code, &Some(0))?;
    }

    lab.step("the VIP is missing on a real server's lo");
    output(&real, &["ip", "addr", "del", "10.1.0.100/32", "dev", "lo"])?;
    cured(lab, &real, &dr, &format!("VIP {VIP} is missing on lo"), &real)?;

    lab.step("a real server answers ARP for the VIP: it finds it itself, and the director does");
    let leak = || {
        let names = ["net.ipv4.conf.all.arp_ignore", "net.ipv4.conf.lo.arp_ignore"];
        real.sysctl(&names.map(|name| (name, "0")))
    };
    leak()?;
    let said = doctor(&real, &dr, &[])?;
    claim(said.text.contains("eth0: ANSWERS its neighbours"), || said.text.clone())?;
    let link = output(&real, &["ip", "-o", "link", "show", "eth0"])?;
    let mut words = link.split_whitespace().skip_while(|word| *word != "link/ether");
    let mac = words.nth(1).ok_or("rs1's link-layer address")?;
    let said = doctor(director, &dr, &[])?;
    claim(said.text.contains(&format!("{mac} (10.1.0.21) answered")), || said.text.clone())?;
    cured(lab, director, &dr, &format!("real server 10.1.0.21 answers ARP for VIP {VIP}"), &real)?;

    lab.step("the same in IPv6, where a VIP on a link of the network is what tells");
    let six = DR.replace(VIP, VIP6).replace("10.1.0.2", "fd00:1::2");
    let six = lab.write("dr6.conf", &six)?.display().to_string();
    for host in [director, &real] {
        let said = doctor(host, &six, &[])?;
        same(&format!("exit code on {}: {}", host.name(), said.text), &said.code, &Some(0))?;
    }
    let on_eth0 = ["ip", "addr", "add", "fd00:1::100/128", "dev", "eth0", "nodad", "preferred_lft", "0"];
    output(&real, &on_eth0)?;
    let said = doctor(&real, &six, &[])?;
    claim(said.text.contains(&format!("this host answers its neighbours for VIP {VIP6}")), || {
        said.text.clone()
    })?;
    let said = doctor(director, &six, &[])?;
    claim(said.text.contains(&format!("{mac} (fd00:1::21) answered")), || said.text.clone())?;
    let what = format!("real server fd00:1::21 answers neighbour solicitations for VIP {VIP6}");
    cured(lab, director, &six, &what, &real)?;

    lab.step("--fix does what is safe, and says so");
    leak()?;
    output(&real, &["ip", "addr", "del", "10.1.0.100/32", "dev", "lo"])?;
    let said = doctor(&real, &dr, &["--fix"])?;
    lab.note(&said.text);
    same("exit code", &said.code, &Some(0))?;
    claim(said.text.contains("done: lvsd real-server up -c "), || said.text.clone())?;
    claim(output(&real, &["ip", "addr", "show", "dev", "lo"])?.contains("10.1.0.100/32"), || {
        "no VIP".into()
    })?;

    lab.step("the wrong rp_filter for TUN");
    output(&real, &["ip", "link", "set", "tunl0", "up"])?;
    real.sysctl(&[("net.ipv4.conf.tunl0.rp_filter", "1")])?;
    cured(lab, &real, &tun, "rp_filter drops what comes out of tunl0", &real)?;

    lab.step("NAT without ip_forward");
    director.sysctl(&[("net.ipv4.ip_forward", "0")])?;
    cured(lab, director, &nat, "net.ipv4.ip_forward is 0", director)?;

    firewalls(lab, director, [&dr, &nat])?;

    lab.step("mh without fallback, and with it");
    let said = doctor(director, &without, &[])?;
    same("exit code", &said.code, &Some(1))?;
    let words = "warning: virtual server 10.1.0.100:80 tcp: mh without mh-fallback";
    claim(said.text.contains(words) && said.text.contains("fix:  write `mh-fallback`"), || {
        said.text.clone()
    })?;
    let said = doctor(director, &with.display().to_string(), &[])?;
    same(&format!("exit code: {}", said.text), &said.code, &Some(0))?;

    lab.step("a running lvsd is fine, a second one is not");
    let first = Daemon::lvsd(lab, director, DR)?;
    let said = doctor(director, &dr, &[])?;
    same(&format!("exit code: {}", said.text), &said.code, &Some(0))?;
    let file = lab.write("second.conf", DR)?;
    let mut second = Daemon::start_lvsd(lab, director, &file, "/run/lvsd-second", &["--force"])?;
    second.wait_log(READY, seconds(30))?;
    let said = doctor(director, &dr, &[])?;
    same("exit code", &said.code, &Some(2))?;
    claim(said.text.contains("BROKEN: two directors share one table"), || said.text.clone())?;
    second.kill()?;
    let said = doctor(director, &dr, &[])?;
    same(&format!("exit code: {}", said.text), &said.code, &Some(0))?;
    drop(first);
    Ok(())
}

/// Rules that drop clients, what connection tracking takes for invalid, and replies: told as what they do, and gone by
/// the printed command.
fn firewalls(lab: &Lab, director: &Host, [dr, nat]: [&str; 2]) -> Verdict {
    let nft = |ruleset: &str| output(director, &["nft", ruleset]).map(drop);
    let table = "flush ruleset; add table inet filter; add chain inet filter";
    lab.step("a firewall that drops all, and one that lets clients in");
    let closed = "input { type filter hook input priority 0; policy drop; }; add rule inet filter input";
    nft(&format!("{table} {closed} meta l4proto {{ icmp, icmpv6 }} accept"))?;
    let what = "this host's firewall drops what clients send to virtual server 10.1.0.100:80 tcp";
    cured(lab, director, dr, what, director)?;

    lab.step("ct state invalid drop, behind a director by DR and by NAT");
    let invalid = "ct state invalid drop";
    nft(&format!(
        "{table} input {{ type filter hook input priority 0; }}; add rule inet filter input {invalid}"
    ))?;
    director.sysctl(&[("net.ipv4.vs.conntrack", "1")])?;
    cured(
        lab,
        director,
        dr,
        "this host's firewall drops as invalid what clients send to VIP 10.1.0.100",
        director,
    )?;
    director.sysctl(&[("net.ipv4.vs.conntrack", "0")])?;
    nft(&format!(
        "{table} forward {{ type filter hook forward priority 0; }}; add rule inet filter forward {invalid}"
    ))?;
    cured(lab, director, nat, "this host's firewall drops replies of real server 10.1.0.21:80", director)?;
    director.sysctl(&[("net.ipv4.vs.conntrack", "0")])?;
    nft("flush ruleset")
}

/// The host says this of itself, and no more once its printed fix was run, as printed, where it is to be run.
fn cured(lab: &Lab, host: &Host, file: &str, what: &str, where_run: &Host) -> Verdict {
    let said = doctor(host, file, &["--json"])?;
    same(&format!("exit code: {}", said.text), &said.code, &Some(2))?;
    let fix = fix_of(&said, what)?;
    // `on 10.1.0.21: COMMAND` is another host's.
    let command =
        fix.split_once(": ").filter(|_| fix.starts_with("on ")).map_or(fix.as_str(), |(_, rest)| rest);
    lab.note(format!("{what}\n  {fix}"));
    let lvsd = lvsd_binary().display().to_string();
    output(where_run, &["sh", "-c", &command.replace("lvsd ", &format!("{lvsd} "))])?;
    let again = doctor(host, file, &["--json"])?;
    same(&format!("exit code afterwards: {}", again.text), &again.code, &Some(0))?;
    claim(find(&again.text, what)?.is_none(), || again.text.clone())
}

/// The fix of a finding that must be there.
fn fix_of(said: &Said, what: &str) -> Result<String, String> {
    find(&said.text, what)?.ok_or_else(|| format!("{what}: not found in {}", said.text))
}

/// The fix of a finding.
fn find(json: &str, what: &str) -> Result<Option<String>, String> {
    let report: Value = serde_json::from_str(json).map_err(|error| format!("{error}: {json}"))?;
    let findings = report.get("findings").and_then(Value::as_array).ok_or("findings")?;
    let found = findings.iter().find(|finding| finding.get("what").is_some_and(|found| found == what));
    Ok(found.and_then(|finding| finding.get("fix")?.as_str()).map(str::to_owned))
}

struct Said {
    code: Option<i32>,
    text: String,
}

fn doctor(host: &Host, file: &str, flags: &[&str]) -> Result<Said, String> {
    let run_dir = run_dir(host);
    let arguments = [&["doctor", "-c", file, "--run-dir", &run_dir], flags].concat();
    let finished = lvsd(host, &arguments)?;
    Ok(Said { code: finished.code, text: finished.stdout + &finished.stderr })
}
