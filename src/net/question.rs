//! Asks this host's own links for an address, by an ARP request or neighbour solicitation that seems to arrive from the
//! network.
//!
//! The request is sent into a dummy link whose packets are redirected to the ingress of the link that is asked; an
//! answer leaves by that link and is captured there. The sender does not exist, so its neighbour entry is removed
//! afterwards: in IPv6 a sender without address, in IPv4 an unused address of the link's network (a probe without one
//! is answered for the link's own addresses only, and would find no ARP problem). Where the kernel cannot redirect
//! packets, the answer is computed from its settings, and says so.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::checksum::Sum;
use super::kernel::Kernel;
use super::packet_socket::PacketSocket;
use super::sysctl;
use super::types::{Host, Link, LinkIndex, MacAddress};
use crate::time::Clock;

/// How long an answer is waited for: it is made before the question's send returns, but for a busy machine.
const PATIENCE: Duration = Duration::from_millis(200);
/// The name of the link questions are sent into.
const INJECTOR: &str = "lvsd-ask";
/// The asker's MAC address: locally administered, used by no host.
const ASKER: [u8; 6] = [0x02, 0x6c, 0x76, 0x73, 0x64, 0x01];
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;

/// What a link says when its neighbours ask for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The link's name.
    pub link: String,
    /// Whether it answers.
    pub is_given: bool,
    /// Why this was computed and not asked; None when it was asked.
    pub computed: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what =
            if self.is_given { "ANSWERS its neighbours" } else { "keeps silent towards its neighbours" };
        match &self.computed {
            None => write!(f, "{}: {what} (asked)", self.link),
            Some(why) => write!(f, "{}: {what} (computed from the settings: {why})", self.link),
        }
    }
}

/// Asks every Ethernet link of this host that works, and has neighbours, for `ip`.
pub(crate) fn ask(host: &Host, ip: IpAddr, clock: Clock) -> Vec<Answer> {
    let links =
        host.links.values().filter(|link| link.mac.is_some() && link.is_working() && !link.is_loopback);
    links
        .filter(|link| !link.is_silent && link.name != INJECTOR)
        .map(|link| match inject(host, link, ip, clock) {
            Ok(is_given) => Answer { link: link.name.clone(), is_given, computed: None },
            Err(why) => {
                Answer { link: link.name.clone(), is_given: compute(host, link, ip), computed: Some(why) }
            }
        })
        .collect()
}

/// What the settings say a link does.
fn compute(host: &Host, link: &Link, ip: IpAddr) -> bool {
    let on_link = host.addresses.iter().any(|held| held.link == link.index && held.prefix.ip == ip);
    let anywhere = host.addresses.iter().any(|held| held.prefix.ip == ip);
    if ip.is_ipv6() {
        return on_link;
    }
    let read = |name: &str| -> u32 {
        let value = sysctl::read_of_link("ipv4", name, "arp_ignore");
        value.ok().and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    match read("all").max(read(&link.name)) {
        0 => anywhere,
        1 | 2 => on_link,
        3 => host.addresses.iter().any(|held| held.prefix.ip == ip && held.scope != 254),
        _ => false,
    }
}

fn inject(host: &Host, link: &Link, ip: IpAddr, clock: Clock) -> Result<bool, String> {
    let mac = link.mac.ok_or("it is no Ethernet link")?;
    let mut kernel = Kernel::open()?;
    let (question, ether_type, asker) = match ip {
        IpAddr::V4(ip) => {
            let known: BTreeSet<IpAddr> = kernel.neighbours()?.into_iter().map(|n| n.ip).collect();
            let asker =
                stranger(host, link.index, &known).ok_or("it has no IPv4 network to be asked from")?;
            (arp_request(MacAddress(ASKER), asker, ip), ARP, Some(asker))
        }
        IpAddr::V6(ip) => (solicitation(MacAddress(ASKER), None, ip), IPV6, None),
    };
    kernel.remove_link(INJECTOR)?;
    kernel.add_link(INJECTOR, "dummy")?;
    let outcome = inject_through(&mut kernel, link, mac, ip, (&question, ether_type), clock);
    let forgotten = asker.map_or(Ok(()), |asker| kernel.forget_neighbour(link.index, asker.into()));
    let removed = kernel.remove_link(INJECTOR);
    let answer = outcome?;
    forgotten.and(removed).map(|()| answer)
}

/// The highest address of a link's network that is not this host's, nor a known neighbour's.
fn stranger(host: &Host, link: LinkIndex, known: &BTreeSet<IpAddr>) -> Option<Ipv4Addr> {
    let networks = host.addresses.iter().filter(|held| held.link == link && held.prefix.length < 31);
    networks.filter(|held| held.prefix.length > 0).find_map(|held| {
        let IpAddr::V4(own) = held.prefix.ip else { return None };
        let hosts = u32::MAX >> held.prefix.length;
        let last = u32::from(own) | hosts;
        let candidates = (1..hosts.min(16)).map(|back| Ipv4Addr::from(last - back));
        let is_own = |ip: &Ipv4Addr| host.addresses.iter().any(|held| held.prefix.ip == IpAddr::V4(*ip));
        candidates.into_iter().find(|ip| !is_own(ip) && !known.contains(&IpAddr::V4(*ip)))
    })
}

fn inject_through(
    kernel: &mut Kernel,
    link: &Link,
    mac: MacAddress,
    ip: IpAddr,
    (question, ether_type): (&[u8], u16),
    clock: Clock,
) -> Result<bool, String> {
    kernel.switch_link(INJECTOR, true)?;
    let injector =
        kernel.host()?.link(INJECTOR).map(|link| link.index).ok_or("the link for the question went")?;
    kernel.add_clsact(injector).map_err(|refused| refused.words)?;
    kernel.redirect_to_ingress(injector, link.index)?;
    let watcher = PacketSocket::leaving(link.index, ether_type).map_err(not_watched)?;
    let sender = PacketSocket::open(injector).map_err(not_watched)?;
    sender.send(question).map_err(|error| format!("the question cannot be sent: {error}"))?;
    let end = clock() + PATIENCE;
    loop {
        let left = end.since(clock());
        if left.is_zero() {
            return Ok(false);
        }
        match watcher.receive(left).map_err(not_watched)? {
            Some(frame) if is_answer(&frame, mac, ip) => return Ok(true),
            Some(_) => {}
            None => return Ok(false),
        }
    }
}

fn not_watched(error: std::io::Error) -> String {
    format!("frames cannot be watched: {error}")
}

/// A broadcast ARP request (RFC 826) of `asker` for `ip`.
pub(super) fn arp_request(mac: MacAddress, asker: Ipv4Addr, ip: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet([0xff; 6], mac.0, ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]); // Ethernet, IPv4, lengths, request
    frame.extend(mac.0);
    frame.extend(asker.octets());
    frame.extend([0; 6]);
    frame.extend(ip.octets());
    frame.resize(60, 0);
    frame
}

/// A neighbour solicitation (RFC 4861 section 4.3); without an asker's address it is one of duplicate address
/// detection.
pub(super) fn solicitation(mac: MacAddress, asker: Option<Ipv6Addr>, ip: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = ip.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(ip.octets());
    if asker.is_some() {
        message.extend([1, 1]); // source's link-layer address, eight bytes
        message.extend(mac.0);
    }
    let asker = asker.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let sum = covered(asker, group, &message).complement();
    message.iter_mut().skip(2).zip(sum.to_be_bytes()).for_each(|(to, from)| *to = from);
    let mut frame = ethernet([0x33, 0x33, 0xff, a, b, c], mac.0, IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
    frame.extend([ICMPV6, 255]);
    frame.extend(asker.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: [u8; 6], from: [u8; 6], ether_type: u16) -> Vec<u8> {
    [&to[..], &from, &ether_type.to_be_bytes()].concat()
}

/// What a solicitation's checksum covers (RFC 4443 section 2.3).
fn covered(asker: Ipv6Addr, group: Ipv6Addr, message: &[u8]) -> Sum {
    Sum::default().with_pseudo_header(asker.into(), group.into(), ICMPV6, message.len()).with(message)
}

/// Whether a frame that left the asked link says that `ip` is there.
fn is_answer(frame: &[u8], mac: MacAddress, ip: IpAddr) -> bool {
    let at = |start: usize, wanted: &[u8]| frame.get(start..).is_some_and(|rest| rest.starts_with(wanted));
    match ip {
        // An ARP reply of the link for the address.
        IpAddr::V4(ip) => at(20, &[0, 2]) && at(22, &mac.0) && at(28, &ip.octets()),
        // An advertisement for it; it has the link's address as its sender's, or none.
        IpAddr::V6(ip) => {
            at(6, &mac.0) && at(20, &[ICMPV6]) && at(54, &[ADVERTISEMENT]) && at(62, &ip.octets())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::types::{HeldAddress, Prefix};

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

    #[test]
    fn a_request_names_the_asker_and_the_address() {
        let frame = arp_request(MacAddress(ASKER), Ipv4Addr::new(10, 0, 0, 254), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(frame.len(), 60);
        assert_eq!((&frame[28..32], &frame[38..42]), (&[10, 0, 0, 254][..], &[10, 0, 0, 1][..]));
    }

    #[test]
    fn the_askers_address_is_of_the_network_and_not_this_hosts() {
        let link = LinkIndex(2);
        let at = |text: &str, length| HeldAddress::plain(link, Prefix { ip: text.parse().unwrap(), length });
        let of = |held: &[HeldAddress]| {
            let host = Host { addresses: held.iter().copied().collect(), ..Host::default() };
            stranger(&host, link, &BTreeSet::from(["10.0.1.254".parse().unwrap()])).map(|ip| ip.to_string())
        };
        assert_eq!(of(&[at("10.0.0.7", 24)]).as_deref(), Some("10.0.0.254"));
        assert_eq!(of(&[at("10.0.0.254", 24), at("10.0.0.253", 32)]).as_deref(), Some("10.0.0.252"));
        assert_eq!(of(&[at("10.0.0.1", 30)]).as_deref(), Some("10.0.0.2"));
        assert_eq!(of(&[at("10.0.1.7", 24)]).as_deref(), Some("10.0.1.253"), "a neighbour has the last one");
        assert_eq!(of(&[at("10.0.0.1", 32), at("fd00::1", 64)]), None);
    }

    #[test]
    fn a_solicitations_checksum_makes_the_whole_zero() {
        let ip: Ipv6Addr = "fd00::1:2".parse().unwrap();
        let group: Ipv6Addr = "ff02::1:ff01:2".parse().unwrap();
        for asker in [None, Some("fe80::7".parse().unwrap())] {
            let frame = solicitation(MacAddress(ASKER), asker, ip);
            assert_eq!(frame[38..54], group.octets());
            let asker = asker.unwrap_or(Ipv6Addr::UNSPECIFIED);
            assert_eq!(frame[22..38], asker.octets());
            assert_eq!(usize::from(frame[19]), frame.len() - 54, "the header's length");
            assert!(covered(asker, group, &frame[54..]).is_fine());
        }
    }

    #[test]
    fn only_the_links_own_answer_for_the_address_counts() {
        let ip = Ipv4Addr::new(10, 0, 0, 1);
        let mut reply = arp_request(MacAddress(ASKER), Ipv4Addr::new(10, 0, 0, 254), ip);
        assert!(!is_answer(&reply, MAC, ip.into()), "the question itself");
        reply[21] = 2;
        reply[22..28].copy_from_slice(&MAC.0);
        reply[28..32].copy_from_slice(&ip.octets());
        assert!(is_answer(&reply, MAC, ip.into()));
        assert!(!is_answer(&reply, MAC, Ipv4Addr::new(10, 0, 0, 2).into()));
        assert!(!is_answer(&reply[..30], MAC, ip.into()), "cut short");
    }
}
