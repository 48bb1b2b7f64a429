//! The host's own network, over rtnetlink: what it has ([`Kernel::host`]), what is changed ([`Kernel::apply`]), and
//! what changes by itself ([`Watch`]).
//!
//! `Kernel` blocks, every wait bounded: the kernel works a request off inside `send`, behind a lock that others may
//! hold, so no event loop makes it quicker. Who must not wait moves it into a blocking job and back. It refuses to
//! know why a change is wanted. `Watch` has a socket of its own, for an event loop: on a shared one, one's own
//! changes would not be told, and a flood of news would bury answers.
//!
//! Inside: `wire` numbers, `encode` and `decode` their meaning, `talk` the conversation, `apply` the operations,
//! `vmac` the macvlans, `tunnel` what undoes tunnels, `traffic` what happens at a link's doors, `watch` the news.

mod apply;
mod decode;
mod encode;
mod talk;
#[cfg(test)]
mod tests;
pub mod traffic;
mod tunnel;
mod vmac;
mod watch;
#[allow(missing_docs, reason = "the kernel's names")]
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netdevice;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use self::decode::{ShownAddress, ShownLink};
use self::talk::Talk;
use self::vmac::Vmacs;
pub use self::watch::{Told, Watch, register};
use super::types::{Host, LinkIndex, Neighbour, Prefix};
use crate::netlink::request::Request;

/// The network namespace of the thread that opened it.
pub struct Kernel {
    /// None after a doubt, until the next request begins another.
    talk: Option<Talk>,
    /// Answers which number a link's name has.
    names: OwnedFd,
    vmacs: Vmacs,
    remarks: Vec<String>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("talks", &self.talk.is_some()).field("vmacs", &self.vmacs).finish()
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
        Ok(Kernel { talk: Some(Talk::open()?), names, vmacs: Vmacs::default(), remarks: Vec::new() })
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

    /// What operators should know of what was done, though it was done: told once.
    pub fn take_remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }

    /// What is known of its neighbours.
    ///
    /// # Errors
    /// A sentence, when the kernel does not answer or makes no sense.
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>, String> {
        self.converse(|talk| {
            talk.dump(&encode::all_neighbours(), Vec::new, |all, payload| {
                all.extend(decode::neighbour(payload)?);
                Ok(())
            })
        })
    }

    /// Looks neighbours up; those that answer are news.
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
        self.converse(|talk| {
            talk.dump(&encode::all_links(), Vec::new, |all, payload| {
                all.push(decode::link(payload)?);
                Ok(())
            })
        })
    }

    fn addresses(&mut self) -> Result<Vec<ShownAddress>, String> {
        self.converse(|talk| {
            talk.dump(&encode::all_addresses(), Vec::new, |all, payload| {
                all.extend(decode::address(payload)?);
                Ok(())
            })
        })
    }

    /// Runs `what` in the conversation, beginning one if there is none, and ends it after any doubt.
    fn converse<T>(&mut self, what: impl FnOnce(&mut Talk) -> Result<T, String>) -> Result<T, String> {
        let mut talk = self.talk.take().map_or_else(Talk::open, Ok)?;
        let outcome = what(&mut talk);
        if outcome.is_ok() {
            self.talk = Some(talk);
        }
        outcome
    }
}

/// Requests that take addresses away, as datagrams for a socket of rtnetlink: for who has no time to make them.
pub fn removals(addresses: &BTreeMap<LinkIndex, BTreeSet<Prefix>>) -> Vec<Vec<u8>> {
    let all: Vec<_> = addresses
        .iter()
        .flat_map(|(link, all)| all.iter().map(|prefix| encode::remove_any_address(*link, *prefix)))
        .collect();
    let datagram = |requests: &[Request]| {
        let mut datagram = Vec::new();
        requests.iter().for_each(|request| request.write(&mut datagram, 0));
        datagram
    };
    all.chunks(talk::BATCH).map(datagram).collect()
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
