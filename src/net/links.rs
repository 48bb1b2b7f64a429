//! The links of a host, by number and by name: hosts of containers have thousands of them.

use std::collections::BTreeMap;
use std::ops::Deref;

use super::types::{Link, LinkIndex};

/// Read as the map by number that it is; changed so that names are found without a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    by_index: BTreeMap<LinkIndex, Link>,
    by_name: BTreeMap<String, LinkIndex>,
}

impl Links {
    /// The link of that name.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.by_index.get(self.by_name.get(name)?)
    }

    /// A link is there, or is another than it was: what it was.
    pub fn insert(&mut self, link: Link) -> Option<Link> {
        let before = self.remove(link.index);
        // Of a name that is told twice (events of a rename come late) the newest counts.
        self.by_name.insert(link.name.clone(), link.index);
        self.by_index.insert(link.index, link);
        before
    }

    /// A link is there no more.
    pub fn remove(&mut self, index: LinkIndex) -> Option<Link> {
        let link = self.by_index.remove(&index)?;
        if self.by_name.get(&link.name) == Some(&index) {
            self.by_name.remove(&link.name);
        }
        Some(link)
    }

    /// Changes a link.
    #[cfg(test)]
    pub fn change(&mut self, index: LinkIndex, change: impl FnOnce(&mut Link)) {
        if let Some(link) = self.by_index.get(&index) {
            let mut link = link.clone();
            change(&mut link);
            self.insert(Link { index, ..link });
        }
    }
}

impl Deref for Links {
    type Target = BTreeMap<LinkIndex, Link>;

    fn deref(&self) -> &BTreeMap<LinkIndex, Link> {
        &self.by_index
    }
}

impl FromIterator<(LinkIndex, Link)> for Links {
    fn from_iter<I: IntoIterator<Item = (LinkIndex, Link)>>(all: I) -> Links {
        let mut links = Links::default();
        for (_, link) in all {
            links.insert(link);
        }
        links
    }
}

impl<const N: usize> From<[(LinkIndex, Link); N]> for Links {
    fn from(all: [(LinkIndex, Link); N]) -> Links {
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_by_its_newest_name_only() {
        let link = |index, name: &str| Link::plain(LinkIndex(index), name);
        let mut links: Links = [link(1, "lo"), link(2, "eth0")].into_iter().map(|l| (l.index, l)).collect();
        let named = |links: &Links, name: &str| links.named(name).map(|l| l.index.0);
        links.insert(link(2, "lan"));
        assert_eq!((named(&links, "eth0"), named(&links, "lan")), (None, Some(2)));
        // Another takes the name before the kernel has told that the first one gave it up.
        links.insert(link(3, "lan"));
        links.insert(link(2, "old"));
        assert_eq!((named(&links, "lan"), named(&links, "old")), (Some(3), Some(2)));
        links.remove(LinkIndex(2));
        assert_eq!((named(&links, "lan"), named(&links, "old"), links.len()), (Some(3), None, 2));
    }
}
