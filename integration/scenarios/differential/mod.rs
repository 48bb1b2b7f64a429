//! Debian's keepalived and lvsd read the same generated files: of all words that both know, written by an odd hand
//! ([`text`], [`words`]).
//!
//! `LVSD_DIFFERENTIAL=200` judges so many files, `LVSD_LAB_SEED=N` the one of this seed.

// Positions are drawn below the length of what they are in.
#![allow(clippy::indexing_slicing)]

mod text;
pub(super) mod verdicts;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use text::Files;

/// Files a run, where nothing else is asked for.
const FILES: u64 = 40;
/// What the lab's kernels have.
const SCHEDULERS: [&str; 6] = ["rr", "wrr", "lc", "wlc", "sh", "mh"];

/// The seeds of this run.
fn seeds() -> Result<std::ops::Range<u64>, String> {
    let number = |name: &str| match std::env::var(name).map(|text| text.parse::<u64>()) {
        Ok(Ok(number)) => Ok(Some(number)),
        Ok(Err(_)) => Err(format!("{name} is no number")),
        Err(_) => Ok(None),
    };
    Ok(match (number("LVSD_LAB_SEED")?, number("LVSD_DIFFERENTIAL")?) {
        (Some(seed), _) => seed..seed + 1,
        (None, files) => 1..files.unwrap_or(FILES) + 1,
    })
}

/// Writes a configuration for a director into a folder of its own, and answers its main file.
fn write(folder: &Path, director: &str, files: &Files) -> Result<PathBuf, String> {
    let folder = folder.join(director);
    let in_words = |e: std::io::Error| format!("{}: {e}", folder.display());
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(in_words)?;
    let main = ("keepalived.conf".to_owned(), files.main.clone());
    for (name, text) in files.included.iter().chain([&main]) {
        fs::write(folder.join(name), text.replace("DIRECTOR", director)).map_err(in_words)?;
    }
    Ok(folder.join("keepalived.conf"))
}
