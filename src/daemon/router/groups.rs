//! Multicast groups that links are members of for others' sake: a VMAC's, at the link below it.
//!
//! A membership lives as long as its socket; these receive nothing, because no host sends to their ports. What could not
//! be joined is tried again.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};

use crate::net::types::LinkIndex;

/// Groups of one socket: the kernel's default (net.ipv4.igmp_max_memberships) is 20.
const ROOM: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Groups {
    wanted: BTreeSet<(LinkIndex, IpAddr)>,
    carriers: Vec<Carrier>,
    /// What could not be joined, as it was reported last.
    failed: BTreeSet<(LinkIndex, IpAddr)>,
}

/// A socket and its memberships.
#[derive(Debug)]
struct Carrier {
    socket: Socket,
    is_ipv4: bool,
    groups: BTreeSet<(LinkIndex, IpAddr)>,
}

impl Groups {
    /// Is a member of exactly these; complaints about those that could not be joined.
    pub(super) fn want(&mut self, wanted: BTreeSet<(LinkIndex, IpAddr)>) -> Vec<String> {
        self.wanted = wanted;
        self.failed.clear();
        for carrier in &mut self.carriers {
            let gone: Vec<_> = carrier.groups.difference(&self.wanted).copied().collect();
            for group in gone {
                // The link may have gone, and its memberships with it.
                let _ = leave(&carrier.socket, group);
                carrier.groups.remove(&group);
            }
        }
        self.carriers.retain(|carrier| !carrier.groups.is_empty());
        self.tend()
    }

    /// Joins what is wanted and not joined; new complaints.
    pub(super) fn tend(&mut self) -> Vec<String> {
        let is_joined = |group: &&_| self.carriers.iter().any(|c| c.groups.contains(group));
        let missing: Vec<_> = self.wanted.iter().filter(|group| !is_joined(group)).copied().collect();
        let mut complaints = Vec::new();
        for group in missing {
            match self.join(group) {
                Ok(()) => drop(self.failed.remove(&group)),
                Err(error) => {
                    if self.failed.insert(group) {
                        let ip = group.1;
                        complaints.push(format!(
                            "cannot join {ip} below a VMAC: {error}: tried again every second"
                        ));
                    }
                }
            }
        }
        complaints
    }

    fn join(&mut self, group: (LinkIndex, IpAddr)) -> io::Result<()> {
        let is_ipv4 = group.1.is_ipv4();
        let has_room = |c: &&mut Carrier| c.is_ipv4 == is_ipv4 && c.groups.len() < ROOM;
        if let Some(carrier) = self.carriers.iter_mut().find(has_room) {
            join(&carrier.socket, group)?;
            carrier.groups.insert(group);
            return Ok(());
        }
        let domain = if is_ipv4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM, None)?;
        join(&socket, group)?;
        self.carriers.push(Carrier { socket, is_ipv4, groups: [group].into() });
        Ok(())
    }
}

fn join(socket: &Socket, (link, group): (LinkIndex, IpAddr)) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(link.0)),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, link.0),
    }
}

fn leave(socket: &Socket, (link, group): (LinkIndex, IpAddr)) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(link.0)),
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, link.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_joined_left_and_tried_again() {
        let lo = LinkIndex(1);
        let v4 = |n| (lo, IpAddr::from([239, 1, 1, n]));
        let mut groups = Groups::default();
        let all: BTreeSet<_> = (1..=40).map(v4).chain([(lo, "ff02::1:ff00:7".parse().unwrap())]).collect();
        assert_eq!(groups.want(all.clone()), [""; 0]);
        assert_eq!(groups.carriers.len(), 4, "no socket has more than the kernel allows");
        assert_eq!(groups.want([v4(3)].into()), [""; 0]);
        assert_eq!(groups.carriers.len(), 1);
        let nowhere = (LinkIndex(999_999), IpAddr::from([239, 1, 1, 1]));
        assert_eq!(groups.want([v4(3), nowhere].into()).len(), 1);
        assert_eq!(groups.tend(), [""; 0], "reported once");
        assert_eq!(groups.want(all), [""; 0]);
        assert!(groups.want(BTreeSet::new()).is_empty() && groups.carriers.is_empty());
    }
}
