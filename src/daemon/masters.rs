//! The file that tells a successor which instances were Master at a hand-over, and for how long nobody else can be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::state_file::read_bounded;
use crate::time::Instant;
use crate::vrrp::exchange::State;
use crate::vrrp::status::Status;

/// Instances that are Master, and the least time a Backup waits for the next advertisement, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Masters(BTreeMap<String, u64>);

impl Masters {
    /// Those of a status. A Backup of the highest priority waits for three intervals, and the last advertisement
    /// may have been an interval ago.
    pub(super) fn of(status: &Status) -> Masters {
        let masters = status.instances.iter().filter(|instance| instance.state == State::Master);
        Masters(masters.map(|i| (i.name.clone(), 2 * i.interval_milliseconds)).collect())
    }
}

/// The file.
pub(super) struct MastersFile {
    pub(super) path: PathBuf,
    pub(super) boot_id: String,
    pub(super) network_namespace: u64,
}

#[derive(Serialize, Deserialize)]
struct Content {
    boot_id: String,
    network_namespace: u64,
    saved_at: Instant,
    masters: Masters,
}

impl MastersFile {
    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self, masters: &Masters, now: Instant) -> io::Result<()> {
        let content = Content {
            boot_id: self.boot_id.clone(),
            network_namespace: self.network_namespace,
            saved_at: now,
            masters: masters.clone(),
        };
        let fresh = self.path.with_extension("json.new");
        fs::write(&fresh, serde_json::to_vec(&content)?)?;
        fs::rename(&fresh, &self.path)
    }

    /// The instances nobody else can have become Master of since; the file goes, for it is true once.
    pub(super) fn take(&self, now: Instant) -> BTreeSet<String> {
        let read = read_bounded(&self.path).and_then(|text| Ok(serde_json::from_slice::<Content>(&text)?));
        let content = match read {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeSet::new(),
            Err(error) => {
                warn!("{}: {error}: every instance begins as Backup", self.path.display());
                return BTreeSet::new();
            }
        };
        if let Err(error) = fs::remove_file(&self.path) {
            warn!("{}: {error}: every instance begins as Backup", self.path.display());
            return BTreeSet::new();
        }
        if content.boot_id != self.boot_id || content.network_namespace != self.network_namespace {
            return BTreeSet::new();
        }
        let age = now.since(content.saved_at);
        let masters = content.masters.0.into_iter();
        masters.filter(|(_, limit)| age < Duration::from_millis(*limit)).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_master_is_believed_once_and_while_nobody_else_can_be() {
        let folder = std::env::temp_dir().join(format!("lvsd-masters-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = |boot: &str| MastersFile {
            path: folder.join("masters.json"),
            boot_id: boot.to_owned(),
            network_namespace: 7,
        };
        let masters = Masters(BTreeMap::from([("slow".to_owned(), 2000), ("quick".to_owned(), 20)]));
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        file("a").save(&masters, at(1000)).unwrap();
        assert_eq!(file("a").take(at(1500)), BTreeSet::from(["slow".to_owned()]));
        assert_eq!(file("a").take(at(1500)), BTreeSet::new(), "it is true once");
        file("a").save(&masters, at(1000)).unwrap();
        assert_eq!(file("b").take(at(1001)), BTreeSet::new(), "another boot");
        fs::write(file("a").path, "{").unwrap();
        assert_eq!(file("a").take(at(0)), BTreeSet::new());
        fs::remove_dir_all(&folder).unwrap();
    }
}
