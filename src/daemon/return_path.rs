//! Whether this host lets in what a check through the VIP waits for: the answer comes from an address of its own.
//!
//! Asked only when nothing came, for then it may be this host's doing and not the real server's.

use std::net::IpAddr;

use crate::net::kernel::Kernel;
use crate::net::sysctl;
use crate::net::types::Host;

/// What keeps answers of `vip` to `source` from arriving here, in the operator's words.
pub(super) fn blocked_by(vip: IpAddr, source: IpAddr) -> Option<String> {
    let host = Kernel::open().and_then(|mut kernel| kernel.host()).ok()?;
    judge(&host, vip, source, |link, name| {
        sysctl::read_of_link("ipv4", link, name).ok().and_then(|value| value.parse().ok()).unwrap_or(0)
    })
}

fn judge(host: &Host, vip: IpAddr, source: IpAddr, setting: impl Fn(&str, &str) -> u32) -> Option<String> {
    let links =
        |ip: IpAddr| host.addresses.iter().filter(move |held| held.prefix.ip == ip).map(|held| held.link);
    // IPv6 has no such settings, and an address that is not here comes like any other's.
    if vip.is_ipv6() || links(vip).next().is_none() {
        return None;
    }
    let name = host.links.get(&links(source).next()?).map(|link| link.name.as_str())?;
    let of = |setting_name| setting("all", setting_name).max(setting(name, setting_name));
    if of("accept_local") == 0 {
        return Some(format!(
            "net.ipv4.conf.all.accept_local is 0: answers from {vip}, which is here as well, are dropped"
        ));
    }
    let is_beside = links(vip).any(|link| host.links.get(&link).is_some_and(|link| link.name == name));
    (of("rp_filter") == 1 && !is_beside).then(|| {
        format!(
            "rp_filter is 1 on {name}, and {vip} is on another link: answers from it are dropped; \
             net.ipv4.conf.{name}.rp_filter=2 lets them in"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::types::{HeldAddress, Link, LinkIndex, MacAddress, Prefix};

    #[test]
    fn only_rules_that_drop_replies_are_named() {
        let said = |vip_on: Option<u32>, accept_local, rp_filter| {
            let mut addresses = vec![held(2, "10.1.0.11", 24)];
            addresses.extend(vip_on.map(|link| held(link, "10.1.0.100", 32)));
            let links = [(1, "lo"), (2, "eth0")].map(|(index, name)| (LinkIndex(index), link(index, name)));
            let host =
                Host { links: links.into(), addresses: addresses.into_iter().collect(), ..Host::default() };
            let settings = |link: &str, name: &str| match (link, name) {
                ("all", "accept_local") => accept_local,
                ("eth0", "rp_filter") => rp_filter,
                _ => 0,
            };
            judge(&host, "10.1.0.100".parse().unwrap(), "10.1.0.11".parse().unwrap(), settings)
        };
        assert_eq!(said(None, 0, 1), None, "a standby");
        assert_eq!(said(Some(2), 1, 1), None, "the same link");
        assert_eq!((said(Some(1), 1, 0), said(Some(1), 1, 2)), (None, None));
        assert!(said(Some(2), 0, 0).unwrap().starts_with("net.ipv4.conf.all.accept_local is 0"));
        assert!(said(Some(1), 1, 1).unwrap().starts_with("rp_filter is 1 on eth0"));
    }

    fn held(link: u32, address: &str, length: u8) -> HeldAddress {
        let prefix = Prefix { ip: address.parse().unwrap(), length };
        HeldAddress::plain(LinkIndex(link), prefix)
    }

    fn link(index: u32, name: &str) -> Link {
        Link {
            mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
            is_loopback: name == "lo",
            ..Link::plain(LinkIndex(index), name)
        }
    }
}
