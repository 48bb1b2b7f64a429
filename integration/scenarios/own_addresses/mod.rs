//! A director's own addresses in its way: a VIP that its kernel prefers as the source of checks, a sorry server on
//! itself, a routed VIP whose clients come in by a link that knows nothing of it. Under keepalived a preferred VIP takes
//! all real servers out on the active director.

use rustix::process::Signal;

use crate::lab::client::hits;
use crate::lab::daemon::{Daemon, READY, status};
use crate::lab::site::Site;
use crate::lab::topology::{VIP, VIP6, batch};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim, same};

/// On no network of the site: routers send it to the director.
const ROUTED: &str = "203.0.113.80";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    checked_from_an_own_address(lab, &site)?;
    lab.dr_real_servers(&[ROUTED])?;
    batch(Some("d1"), &format!("addr add {ROUTED}/32 dev lo\n"))?;
    batch(Some("r"), &format!("route add {ROUTED}/32 via 10.1.0.11\n"))?;
    let _page = Web::start(&site.director)?;
    a_sorry_server_of_its_own(lab, &mut site)?;
    marked_where_clients_come_in(lab, &site)
}

/// An IPv6 VIP that is not deprecated, and an IPv4 VIP that is the primary address of the real servers' network.
fn checked_from_an_own_address(lab: &Lab, site: &Site) -> Verdict {
    batch(
        Some("d1"),
        &format!(
            "addr del {VIP6}/128 dev eth0\naddr add {VIP6}/64 dev eth0 nodad\naddr flush dev eth0 to 10.1.0.0/24\n\
             addr add {VIP}/24 dev eth0\naddr add 10.1.0.11/24 dev eth0\nroute replace 0.0.0.0/0 via 10.1.0.1\n"
        ),
    )?;
    let file = [VIP, VIP6]
        .map(|vip| {
            let reals: String = (21..=22)
                .map(|n| check(&(if vip == VIP { format!("10.1.0.{n}") } else { format!("fd00:1::{n}") })))
                .collect();
            server(vip, &reals)
        })
        .concat();
    let v4 = ("-t 10.1.0.100:80", vec!["10.1.0.21:80", "10.1.0.22:80"]);
    let v6 = ("-t [fd00:1::100]:80", vec!["[fd00:1::21]:80", "[fd00:1::22]:80"]);

    lab.step("keepalived: a VIP is the source of its checks, and all real servers are out");
    let keepalived = Daemon::keepalived(lab, &site.director, &file)?;
    wait_for("keepalived takes all of them out", seconds(30), || {
        let table = site.table()?;
        let left = [table.serving(v4.0), table.serving(v6.0)].concat();
        if left.is_empty() { Ok(()) } else { Err(table.to_string()) }
    })?;
    keepalived.end(Signal::TERM)?;
    // Its packets still wait for neighbours: the host asks for these from the VIP, and they do not answer.
    pause(seconds(10));
    batch(Some("d1"), "neigh flush dev eth0\n")?;

    lab.step("lvsd: checks leave from an address that no real server has");
    let daemon = Daemon::lvsd(lab, &site.director, &file)?;
    pause(seconds(15));
    let table = site.table()?;
    same("IPv4", &table.serving(v4.0), &v4.1)?;
    same("IPv6", &table.serving(v6.0), &v6.1)?;
    let text = daemon.log_text();
    claim(!text.contains(" is down"), || format!("no real server was ever down:\n{text}"))?;
    for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
        let got = hits(&site.client, 10, &format!("http://{vip}/"))?;
        same("requests that fail", &got.total_failed(), &0)?;
    }
    daemon.end(Signal::TERM)?;
    batch(
        Some("d1"),
        "addr flush dev eth0 to 10.1.0.0/24\naddr add 10.1.0.11/24 dev eth0\nroute replace 0.0.0.0/0 via 10.1.0.1\n",
    )
}

/// The real servers are well: they answer, before and after a reload; when they are not, the director's page does.
fn a_sorry_server_of_its_own(lab: &Lab, site: &mut Site) -> Verdict {
    lab.step("a sorry server on the director itself, behind a routed VIP");
    let reals: String = (21..=22).map(|n| check(&format!("10.1.0.{n}"))).collect();
    let mut daemon =
        Daemon::lvsd(lab, &site.director, &server(ROUTED, &format!("sorry_server 127.0.0.1 80\n{reals}")))?;
    let url = format!("http://{ROUTED}/");
    let answer = |site: &Site| hits(&site.client, 10, &url).map(|hits| hits.to_string());
    same("who answers", &answer(site)?.as_str(), &"rs1=5 rs2=5")?;
    let shown = status(&site.director)?.to_string();
    claim(!shown.contains("\"colocated\""), || format!("the director is not co-located: {shown}"))?;
    daemon.reload()?;
    pause(seconds(3));
    same("who answers after a reload", &answer(site)?.as_str(), &"rs1=5 rs2=5")?;
    for name in ["rs1", "rs2"] {
        site.web(name)?.stop();
    }
    daemon.wait_log("sorry server 127.0.0.1:80", seconds(20))?;
    pause(seconds(3));
    same("who answers while no real server does", &answer(site)?.as_str(), &"d1=10")?;
    for name in ["rs1", "rs2"] {
        site.web(name)?.resume()?;
    }
    wait_for("the real servers answer again", seconds(20), || {
        let got = answer(site)?;
        if got == "rs1=5 rs2=5" { Ok(()) } else { Err(got) }
    })?;
    daemon.end(Signal::TERM)
}

/// The director is a real server in the network behind; clients come in at the front.
fn marked_where_clients_come_in(lab: &Lab, site: &Site) -> Verdict {
    lab.step("a co-located director behind a routed VIP: packets get their mark at the clients' link");
    let reals = [check("10.3.0.11"), check("10.3.0.22")].concat();
    let mut daemon = Daemon::lvsd(lab, &site.director, &server(ROUTED, &reals))?;
    daemon.wait_log(READY, seconds(5))?;
    pause(seconds(3));
    let got = hits(&site.client, 10, &format!("http://{ROUTED}/"))?.to_string();
    same("who answers", &got.as_str(), &"d1=5 rs2=5")?;
    daemon.end(Signal::TERM)
}

fn server(vip: &str, more: &str) -> String {
    format!("virtual_server {vip} 80 {{\ndelay_loop 2\nlb_algo rr\nlb_kind DR\nprotocol TCP\n{more}}}\n")
}

fn check(ip: &str) -> String {
    format!(
        "real_server {ip} 80 {{\nweight 1\nTCP_CHECK {{\nconnect_timeout 2\nretry 1\ndelay_before_retry 1\nwarmup 0\n}}\n}}\n"
    )
}
