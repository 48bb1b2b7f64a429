//! The files `lvsd real-server emit` prints, read by the programs they are for: afterwards the host serves the VIP by
//! DR and TUN, and `lvsd real-server status` is content.

use std::fs;

use super::{VIPS, real_server, succeed, text};
use crate::lab::client::hits;
use crate::lab::daemon::Daemon;
use crate::lab::host::Host;
use crate::lab::machine::Machine;
use crate::lab::table::{ipvsadm, load};
use crate::lab::topology::{VIP, VIP6};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const TUN: [&str; 2] = ["--method", "tun"];
/// A mount of /sys that cannot be written to tells both managers that there is no udev to wait for.
const NO_UDEV: &str = "mount -t sysfs -o ro sysfs /sys && ";

pub(crate) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.plain_site()?;
    judge::modprobe(&["dummy", "sch_ingress", "cls_matchall", "act_mirred", "ipip", "ip6_tunnel"])?;
    let host = lab.host("rs1")?;
    let machine = Machine::of(&host)?;
    direct(&site.director, "-g")?;

    lab.step("ifupdown");
    install(&machine, "ifupdown", &[])?;
    let state = "mkdir -p /run/network && ";
    machine.succeed(&["sh", "-c", &format!("{state}ifup -a -i /etc/network/interfaces.d/lvs-vip")])?;
    serves(&site.client, &host, "lvs-vip", &[])?;
    machine.succeed(&["ifdown", "-a", "-i", "/etc/network/interfaces.d/lvs-vip"])?;
    bare(&host, "lvs-vip")?;

    lab.step("systemd-networkd");
    install(&machine, "systemd-networkd", &[])?;
    by_networkd(lab, &site.client, &machine, &[])?;

    lab.step("netplan");
    install(&machine, "netplan", &[])?;
    machine.succeed(&["netplan", "generate"])?;
    by_networkd(lab, &site.client, &machine, &[])?;

    lab.step("NetworkManager");
    install(&machine, "networkmanager", &[])?;
    let start = format!(
        "{NO_UDEV}mkdir -p /run/NetworkManager && exec NetworkManager --debug --configure-and-quit=initrd \
         --log-level=INFO 2>&1"
    );
    let said = machine.succeed(&["sh", "-c", &start])?;
    serves(&site.client, &host, "lvs-vip", &[]).map_err(|error| format!("{error}\n{said}"))?;
    bare(&host, "lvs-vip")?;

    direct(&site.director, "-i")?;
    lab.step("ifupdown, by TUN");
    install(&machine, "ifupdown", &TUN)?;
    machine.succeed(&["sh", "-c", &format!("{state}ifup -a -i /etc/network/interfaces.d/lvs-vip")])?;
    serves(&site.client, &host, "lvs-vip", &TUN)?;
    machine.succeed(&["ifdown", "-a", "-i", "/etc/network/interfaces.d/lvs-vip"])?;
    bare(&host, "lvs-vip")?;

    lab.step("systemd-networkd, by TUN");
    install(&machine, "systemd-networkd", &TUN)?;
    by_networkd(lab, &site.client, &machine, &TUN)
}

/// The director sends everything to the host, by this method.
fn direct(director: &Host, method: &str) -> Verdict {
    ipvsadm(director, "-C")?;
    load(
        director,
        &format!(
            "-A -t {VIP}:80 -s rr\n-a -t {VIP}:80 -r 10.1.0.21:80 {method}\n-A -t [{VIP6}]:80 -s rr\n\
             -a -t [{VIP6}]:80 -r [fd00:1::21]:80 {method}\n"
        ),
    )
}

/// Starts it until it has configured what its files say.
fn by_networkd(lab: &Lab, client: &Host, machine: &Machine, flags: &[&str]) -> Verdict {
    let start = format!(
        "{NO_UDEV}mkdir -p /run/systemd/netif/links /run/systemd/netif/leases && chown -R systemd-network \
         /run/systemd/netif \
         && exec /lib/systemd/systemd-networkd"
    );
    let daemon: Daemon = machine.start(lab, "networkd", &["sh", "-c", &start])?;
    let outcome = wait_for("lo has both VIPs", seconds(20), || {
        let held = judge::addresses(machine.host())?;
        let lo = held
            .get("lo")
            .map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
            .unwrap_or_default();
        let is_whole = [VIP, VIP6].iter().all(|vip| lo.iter().any(|ip| ip == vip));
        if is_whole { Ok(()) } else { Err(format!("{lo:?}\n{}", daemon.log_text())) }
    });
    outcome?;
    serves(client, machine.host(), "lo", flags).map_err(|error| format!("{error}\n{}", daemon.log_text()))?;
    daemon.kill()?;
    bare(machine.host(), "lo")
}

/// Writes what is emitted where it says it belongs, and puts the settings in force.
fn install(machine: &Machine, format: &str, flags: &[&str]) -> Verdict {
    let arguments = [&["emit", "--vip", VIPS, "--format", format], flags].concat();
    let emitted = text(&succeed(machine.host(), &arguments)?.stdout);
    // Each stands by itself: NetworkManager, for one, leaves alone what ifupdown has a file for.
    let installed = ["/etc/network/interfaces.d/lvs-vip", "/etc/sysctl.d/90-lvs-real-server.conf"];
    let folders = ["/etc/systemd/network", "/run/systemd/network", "/etc/netplan"];
    machine.succeed(&[&["rm", "-rf"], &installed[..], &folders[..]].concat())?;
    let mut written = 0;
    for part in emitted.split("#### ").skip(1) {
        let (path, contents) = part.split_once('\n').ok_or("a path")?;
        if path.starts_with("note: ") {
            continue;
        }
        let file = machine.path(path)?;
        let folder = file.parent().ok_or("a folder")?;
        fs::create_dir_all(folder).map_err(|e| format!("{path}: {e}"))?;
        fs::write(&file, contents).map_err(|e| format!("{path}: {e}"))?;
        // netplan and NetworkManager read nothing others may read.
        machine.succeed(&["chmod", "600", path])?;
        machine.succeed(&["chown", "root:root", path])?;
        if path.starts_with("/etc/systemd/network/") {
            machine.succeed(&["chmod", "644", path])?;
        }
        if path.starts_with("/etc/sysctl.d/") {
            machine.succeed(&["sysctl", "-p", path])?;
        }
        written += 1;
    }
    claim(written > 0, || format!("no file in {emitted}"))
}

/// The host is what `lvsd real-server up` would make of it, and serves.
fn serves(client: &Host, host: &Host, device: &str, flags: &[&str]) -> Verdict {
    let arguments = [&["status", "--vip", VIPS, "--dev", device], flags].concat();
    let status = real_server(host, &arguments)?;
    let said = text(&status.stdout) + &text(&status.stderr);
    same(&format!("lvsd's opinion: {said}"), &status.status.code(), &Some(0))?;
    for url in [format!("http://{VIP}/"), format!("http://[{VIP6}]/")] {
        same(&url, &hits(client, 4, &url)?.to_string().as_str(), &"rs1=4")?;
    }
    Ok(())
}

/// Takes everything away again, as the next format must do it all by itself.
fn bare(host: &Host, device: &str) -> Verdict {
    for vip in [VIP, VIP6] {
        judge::output(host, &["ip", "addr", "flush", "to", vip])?;
    }
    let names = |link| ["arp_ignore", "arp_announce"].map(|name| format!("net/ipv4/conf/{link}/{name}"));
    for link in ["tunl0", "ip6tnl0"] {
        judge::output(host, &["sh", "-c", &format!("ip link set {link} down; true")])?;
    }
    for name in names("all").iter().chain(&names(device)) {
        let path = format!("/proc/sys/{name}");
        judge::output(host, &["sh", "-c", &format!("[ ! -e {path} ] || echo 0 > {path}")])?;
    }
    Ok(())
}
