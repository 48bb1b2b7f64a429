//! What docs/vrrp.md gives those who want `no_accept`: firewall rules behind IPVS. The VIP does not answer for this host, its
//! virtual servers do, and neighbours still find it. In a chain before IPVS the same rules drop every client.

use std::time::Duration;

use rustix::process::Signal;

use crate::lab::client::get;
use crate::lab::daemon::Daemon;
use crate::lab::judge::output;
use crate::lab::site::Site;
use crate::lab::topology::{VIP, VIP6, batch};
use crate::lab::wait::{pause, seconds};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim, same};

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let file = include_str!("served.conf");
    let daemon = Daemon::lvsd(lab, &site.director, file)?;
    let _own = Web::start_at(&site.director, 8080)?;
    answers(&site, true, true)?;

    lab.step("behind IPVS");
    let rules = include_str!("rules.nft").replace("192.0.2.10", VIP).replace("2001:db8::10", VIP6);
    let page = include_str!("../../../docs/vrrp.md");
    let is_there = |line: &str| page.contains(line.trim());
    claim(include_str!("rules.nft").lines().all(is_there), || "docs/vrrp.md has these rules".to_owned())?;
    output(&site.director, &["nft", &rules])?;
    answers(&site, true, false)?;
    // Neighbours ask again, by unicast and by multicast.
    pause(seconds(120));
    batch(Some("r"), "neigh flush dev eth0\n")?;
    answers(&site, true, false)?;

    lab.step("before IPVS");
    output(&site.director, &["nft", "flush ruleset"])?;
    output(&site.director, &["nft", &rules.replace("priority 200", "priority 0")])?;
    answers(&site, false, false)?;
    output(&site.director, &["nft", "flush ruleset"])?;
    answers(&site, true, true)?;
    daemon.end(Signal::TERM)
}

/// Whether clients reach the virtual servers, and the director itself by its VIPs.
fn answers(site: &Site, served: bool, accepted: bool) -> Verdict {
    for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
        for (port, wanted) in [(80, served), (8080, accepted)] {
            let url = format!("http://{vip}:{port}/");
            let got = get(&site.client, &url);
            same(&format!("whether {url} answers ({got:?})"), &got.is_ok(), &wanted)?;
        }
    }
    pause(Duration::from_millis(100));
    Ok(())
}
