//! A real server that answers at its own address and does not take packets for the VIP: under keepalived a third of the
//! requests fail as long as it lasts, under lvsd it is named, taken out within the bound of its checks, and back once it
//! is mended. By DR and TUN, in IPv4 and IPv6, on the active director and on a standby; each fault in its own words; and
//! however lvsd ends, nothing of its probes is left over.

mod ends;
mod faults;

use std::time::Instant;

use crate::lab::client::hits;
use crate::lab::daemon::{Daemon, READY, control, lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::site::Site;
use crate::lab::table::Table;
use crate::lab::topology::{REAL_SERVERS, VIP, VIP6, batch, front};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

/// From the fault to its verdict at the latest: an interval, three probes that are not answered, two short pauses.
const BOUND: std::time::Duration = std::time::Duration::from_millis(6500);
/// How long each director is watched with a real server that does not take packets for the VIP.
const WATCHED: u64 = 30;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    lab.tun_real_servers(&[])?;
    site.expire_nodest_conn()?;
    side_by_side(lab, &site)?;

    for (method, is_ip6) in [("dr", false), ("dr", true), ("tun", false), ("tun", true)] {
        found_and_mended(lab, &site, method, is_ip6)?;
    }
    faults::each_in_its_words(lab, &mut site)?;
    ends::nothing_is_left(lab, &site)
}

/// The same fault under either director, the same load.
fn side_by_side(lab: &Lab, site: &Site) -> Verdict {
    let file = |word: &str| {
        let reals: String = REAL_SERVERS
            .iter()
            .filter_map(|name| Some(front(name)?[0]))
            .map(|ip| format!("    real_server {ip} 80 {{\n        TCP_CHECK {{\n        }}\n    }}\n"))
            .collect();
        format!(
            "virtual_server {VIP} 80 {{\n    delay_loop 2\n    connect_timeout 1\n    lb_algo rr\n    lb_kind DR\n    \
             protocol TCP\n{word}{reals}}}\n"
        )
    };
    let mut rows = vec![format!("{:12} {:>9} {:>9}   of requests in {WATCHED} s", "", "answered", "failed")];
    let mut lost = Vec::new();
    for (name, word) in [("keepalived", ""), ("lvsd", "    path_check\n")] {
        let daemon = match name {
            "keepalived" => Daemon::keepalived(lab, &site.director, &file(word))?,
            _ => Daemon::lvsd(lab, &site.director, &file(word))?,
        };
        site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"])?;
        if name == "lvsd" {
            wait_for_verdicts(&site.director)?;
        }
        let load = site.load()?;
        let before = load.so_far();
        vip(lab, "rs2", VIP, false)?;
        pause(seconds(WATCHED));
        let (answered, failed) = load.so_far();
        let after = hits(&site.client, 30, &format!("http://{VIP}/"))?;
        load.stop()?;
        vip(lab, "rs2", VIP, true)?;
        rows.push(format!(
            "{name:12} {:>9} {:>9}   then 30 more: {after}",
            answered - before.0,
            failed - before.1
        ));
        match name {
            // The load takes its turns among them.
            "keepalived" => {
                claim((9..=11).contains(&after.total_failed()), || format!("keepalived: {after}"))?
            }
            _ => same("lvsd: requests that fail of 30", &after.total_failed(), &0)?,
        }
        lost.push(failed - before.1);
        daemon.end(rustix::process::Signal::TERM)?;
        wait_for("the table is empty", seconds(10), || match Table::read(&site.director)?.counts() {
            (0, 0) => Ok(()),
            counts => Err(format!("{counts:?}")),
        })?;
    }
    lab.note(rows.join("\n"));
    let [without, with] = lost[..] else { return Err(format!("two columns: {lost:?}")) };
    claim(with * 2 < without, || format!("lost under keepalived {without}, under lvsd {with}"))
}

/// The VIP is missing on one of three, by a method in a family; a standby sees it, too.
fn found_and_mended(lab: &Lab, site: &Site, method: &str, is_ip6: bool) -> Verdict {
    let family = if is_ip6 { "IPv6" } else { "IPv4" };
    lab.step(format!("{method} in {family}"));
    let standby = lab.host("d2")?;
    let address = if is_ip6 { VIP6 } else { VIP };
    let file = yaml(lab, method, is_ip6)?;
    let active = start(lab, &site.director, &file)?;
    let second = start(lab, &standby, &file)?;
    let all = reals(is_ip6, &REAL_SERVERS)?;
    for host in [&site.director, &standby] {
        wait_for_only(host, address, &all)?;
    }
    let url = format!("http://{}/", at(address));
    same("who answers", &hits(&site.client, 9, &url)?.to_string().as_str(), &"rs1=3 rs2=3 rs3=3")?;

    let began = Instant::now();
    vip(lab, "rs2", address, false)?;
    let others = reals(is_ip6, &["rs1", "rs3"])?;
    let mut took = Vec::new();
    for host in [&site.director, &standby] {
        wait_for_only(host, address, &others)?;
        took.push(format!("{} after {:.1} s", host.name(), began.elapsed().as_secs_f64()));
        claim(began.elapsed() <= BOUND, || format!("{}: not within {BOUND:?}: {took:?}", host.name()))?;
    }
    let words = why(&site.director, "rs2", is_ip6)?;
    lab.note(format!("{method} {family}: {}: {}", took.join(", "), words.lines().next().unwrap_or_default()));
    claim(
        words.contains("DOWN") && words.contains("path_check: VIP missing on lo, or reply path broken"),
        || words.clone(),
    )?;
    same("who answers", &hits(&site.client, 8, &url)?.to_string().as_str(), &"rs1=4 rs3=4")?;

    mend(lab, site, &file, (method, is_ip6))?;
    for host in [&site.director, &standby] {
        wait_for_only(host, address, &all)?;
    }
    same("who answers", &hits(&site.client, 9, &url)?.to_string().as_str(), &"rs1=3 rs2=3 rs3=3")?;
    for daemon in [active, second] {
        daemon.end(rustix::process::Signal::TERM)?;
    }
    for host in [&site.director, &standby] {
        same("the table after a stop", &Table::read(host)?.counts(), &(0, 0))?;
    }
    Ok(())
}

/// The doctor knows what helps; by DR in IPv4 it is done as it says.
fn mend(lab: &Lab, site: &Site, file: &std::path::Path, (method, is_ip6): (&str, bool)) -> Verdict {
    let address = if is_ip6 { VIP6 } else { VIP };
    let [ip, ip6] = front("rs2").ok_or("rs2")?;
    let real = if is_ip6 { ip6 } else { ip };
    let file = file.display().to_string();
    let said = lvsd(&site.director, &["doctor", "-c", &file, "--run-dir", &run_dir(&site.director)])?;
    same("the doctor's exit code", &said.code, &Some(2))?;
    let what = format!("BROKEN: real server {real} does not answer packets for VIP {address}");
    let option = if method == "tun" { " --method tun" } else { "" };
    let command = format!("lvsd real-server up --vip {address}{option}");
    claim(said.stdout.contains(&what) && said.stdout.contains(&format!("on {real}: {command}")), || {
        said.stdout
    })?;
    if (method, is_ip6) != ("dr", false) {
        return vip(lab, "rs2", address, true);
    }
    let host = lab.host("rs2")?;
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let done = lvsd(&host, &[&words[..], &["--run-dir", &run_dir(&host)]].concat())?;
    same("its fix", &done.code, &Some(0))
}

/// A configuration with lvsd's own defaults.
fn yaml(lab: &Lab, method: &str, is_ip6: bool) -> Result<std::path::PathBuf, String> {
    let address = if is_ip6 { VIP6 } else { VIP };
    let list: String =
        reals(is_ip6, &REAL_SERVERS)?.iter().map(|at| format!("      - {{address: '{at}'}}\n")).collect();
    let text = format!(
        "virtual_servers:\n  - address: '{}:80'\n    scheduler: rr\n    forwarding: {method}\n    \
         check: {{type: tcp, interval: 2s, timeout: 1s}}\n    real_servers:\n{list}",
        at(address)
    );
    lab.write(&format!("{method}{}.yaml", if is_ip6 { 6 } else { 4 }), &text)
}

fn start(lab: &Lab, host: &Host, file: &std::path::Path) -> Result<Daemon, String> {
    let mut daemon = Daemon::start_lvsd(lab, host, file, &run_dir(host), &[])?;
    daemon.wait_log(READY, seconds(30))?;
    Ok(daemon)
}

/// An address as it stands before a port.
fn at(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

fn reals(is_ip6: bool, names: &[&str]) -> Result<Vec<String>, String> {
    let address = |name: &&str| {
        let both = front(name).ok_or_else(|| format!("{name} is no real server"))?;
        let ip = if is_ip6 { both[1] } else { both[0] };
        Ok(std::net::SocketAddr::new(ip, 80).to_string())
    };
    names.iter().map(address).collect()
}

/// Puts the VIP on a real server's lo, or takes it away.
fn vip(lab: &Lab, name: &str, address: &str, is_there: bool) -> Verdict {
    let verb = if is_there { "add" } else { "del" };
    let (length, nodad) = match (address.contains(':'), is_there) {
        (true, true) => (128, " nodad"),
        (true, false) => (128, ""),
        (false, _) => (32, ""),
    };
    batch(Some(lab.host(name)?.name()), &format!("addr {verb} {address}/{length} dev lo{nodad}\n"))
}

/// Waits until exactly these get new connections.
fn wait_for_only(host: &Host, address: &str, want: &[String]) -> Verdict {
    let service = format!("-t {}:80", at(address));
    wait_for(&format!("{}: {service} is served by {want:?}", host.name()), seconds(30), || {
        let table = Table::read(host)?;
        if table.serving(&service) == want { Ok(()) } else { Err(table.to_string()) }
    })
}

/// Waits until every way was found good once: from then on it takes more than one failure.
fn wait_for_verdicts(host: &Host) -> Verdict {
    wait_for("every way was found good", seconds(20), || {
        let status = status(host)?;
        let servers =
            status.pointer("/director/virtual_servers/0/real_servers").and_then(|all| all.as_array());
        let is_good = |real: &serde_json::Value| real.pointer("/path/is_good") == Some(&true.into());
        if servers.is_some_and(|all| all.iter().all(is_good)) { Ok(()) } else { Err(status.to_string()) }
    })
}

/// What `lvsd why` says of a real server.
fn why(host: &Host, name: &str, is_ip6: bool) -> Result<String, String> {
    let [real] = &reals(is_ip6, &[name])?[..] else { return Err("one real server".to_owned()) };
    let said = lvsd(host, &["why", real, "--control", &control(&run_dir(host))])?;
    if said.code == Some(0) { Ok(said.stdout) } else { Err(said.stderr) }
}
