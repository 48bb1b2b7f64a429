//! The file that a hand-over leaves for the next process: the Masters, the counters, and the last results of tracks.

use std::fs;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::boot_file::BootFile;
use crate::time::Instant;
use crate::vrrp::handover::Handover;

/// Its name in the run directory.
pub(super) const NAME: &str = "masters.json";

/// The file.
pub(super) struct HandoverFile(pub(super) BootFile);

/// What a predecessor handed over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inherited {
    pub(super) handover: Handover,
    /// How long ago.
    pub(super) age: Duration,
    /// Its guardian gives the VIPs up unless they are claimed from it.
    pub(super) is_guarded: bool,
}

#[derive(Serialize, Deserialize)]
struct Content {
    saved_at: Instant,
    is_guarded: bool,
    handover: Handover,
}

impl HandoverFile {
    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self, handover: &Handover, is_guarded: bool, now: Instant) -> io::Result<()> {
        self.0.write(0o600, &Content { saved_at: now, is_guarded, handover: handover.clone() })
    }

    /// What was handed over; the file goes, for it is true once.
    pub(super) fn take(&self, now: Instant) -> Option<Inherited> {
        let path = &self.0.path;
        let forgotten = |error: io::Error| {
            warn!("{}: {error}: every instance begins as Backup", path.display());
        };
        let content = self.0.read::<Content>().map_err(forgotten).ok()?;
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                forgotten(error);
                return None;
            }
        }
        let Content { saved_at, is_guarded, handover } = content?;
        Some(Inherited { handover, age: now.since(saved_at), is_guarded })
    }
}

#[cfg(test)]
mod tests {
    use super::super::boot_file::Scope;
    use super::*;
    use crate::vrrp::io::TrackLevel;
    use crate::vrrp::settings::TrackTarget;
    use crate::vrrp::sim::site;

    #[test]
    fn what_was_handed_over_is_believed_once_and_in_its_own_boot() {
        let folder = std::env::temp_dir().join(format!("lvsd-masters-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = |boot: &str| {
            let scope = Scope { boot_id: boot.to_owned(), network_namespace: 7 };
            HandoverFile(BootFile { path: folder.join(NAME), scope })
        };
        let mut handover = site::handed_over_as_master(&site::instance("web", 51, 100));
        handover.tracks = vec![
            (TrackTarget::Script("chk".to_owned()), TrackLevel::Is(false)),
            (TrackTarget::File("load".to_owned()), TrackLevel::Counts(-3)),
        ];
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        file("a").save(&handover, true, at(1000)).unwrap();
        let left =
            Inherited { handover: handover.clone(), age: Duration::from_millis(500), is_guarded: true };
        assert_eq!(file("a").take(at(1500)), Some(left));
        assert_eq!(file("a").take(at(1500)), None, "it is true once");
        file("a").save(&handover, true, at(1000)).unwrap();
        assert_eq!(file("b").take(at(1001)), None, "another boot");
        fs::write(file("a").0.path, "{").unwrap();
        assert_eq!(file("a").take(at(0)), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
