//! Counts processes (`vrrp_track_process`), by looking at /proc.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::daemon::clock;
use crate::daemon::repeated::Repeated;
use crate::script::shortage;
use crate::time::Instant;
use crate::vrrp::settings::ProcessSettings;
use crate::vrrp::tracking::process::{ProcessTrack, Seen, is_meant, needs_words};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of a command line that are compared.
const MAX_LINE: u64 = 64 << 10;

/// How many run of each that is looked for, by its name.
type Counts = BTreeMap<String, u32>;

/// All that are looked for.
#[derive(Debug, Default)]
pub(super) struct Processes {
    tracks: BTreeMap<String, ProcessTrack>,
    looks: Repeated<io::Result<Counts>>,
    complaint: Option<String>,
    next: Instant,
    news: Vec<(String, bool)>,
}

impl Processes {
    /// Looks for these.
    pub(super) fn configure(&mut self, wanted: Vec<Arc<ProcessSettings>>) {
        let mut before = std::mem::take(&mut self.tracks);
        for settings in wanted {
            let name = settings.name.clone();
            let track = match before.remove(&name) {
                Some(mut track) if is_same(track.settings(), &settings) => {
                    track.reconfigure(settings);
                    track
                }
                _ => ProcessTrack::new(settings),
            };
            self.tracks.insert(name, track);
        }
        // One under way looked for others.
        self.looks = Repeated::default();
        self.next = Instant::ZERO;
    }

    /// The next whose number became well or unwell; may be left and entered again at any time.
    pub(super) async fn next(&mut self) -> (String, bool) {
        loop {
            if let Some(news) = self.news.pop() {
                return news;
            }
            if self.tracks.is_empty() {
                return std::future::pending().await;
            }
            self.looks.set(Some(self.next));
            let begin = || {
                self.next = clock::now() + INTERVAL;
                let wanted: Vec<_> = self.tracks.values().map(|t| Arc::clone(t.settings())).collect();
                move || count(&wanted)
            };
            if let Ok(counts) = self.looks.next(begin).await {
                self.looked(clock::now(), counts);
            }
        }
    }

    /// Takes a look's result: where this host could not look, everything counts as it did.
    fn looked(&mut self, now: Instant, counts: io::Result<Counts>) {
        let error = match counts {
            Ok(counts) => {
                if self.complaint.take().is_some() {
                    info!("vrrp_track_process: processes can be counted again");
                }
                return self.saw(now, &counts);
            }
            Err(error) => error,
        };
        let why = error.to_string();
        if self.complaint.as_ref() != Some(&why) {
            let advice = shortage::advice(&error);
            warn!("vrrp_track_process: /proc cannot be read: {why}: all count as they did: {advice}");
            self.complaint = Some(why);
        }
    }

    fn saw(&mut self, now: Instant, counts: &Counts) {
        for (name, track) in &mut self.tracks {
            let count = counts.get(name).copied().unwrap_or(0);
            self.news.extend(track.saw(now, count).map(|is_well| (name.clone(), is_well)));
            if let Some(at) = track.deadline() {
                self.next = self.next.min(at);
            }
        }
    }
}

/// Whether both mean the same processes.
fn is_same(one: &ProcessSettings, other: &ProcessSettings) -> bool {
    (&one.command, one.arguments, one.is_full_command)
        == (&other.command, other.arguments, other.is_full_command)
}

/// Counts what runs. Reads /proc.
///
/// # Errors
/// This host's, when not all could be looked at: a process that was not seen is not gone.
fn count(wanted: &[Arc<ProcessSettings>]) -> io::Result<Counts> {
    let mut counts = Counts::new();
    let has_words = wanted.iter().any(|settings| needs_words(settings));
    let entries = fs::read_dir("/proc")?;
    let is_number = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_number) {
            continue;
        }
        let Some(seen) = look(&entry.path(), has_words)? else { continue };
        for settings in wanted.iter().filter(|settings| is_meant(settings, &seen)) {
            *counts.entry(settings.name.clone()).or_default() += 1;
        }
    }
    Ok(counts)
}

/// A process that runs; None for one that has ended, though nothing has waited for it yet, or that may not be seen.
fn look(process: &Path, has_words: bool) -> io::Result<Option<Seen>> {
    let Some(stat) = known(fs::read(process.join("stat")))? else { return Ok(None) };
    let Some((name, state)) = name_and_state(&stat) else { return Ok(None) };
    if matches!(state, b'Z' | b'X' | b'x') {
        return Ok(None);
    }
    let mut words = Vec::new();
    if has_words {
        let mut line = Vec::new();
        let file = fs::File::open(process.join("cmdline"));
        let read = file.and_then(|file| file.take(MAX_LINE).read_to_end(&mut line));
        if known(read)?.is_none() {
            return Ok(None);
        }
        let line = line.strip_suffix(&[0]).unwrap_or(&line);
        if !line.is_empty() {
            words.extend(line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()));
        }
    }
    Ok(Some(Seen { name, words }))
}

/// What was read; None when that says the process has ended or is hidden.
fn known<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if shortage::is_hosts(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn name_and_state(stat: &[u8]) -> Option<(String, u8)> {
    let (open, close) = (stat.iter().position(|b| *b == b'(')?, stat.iter().rposition(|b| *b == b')')?);
    let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    Some((name, *stat.get(close + 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::settings::ArgumentMatch;

    #[test]
    fn an_uncountable_process_keeps_its_last_state() {
        let mut processes = Processes::default();
        processes.configure(vec![Arc::new(settings())]);
        let name = processes.tracks.keys().next().cloned().unwrap();
        let now = clock::now();
        processes.looked(now, Ok(Counts::from([(name.clone(), 1)])));
        assert_eq!(std::mem::take(&mut processes.news), [(name.clone(), true)]);
        for _ in 0..3 {
            processes.looked(now, Err(io::Error::from_raw_os_error(libc::EMFILE)));
        }
        assert_eq!(processes.news, []);
        assert!(processes.complaint.as_deref().is_some_and(|why| why.contains("files")));
        processes.looked(now, Ok(Counts::new()));
        assert_eq!(processes.news, [(name, false)]);
        assert_eq!(processes.complaint, None);
    }

    fn settings() -> ProcessSettings {
        ProcessSettings {
            name: "haproxy".to_owned(),
            command: vec!["haproxy".to_owned()],
            arguments: ArgumentMatch::Any,
            weight: 0,
            is_reversed: false,
            is_full_command: false,
            quorum: 1,
            quorum_max: u32::MAX,
            start_delay: Duration::ZERO,
            end_delay: Duration::ZERO,
        }
    }

    #[test]
    fn a_process_that_ended_meanwhile_is_no_trouble_and_a_lack_of_descriptors_is() {
        let gone = |errno| known::<()>(Err(io::Error::from_raw_os_error(errno)));
        assert!(gone(libc::ENOENT).is_ok() && gone(libc::ESRCH).is_ok() && gone(libc::EACCES).is_ok());
        assert!(gone(libc::EMFILE).is_err() && gone(libc::ENFILE).is_err() && gone(libc::ENOMEM).is_err());
    }
}
