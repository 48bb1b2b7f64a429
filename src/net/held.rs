//! The addresses of a host, in the order in which the kernel lists them.
//!
//! The order decides which address of a link is a source where several would do: `inet_select_addr` takes the first
//! primary address of IPv4, and among equals source selection of IPv6 (RFC 6724) takes the first one listed. A dump
//! shows the order, and what is added afterwards has a known place: an IPv4 address becomes the last one
//! (`__inet_insert_ifa`), an IPv6 address the first one of its scope (`ipv6_link_dev_addr`).

use std::collections::{BTreeMap, btree_map};
use std::iter::Map;
use std::net::{IpAddr, Ipv4Addr};

use super::types::{HeldAddress, LinkIndex, Prefix};

/// The addresses of a host. Two are equal when they contain the same addresses, in any order.
#[derive(Clone, Debug, Default)]
pub struct HeldAddresses {
    all: BTreeMap<(LinkIndex, Prefix), Listed>,
    /// Places before the first and behind the last one.
    first: i64,
    last: i64,
}

/// An address and its place in the kernel's list.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    held: HeldAddress,
    place: i64,
}

impl HeldAddresses {
    /// An address came, or changed. True: it came.
    pub fn insert(&mut self, held: HeldAddress) -> bool {
        if let Some(known) = self.all.get_mut(&(held.link, held.prefix)) {
            // One that is promoted becomes the last of the primary ones.
            if known.held.is_secondary && !held.is_secondary {
                self.last += 1;
                known.place = self.last;
            }
            known.held = held;
            return false;
        }
        let place = if held.prefix.ip.is_ipv4() {
            self.last += 1;
            self.last
        } else {
            self.first -= 1;
            self.first
        };
        self.all.insert((held.link, held.prefix), Listed { held, place });
        true
    }

    /// An address was removed; its flags do not matter. True: it was there.
    pub fn remove(&mut self, link: LinkIndex, prefix: Prefix) -> bool {
        self.all.remove(&(link, prefix)).is_some()
    }

    /// A link went with all its addresses.
    pub fn remove_all(&mut self, link: LinkIndex) {
        let gone: Vec<Prefix> = self.of(link).map(|held| held.prefix).collect();
        for prefix in gone {
            self.remove(link, prefix);
        }
    }

    /// The address of a link with that prefix length.
    pub fn get(&self, link: LinkIndex, prefix: Prefix) -> Option<&HeldAddress> {
        self.all.get(&(link, prefix)).map(|listed| &listed.held)
    }

    /// Those of a link, by number.
    pub fn of(&self, link: LinkIndex) -> impl Iterator<Item = &HeldAddress> {
        self.from(link, Prefix { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 })
    }

    /// Those of a link from a prefix on, by number.
    pub fn from(&self, link: LinkIndex, first: Prefix) -> impl Iterator<Item = &HeldAddress> {
        let all = self.all.range((link, first)..).take_while(move |((of, _), _)| *of == link);
        all.map(|(_, listed)| &listed.held)
    }

    /// Those of a link, as the kernel lists them.
    pub fn listed(&self, link: LinkIndex) -> Vec<HeldAddress> {
        let least = Prefix { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 };
        let all = self.all.range((link, least)..).take_while(|((of, _), _)| *of == link);
        let mut all: Vec<Listed> = all.map(|(_, listed)| *listed).collect();
        all.sort_by_key(|Listed { held, place }| match held.prefix.ip {
            // Secondary ones behind all others, the narrowest scope first.
            IpAddr::V4(_) => (false, held.is_secondary, u8::MAX - held.scope, *place),
            IpAddr::V6(_) => (true, false, held.scope, *place),
        });
        all.into_iter().map(|listed| listed.held).collect()
    }

    /// All of them, by link and number.
    pub fn iter(&self) -> Iter<'_> {
        self.all.values().map(|listed| &listed.held)
    }

    /// Keeps those that are so.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&HeldAddress) -> bool) {
        self.all.retain(|_, listed| is_kept(&listed.held));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// What [`HeldAddresses::iter`] gives.
pub(super) type Iter<'a> =
    Map<btree_map::Values<'a, (LinkIndex, Prefix), Listed>, fn(&'a Listed) -> &'a HeldAddress>;

impl<'a> IntoIterator for &'a HeldAddresses {
    type Item = &'a HeldAddress;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for HeldAddresses {
    fn eq(&self, other: &HeldAddresses) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for HeldAddresses {}

/// A dump: in the kernel's order.
impl FromIterator<HeldAddress> for HeldAddresses {
    fn from_iter<I: IntoIterator<Item = HeldAddress>>(dump: I) -> HeldAddresses {
        let mut this = HeldAddresses::default();
        for held in dump {
            this.last += 1;
            this.all.insert((held.link, held.prefix), Listed { held, place: this.last });
        }
        this
    }
}

impl<const N: usize> From<[HeldAddress; N]> for HeldAddresses {
    fn from(dump: [HeldAddress; N]) -> HeldAddresses {
        dump.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETH0: LinkIndex = LinkIndex(2);

    fn held(text: &str) -> HeldAddress {
        let (ip, length) = text.split_once('/').unwrap();
        HeldAddress::plain(ETH0, Prefix { ip: ip.parse().unwrap(), length: length.parse().unwrap() })
    }

    fn listed(all: &HeldAddresses) -> Vec<String> {
        all.listed(ETH0).iter().map(|held| held.prefix.to_string()).collect()
    }

    #[test]
    fn later_entries_are_listed_in_the_kernels_order() {
        let mut all: HeldAddresses = [held("10.0.0.9/24"), held("10.0.0.3/24"), held("fd00::9/64")].into();
        for new in ["10.0.0.1/24", "fd00::1/64"] {
            assert!(all.insert(held(new)));
        }
        assert_eq!(
            listed(&all),
            ["10.0.0.9/24", "10.0.0.3/24", "10.0.0.1/24", "fd00::1/64", "fd00::9/64"],
            "an IPv4 address is the last one, an IPv6 address the first one"
        );
    }

    #[test]
    fn an_address_that_changes_keeps_its_place_unless_it_is_promoted() {
        let secondary = HeldAddress { is_secondary: true, ..held("10.0.0.3/24") };
        let mut all: HeldAddresses = [held("10.0.0.9/24"), secondary, held("10.1.0.1/24")].into();
        assert!(!all.insert(HeldAddress { is_deprecated: true, ..held("10.0.0.9/24") }));
        assert_eq!(listed(&all), ["10.0.0.9/24", "10.1.0.1/24", "10.0.0.3/24"]);
        assert!(all.remove(ETH0, held("10.0.0.9/24").prefix));
        all.insert(held("10.0.0.3/24"));
        assert_eq!(listed(&all), ["10.1.0.1/24", "10.0.0.3/24"]);
    }
}
