//! What was changed on this host, so that it can be put back exactly.
//!
//! Written before each change: what was begun and cut short is undone, too. It lives below /run: a reboot undoes
//! everything by itself.

use serde::{Deserialize, Serialize};

use super::plan::Change;

/// The changes made, in order, each with what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// In the order of their doing.
    pub changes: Vec<Change>,
}

impl Record {
    /// Remembers a change that is about to be made. What a setting was when it was first changed stays.
    pub fn add(&mut self, change: &Change) {
        let known = self.changes.iter_mut().find(|known| is_about_the_same(known, change));
        match (known, change) {
            (Some(Change::Setting { to, .. }), Change::Setting { to: new, .. }) => *to = *new,
            (Some(_), _) => {}
            (None, _) => self.changes.push(change.clone()),
        }
    }
}

fn is_about_the_same(a: &Change, b: &Change) -> bool {
    match (a, b) {
        (
            Change::Setting { family, link, name, .. },
            Change::Setting { family: other_family, link: other_link, name: other_name, .. },
        ) => (family, link, name) == (other_family, other_link, other_name),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_setting_was_first_is_what_it_goes_back_to() {
        let setting = |from, to| Change::Setting {
            family: "ipv4".to_owned(),
            link: "all".to_owned(),
            name: "arp_ignore".to_owned(),
            from: Some(from),
            to,
        };
        let mut record = Record::default();
        record.add(&setting(0, 1));
        record.add(&Change::LinkUp { name: "tunl0".to_owned() });
        record.add(&setting(1, 2));
        record.add(&Change::LinkUp { name: "tunl0".to_owned() });
        assert_eq!(record.changes, [setting(0, 2), Change::LinkUp { name: "tunl0".to_owned() }]);
    }
}
