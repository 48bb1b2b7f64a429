//! Counts processes (`vrrp_track_process`), by looking at /proc.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::daemon::clock;
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
pub struct Processes {
    tracks: BTreeMap<String, ProcessTrack>,
    look: Option<JoinHandle<Counts>>,
    next: Instant,
    news: Vec<(String, bool)>,
}

impl Processes {
    /// Looks for these.
    pub fn want(&mut self, wanted: Vec<Arc<ProcessSettings>>) {
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
        self.look = None;
        self.next = Instant::ZERO;
    }

    /// The next whose number became well or unwell; may be left and entered again at any time.
    pub async fn next(&mut self) -> (String, bool) {
        loop {
            if let Some(news) = self.news.pop() {
                return news;
            }
            if self.tracks.is_empty() {
                return std::future::pending().await;
            }
            match &mut self.look {
                Some(look) => {
                    let counts = look.await;
                    self.look = None;
                    if let Ok(counts) = counts {
                        self.saw(clock::now(), &counts);
                    }
                }
                None => {
                    tokio::time::sleep(self.next.since(clock::now())).await;
                    self.next = clock::now() + INTERVAL;
                    let wanted: Vec<_> = self.tracks.values().map(|t| Arc::clone(t.settings())).collect();
                    self.look = Some(tokio::task::spawn_blocking(move || count(&wanted)));
                }
            }
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
fn count(wanted: &[Arc<ProcessSettings>]) -> Counts {
    let mut counts = Counts::new();
    let has_words = wanted.iter().any(|settings| needs_words(settings));
    let Ok(entries) = fs::read_dir("/proc") else { return counts };
    let is_number = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    let processes = entries.flatten().filter(|e| e.file_name().to_str().is_some_and(is_number));
    for seen in processes.filter_map(|entry| look(&entry.path(), has_words)) {
        for settings in wanted.iter().filter(|settings| is_meant(settings, &seen)) {
            *counts.entry(settings.name.clone()).or_default() += 1;
        }
    }
    counts
}

/// A process that runs; None for one that has ended, though nobody has asked how yet.
fn look(process: &Path, has_words: bool) -> Option<Seen> {
    let stat = fs::read(process.join("stat")).ok()?;
    let (open, close) = (stat.iter().position(|b| *b == b'(')?, stat.iter().rposition(|b| *b == b')')?);
    let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    let state = stat.get(close + 2)?;
    if matches!(state, b'Z' | b'X' | b'x') {
        return None;
    }
    let mut words = Vec::new();
    if has_words {
        let mut line = Vec::new();
        let file = fs::File::open(process.join("cmdline")).ok()?;
        file.take(MAX_LINE).read_to_end(&mut line).ok()?;
        let line = line.strip_suffix(&[0]).unwrap_or(&line);
        if !line.is_empty() {
            words.extend(line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()));
        }
    }
    Some(Seen { name, words })
}
