//! lvsd programs NAT, DR and TUN, IPv4 and IPv6, and the client is answered by every real server: the table
//! is what ipvsadm says it is, traffic is real, and a stop leaves nothing.

use rustix::process::Signal;

use crate::lab::client::hits;
use crate::lab::daemon::Daemon;
use crate::lab::site::Site;
use crate::lab::table::{Table, wait_for_table};
use crate::lab::topology::{REAL_SERVERS, VIP, VIP6, batch};
use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict, same};

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.plain_site()?;

    lab.nat_real_servers()?;
    mode(lab, &site, "NAT", include_str!("nat.conf"), ["10.3.0.2", "fd00:3::2"], "-m -w 1")?;
    for name in REAL_SERVERS {
        batch(Some(name), "route replace 0.0.0.0/0 via 10.1.0.1\nroute replace ::/0 via fd00:1::1\n")?;
    }

    lab.dr_real_servers(&[VIP, VIP6])?;
    mode(lab, &site, "DR", include_str!("dr.conf"), ["10.1.0.2", "fd00:1::2"], "-g -w 1")?;
    for name in REAL_SERVERS {
        batch(Some(name), &format!("addr del {VIP}/32 dev lo\naddr del {VIP6}/128 dev lo\n"))?;
    }

    lab.tun_real_servers(&[VIP, VIP6])?;
    mode(lab, &site, "TUN", include_str!("tun.conf"), ["10.1.0.2", "fd00:1::2"], "-i -w 1 --tun-type ipip")
}

/// One mode: start, the exact table, traffic, stop. `networks` are the real servers' addresses without their
/// last digit.
fn mode(lab: &Lab, site: &Site, name: &str, conf: &str, networks: [&str; 2], options: &str) -> Verdict {
    lab.step(name);
    let daemon = Daemon::lvsd(lab, &site.director, conf)?;
    let [v4, v6] = networks;
    let mut want = format!("-A -t {VIP}:80 -s rr\n-A -t [{VIP6}]:80 -s rr\n");
    for n in 1..=3 {
        want.push_str(&format!("-a -t {VIP}:80 -r {v4}{n}:80 {options}\n"));
        want.push_str(&format!("-a -t [{VIP6}]:80 -r [{v6}{n}]:80 {options}\n"));
    }
    wait_for_table(&site.director, "the table is the file's", seconds(15), &Table::parse(&want)?)?;
    site.answers("rs1=4 rs2=4 rs3=4")?;
    let six = hits(&site.client, 12, &format!("http://[{VIP6}]/"))?.to_string();
    same("who answers in IPv6", &six.as_str(), &"rs1=4 rs2=4 rs3=4")?;
    daemon.end(Signal::TERM)?;
    same("the table after a stop", &site.table()?, &Table::default())
}
