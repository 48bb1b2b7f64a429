//! Watches files whose number counts (`track_file`), for virtual routers and for checks of real servers: the kernel reports changes, and every few seconds they are read
//! all the same, for some file systems report none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::daemon::clock;
use crate::director::files::FileLevel;
use crate::script::shortage;
use crate::time::Instant;
use crate::vrrp::settings::FileSettings;
use crate::vrrp::tracking::file::{MAX_BYTES, number};

/// From one look at a file to the next when no change of it is reported.
const INTERVAL: Duration = Duration::from_secs(5);
/// The least: a folder in which much happens is looked at no more often.
const PAUSE: Duration = Duration::from_millis(20);

/// All watched files.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<String, Watched>,
    looks: JoinSet<(Arc<FileSettings>, Result<i64, ReadError>)>,
    watch: Option<Receiver>,
    next: Instant,
}

/// Why a file says no number.
#[derive(Debug)]
struct ReadError {
    why: String,
    /// It is this host that cannot look now, and what can be done; the file may be well.
    shortage: Option<&'static str>,
}

impl ReadError {
    fn of(why: impl Into<String>, error: &io::Error) -> ReadError {
        let shortage = shortage::is_hosts(error).then(|| shortage::advice(error));
        ReadError { why: why.into(), shortage }
    }
}

/// What follows a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Followers {
    /// A virtual router.
    pub(super) router: bool,
    /// A check.
    pub(super) director: bool,
}

/// A file's number is new to those that follow it.
#[derive(Debug)]
pub(super) struct News {
    pub(super) level: FileLevel,
    pub(super) followers: Followers,
}

#[derive(Debug)]
struct Watched {
    settings: Arc<FileSettings>,
    followers: Followers,
    level: Option<i64>,
    complaint: Option<String>,
    /// Those that follow it know it as it is.
    is_reported: bool,
    /// A look at it is under way: one that hangs keeps no other from being looked at.
    is_busy: bool,
}

impl Files {
    /// Watches these. Those that are new are written first, where that is wanted.
    pub(super) fn configure(&mut self, wanted: Vec<(Arc<FileSettings>, Followers)>) {
        let mut before = std::mem::take(&mut self.files);
        for (settings, followers) in wanted {
            let watched = match before.remove(&settings.name) {
                Some(known) if known.settings.path == settings.path => {
                    let is_reported = known.is_reported && known.followers == followers;
                    Watched { settings, followers, is_reported, ..known }
                }
                _ => Watched {
                    settings,
                    followers,
                    level: None,
                    complaint: None,
                    is_reported: false,
                    is_busy: false,
                },
            };
            self.files.insert(watched.settings.name.clone(), watched);
        }
        let folders = self.files.values().filter_map(|w| w.settings.path.parent().map(Path::to_owned));
        self.watch = if self.files.is_empty() { None } else { watch(&folders.collect()) };
        self.next = Instant::ZERO;
    }

    /// The next file whose number changed, or is known for the first time, or is new to what follows it since the last
    /// reload; may be left and entered again at any time.
    pub(super) async fn next(&mut self) -> News {
        loop {
            let now = clock::now();
            if now >= self.next && !self.files.is_empty() {
                self.next = now + INTERVAL;
                self.look();
            }
            let next = (!self.files.is_empty()).then_some(self.next);
            tokio::select! {
                Some(look) = self.looks.join_next() => {
                    if let Ok((settings, found)) = look
                        && let Some(news) = self.found(&settings, found)
                    {
                        return news;
                    }
                }
                () = changed(self.watch.as_ref()) => self.next = self.next.min(clock::now() + PAUSE),
                () = clock::sleep_until(next) => {}
            }
        }
    }

    fn look(&mut self) {
        for watched in self.files.values_mut().filter(|watched| !watched.is_busy) {
            watched.is_busy = true;
            let settings = Arc::clone(&watched.settings);
            let is_first = watched.level.is_none();
            self.looks.spawn_blocking(move || {
                let found = if is_first { begin(&settings) } else { Ok(()) };
                let found = found.and_then(|()| read(&settings.path));
                (settings, found)
            });
        }
    }

    /// Takes a look's result; what is new. A file that is not there, or says no number, counts 0; one
    /// that this host cannot look at now counts as it did.
    fn found(&mut self, settings: &FileSettings, found: Result<i64, ReadError>) -> Option<News> {
        let name = &settings.name;
        // A reload may have given the name to another file since the look began.
        let watched = self.files.get_mut(name).filter(|watched| watched.settings.path == settings.path)?;
        watched.is_busy = false;
        let complaint_before = watched.complaint.clone();
        let path = watched.settings.path.display();
        match (&found, &watched.complaint) {
            (Err(error), reported) if reported.as_ref() != Some(&error.why) => match error.shortage {
                Some(advice) => {
                    warn!("track_file {name}: {path}: {}: it counts as it did: {advice}", error.why);
                }
                None => warn!("track_file {name}: {path}: {}: it counts 0", error.why),
            },
            (Ok(_), Some(_)) => info!("track_file {name}: {path} can be read again"),
            _ => {}
        }
        let level = match found {
            Ok(level) => {
                watched.complaint = None;
                level
            }
            Err(error) => {
                watched.complaint = Some(error.why);
                if error.shortage.is_some() {
                    return None;
                }
                0
            }
        };
        if watched.level != Some(level) {
            info!("track_file {name}: {level}");
        }
        let is_known = watched.level == Some(level) && watched.complaint == complaint_before;
        watched.level = Some(level);
        if is_known && watched.is_reported {
            return None;
        }
        watched.is_reported = true;
        let level = FileLevel {
            name: name.clone(),
            path: watched.settings.path.clone(),
            number: level,
            complaint: watched.complaint.clone(),
        };
        Some(News { level, followers: watched.followers })
    }
}

/// Writes a file that is to be there at the start (`init_file`).
fn begin(settings: &FileSettings) -> Result<(), ReadError> {
    let Some((value, is_overwritten)) = settings.initial else { return Ok(()) };
    let mut options = OpenOptions::new();
    // A FIFO's reader is not waited for.
    options.write(true).custom_flags(libc::O_NONBLOCK);
    match is_overwritten {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    match options.open(&settings.path).and_then(|mut file| writeln!(file, "{value}")) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(ReadError::of(format!("cannot be written: {error}"), &error))
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<i64, ReadError> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| match error.kind() {
        ErrorKind::NotFound => ReadError::of("there is no such file", &error),
        _ => ReadError::of(error.to_string(), &error),
    })?;
    let mut text = Vec::new();
    file.take(MAX_BYTES as u64)
        .read_to_end(&mut text)
        .map_err(|error| ReadError::of(error.to_string(), &error))?;
    number(&text).map_err(|why| ReadError { why, shortage: None })
}

/// A watch over folders; those that are not there are read now and then only.
fn watch(folders: &BTreeSet<PathBuf>) -> Option<Receiver> {
    let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
    let what = WatchFlags::CLOSE_WRITE
        | WatchFlags::MODIFY
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE;
    for folder in folders.iter().filter(|folder| fs::metadata(folder).is_ok()) {
        // Without it the file is read now and then all the same.
        let _ = inotify::add_watch(&fd, folder, what | WatchFlags::ONLYDIR);
    }
    // No pipe, but it is read as one.
    Receiver::from_owned_fd_unchecked(fd).ok()
}

/// Waits until something changed in a watched folder; what, the files themselves say.
async fn changed(watch: Option<&Receiver>) {
    let Some(watch) = watch else { return std::future::pending().await };
    if watch.readable().await.is_err() {
        return std::future::pending().await;
    }
    let mut buffer = [0; 4096];
    while watch.try_read(&mut buffer).is_ok_and(|n| n > 0) {}
}
