//! Input from outside as functions of bytes, one for each target: cargo-fuzz calls them (`fuzz/`), and a unit test runs
//! them over a kept corpus and seeded mutations of it.
//!
//! A target panics where a rule is broken, e.g. that what was printed reads back as itself; otherwise it ignores what
//! comes out. What is private to a module is decoded by that module's own `fuzz` module.

pub(crate) mod configuration;
#[cfg(test)]
pub(crate) mod mutator;
#[cfg(test)]
mod tests;

use crate::net::firewall::{Hook, Packet, Tracked, iptables, nft};

/// A target's name, and what it does with its input.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them; each has a file in `fuzz/targets`, a row in `fuzz/Cargo.toml` and a folder in `fuzz/corpus`.
pub const TARGETS: &[Target] = &[
    ("keepalived_conf", keepalived_conf),
    ("yaml", yaml),
    ("expander", expander),
    ("vrrp_packet", vrrp_packet),
    ("bfd_packet", bfd_packet),
    ("netlink_ipvs", netlink_ipvs),
    ("netlink_rtnetlink", netlink_rtnetlink),
    ("http_reply", http_reply),
    ("dns_reply", dns_reply),
    ("smtp_reply", smtp_reply),
    ("nft_json", nft_json),
    ("control_request", control_request),
];

/// A configuration in keepalived's language.
pub fn keepalived_conf(text: &[u8]) {
    configuration::judge(false, text);
}

/// A configuration in YAML.
pub fn yaml(text: &[u8]) {
    configuration::judge(true, text);
}

/// Definitions, includes, conditions and repetitions: the statements that come out, printed, are the same when read
/// again.
pub fn expander(text: &[u8]) {
    configuration::reads_back(text);
}

/// A packet of VRRP; the first byte says by which protocol it came, the second is its hop limit.
pub fn vrrp_packet(bytes: &[u8]) {
    crate::vrrp::packet::fuzz::datagram(bytes);
}

/// The payload of a datagram at BFD's port: read, and given to sessions in every state.
pub fn bfd_packet(bytes: &[u8]) {
    crate::bfd::packet::fuzz(bytes);
    crate::bfd::sessions::fuzz(bytes);
}

/// A datagram of IPVS's generic netlink family.
pub fn netlink_ipvs(bytes: &[u8]) {
    crate::ipvs::netlink::fuzz::reply(bytes);
}

/// A datagram of rtnetlink: links, addresses, routes, rules, neighbours, filters.
pub fn netlink_rtnetlink(bytes: &[u8]) {
    crate::net::kernel::fuzz::reply(bytes);
}

/// What a web server answers; the first byte says in which pieces it arrives.
pub fn http_reply(bytes: &[u8]) {
    crate::check::http::fuzz::reply(bytes);
}

/// What a resolver answers.
pub fn dns_reply(bytes: &[u8]) {
    crate::check::dns::fuzz(bytes);
}

/// What a mail server says.
pub fn smtp_reply(bytes: &[u8]) {
    crate::check::smtp::fuzz(bytes);
}

/// What `nft -j list ruleset` prints, and `iptables-save`, which is read where nft is not.
pub fn nft_json(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let listed = nft::read(&text).map(|listing| listing.rules).unwrap_or_default();
    for rules in [listed, iptables::read(&text, true)] {
        for is_ipv4 in [true, false] {
            let packet = Packet {
                is_ipv4,
                protocol: 6,
                source: None,
                destination: Some(if is_ipv4 {
                    [10, 1, 0, 100].into()
                } else {
                    [0xfd00, 0, 0, 0, 0, 0, 0, 1].into()
                }),
                destination_port: Some(80),
                source_port: None,
                arrives_by: Some("eth0".to_owned()),
                leaves_by: None,
                tracked: Some(Tracked::New),
            };
            let _ = rules.what_drops(&packet, &[Hook::Prerouting, Hook::Input]);
        }
    }
}

/// A request on the control socket.
pub fn control_request(line: &[u8]) {
    crate::daemon::control::fuzz(line);
}
