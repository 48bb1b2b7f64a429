//! The lab's network, proved without lvsd: tables loaded by ipvsadm, traffic through NAT, DR and TUN in IPv4
//! and IPv6, UDP and SCTP through DR, and the client's address where it should be. When this fails, the lab
//! is wrong, not lvsd.

use std::net::{IpAddr, SocketAddr};

use crate::lab::capture::Capture;
use crate::lab::client::{get, hits};
use crate::lab::daemon::Daemon;
use crate::lab::echo;
use crate::lab::host::Host;
use crate::lab::judge;
use crate::lab::table::{Table, ipvsadm, load};
use crate::lab::topology::{REAL_SERVERS, VIP, VIP6, batch, front};
use crate::lab::wait::seconds;
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim, same};

pub(super) fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    lab.step("topology is up");
    let client = lab.host("c")?;
    let director = lab.host("d1")?;
    let mut webs = Vec::new();
    for name in REAL_SERVERS {
        webs.push(Web::start(&lab.host(name)?)?);
    }
    lab.vips_on("d1", &[VIP, VIP6])?;
    let eth0 = judge::addresses(&director)?.remove("eth0").unwrap_or_default();
    for vip in [VIP, VIP6] {
        let vip: IpAddr = vip.parse().map_err(|e| format!("{vip}: {e}"))?;
        claim(eth0.contains(&vip), || format!("{vip} is on d1's eth0: {eth0:?}"))?;
    }

    lab.step("NAT");
    lab.nat_real_servers()?;
    both(&director, "10.3.0.2", "fd00:3::2", "-m")?;
    answers(&client, "rs1=3 rs2=3 rs3=3")?;
    same(
        "NAT keeps the client's address",
        &get(&client, &format!("http://{VIP}/src"))?.body.as_str(),
        &"10.2.0.2",
    )?;
    firewall(lab, &client, &director, "forward", "0")?;
    ipvsadm(&director, "-C")?;
    for name in REAL_SERVERS {
        batch(Some(name), "route replace 0.0.0.0/0 via 10.1.0.1\nroute replace ::/0 via fd00:1::1\n")?;
    }

    lab.step("DR");
    lab.dr_real_servers(&[VIP, VIP6])?;
    both(&director, "10.1.0.2", "fd00:1::2", "-g")?;
    let capture = Capture::start(lab, &director, "eth0", "tcp port 80")?;
    answers(&client, "rs1=3 rs2=3 rs3=3")?;
    let packets = capture.stop_after(&format!("> {VIP}.80"))?;
    let answer = format!("IP {VIP}.80 > 10.2.0.2");
    claim(!packets.iter().any(|p| p.contains(&answer)), || format!("answers do not pass d1: {packets:?}"))?;
    same(
        "DR keeps the client's address",
        &get(&client, &format!("http://{VIP}/src"))?.body.as_str(),
        &"10.2.0.2",
    )?;
    let curl = judge::curl(&client, &format!("http://[{VIP6}]/src"), seconds(3))?;
    same("so does DR in IPv6", &curl, &(200, "fd00:2::2\n".to_owned()))?;

    firewall(lab, &client, &director, "input", "1")?;

    lab.step("UDP and SCTP by DR");
    judge::modprobe(&["sctp"])?;
    let vip: IpAddr = VIP.parse().map_err(|e| format!("{VIP}: {e}"))?;
    let mut table = format!("-A -u {VIP}:53 -s rr -o\n-A --sctp-service {VIP}:99 -s rr\n");
    for name in REAL_SERVERS {
        let host = lab.host(name)?;
        echo::serve_udp(&host, vip, 53)?;
        echo::serve_sctp(&host, vip, 99)?;
        let [address, _] = front(name).ok_or("not a standard host")?;
        table.push_str(&format!(
            "-a -u {VIP}:53 -r {address} -g\n-a --sctp-service {VIP}:99 -r {address} -g\n"
        ));
    }
    load(&director, &table)?;
    let mut udp = Vec::new();
    let mut sctp = Vec::new();
    for _ in REAL_SERVERS {
        udp.push(echo::ask_udp(&client, SocketAddr::new(vip, 53))?);
        sctp.push(echo::ask_sctp(&client, SocketAddr::new(vip, 99))?);
    }
    udp.sort();
    sctp.sort();
    same("every real server answers by UDP", &udp, &REAL_SERVERS.map(String::from).to_vec())?;
    same("every real server answers by SCTP", &sctp, &REAL_SERVERS.map(String::from).to_vec())?;
    let d2 = Table::read(&lab.host("d2")?)?;
    same("the table is this host's alone", &d2, &Table::default())?;
    ipvsadm(&director, "-C")?;

    lab.step("TUN");
    for name in REAL_SERVERS {
        batch(Some(name), &format!("addr del {VIP}/32 dev lo\naddr del {VIP6}/128 dev lo\n"))?;
    }
    lab.tun_real_servers(&[VIP, VIP6])?;
    both(&director, "10.1.0.2", "fd00:1::2", "-i")?;
    answers(&client, "rs1=3 rs2=3 rs3=3")?;
    ipvsadm(&director, "-C")?;

    lab.step("servers fall ill as told");
    let rs1 = front("rs1").ok_or("not a standard host")?[0];
    let direct = lab.host("d1")?;
    let page = |path: &str| get(&direct, &format!("http://{rs1}{path}"));
    let rs = webs.first_mut().ok_or("no web server")?;
    rs.set_health_status(503);
    same("the wrong status", &page("/health")?.status, &503)?;
    rs.set_health_status(200);
    rs.set_health_body("not well\n");
    same("the wrong body", &page("/health")?.body.as_str(), &"not well")?;
    claim(rs.checked() == 2 && rs.served() > 0, || format!("requests are counted: {rs:?}"))?;
    rs.stop();
    same("RST", &page("/"), &Err("connect: connection refused".to_owned()))?;
    rs.resume()?;
    rs.hang(true);
    same("hanging", &page("/"), &Err("answer: timed out".to_owned()))?;
    rs.hang(false);
    same("well again", &page("/")?.body.as_str(), &"rs1")?;
    lab.cut("rs1", "eth0")?;
    claim(page("/").is_err(), || "a cut cable is silent".to_owned())?;
    lab.mend("rs1", "eth0")?;
    let nginx = Daemon::nginx(lab, &lab.host("rs2")?, &["10.1.0.22:8080"])?;
    same("a foreign server", &get(&direct, "http://10.1.0.22:8080/")?.body.as_str(), &"nginx rs2")?;
    drop(nginx);
    Ok(())
}

/// What `lvsd doctor` says of a firewall that drops what connection tracking takes for invalid: NAT's replies while IPVS
/// does not tell of them (net.ipv4.vs.conntrack), DR's requests while it does.
fn firewall(lab: &Lab, client: &Host, director: &Host, hook: &str, conntrack: &str) -> Verdict {
    lab.step(format!("what is invalid is dropped ({hook}), net.ipv4.vs.conntrack is {conntrack}"));
    let chain = format!("type filter hook {hook} priority 0;");
    let rules = format!(
        "add table inet t; add chain inet t c {{ {chain} }}; add rule inet t c ct state invalid drop"
    );
    judge::output(director, &["nft", &rules])?;
    for (value, is_well) in [("0", conntrack == "1"), ("1", conntrack == "0")] {
        director.sysctl(&[("net.ipv4.vs.conntrack", value)])?;
        let hits = hits(client, 3, &format!("http://{VIP}/"))?;
        claim((hits.total_failed() == 0) == is_well, || format!("conntrack {value}: {hits}"))?;
    }
    director.sysctl(&[("net.ipv4.vs.conntrack", "0")])?;
    judge::output(director, &["nft", "flush ruleset"]).map(drop)
}

/// Loads an IPv4 and an IPv6 service with the three real servers, whose numbers follow these prefixes.
fn both(director: &Host, v4: &str, v6: &str, method: &str) -> Verdict {
    let mut table = format!("-A -t {VIP}:80 -s rr\n-A -t [{VIP6}]:80 -s rr\n");
    for n in 1..=3 {
        table.push_str(&format!("-a -t {VIP}:80 -r {v4}{n}:80 {method}\n"));
        table.push_str(&format!("-a -t [{VIP6}]:80 -r [{v6}{n}]:80 {method}\n"));
    }
    load(director, &table)
}

/// Nine requests to the VIP and nine in IPv6 are answered by these.
fn answers(client: &Host, want: &str) -> Verdict {
    same("IPv4", &hits(client, 9, &format!("http://{VIP}/"))?.to_string().as_str(), &want)?;
    same("IPv6", &hits(client, 9, &format!("http://[{VIP6}]/"))?.to_string().as_str(), &want)
}
