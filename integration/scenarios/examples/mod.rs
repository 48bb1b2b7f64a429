//! Every file of examples/ in a network where everything it names exists: it can be run, `lvsd run` is ready, every
//! checker finds its server well, every virtual router becomes Master, requests to an HTTP virtual server are answered
//! (by DR: tunnels and NAT are the scenario modes' matter), and a stop leaves nothing. A new example needs nothing here
//! but its addresses.
//!
//! One host is all real servers: examples differ in what they ask; which server answers is tested by other scenarios.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use serde_json::Value;

use crate::lab::client::hits;
use crate::lab::daemon::{Daemon, READY, lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::table::Table;
use crate::lab::topology::{Topology, batch};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim, judge, same};

/// Every VIP that a client asks.
const VIPS: [&str; 4] = ["192.0.2.10", "192.0.2.20", "192.168.56.100", "2001:db8::10"];
/// What real servers are asked at. TLS is nginx's.
const PORTS: [u16; 4] = [22, 53, 80, 8443];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = site(lab)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .map_err(|e| format!("{}: {e}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "conf" || e == "yaml"))
        .collect();
    files.sort();
    claim(files.len() >= 29, || format!("examples, not {files:?}"))?;
    for file in &files {
        example(lab, &site.director, &site.client, file).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    lab.note(format!("{} examples", files.len()));
    Ok(())
}

/// The director, a client, and what answers on the one host with the addresses of all real servers.
struct Site {
    director: Host,
    client: Host,
    _webs: Vec<Web>,
    _nginx: Daemon,
    /// The other end of BFD sessions.
    _neighbor: Daemon,
}

/// One example, from the check to the stop.
fn example(lab: &Lab, director: &Host, client: &Host, file: &Path) -> Verdict {
    let path = file.to_string_lossy();
    // What it may warn of is the host: /sys shows the guest's interfaces, not this host's. That examples have no
    // warnings of their own is a unit test.
    let checked = lvsd(director, &["check", "-c", &path])?;
    claim(checked.code == Some(0), || format!("it can be run: {checked:?}"))?;

    // An example without a virtual router leaves the VIP to others; one with it takes it away when it ends.
    let vips = VIPS.map(|vip| {
        let length = if vip.contains(':') { "128 nodad preferred_lft 0" } else { "32" };
        format!("addr replace {vip}/{length} dev eth0\n")
    });
    batch(Some(director.name()), &vips.concat())?;
    let mut daemon = Daemon::start_lvsd(lab, director, file, &run_dir(director), &[])?;
    daemon.wait_log(READY, seconds(30))?;
    let now = wait_for("all servers are well, all virtual routers Master", seconds(60), || {
        let now = status(director)?;
        let unwell = unwell(&now);
        if unwell.is_empty() { Ok(now) } else { Err(unwell.join("\n")) }
    })?;
    // A site that is well is told nothing. Groups have VIPs that no client of these asks.
    let names = list(&now, "/director/virtual_servers").iter().filter_map(|s| s["virtual_server"].as_str());
    let addresses = names.filter_map(|name| name.split(' ').next()?.parse::<SocketAddr>().ok());
    let all: BTreeSet<IpAddr> = addresses.map(|at| at.ip()).collect();
    let missing = all.iter().filter(|ip| list(&now, "/router/instances").is_empty() && ip.is_ipv4());
    batch(
        Some(director.name()),
        &missing.map(|ip| format!("addr replace {ip}/32 dev eth0\n")).collect::<String>(),
    )?;
    let said = lvsd(director, &["doctor", "-c", &path, "--run-dir", &run_dir(director)])?;
    claim(said.code == Some(0), || format!("lvsd doctor finds what is not there: {said:?}"))?;
    let text = lvsd(director, &["status", "--run-dir", &run_dir(director)])?.stdout;
    claim(!["PROBLEM", "THIS HOST", "NOT CHECKED"].iter().any(|word| text.contains(word)), || text.clone())?;
    let (services, destinations) = Table::read(director)?.counts();
    let virtual_servers = list(&now, "/director/virtual_servers");
    same("services in the kernel", &services, &virtual_servers.len())?;
    for server in virtual_servers {
        let name = server["virtual_server"].as_str().unwrap_or_default();
        if let Some(address) = name.strip_suffix(":80 tcp")
            && VIPS.contains(&address.trim_matches(['[', ']']))
            && list(server, "/real_servers").iter().all(|real| real["forwarding"] == "dr")
        {
            let answers = hits(client, 2, &format!("http://{address}/"))?.to_string();
            same(&format!("who answers at {address}"), &answers.as_str(), &"w=2")?;
        }
    }
    daemon.end(Signal::TERM)?;
    same("the table after the stop", &Table::read(director)?, &Table::default())?;
    lab.step(format!("{path}: {services} services, {destinations} destinations"));
    Ok(())
}

/// Real servers that no check has passed, virtual routers that are not Master.
fn unwell(status: &Value) -> Vec<String> {
    let servers = list(status, "/director/virtual_servers").iter().flat_map(|server| {
        list(server, "/real_servers").iter().filter(|real| {
            let is_well = real["is_up"] == true && real["health"] == "up";
            !is_well || real["checks"] == 0 || real["check_failures"] != 0
        })
    });
    let routers = list(status, "/router/instances").iter().filter(|router| router["state"] != "master");
    let sessions = list(status, "/router/sessions").iter().filter(|session| session["state"] != "up");
    let checks = list(status, "/director/vrrp_checks").iter().filter(|check| check["is_up"] != true);
    servers.chain(routers).chain(sessions).chain(checks).map(Value::to_string).collect()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn site(lab: &mut Lab) -> Result<Site, String> {
    judge::modprobe(&["ip_vs", "ipip", "fou"])?;
    let mut t = Topology::new(&["front", "back"]);
    t.host("d1").plug("d1", "eth0", "front", &["192.0.2.2/24", "2001:db8::2/64"]);
    t.plug("d1", "eth1", "back", &["192.168.56.11/24", "10.0.0.254/24"]).forwarding("d1");
    t.gateway("d1", "192.0.2.254", "2001:db8::254");
    t.host("c").plug("c", "eth0", "front", &["192.0.2.200/24", "2001:db8::200/64"]);
    t.gateway("c", "192.0.2.254", "2001:db8::254");
    let front: Vec<String> =
        [3, 11, 12, 13, 101, 102, 103, 250, 254].iter().map(|n| format!("192.0.2.{n}/24")).collect();
    let mut front: Vec<&str> = front.iter().map(String::as_str).collect();
    front.extend(["2001:db8::11/64", "2001:db8::254/64", "198.51.100.11/32", "203.0.113.12/32"]);
    let back: Vec<String> = [1, 2, 11, 12, 21, 22].iter().map(|n| format!("10.0.0.{n}/24")).collect();
    let mut back: Vec<&str> = back.iter().map(String::as_str).collect();
    back.extend(["192.168.56.21/24", "192.168.56.22/24", "192.168.56.23/24"]);
    t.host("w").plug("w", "eth0", "front", &front).plug("w", "eth1", "back", &back).forwarding("w");
    lab.build(&t)?;
    lab.vips_on_lo(&["w"], &VIPS)?;
    let (director, w) = (lab.host("d1")?, lab.host("w")?);
    // As doctor advises.
    director
        .sysctl(&[("net.ipv4.vs.expire_nodest_conn", "1"), ("net.ipv4.vs.expire_quiescent_template", "1")])?;

    let mut webs = vec![Web::start(&director)?];
    for port in PORTS {
        webs.push(Web::start_at(&w, port)?);
    }
    let in_words = |e: rcgen::Error| e.to_string();
    let key = KeyPair::generate().map_err(in_words)?;
    let params = CertificateParams::new(vec!["www.example.com".to_owned()]).map_err(in_words)?;
    let certificate = params.self_signed(&key).map_err(in_words)?;
    let (pem, key) =
        (lab.write("site.pem", &certificate.pem())?, lab.write("site.key", &key.serialize_pem())?);
    let nginx = Daemon::nginx_with(
        lab,
        &w,
        &format!(
            "access_log off; server {{ listen 443 ssl; listen [::]:443 ssl; ssl_certificate {}; \
             ssl_certificate_key {}; location / {{ return 200 \"OK\\n\"; }} }}",
            pem.display(),
            key.display()
        ),
    )?;
    // What virtual routers of the examples look at: a file, a local proxy.
    fs::write("/etc/gateway-wanted", "").map_err(|e| format!("/etc/gateway-wanted: {e}"))?;
    webs.push(Web::start_at(&director, 8080)?);
    let neighbor = Daemon::lvsd(
        lab,
        &w,
        "bfd_instance director {\n neighbor_ip 192.0.2.2\n source_ip 192.0.2.3\n passive\n}\n",
    )?;
    Ok(Site { director, client: lab.host("c")?, _webs: webs, _nginx: nginx, _neighbor: neighbor })
}
