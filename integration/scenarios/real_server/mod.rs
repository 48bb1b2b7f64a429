//! Bare hosts become real servers by `lvsd real-server`: DR and TUN carry requests, in IPv4 and IPv6; no host learns of
//! the VIP; `down` leaves the host as `up` found it; the emitted script does the same.

mod files;

use std::process::{Command, Output};

use crate::lab::client::hits;
use crate::lab::daemon::lvsd_binary;
use crate::lab::host::Host;
use crate::lab::table::{ipvsadm, load};
use crate::lab::topology::{REAL_SERVERS, VIP, VIP6};
use crate::lab::{Lab, Verdict, claim, judge, same};

pub(super) use files::run as run_files;

const VIPS: &str = "10.1.0.100,fd00:1::100";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.plain_site()?;
    judge::modprobe(&["dummy", "sch_ingress", "cls_matchall", "act_mirred", "fou", "fou6"])?;
    let hosts: Vec<Host> = REAL_SERVERS.iter().map(|name| lab.host(name)).collect::<Result<_, _>>()?;

    lab.step("DR");
    through(lab, &site.client, &site.director, &hosts, &[], "-g")?;
    for (tunnel, method) in
        [("ipip", "-i"), ("gre", "-i --tun-type gre"), ("gue", "-i --tun-type gue --tun-port 6080")]
    {
        lab.step(format!("TUN: {tunnel}"));
        let flags = ["--method", "tun", "--tunnel", tunnel];
        through(lab, &site.client, &site.director, &hosts, &flags, method)?;
    }

    // With a strict `all` only loose helps, and loose wants an address; systemd's defaults make links loose.
    for (all, own) in [("1", "0"), ("0", "2")] {
        lab.step(format!("TUN with rp_filter {all} of all links, {own} of the tunnel's"));
        let set = |all, own| {
            let names = ["net.ipv4.conf.all.rp_filter", "net.ipv4.conf.tunl0.rp_filter"];
            hosts.iter().try_for_each(|host| host.sysctl(&[(names[0], all), (names[1], own)]))
        };
        set(all, own)?;
        through(lab, &site.client, &site.director, &hosts, &["--method", "tun"], "-i")?;
        set("0", "0")?;
    }

    let host = hosts.first().ok_or("a real server")?;
    lab.step("an ARP problem is found: the host is asked as if the request had come from the network");
    judge::output(host, &["ip", "addr", "add", "10.1.0.100/32", "dev", "lo"])?;
    let leaking = real_server(host, &["status", "--vip", VIP])?;
    same("exit code", &leaking.status.code(), &Some(2))?;
    let said = text(&leaking.stdout);
    claim(said.contains("eth0: ANSWERS its neighbours (asked)"), || said.clone())?;
    succeed(host, &["up", "--vip", VIP])?;
    let quiet = real_server(host, &["status", "--vip", VIP])?;
    same("exit code", &quiet.status.code(), &Some(0))?;
    let said = text(&quiet.stdout);
    claim(said.contains("eth0: keeps silent towards its neighbours (asked)"), || said.clone())?;
    succeed(host, &["down"])?;
    judge::output(host, &["ip", "addr", "del", "10.1.0.100/32", "dev", "lo"])?;

    lab.step("a prefix that takes the whole network is refused, and nothing is changed");
    judge::output(host, &["ip", "addr", "add", "10.1.0.100/24", "dev", "lo"])?;
    let before = picture(host)?;
    let refused = real_server(host, &["up", "--vip", VIP])?;
    same("exit code", &refused.status.code(), &Some(78))?;
    let said = text(&refused.stderr);
    claim(said.contains("ip addr del 10.1.0.100/24 dev lo"), || said.clone())?;
    same("the host", &picture(host)?, &before)?;
    judge::output(host, &["ip", "addr", "del", "10.1.0.100/24", "dev", "lo"])?;

    lab.step("half-way is undone");
    let before = picture(host)?;
    let half = real_server(
        host,
        &["up", "--vip", "10.1.0.100", "--method", "tun", "--tunnel", "gue", "--dev", "eth9"],
    )?;
    claim(!half.status.success(), || text(&half.stdout))?;
    same("the host", &picture(host)?, &before)?;

    lab.step("the emitted script: start, status, stop");
    emitted_script(lab, host)?;
    lab.step("emitted settings are read by sysctl(8)");
    let settings = text(&succeed(host, &["emit", "--vip", VIP, "--format", "sysctl"])?.stdout);
    let file = lab.write("90-lvs.conf", &settings)?.display().to_string();
    let before = picture(host)?;
    judge::output(host, &["sysctl", "-p", &file])?;
    claim(picture(host)? != before, || "arp_ignore and arp_announce are set".to_owned())?;
    Ok(())
}

/// Requests arrive by this method at hosts that `up` prepared and `down` puts back.
fn through(
    lab: &Lab,
    client: &Host,
    director: &Host,
    hosts: &[Host],
    flags: &[&str],
    method: &str,
) -> Verdict {
    let mut before = Vec::new();
    for host in hosts {
        before.push(picture(host)?);
        let up = [&["up", "--vip", VIPS], flags].concat();
        let dry = text(&succeed(host, &[&up[..], &["--dry-run"]].concat())?.stdout);
        same("a dry run changes nothing", &picture(host)?, before.last().ok_or("a picture")?)?;
        let done = text(&succeed(host, &up)?.stdout);
        same("what is done is what was said", &done.replace("done: ", ""), &dry)?;
        let again = text(&succeed(host, &up)?.stdout);
        claim(again.contains("nothing to do") || again.contains("fou"), || again.clone())?;
    }
    let mut table = format!("-A -t {VIP}:80 -s rr\n-A -t [{VIP6}]:80 -s rr\n");
    for n in 1..=hosts.len() {
        table.push_str(&format!("-a -t {VIP}:80 -r 10.1.0.2{n}:80 {method}\n"));
        table.push_str(&format!("-a -t [{VIP6}]:80 -r [fd00:1::2{n}]:80 {method}\n"));
    }
    load(director, &table)?;
    for url in [format!("http://{VIP}/"), format!("http://[{VIP6}]/")] {
        let got = hits(client, 9, &url)?.to_string();
        same(&format!("{url} by {method}"), &got.as_str(), &"rs1=3 rs2=3 rs3=3")?;
    }
    ipvsadm(director, "-C")?;
    for (host, before) in hosts.iter().zip(&before) {
        let down = text(&succeed(host, &["down"])?.stdout);
        lab.note(&down);
        same(&format!("{} after down", host.name()), &picture(host)?, before)?;
        let again = text(&succeed(host, &["down"])?.stdout);
        claim(again.contains("nothing to do"), || again.clone())?;
    }
    Ok(())
}

fn emitted_script(lab: &Lab, host: &Host) -> Verdict {
    let script = text(&succeed(host, &["emit", "--vip", VIPS, "--format", "sh"])?.stdout);
    let file = lab.write("lvs-real-server.sh", &script)?.display().to_string();
    let before = picture(host)?;
    judge::output(host, &["sh", &file, "start"])?;
    let status = real_server(host, &["status", "--vip", VIPS])?;
    same("lvsd's opinion of the script", &status.status.code(), &Some(0))?;
    let said = judge::output(host, &["sh", &file, "status"])?;
    claim(said.contains("10.1.0.100 on lo") && !said.contains("MISSING"), || said.clone())?;
    judge::output(host, &["sh", &file, "start"])?;
    judge::output(host, &["sh", &file, "stop"])?;
    same("the host after the script's stop", &picture(host)?, &before)
}

/// Addresses, links and the settings that matter, as other programs show them.
fn picture(host: &Host) -> Result<String, String> {
    let links = judge::output(host, &["ip", "-o", "link"])?;
    // Catch-all links stay with their module; whether they are on counts.
    let links: String =
        links.lines().filter(|l| l.contains(",UP") || l.contains("<UP")).map(|l| format!("{l}\n")).collect();
    let addresses = judge::output(host, &["ip", "-o", "addr"])?;
    let settings = judge::output(
        host,
        &[
            "sh",
            "-c",
            "cd /proc/sys/net/ipv4/conf && grep . all/arp_* lo/arp_* eth*/arp_* all/rp_filter eth*/rp_filter",
        ],
    )?;
    let fou = judge::output(host, &["sh", "-c", "ip fou show; ip -6 fou show; true"])?;
    let addresses: String = addresses
        .lines()
        .filter(|l| !l.contains("tunl0") && !l.contains("sit0"))
        .map(|l| format!("{l}\n"))
        .collect();
    Ok(format!("{links}{addresses}{settings}{fou}"))
}

fn succeed(host: &Host, arguments: &[&str]) -> Result<Output, String> {
    let output = real_server(host, arguments)?;
    let said = || format!("{arguments:?} on {}: {}", host.name(), text(&output.stderr));
    if output.status.success() { Ok(output) } else { Err(said()) }
}

fn real_server(host: &Host, arguments: &[&str]) -> Result<Output, String> {
    host.enter(|| {
        let mut command = Command::new(lvsd_binary());
        command.arg("real-server").args(arguments);
        if matches!(arguments.first(), Some(&("up" | "down"))) {
            command.arg("--run-dir").arg(format!("/run/lvsd-{}", host.name()));
        }
        command.output().map_err(|error| format!("lvsd real-server: {error}"))
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
