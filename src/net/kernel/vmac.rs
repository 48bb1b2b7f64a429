//! Macvlans with virtual routers' MAC addresses, and the settings of theirs and their base's that they need.
//!
//! The original settings of other links are also written into the macvlan's alias, so that the next process can
//! restore them after a crash. Reverse path filtering is the larger one of `all` and the link's own, so
//! while a macvlan needs none, `all` is 0 and every other link has what `all` was.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;

use super::apply::in_kernels_words;
use super::decode::ShownLink;
use super::encode::{self, Unspeakable};
use super::wire::MACVLAN_PRIVATE;
use super::{Kernel, in_words};
use crate::net::sysctl;
use crate::net::types::{LinkIndex, MacAddress, Prefix, Vmac};
use crate::netlink::request::Request;

const EXIST: i32 = Errno::EXIST.raw_os_error();
const NODEV: i32 = Errno::NODEV.raw_os_error();
/// What aliases of our macvlans begin with.
const ALIAS: &str = "lvsd:";
/// What IFLA_MASTER is for no master.
const NO_LINK: LinkIndex = LinkIndex(0);
/// Only the link that has an address answers ARP for it.
const BASE_SETTINGS: [&str; 2] = ["arp_ignore", "arp_filter"];
/// What an IPv4 macvlan needs.
const IPV4_SETTINGS: [(&str, &str); 4] =
    [("arp_ignore", "1"), ("accept_local", "1"), ("rp_filter", "0"), ("promote_secondaries", "1")];

/// Macvlans that exist, and what settings were before them.
#[derive(Debug, Default)]
pub(super) struct Vmacs {
    /// IPv4 macvlans by base: by its number, because a base that is made anew has settings of its own, and one that is
    /// renamed keeps them.
    users: BTreeMap<LinkIndex, BTreeSet<String>>,
    /// A base's settings, in the order of [`BASE_SETTINGS`].
    bases: BTreeMap<LinkIndex, [String; 2]>,
    /// `all`'s reverse path filter and that of links which were given it.
    filter: Option<(String, BTreeMap<String, String>)>,
}

impl Kernel {
    pub(super) fn add_vmac(&mut self, vmac: &Vmac) -> Result<(), Unspeakable> {
        let links = self.links().map_err(silence)?;
        let by_name = |name: &str| links.iter().find(|shown| shown.link.name == name);
        let Some(base) = by_name(&vmac.base).map(|shown| shown.link.index) else {
            return Err((NODEV, format!("there is no link {}", vmac.base)));
        };
        let there = match by_name(&vmac.name) {
            // One of ours below which the base was renamed, and another link has the name.
            Some(shown) if shown.alias.starts_with(ALIAS) && shown.link.base != Some(base) => {
                self.ask(&[encode::remove_link(shown.link.index)])?;
                None
            }
            there => there,
        };
        let index = match there {
            Some(shown) => self.adopt(vmac, shown, base)?,
            None => {
                self.ask(&[encode::make_macvlan(&vmac.name, base, vmac.mac)?])?;
                super::find(&self.names, &vmac.name)
                    .ok_or_else(|| (NODEV, format!("{} went as soon as it was made", vmac.name)))?
            }
        };
        // Its addresses and routes are where the base's are.
        let of_base = links.iter().find(|shown| shown.link.index == base).and_then(|shown| shown.link.master);
        let is_vrf = |index| links.iter().any(|shown| shown.link.index == index && shown.kind == "vrf");
        let vrf = of_base.filter(|index| is_vrf(*index));
        if there.and_then(|shown| shown.link.master) != vrf {
            self.ask(&[encode::set_master(index, vrf.unwrap_or(NO_LINK))])?;
        }
        // Without IPv6 in the kernel there is nothing to be generated.
        let _ = self.ask(&[encode::generate_no_address(index)]);
        let set = |family: &str, name: &str, value: &str| {
            sysctl::write_of_link(family, &vmac.name, name, value)
                .map_err(|e| setting_refused(&format!("net.{family}.conf.{}.{name}", vmac.name), &e))
        };
        if vmac.is_ipv6 {
            set("ipv6", "disable_ipv6", "0")?;
            set("ipv6", "accept_ra", "0")?;
            // It has no IPv4 address, and the kernel lets it answer ARP for those of other links.
            set("ipv4", "arp_ignore", "1")?;
        } else {
            let _ = set("ipv6", "disable_ipv6", "1");
            for (name, value) in IPV4_SETTINGS {
                set("ipv4", name, value)?;
            }
            self.vmacs.prepare(vmac, base, there.map(|shown| shown.alias.as_str()), &links)?;
        }
        // Before it can speak: a switch learns from every frame where a MAC address is.
        if let Err(refused) = self.drop_group_reports(index) {
            self.remarks.push(format!(
                "{}: {}: reports of multicast groups leave with its MAC address, and a switch may look for the virtual \
                 router where it is Backup",
                vmac.name, refused.words
            ));
        }
        let alias = self.vmacs.alias(vmac, base);
        self.ask(&[encode::set_alias(index, &alias), encode::switch_on(index)])?;
        if vmac.is_ipv6 { self.unshare_link_local(base, index) } else { Ok(()) }
    }

    pub(super) fn remove_vmac(&mut self, vmac: &Vmac) -> Result<(), Unspeakable> {
        let links = self.links().map_err(silence)?;
        let base = links.iter().find(|shown| shown.link.name == vmac.base).map(|shown| shown.link.index);
        let there = links.iter().find(|shown| shown.link.name == vmac.name);
        let mut outcome = Ok(());
        // One that is not ours is not there. One of ours may be on a base that has another name by now.
        let is_there = |shown: &&ShownLink| {
            is_ours(shown) && (base.is_none() || shown.link.base == base || shown.alias.starts_with(ALIAS))
        };
        if let Some(shown) = there.filter(is_there) {
            outcome = match self.ask(&[encode::remove_link(shown.link.index)]) {
                Err((NODEV, _)) => Ok(()),
                other => other,
            };
        }
        self.vmacs.release(vmac, &links);
        outcome
    }

    /// A macvlan that is there already, if it is one of ours or as ours would be.
    fn adopt(&mut self, vmac: &Vmac, shown: &ShownLink, base: LinkIndex) -> Result<LinkIndex, Unspeakable> {
        let is_private = shown.kind == "macvlan" && shown.mode == Some(MACVLAN_PRIVATE);
        if !is_private || shown.link.base != Some(base) {
            let text = format!("a link {} is there and is no private macvlan on {}", vmac.name, vmac.base);
            return Err((EXIST, text));
        }
        if shown.link.mac != Some(MacAddress(vmac.mac)) {
            self.ask(&[encode::set_mac(shown.link.index, vmac.mac)])?;
        }
        Ok(shown.link.index)
    }

    /// Takes the base's link-local address from the macvlan, which predecessors shared with it: it would answer hosts
    /// that look for the base, on a Backup too, and teach neighbours and switches a wrong place. Advertisements come
    /// from that address all the same (IPV6_FREEBIND).
    fn unshare_link_local(&mut self, base: LinkIndex, index: LinkIndex) -> Result<(), Unspeakable> {
        let addresses = self.addresses().map_err(silence)?;
        let is_local = |ip| matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
        let of = |link| addresses.iter().map(|a| a.held).filter(move |held| held.link == link);
        let is_of_base = |prefix: &Prefix| of(base).any(|held| held.prefix.ip == prefix.ip);
        let shared =
            of(index).map(|held| held.prefix).filter(|prefix| is_local(prefix.ip) && is_of_base(prefix));
        let requests: Vec<_> =
            shared.map(|prefix| encode::remove_address(index, prefix, prefix.ip)).collect();
        if requests.is_empty() { Ok(()) } else { self.ask(&requests) }
    }

    /// Performs requests; the first refusal counts.
    pub(super) fn ask(&mut self, requests: &[Request]) -> Result<(), Unspeakable> {
        let refused = self.rtnetlink.batch(requests).map_err(silence)?;
        refused.first().map_or(Ok(()), |refused| Err(in_kernels_words(refused)))
    }
}

impl Vmacs {
    /// Changes the base's settings and `all`'s for a new IPv4 macvlan, remembering what they were.
    fn prepare(
        &mut self,
        vmac: &Vmac,
        base: LinkIndex,
        alias: Option<&str>,
        links: &[ShownLink],
    ) -> Result<(), Unspeakable> {
        let left = alias.and_then(originals);
        let mut known = self.bases.get(&base).cloned().or(left.clone().map(|(base, _)| base));
        let mut now = [const { String::new() }; BASE_SETTINGS.len()];
        for (value, name) in now.iter_mut().zip(BASE_SETTINGS) {
            *value = base_setting(vmac, name)?;
        }
        let known = known.get_or_insert_with(|| now.clone());
        for ((name, value), known) in BASE_SETTINGS.iter().zip(&now).zip(known.iter_mut()) {
            // One that is not as it was set is another link's, or another program's.
            if value != "1" {
                known.clone_from(value);
                sysctl::write_of_link("ipv4", &vmac.base, name, "1")
                    .map_err(|e| setting_refused(&format!("net.ipv4.conf.{}.{name}", vmac.base), &e))?;
            }
        }
        self.bases.insert(base, known.clone());
        if self.filter.is_none() {
            self.filter = Some(free_all_from_filter(vmac, left.map(|(_, filter)| filter), links)?);
        }
        // It may have been on a link that went.
        self.leave_bases(&vmac.name, Some(base), links);
        self.users.entry(base).or_default().insert(vmac.name.clone());
        Ok(())
    }

    /// A macvlan went: with the last one of a base its settings are given back, with the last of all `all`'s.
    fn release(&mut self, vmac: &Vmac, links: &[ShownLink]) {
        self.leave_bases(&vmac.name, None, links);
        if self.users.is_empty()
            && let Some((all, others)) = self.filter.take()
        {
            let _ = sysctl::write_of_link("ipv4", "all", "rp_filter", &all);
            for (link, value) in others {
                let _ = sysctl::write_of_link("ipv4", &link, "rp_filter", &value);
            }
        }
    }

    /// Macvlans have left these bases, except one; a base without macvlans gets its settings back.
    fn leave_bases(&mut self, name: &str, but_for: Option<LinkIndex>, links: &[ShownLink]) {
        let on: Vec<_> =
            self.users.iter().filter(|(_, users)| users.contains(name)).map(|(b, _)| *b).collect();
        for base in on.into_iter().filter(|base| Some(*base) != but_for) {
            let users = self.users.entry(base).or_default();
            users.remove(name);
            if !users.is_empty() {
                continue;
            }
            self.users.remove(&base);
            let originals = self.bases.remove(&base);
            // The base may have gone, or have another name than its macvlans know.
            let Some(shown) = links.iter().find(|shown| shown.link.index == base) else { continue };
            for (name, value) in BASE_SETTINGS.iter().zip(originals.into_iter().flatten()) {
                let _ = sysctl::write_of_link("ipv4", &shown.link.name, name, &value);
            }
        }
    }

    fn alias(&self, vmac: &Vmac, base: LinkIndex) -> String {
        match (self.bases.get(&base), &self.filter) {
            (Some([ignore, filter]), Some((all, _))) if !vmac.is_ipv6 => {
                format!("{ALIAS} arp_ignore was {ignore}, arp_filter {filter}, all.rp_filter {all}")
            }
            _ => format!("{ALIAS} virtual router"),
        }
    }
}

/// Sets `all`'s reverse path filter to 0 and that of other links to what it was, if that is more than theirs.
fn free_all_from_filter(
    vmac: &Vmac,
    left: Option<String>,
    links: &[ShownLink],
) -> Result<(String, BTreeMap<String, String>), Unspeakable> {
    let read = |link: &str| {
        sysctl::read_of_link("ipv4", link, "rp_filter")
            .map_err(|e| setting_refused(&format!("net.ipv4.conf.{link}.rp_filter"), &e))
    };
    let write = |link: &str, value: &str| {
        sysctl::write_of_link("ipv4", link, "rp_filter", value)
            .map_err(|e| setting_refused(&format!("net.ipv4.conf.{link}.rp_filter"), &e))
    };
    let now = read("all")?;
    let mut others = BTreeMap::new();
    if now != "0" {
        let names = links.iter().map(|shown| shown.link.name.as_str()).chain(["default"]);
        for link in names.filter(|name| *name != vmac.name) {
            // A link that has gone since needs nothing.
            let Ok(own) = read(link) else { continue };
            // Loose (2) is larger than strict (1), and the larger one counts.
            if own < now {
                write(link, &now)?;
                others.insert(link.to_owned(), own);
            }
        }
        write("all", "0")?;
    }
    // After a crash `all` is 0 and the macvlan's alias knows better.
    Ok((left.unwrap_or(now), others))
}

fn base_setting(vmac: &Vmac, name: &str) -> Result<String, Unspeakable> {
    sysctl::read_of_link("ipv4", &vmac.base, name)
        .map_err(|e| setting_refused(&format!("net.ipv4.conf.{}.{name}", vmac.base), &e))
}

/// The settings an alias remembers: those of the base, and `all`'s reverse path filter.
fn originals(alias: &str) -> Option<([String; 2], String)> {
    let words = alias.strip_prefix(ALIAS)?.strip_prefix(" arp_ignore was ")?;
    let (ignore, rest) = words.split_once(", arp_filter ")?;
    let (filter, all) = rest.split_once(", all.rp_filter ")?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let known = [ignore, filter, all].iter().all(|text| is_number(text));
    known.then(|| ([ignore.to_owned(), filter.to_owned()], all.to_owned()))
}

/// A macvlan with our alias, or with none at all.
fn is_ours(shown: &ShownLink) -> bool {
    shown.kind == "macvlan" && (shown.alias.starts_with(ALIAS) || shown.alias.is_empty())
}

fn setting_refused(name: &str, error: &std::io::Error) -> Unspeakable {
    let errno = error.raw_os_error().unwrap_or(0);
    (errno, format!("{name}: {}", in_words(errno, None)))
}

fn silence(text: String) -> Unspeakable {
    (0, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_returns_its_text() {
        let mut vmacs = Vmacs::default();
        let vmac = Vmac { name: "vrrp.51".into(), base: "eth0".into(), mac: [0; 6], is_ipv6: false };
        vmacs.bases.insert(LinkIndex(2), ["0".into(), "2".into()]);
        vmacs.filter = Some(("1".into(), BTreeMap::new()));
        let alias = vmacs.alias(&vmac, LinkIndex(2));
        assert_eq!(originals(&alias), Some((["0".into(), "2".into()], "1".into())));
        assert!(alias.len() < 256, "IFALIASZ");
        for odd in ["", "lvsd: virtual router", "lvsd: arp_ignore was x, arp_filter 1, all.rp_filter 1"] {
            assert_eq!(originals(odd), None, "{odd:?}");
        }
    }
}
