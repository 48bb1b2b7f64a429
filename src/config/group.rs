//! `virtual_server_group`: several addresses and firewall marks that one `virtual_server` answers for.
//!
//! Its statements are not keywords but addresses, so no table reads them: `IP [PORT]`, `IP-LAST [PORT]`,
//! `IP-IP [PORT]`, `IP/PREFIX [PORT]`, `fwmark N [inet|inet6]`. `resolve` makes a virtual server of each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::ipvs::types::Family;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Spanned, Table};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value;

use super::options::options;

/// Most services all groups together may stand for.
pub(crate) const MAX_SERVICES: usize = 65_536;

options! {
    /// A group as it was written.
    pub(crate) struct Group {
        _ = only_on();
        /// What virtual servers call it.
        pub(crate) name: Option<Spanned<String>> = word(=> name; "name", "NAME").only_yaml();
        /// Addresses with ports; IP-LAST, IP-IP and IP/PREFIX are ranges.
        _ = words(=> addresses; "addresses", "addresses, e.g. [192.0.2.10:80, 192.0.2.16/28:80]", 1, MAX_SERVICES).only_yaml();
        /// Firewall marks; one with a family is e.g. "7 inet6".
        _ = words(=> fwmarks; "fwmarks", "whole numbers from 1 to 4294967295", 1, MAX_SERVICES).only_yaml();
        /// At most [`MAX_SERVICES`] addresses.
        pub(crate) entries: Vec<Spanned<Entry>>;
        /// All of it could be read.
        pub(crate) is_clean: bool;
    }
}

/// What one line of a group stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Addresses from the first on, all with this port; 0 is every port.
    Addresses {
        first: IpAddr,
        /// How many, at least 1.
        count: u32,
        port: u16,
    },
    /// A firewall mark, and the family, if written.
    Fwmark(u32, Option<Family>),
}

impl Entry {
    /// Number of services.
    pub(crate) fn count(&self) -> usize {
        match self {
            Entry::Addresses { count, .. } => *count as usize,
            Entry::Fwmark(..) => 1,
        }
    }

    /// The addresses, in order; none of a firewall mark.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let (first, count, port) = match *self {
            Entry::Addresses { first, count, port } => (first, count, port),
            Entry::Fwmark(..) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, 0),
        };
        (0..count).map(move |n| SocketAddr::new(plus(first, n), port))
    }
}

fn plus(ip: IpAddr, n: u32) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip).saturating_add(n)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip).saturating_add(n.into())).into(),
    }
}

/// Keywords of YAML's `virtual_server_groups`.
pub(crate) const GROUP: Table<Group> = Table::of("virtual_server_group", "a group", &[Group::keywords()]);

fn name(slot: &mut Option<Spanned<String>>, node: &Node, _: &mut Reader<'_>) {
    *slot = node.values.first().map(|word| Spanned { value: word.text.to_string(), span: word.span });
}

fn addresses(group: &mut Group, node: &Node, reader: &mut Reader<'_>) {
    for word in &node.values {
        let (ip, port) = match word.strip_prefix('[').and_then(|w| w.split_once(']')) {
            Some((ip, rest)) => (ip, rest.strip_prefix(':')),
            None => match word.rsplit_once(':') {
                Some((ip, port)) if !ip.contains(':') => (ip, Some(port)),
                _ => (&*word.text, None),
            },
        };
        let part = |text: &str| Word { text: text.into(), ..word.clone() };
        group.add(&part(ip), port.map(part).as_ref(), word.span, reader);
    }
}

fn fwmarks(group: &mut Group, node: &Node, reader: &mut Reader<'_>) {
    for word in &node.values {
        let mut parts = word.split_whitespace().map(|part| Word { text: part.into(), ..word.clone() });
        let (mark, family) = (parts.next(), parts.next());
        group.add_mark(mark.as_ref(), family.as_ref(), word.span, reader);
    }
}

/// Reads `virtual_server_group NAME { ... }`.
pub(crate) fn read(groups: &mut Vec<Group>, node: &Node, reader: &mut Reader<'_>) {
    let mut group = Group::default();
    let errors = reader.diagnostics.errors();
    if reader.is_yaml() {
        reader.block(&GROUP, node.statements(), &mut group);
    } else {
        group.name = node.values.first().map(|w| Spanned { value: w.text.to_string(), span: node.span() });
        for entry in node.statements() {
            let words = (entry.values.first(), entry.values.get(1));
            match (&*entry.keyword.text, words) {
                ("fwmark", (mark, family)) => group.add_mark(mark, family, entry.span(), reader),
                (_, (port, _)) => group.add(&entry.keyword, port, entry.span(), reader),
            }
        }
    }
    if group.name.is_none() {
        let help = reader.by_language("write `virtual_server_group NAME { ... }`", "write `name: NAME`");
        reader
            .diagnostics
            .push(Diagnostic::error(node.keyword.span, "a virtual_server_group needs a name").help(help));
    }
    group.is_clean = reader.diagnostics.errors() == errors;
    if group.entries.is_empty() && group.is_clean {
        let problem = Diagnostic::error(node.span(), "the virtual_server_group is empty");
        reader.diagnostics.push(problem.help("write the addresses its virtual_server answers for"));
    }
    groups.push(group);
}

impl Group {
    fn add(&mut self, word: &Word, port: Option<&Word>, span: Span, reader: &mut Reader<'_>) {
        let port = match port.map(|p| (p, value::number(p, 0, u32::from(u16::MAX)).map(u16::try_from))) {
            None => 0,
            Some((_, Ok(Ok(port)))) => port,
            Some((p, _)) => {
                return reader.error(p.span, format!("`{}` is not a port from 0 to 65535", p.text));
            }
        };
        match range(word) {
            Ok((first, count)) => {
                self.entries.push(Spanned { value: Entry::Addresses { first, count, port }, span })
            }
            Err(why) => {
                let problem = Diagnostic::error(
                    word.span,
                    format!("`{}` is not an entry of a virtual_server_group: {why}", word.text),
                );
                let help = reader.by_language(
                    "write IP [PORT], IP-LAST [PORT], IP-IP [PORT], IP/PREFIX [PORT] or fwmark N [inet|inet6]",
                    "write IP:PORT, IP-LAST:PORT, IP-IP:PORT or IP/PREFIX:PORT, an IPv6 address in brackets",
                );
                reader.diagnostics.push(problem.help(help));
            }
        }
    }

    fn add_mark(&mut self, mark: Option<&Word>, family: Option<&Word>, span: Span, reader: &mut Reader<'_>) {
        let Some(mark) = mark else {
            return reader.error(span, "`fwmark` needs a value");
        };
        let Ok(number) = value::number(mark, 1, u32::MAX) else {
            return reader.error(
                mark.span,
                format!("`fwmark`: `{}` is not a whole number from 1 to {}", mark.text, u32::MAX),
            );
        };
        let family = match family.map(|word| (word, &*word.text)) {
            None => None,
            Some((_, "inet")) => Some(Family::Inet),
            Some((_, "inet6")) => Some(Family::Inet6),
            Some((word, other)) => {
                return reader.error(word.span, format!("`fwmark`: `{other}` is not inet or inet6"));
            }
        };
        self.entries.push(Spanned { value: Entry::Fwmark(number, family), span });
    }
}

/// The first address of a range, and how many there are.
fn range(word: &str) -> Result<(IpAddr, u32), &'static str> {
    if let Some((first, length)) = word.split_once('/') {
        let first: IpAddr = first.parse().map_err(|_| NO_ADDRESS)?;
        return network(first, length).map(|count| (first, count));
    }
    let Some((first, last)) = word.split_once('-') else {
        return word.parse().map(|ip| (ip, 1)).map_err(|_| NO_ADDRESS);
    };
    let first: IpAddr = first.parse().map_err(|_| NO_ADDRESS)?;
    let last = match (first, last.parse::<IpAddr>()) {
        (_, Ok(last)) => last,
        (IpAddr::V4(ip), Err(_)) => {
            let byte: u8 = last.parse().map_err(|_| NO_LAST)?;
            Ipv4Addr::from(u32::from(ip) & !0xff | u32::from(byte)).into()
        }
        (IpAddr::V6(ip), Err(_)) => {
            let group = u16::from_str_radix(last, 16).map_err(|_| NO_LAST)?;
            Ipv6Addr::from(u128::from(ip) & !0xffff | u128::from(group)).into()
        }
    };
    let distance = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(u32::from(b)).checked_sub(u128::from(u32::from(a))),
        (IpAddr::V6(a), IpAddr::V6(b)) => u128::from(b).checked_sub(u128::from(a)),
        _ => return Err("its ends are of different families"),
    };
    let count = distance.ok_or("it ends before it begins")?.saturating_add(1);
    bounded(count).map(|count| (first, count))
}

fn network(first: IpAddr, length: &str) -> Result<u32, &'static str> {
    let (bits, width) = match first {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    let length: u32 = length.parse().ok().filter(|l| *l <= width).ok_or("its prefix length is none")?;
    let host = width - length;
    // 2^128 has no u128; it is out of bounds anyway.
    let count = 1u128.checked_shl(host).ok_or(TOO_MANY)?;
    if bits & (count - 1) != 0 {
        return Err("it has bits set behind its prefix");
    }
    bounded(count)
}

fn bounded(count: u128) -> Result<u32, &'static str> {
    u32::try_from(count).ok().filter(|n| *n as usize <= MAX_SERVICES).ok_or(TOO_MANY)
}

const NO_ADDRESS: &str = "that is no address";
const NO_LAST: &str = "its end is none";
const TOO_MANY: &str = "it is larger than 65536 addresses";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_in_all_their_forms() {
        let ends = |word: &str| {
            range(word).map(|(first, count)| {
                let all: Vec<_> = Entry::Addresses { first, count, port: 80 }.addresses().collect();
                format!("{} {} {}", all[0], all[all.len() - 1], all.len())
            })
        };
        assert_eq!(ends("10.0.0.1").unwrap(), "10.0.0.1:80 10.0.0.1:80 1");
        assert_eq!(ends("10.0.0.1-10").unwrap(), "10.0.0.1:80 10.0.0.10:80 10");
        assert_eq!(ends("10.0.0.250-10.0.1.5").unwrap(), "10.0.0.250:80 10.0.1.5:80 12");
        assert_eq!(ends("10.0.0.16/28").unwrap(), "10.0.0.16:80 10.0.0.31:80 16");
        assert_eq!(ends("fd00::1-a").unwrap(), "[fd00::1]:80 [fd00::a]:80 10");
        assert_eq!(ends("fd00::/112").unwrap(), "[fd00::]:80 [fd00::ffff]:80 65536");
        assert_eq!(ends("10.0.0.1/28"), Err("it has bits set behind its prefix"));
        assert_eq!(ends("10.0.0.5-4"), Err("it ends before it begins"));
        assert_eq!(ends("10.0.0.5-256"), Err(NO_LAST));
        assert_eq!(ends("10.0.0.5-fd00::1"), Err("its ends are of different families"));
        for word in ["10.0.0.0/8", "::/0", "0.0.0.0/0", "10.0.0.0-11.0.0.0", "fd00::-fe00::"] {
            assert_eq!(ends(word), Err(TOO_MANY), "{word}");
        }
    }
}
