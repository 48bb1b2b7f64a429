//! What was changed on this host, so that it can be put back exactly.
//!
//! It is written before each change, so that an interrupted change is undone, too. It counts in the
//! boot and the network namespace it was written in: a reboot undoes everything.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::plan::HostChange;

/// The changes made, in order, each with what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// In the order of their doing.
    pub changes: Vec<HostChange>,
}

impl Record {
    /// Remembers a change that is about to be made. What a setting was when it was first changed stays.
    pub(crate) fn add(&mut self, change: &HostChange) {
        let known = self.changes.iter_mut().find(|known| is_about_the_same(known, change));
        match (known, change) {
            (Some(HostChange::Setting { to, .. }), HostChange::Setting { to: new, .. }) => *to = *new,
            (Some(_), _) => {}
            (None, _) => self.changes.push(change.clone()),
        }
    }

    /// Whether a VIP was put on this host.
    pub(crate) fn has(&self, vip: IpAddr) -> bool {
        self.changes.iter().any(|change| matches!(change, HostChange::AddAddress { ip, .. } if *ip == vip))
    }

    /// What is to be undone for these VIPs, and what stays for the others; no VIPs are all. Settings go with the last
    /// VIP.
    pub(crate) fn parted(&self, vips: &[IpAddr]) -> (Vec<HostChange>, Vec<HostChange>) {
        let address = |change: &HostChange| match change {
            HostChange::AddAddress { ip, .. } => Some(*ip),
            _ => None,
        };
        let is_kept = |change: &HostChange| address(change).is_some_and(|ip| !vips.contains(&ip));
        if vips.is_empty() || !self.changes.iter().any(is_kept) {
            return (self.changes.clone(), Vec::new());
        }
        let is_undone = |change: &HostChange| address(change).is_some_and(|ip| vips.contains(&ip));
        self.changes.iter().cloned().partition(is_undone)
    }
}

fn is_about_the_same(a: &HostChange, b: &HostChange) -> bool {
    match (a, b) {
        (
            HostChange::Setting { family, link, name, .. },
            HostChange::Setting { family: other_family, link: other_link, name: other_name, .. },
        ) => (family, link, name) == (other_family, other_link, other_name),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_returns_to_its_first_value() {
        let setting = |from, to| HostChange::Setting {
            family: "ipv4".to_owned(),
            link: "all".to_owned(),
            name: "arp_ignore".to_owned(),
            from: Some(from),
            to,
        };
        let mut record = Record::default();
        record.add(&setting(0, 1));
        record.add(&HostChange::LinkUp { name: "tunl0".to_owned() });
        record.add(&setting(1, 2));
        record.add(&HostChange::LinkUp { name: "tunl0".to_owned() });
        assert_eq!(record.changes, [setting(0, 2), HostChange::LinkUp { name: "tunl0".to_owned() }]);
    }

    #[test]
    fn one_vip_goes_alone_and_the_last_one_takes_the_settings_along() {
        let vip = |n: u8| HostChange::AddAddress { link: "lo".to_owned(), ip: [10, 0, 0, n].into() };
        let link = HostChange::LinkUp { name: "tunl0".to_owned() };
        let record = Record { changes: vec![vip(1), link.clone(), vip(2)] };
        assert_eq!(record.parted(&[[10, 0, 0, 1].into()]), (vec![vip(1)], vec![link.clone(), vip(2)]));
        let rest = Record { changes: vec![link, vip(2)] };
        assert_eq!(rest.parted(&[[10, 0, 0, 2].into()]), (rest.changes.clone(), vec![]));
        assert_eq!(record.parted(&[]), (record.changes.clone(), vec![]));
        assert!(record.has([10, 0, 0, 2].into()) && !rest.has([10, 0, 0, 1].into()));
    }
}
