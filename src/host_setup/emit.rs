//! The preparation as files that survive a reboot, in the format of the program that reads them at boot, with the
//! reasons.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use clap::ValueEnum;

use super::plan::{ARP, decapsulator, overhead};
use super::{Arrival, Preparation, TunnelKind};

/// The program that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A script: start, stop, status; it needs iproute2 only.
    Sh,
    /// A file for /etc/sysctl.d: the settings only.
    Sysctl,
    /// systemd-networkd.
    SystemdNetworkd,
    #[value(name = "networkmanager")]
    NetworkManager,
    /// ifupdown (/etc/network/interfaces).
    Ifupdown,
    Netplan,
}

/// The link of VIPs where the network's manager does not want to share `lo`.
const DUMMY: &str = "lvs-vip";
/// IPv4 and IPv6 VIPs keep to themselves for these reasons.
const WHY: [&str; 6] = [
    "This host is a real server behind an LVS director (DR or TUN): packets for the VIP arrive here although the",
    "director has the VIP. To accept them this host must have the VIP, too, and must never tell the network so:",
    "a host that learns it from here sends past the director. Hence a link that is no part of the network, arp_ignore",
    "(answer ARP only for addresses of the link that was asked), arp_announce (never name the VIP as the sender of a",
    "question), and a prefix of full length (with a shorter one this host would take the whole network for its own).",
    "The larger of `all` and a link's own value counts: stricter values elsewhere stay in force.",
];

/// The files, each behind a line that says where it belongs.
pub(crate) fn emit(preparation: &Preparation, format: Format) -> String {
    let ips: Vec<IpAddr> =
        preparation.vips.iter().map(|vip| vip.ip).collect::<BTreeSet<_>>().into_iter().collect();
    let settings = sysctl(preparation);
    match format {
        Format::Sh => script(preparation, &ips),
        Format::Sysctl => settings,
        Format::SystemdNetworkd => {
            file("/etc/sysctl.d/90-lvs-real-server.conf", &settings) + &networkd(preparation, &ips)
        }
        Format::NetworkManager => {
            file("/etc/sysctl.d/90-lvs-real-server.conf", &settings) + &network_manager(preparation, &ips)
        }
        Format::Ifupdown => file("/etc/network/interfaces.d/lvs-vip", &ifupdown(preparation, &ips)),
        Format::Netplan => {
            file("/etc/sysctl.d/90-lvs-real-server.conf", &settings) + &netplan(preparation, &ips)
        }
    }
}

fn file(path: &str, text: &str) -> String {
    format!("#### {path}\n{text}\n")
}

fn why() -> String {
    WHY.iter().map(|line| format!("# {line}\n")).collect()
}

fn has_ipv4(preparation: &Preparation) -> bool {
    preparation.vips.iter().any(|vip| vip.ip.is_ipv4())
}

/// What undoes a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Undoer {
    link: &'static str,
    kind: &'static str,
    /// GUE's port, and whether it is one of IPv6.
    gue: Option<(u16, bool)>,
}

fn tunnels(preparation: &Preparation) -> BTreeSet<Undoer> {
    let undoer = |ip, arrival| match arrival {
        Arrival::Dr => None,
        Arrival::Tun { tunnel, is_outer_ipv6 } => {
            let (link, kind) = decapsulator(tunnel, is_outer_ipv6, ip);
            let gue = match tunnel {
                TunnelKind::Gue { port } => Some((port, is_outer_ipv6)),
                TunnelKind::Ipip | TunnelKind::Gre => None,
            };
            Some(Undoer { link, kind, gue })
        }
    };
    preparation.vips.iter().filter_map(|vip| undoer(vip.ip, vip.arrival)).collect()
}

/// IPv4 VIPs whose packets come out of a link. It must have an address: without one a loose filter drops them all.
fn out_of(preparation: &Preparation, link: &str) -> Vec<IpAddr> {
    let is_there = |arrival, ip| match arrival {
        Arrival::Dr => false,
        Arrival::Tun { tunnel, is_outer_ipv6 } => decapsulator(tunnel, is_outer_ipv6, ip).0 == link,
    };
    let vips = preparation.vips.iter().filter(|vip| vip.ip.is_ipv4() && is_there(vip.arrival, vip.ip));
    vips.map(|vip| vip.ip).collect()
}

fn sysctl(preparation: &Preparation) -> String {
    let mut text = why();
    if has_ipv4(preparation) {
        for (name, value, what) in ARP {
            let _ = writeln!(text, "# {what}\nnet.ipv4.conf.all.{name} = {value}");
            let _ = writeln!(text, "net.ipv4.conf.{}.{name} = {value}", slashed(&preparation.device));
        }
    } else {
        text.push_str(
            "# IPv6 asks by link: a VIP on another link is never answered for, and needs no setting.\n",
        );
    }
    for Undoer { link, .. } in tunnels(preparation) {
        let _ = writeln!(
            text,
            "# Clients' packets come out of the tunnel, where no route leads back: the filter must be loose (2), and the\n\
             # link must have an address, the VIP's, too: loose drops what arrives by a link without one.\n\
             -net.ipv4.conf.{link}.rp_filter = 2"
        );
    }
    text
}

/// sysctl.d wants a slash for a name's dot.
fn slashed(link: &str) -> String {
    link.replace('.', "/")
}

fn script(preparation: &Preparation, ips: &[IpAddr]) -> String {
    let device = &preparation.device;
    let words: Vec<String> = ips.iter().map(ToString::to_string).collect();
    let mut text = format!("#!/bin/sh\n{}#\n# start | stop | status; needs iproute2 only.\n", why());
    let _ = writeln!(text, "VIPS=\"{}\"\nDEV={device}\nSAVED=/run/lvs-real-server.saved\n", words.join(" "));
    text.push_str(SCRIPT_HEAD);
    text.push_str("start() {\n    [ -e \"$SAVED\" ] || : > \"$SAVED\"\n");
    if has_ipv4(preparation) {
        for (name, value, what) in ARP {
            let _ = writeln!(text, "    # {what}\n    at_least ipv4/conf/all/{name} {value}");
            let _ = writeln!(text, "    at_least ipv4/conf/$DEV/{name} {value}");
        }
    }
    for Undoer { link, kind, gue } in tunnels(preparation) {
        let _ = writeln!(text, "    # undoes the tunnel; the kernel makes {link} with its module");
        let _ =
            writeln!(text, "    [ -e /sys/class/net/{link} ] || ip link add {link} type {kind} 2>/dev/null");
        let _ = writeln!(text, "    loose {link}\n    ip link set {link} up || return 1");
        for vip in out_of(preparation, link) {
            let _ = writeln!(text, "    # loose filters drop what arrives by a link without an address");
            let _ = writeln!(text, "    ip addr replace {vip}/32 dev {link} scope host");
        }
        if let Some((port, is_ipv6)) = gue {
            let six = if is_ipv6 { " -6" } else { "" };
            let _ = writeln!(text, "    ip fou add port {port} gue{six} 2>/dev/null");
        }
    }
    text.push_str("    ip link set \"$DEV\" up || return 1\n    for vip in $VIPS; do add \"$vip\" || return 1; done\n}\n\n");
    text.push_str("stop() {\n    for vip in $VIPS; do del \"$vip\"; done\n");
    for Undoer { link, gue, .. } in tunnels(preparation) {
        if let Some((port, is_ipv6)) = gue {
            let six = if is_ipv6 { " -6" } else { "" };
            let _ = writeln!(text, "    ip fou del port {port}{six} 2>/dev/null");
        }
        for vip in out_of(preparation, link) {
            let _ = writeln!(text, "    ip addr del {vip}/32 dev {link} 2>/dev/null");
        }
        let _ = writeln!(text, "    ip link set {link} down 2>/dev/null");
    }
    text.push_str(SCRIPT_TAIL);
    text
}

const SCRIPT_HEAD: &str = r#"# Raises a setting, and remembers what it was.
at_least() {
    [ -e "/proc/sys/net/$1" ] || return 0
    read -r was < "/proc/sys/net/$1"
    [ "$was" -ge "$2" ] && return 0
    grep -q "^$1 " "$SAVED" || echo "$1 $was" >> "$SAVED"
    echo "$2" > "/proc/sys/net/$1"
}

# Clients' packets come out of the tunnel, where no route leads back: strict filtering (1) drops them all.
loose() {
    f="ipv4/conf/$1/rp_filter"
    [ -e "/proc/sys/net/$f" ] || return 0
    read -r was < "/proc/sys/net/$f"
    grep -q "^$f " "$SAVED" || echo "$f $was" >> "$SAVED"
    echo 2 > "/proc/sys/net/$f"
}

length() { case "$1" in *:*) echo 128 ;; *) echo 32 ;; esac; }

has() { ip addr show dev "$DEV" | grep -qw "inet6\{0,1\} $1/$(length "$1")"; }

add() {
    has "$1" && return 0
    case "$1" in
        *:*) ip addr add "$1/128" dev "$DEV" nodad preferred_lft 0 ;;
        *) ip addr add "$1/32" dev "$DEV" scope host ;;
    esac
}

del() { has "$1" && ip addr del "$1/$(length "$1")" dev "$DEV"; }

"#;

const SCRIPT_TAIL: &str = r#"    # The VIP is gone: settings may go back to what they were.
    [ -e "$SAVED" ] || return 0
    while read -r name was; do
        [ -e "/proc/sys/net/$name" ] && echo "$was" > "/proc/sys/net/$name"
    done < "$SAVED"
    rm -f "$SAVED"
}

status() {
    bad=0
    for vip in $VIPS; do
        if has "$vip"; then echo "$vip on $DEV"; else echo "$vip MISSING on $DEV"; bad=2; fi
    done
    for name in arp_ignore arp_announce; do
        read -r is < "/proc/sys/net/ipv4/conf/all/$name"
        echo "net.ipv4.conf.all.$name = $is"
    done
    return $bad
}

case "$1" in
    start) start ;;
    stop) stop ;;
    restart) stop; start ;;
    status) status ;;
    *) echo "usage: $0 start|stop|restart|status" >&2; exit 64 ;;
esac
"#;

/// The module that makes a kind of link.
fn module(kind: &str) -> &str {
    match kind {
        "gre" => "ip_gre",
        "ip6gre" => "ip6_gre",
        "ip6tnl" => "ip6_tunnel",
        other => other,
    }
}

fn networkd(preparation: &Preparation, ips: &[IpAddr]) -> String {
    let mut text = why() + "[Match]\n";
    let _ = writeln!(text, "Name={}\n", preparation.device);
    for ip in ips {
        match ip {
            IpAddr::V4(ip) => {
                let _ = writeln!(text, "[Address]\nAddress={ip}/32\nScope=host\n");
            }
            IpAddr::V6(ip) => {
                let _ = writeln!(
                    text,
                    "[Address]\nAddress={ip}/128\nPreferredLifetime=0\nDuplicateAddressDetection=none\n"
                );
            }
        }
    }
    let mut all = file(&format!("/etc/systemd/network/10-lvs-{}.network", preparation.device), &text);
    for Undoer { link, kind, gue } in tunnels(preparation) {
        all += &file(
            "/etc/modules-load.d/lvs-real-server.conf",
            &format!("# Makes {link}, which removes the tunnel header, from any sender.\n{}\n", module(kind)),
        );
        let mut network = format!(
            "# {link} undoes the tunnel; the kernel makes it with its module.\n[Match]\nName={link}\n\n[Network]\n\
             LinkLocalAddressing=no\nConfigureWithoutCarrier=yes\n"
        );
        for vip in out_of(preparation, link) {
            let _ = write!(
                network,
                "\n# Loose filters drop what arrives by a link without an address.\n[Address]\nAddress={vip}/32\nScope=host\n"
            );
        }
        all += &file(&format!("/etc/systemd/network/10-lvs-{link}.network"), &network);
        if let Some((port, is_ipv6)) = gue {
            let family = if is_ipv6 { "PeerPort=0\n" } else { "" };
            let fou = format!(
                "[NetDev]\nName=lvs-gue\nKind=fou\n\n[FooOverUDP]\nEncapsulation=GenericUDPEncapsulation\nPort={port}\n{family}"
            );
            all += &file("/etc/systemd/network/10-lvs-gue.netdev", &fou);
        }
    }
    all
}

fn network_manager(preparation: &Preparation, ips: &[IpAddr]) -> String {
    let mut text = why();
    let _ = writeln!(
        text,
        "# A dummy link, because versions before 1.42 do not manage lo.\n[connection]\nid={DUMMY}\ntype=dummy\n\
         interface-name={DUMMY}\nautoconnect=true\n\n[dummy]\n"
    );
    for (section, is_ipv6, other) in [("ipv4", false, "disabled"), ("ipv6", true, "ignore")] {
        let own: Vec<String> = ips
            .iter()
            .filter(|ip| ip.is_ipv6() == is_ipv6)
            .map(|ip| format!("{ip}/{}", if is_ipv6 { 128 } else { 32 }))
            .collect();
        let method = if own.is_empty() { other } else { "manual" };
        let _ = writeln!(text, "[{section}]\nmethod={method}");
        for (at, address) in own.iter().enumerate() {
            let _ = writeln!(text, "address{}={address}", at + 1);
        }
        text.push('\n');
    }
    let mut all = file(&format!("/etc/NetworkManager/system-connections/{DUMMY}.nmconnection"), &text);
    for Undoer { link, kind, gue } in tunnels(preparation) {
        let _ = writeln!(
            all,
            "#### note: NetworkManager cannot create the catch-all tunnel link: at boot run `ip link add {link} type {kind}; ip link \
             set {link} up{}`{}",
            addresses(preparation, link),
            gue.map_or(String::new(), |(port, _)| format!(" and `ip fou add port {port} gue`"))
        );
    }
    all
}

/// The commands that give a tunnel's link its addresses.
fn addresses(preparation: &Preparation, link: &str) -> String {
    let vips = out_of(preparation, link).into_iter();
    vips.map(|vip| format!("; ip addr replace {vip}/32 dev {link} scope host")).collect()
}

fn ifupdown(preparation: &Preparation, ips: &[IpAddr]) -> String {
    let mut text = why();
    let _ = writeln!(text, "auto {DUMMY}\niface {DUMMY} inet manual");
    let _ = writeln!(text, "    pre-up ip link add {DUMMY} type dummy || true");
    if has_ipv4(preparation) {
        for (name, value, what) in ARP {
            let path = format!("/proc/sys/net/ipv4/conf/all/{name}");
            let _ = writeln!(text, "    # {what}");
            let _ = writeln!(text, "    pre-up [ $(cat {path}) -ge {value} ] || echo {value} > {path}");
        }
    }
    for Undoer { link, kind, gue } in tunnels(preparation) {
        let _ = writeln!(
            text,
            "    # undoes the tunnel; no route leads back into it, so its filter is loose, and it has an address, as loose\n    \
             # drops what arrives by a link without one"
        );
        let _ = writeln!(text, "    pre-up ip link add {link} type {kind} 2>/dev/null || true");
        let _ = writeln!(text, "    pre-up echo 2 > /proc/sys/net/ipv4/conf/{link}/rp_filter");
        let _ = writeln!(text, "    pre-up ip link set {link} up");
        for vip in out_of(preparation, link) {
            let _ = writeln!(text, "    pre-up ip addr replace {vip}/32 dev {link} scope host");
        }
        if let Some((port, is_ipv6)) = gue {
            let six = if is_ipv6 { " -6" } else { "" };
            let _ = writeln!(text, "    pre-up ip fou add port {port} gue{six} || true");
        }
    }
    let _ = writeln!(text, "    up ip link set {DUMMY} up");
    for ip in ips {
        let line = match ip {
            IpAddr::V4(ip) => format!("ip addr add {ip}/32 dev {DUMMY} scope host"),
            IpAddr::V6(ip) => format!("ip addr add {ip}/128 dev {DUMMY} nodad preferred_lft 0"),
        };
        let _ = writeln!(text, "    up {line}");
    }
    let _ = writeln!(text, "    down ip link del {DUMMY}");
    text
}

fn netplan(preparation: &Preparation, ips: &[IpAddr]) -> String {
    let mut text = why();
    let _ = writeln!(
        text,
        "network:\n  version: 2\n  renderer: networkd\n  ethernets:\n    {0}:\n      match: {{name: {0}}}\n      addresses:",
        preparation.device
    );
    for ip in ips {
        let _ = match ip {
            IpAddr::V4(ip) => writeln!(text, "        - \"{ip}/32\""),
            IpAddr::V6(ip) => writeln!(text, "        - \"{ip}/128\": {{lifetime: 0}}"),
        };
    }
    let mut all = file("/etc/netplan/90-lvs-real-server.yaml", &text);
    for Undoer { link, kind, gue } in tunnels(preparation) {
        let _ = writeln!(
            all,
            "#### note: netplan's tunnels want a peer: at boot run `ip link add {link} type {kind}; ip link set {link} up{}`{}",
            addresses(preparation, link),
            gue.map_or(String::new(), |(port, _)| format!(" and `ip fou add port {port} gue`"))
        );
    }
    for vip in &preparation.vips {
        if let Arrival::Tun { tunnel, is_outer_ipv6 } = vip.arrival {
            let more = overhead(tunnel, is_outer_ipv6);
            let _ = writeln!(all, "#### note: packets for {} are {more} bytes longer in the tunnel", vip.ip);
        }
    }
    all
}
