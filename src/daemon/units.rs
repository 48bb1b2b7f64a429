//! systemd's units, as their files say.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where units are, the first that has one wins.
const FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Longest file that is read, in bytes.
const LIMIT: u64 = 1 << 20;
/// Most entries of a folder that are looked at.
const ENTRIES: usize = 1024;

/// A unit's file, and what was dropped in beside it, in the order in which it counts; None when there is none. `root` is
/// `/`, or a test's.
pub(crate) fn text(root: &Path, name: &str) -> Option<String> {
    let at = |path: String| root.join(path.trim_start_matches('/'));
    let mut text = FOLDERS.iter().find_map(|folder| read(&at(format!("{folder}/{name}"))))?;
    let mut drop_ins: Vec<PathBuf> = FOLDERS
        .iter()
        .filter_map(|folder| fs::read_dir(at(format!("{folder}/{name}.d"))).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()).take(ENTRIES))
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect();
    drop_ins.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    for drop_in in drop_ins.iter().filter_map(|path| read(path)) {
        text.push('\n');
        text.push_str(&drop_in);
    }
    Some(text)
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(LIMIT).read_to_string(&mut text).ok()?;
    Some(text)
}
