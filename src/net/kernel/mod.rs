//! The host's own network, over rtnetlink: what it has ([`Kernel::host`]), what is changed ([`Kernel::apply`]), and
//! what changes by itself ([`Watch`]).
//!
//! `Kernel` blocks, every wait bounded: the kernel handles a request inside `send`, behind a lock that other processes
//! may hold, so an event loop would not make it faster. A caller that must not wait moves it into a blocking job.
//! `Watch` has a socket of its own, for an event loop: on a shared one the kernel would not announce this process's own
//! changes, and a flood of events would bury answers.
//!
//! Inside: `wire` numbers, `encode` and `decode` their meaning, `rtnetlink` the conversation, `apply` the operations,
//! `vmac` the macvlans, `tunnel` what undoes tunnels, `tc` the filters of links, `watch` the events.

mod apply;
mod decode;
mod encode;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod fuzz;
mod rtnetlink;
pub(crate) mod tc;
#[cfg(test)]
mod tests;
mod tunnel;
mod vmac;
pub(crate) mod watch;
#[allow(missing_docs, reason = "the kernel's names")]
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netdevice;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use self::decode::{ShownAddress, ShownLink};
use self::rtnetlink::Rtnetlink;
use self::vmac::Vmacs;
pub(crate) use self::watch::{Watch, WatchBatch, is_quiet, register};
use super::sysctl;
use super::types::{Host, LinkIndex, Neighbour, Prefix, Rule};
use crate::netlink::conversation::BATCH;
use crate::netlink::request::Request;

/// The network namespace of the thread that opened it.
pub struct Kernel {
    rtnetlink: Rtnetlink,
    /// Answers which number a link's name has.
    names: OwnedFd,
    vmacs: Vmacs,
    remarks: Vec<String>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_open = self.rtnetlink.is_open();
        f.debug_struct("Kernel").field("is_open", &is_open).field("vmacs", &self.vmacs).finish()
    }
}

impl Kernel {
    /// Opens it.
    ///
    /// # Errors
    /// A sentence, when the system refuses a socket.
    pub fn open() -> Result<Kernel, String> {
        let names =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        let names = names.map_err(|e| format!("a socket cannot be opened: {e}"))?;
        Ok(Kernel { rtnetlink: Rtnetlink::open()?, names, vmacs: Vmacs::default(), remarks: Vec::new() })
    }

    /// All that the host has.
    ///
    /// # Errors
    /// A sentence, when the kernel does not answer or makes no sense.
    pub fn host(&mut self) -> Result<Host, String> {
        let mut host = Host::default();
        for shown in self.links()? {
            host.links.insert(shown.link);
        }
        host.addresses = self.addresses()?.into_iter().map(|shown| shown.held).collect();
        Ok(host)
    }

    /// The same with its rules, and with the routes that carry one of these protocols' numbers.
    ///
    /// # Errors
    /// A sentence, when the kernel does not answer or makes no sense.
    pub fn host_with_routes(&mut self, protocols: &BTreeSet<u8>) -> Result<Host, String> {
        let mut host = self.host()?;
        let name = |index| host.links.get(&index).map(|link| link.name.clone());
        for is_ipv6 in [false, true] {
            for protocol in protocols {
                let request = encode::routes_of(is_ipv6, *protocol);
                host.routes.extend(self.rtnetlink.list(&request, |payload| {
                    // A kernel that cannot choose (before 4.20) sends them all.
                    let is_of_protocol = payload.get(decode::PROTOCOL_AT) == Some(protocol);
                    if is_of_protocol { decode::route(payload, &name) } else { Ok(None) }
                })?);
            }
            let rules = self.rules(is_ipv6)?;
            host.rules.extend(rules.into_iter().filter(|rule| !rule.is_of_every_host()));
        }
        Ok(host)
    }

    /// What operators should know of what was done, though it was done: told once.
    pub fn take_remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }

    /// What is known of its neighbours.
    ///
    /// # Errors
    /// A sentence, when the kernel does not answer or makes no sense.
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>, String> {
        self.rtnetlink.list(&encode::all_neighbours(), decode::neighbour)
    }

    /// Looks neighbours up; those that answer are events.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn look_up(&mut self, neighbours: &BTreeSet<(LinkIndex, IpAddr)>) -> Result<(), String> {
        let requests: Vec<_> = neighbours.iter().map(|(link, ip)| encode::look_up(*link, *ip)).collect();
        self.ask(&requests).map_err(|(_, text)| text)
    }

    /// Forgets what is known of a neighbour; nothing is a success.
    ///
    /// # Errors
    /// In words, what the kernel refused.
    pub fn forget_neighbour(&mut self, link: LinkIndex, ip: IpAddr) -> Result<(), String> {
        match self.ask(&[encode::forget_neighbour(link, ip)]) {
            Err((errno, _)) if errno == Errno::NOENT.raw_os_error() => Ok(()),
            other => other.map_err(|(_, text)| text),
        }
    }

    fn links(&mut self) -> Result<Vec<ShownLink>, String> {
        self.rtnetlink.list(&encode::all_links(), |payload| decode::link(payload).map(Some))
    }

    fn addresses(&mut self) -> Result<Vec<ShownAddress>, String> {
        self.rtnetlink.list(&encode::all_addresses(), decode::address)
    }

    fn rules(&mut self, is_ipv6: bool) -> Result<Vec<Rule>, String> {
        self.rtnetlink.list(&encode::rules_of(is_ipv6), decode::rule)
    }
}

/// Requests that take addresses away, and no other address with them, as datagrams for a socket of rtnetlink: for a
/// process that has no time to make them. `promotes` is asked for a link's promote_secondaries, to give it back.
pub(crate) fn removals(
    addresses: &BTreeMap<LinkIndex, BTreeSet<Prefix>>,
    promotes: impl Fn(LinkIndex) -> bool,
) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (link, prefixes) in addresses {
        let must_promote = prefixes.iter().any(|prefix| apply::has_secondaries(*prefix)) && !promotes(*link);
        all.extend(must_promote.then(|| encode::promote_secondaries(*link, true)));
        all.extend(prefixes.iter().map(|prefix| encode::remove_any_address(*link, *prefix)));
        all.extend(must_promote.then(|| encode::promote_secondaries(*link, false)));
    }
    let datagram = |requests: &[Request]| {
        let mut datagram = Vec::new();
        requests.iter().for_each(|request| request.write(&mut datagram, 0));
        datagram
    };
    all.chunks(BATCH).map(datagram).collect()
}

/// Whether a link of this namespace lets the other IPv4 addresses of a network survive its first one
/// (promote_secondaries); a link that cannot be asked does not.
pub(crate) fn promotes_secondaries(link: LinkIndex) -> bool {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    let name = socket.ok().and_then(|socket| name(&socket, link));
    let reads_one = |of: &str| {
        sysctl::read_of_link("ipv4", of, "promote_secondaries").is_ok_and(|value| value.trim() != "0")
    };
    reads_one("all") || name.is_some_and(|name| reads_one(&name))
}

/// The number a name has in this namespace now.
fn find(names: &OwnedFd, name: &str) -> Option<LinkIndex> {
    netdevice::name_to_index(names, name).ok().map(LinkIndex)
}

/// The name a number has.
fn name(names: &OwnedFd, index: LinkIndex) -> Option<String> {
    netdevice::index_to_name(names, index.0).ok()
}

/// An errno in words, with the kernel's own and the next step.
fn in_words(errno: i32, text: Option<&str>) -> String {
    if errno == Errno::PERM.raw_os_error() {
        return "not permitted: lvsd needs CAP_NET_ADMIN, run it as root or give it to the binary or its unit".into();
    }
    let plain = std::io::Error::from_raw_os_error(errno).to_string();
    let plain = plain.split(" (os error").next().unwrap_or_default().to_lowercase();
    match text {
        Some(text) if !text.is_empty() => format!("{} ({plain})", text.trim_end_matches('.')),
        _ => plain,
    }
}
