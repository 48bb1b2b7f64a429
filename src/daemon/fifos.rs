//! Writes state lines to FIFOs, and keeps their readers running. A full pipe delays nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe::Sender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::clock;
use crate::notify::backlog::Backlog;
use crate::notify::notification::{Audience, FifoLine};
use crate::script::{Account, Command, Launch, Runner};
use crate::vrrp::settings::Fifo;

/// Before a reader that ended is started again, doubled each time it ends at once.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Readers at once; a configuration names three FIFOs at most.
const MAX_READERS: usize = 8;

/// A FIFO and which lines it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FifoTarget {
    pub fifo: Fifo,
    pub audiences: Vec<Audience>,
}

#[derive(Debug)]
pub(crate) struct Fifos {
    open: BTreeMap<PathBuf, Open>,
    runner: Runner,
    is_secure: bool,
}

#[derive(Debug)]
struct Open {
    target: FifoTarget,
    backlog: Backlog,
    pipe: Pipe,
    /// To be begun once the FIFO is there.
    launch: Option<(Runner, Launch)>,
    reader: Option<Reader>,
}

#[derive(Debug)]
enum Pipe {
    Opening(JoinHandle<io::Result<(OwnedFd, bool)>>),
    Open { sender: Sender, is_made: bool },
    Broken,
}

#[derive(Debug)]
struct Reader {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The FIFOs of a configuration: one that is named for both kinds gets both.
pub(crate) fn targets(vrrp: &[Fifo], lvs: &[Fifo]) -> Vec<FifoTarget> {
    let mut all: Vec<FifoTarget> = Vec::new();
    let each = vrrp.iter().map(|f| (f, Audience::Vrrp)).chain(lvs.iter().map(|f| (f, Audience::Lvs)));
    for (fifo, audience) in each {
        match all.iter_mut().find(|w| w.fifo.path == fifo.path) {
            Some(known) => {
                known.audiences.push(audience);
                known.fifo.reader = known.fifo.reader.take().or_else(|| fifo.reader.clone());
            }
            None => all.push(FifoTarget { fifo: fifo.clone(), audiences: vec![audience] }),
        }
    }
    all
}

impl Fifos {
    pub(crate) fn new() -> Fifos {
        Fifos { open: BTreeMap::new(), runner: Runner::new(MAX_READERS), is_secure: false }
    }

    /// Has these open from now on. Needs the event loop's context.
    pub(crate) fn configure(&mut self, target: Vec<FifoTarget>, is_secure: bool) {
        self.is_secure = is_secure;
        let mut before = std::mem::take(&mut self.open);
        for target in target {
            let path = target.fifo.path.clone();
            let open = match before.remove(&path) {
                Some(mut open) if open.target.fifo == target.fifo => {
                    open.target = target;
                    open
                }
                other => {
                    let backlog = other.map(Open::close).unwrap_or_default();
                    self.open(target, backlog)
                }
            };
            self.open.insert(path, open);
        }
        before.into_values().for_each(|open| drop(open.close()));
    }

    fn open(&self, target: FifoTarget, backlog: Backlog) -> Open {
        let fifo = target.fifo.clone();
        let pipe = Pipe::Opening(tokio::task::spawn_blocking(move || make(&fifo)));
        let launch = target.fifo.reader.clone().map(|mut command| {
            command.words.push(target.fifo.path.to_string_lossy().into_owned());
            let (is_secure, limit) = (self.is_secure, Duration::MAX);
            (
                self.runner.clone(),
                Launch { command, environment: Vec::new(), is_secure, limit, is_ours: true },
            )
        });
        Open { target, backlog, pipe, launch, reader: None }
    }

    /// Adds a line to the FIFOs that get it. It is written by [`Fifos::work`].
    pub(crate) fn push(&mut self, line: &FifoLine) {
        for open in self.open.values_mut().filter(|o| o.target.audiences.contains(&line.audience)) {
            if open.backlog.push(line.bytes.clone()) {
                let path = open.target.fifo.path.display();
                warn!("{path}: its reader is too slow or there is none: the oldest lines are lost");
            }
        }
    }

    /// Writes as much as there is room for, for ever; may be left and entered again at any time.
    pub(crate) async fn work(&mut self) {
        std::future::poll_fn(|context| {
            self.open.values_mut().for_each(|open| open.write(context));
            Poll::Pending
        })
        .await
    }

    /// The daemon ends: lines are written within the limit, readers end, and what was made is removed at a stop.
    pub(crate) async fn finish(&mut self, limit: Duration, is_stop: bool) {
        let written = std::future::poll_fn(|context| {
            self.open.values_mut().for_each(|open| open.write(context));
            let is_done = |o: &Open| o.backlog.front().is_none() || matches!(o.pipe, Pipe::Broken);
            if self.open.values().all(is_done) { Poll::Ready(()) } else { Poll::Pending }
        });
        // A reader that does not read must not hold up the end; what is lost then is counted nowhere any more.
        let _ = tokio::time::timeout(limit, written).await;
        let mut tasks = Vec::new();
        for (path, open) in std::mem::take(&mut self.open) {
            if let (true, Pipe::Open { is_made: true, .. }) = (is_stop, &open.pipe) {
                // Another program may have removed it.
                let _ = fs::remove_file(&path);
            }
            if let Some(reader) = open.reader {
                // It may have ended by itself.
                let _ = reader.end.send(());
                tasks.push(reader.task);
            }
        }
        for task in tasks {
            // One that does not end is killed with the runtime.
            let _ = tokio::time::timeout(limit, task).await;
        }
    }
}

impl Default for Fifos {
    fn default() -> Fifos {
        Fifos::new()
    }
}

impl Open {
    /// Ends its reader; the lines that were not written.
    fn close(self) -> Backlog {
        if let Some(reader) = self.reader {
            // It may have ended by itself.
            let _ = reader.end.send(());
        }
        self.backlog
    }

    fn write(&mut self, context: &mut Context<'_>) {
        let path = self.target.fifo.path.display();
        if let Pipe::Opening(job) = &mut self.pipe {
            let Poll::Ready(made) = Pin::new(job).poll(context) else { return };
            let opened = made.map_err(io::Error::other);
            let sender = opened
                .and_then(|opened| opened)
                .and_then(|(fd, is_made)| Ok((Sender::from_owned_fd(fd)?, is_made)));
            self.pipe = match sender {
                Ok((sender, is_made)) => {
                    let path = self.target.fifo.path.clone();
                    self.reader = self.launch.take().map(|(runner, launch)| {
                        let (end, ended) = oneshot::channel();
                        Reader { end, task: tokio::spawn(keep_running(runner, launch, path, ended)) }
                    });
                    Pipe::Open { sender, is_made }
                }
                Err(error) => {
                    warn!(
                        "{path}: cannot be written to as a FIFO: {error}; nothing is written there until a reload"
                    );
                    Pipe::Broken
                }
            };
        }
        match &mut self.pipe {
            Pipe::Opening(_) => {}
            Pipe::Broken => {
                while self.backlog.front().is_some() {
                    self.backlog.pop();
                }
            }
            Pipe::Open { sender, .. } => {
                // A line is shorter than what a pipe takes in one piece.
                while let Some(line) = self.backlog.front() {
                    match Pin::new(&mut *sender).poll_write(context, line) {
                        Poll::Pending => return,
                        Poll::Ready(Ok(_)) => self.backlog.pop(),
                        Poll::Ready(Err(error)) => {
                            warn!("{path}: {error}: nothing is written there until a reload");
                            self.pipe = Pipe::Broken;
                            return;
                        }
                    }
                }
                if let Some(lost) = self.backlog.regained() {
                    warn!("{path}: is read again: {lost} lines were lost");
                }
            }
        }
    }
}

/// Opens a FIFO for writing without waiting for a reader, after making it where it is not there; whether it was made.
///
/// It is opened for reading, too: then it takes lines before there is a reader, and never breaks.
fn make(fifo: &Fifo) -> io::Result<(OwnedFd, bool)> {
    let path = &fifo.path;
    let mode = Mode::from_raw_mode(0o644);
    let is_made = match rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0) {
        Ok(()) => true,
        Err(rustix::io::Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let owner = Command { words: Vec::new(), user: fifo.user.clone(), group: fifo.group.clone() };
    let owner = if is_made { crate::script::account(&owner).map_err(io::Error::other)? } else { None };
    Ok((take(path, owner)?, is_made))
}

/// Opens the FIFO at a path, and gives it to the configured owner where lvsd made it.
fn take(path: &Path, owner: Option<Account>) -> io::Result<OwnedFd> {
    let refused = |why| Err(io::Error::new(ErrorKind::InvalidInput, why));
    // From here on it is this file, even if another is put at the path. O_PATH does not open it for reading or writing.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let looked_at = rustix::fs::open(path, flags, Mode::empty())?;
    let found = rustix::fs::fstat(&looked_at)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Fifo => {}
        FileType::Symlink => return refused("it is a symbolic link: name the FIFO itself"),
        _ => return refused("it is there already, and is no FIFO"),
    }
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(format!("/proc/self/fd/{}", looked_at.as_raw_fd()), flags, Mode::empty())?;
    if let Some(owner) = owner {
        if found.st_uid != rustix::process::geteuid().as_raw() || found.st_nlink != 1 {
            return refused("another program has put a different one in its place");
        }
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        rustix::fs::fchown(&fd, Some(uid), Some(gid))?;
    }
    Ok(fd)
}

/// Runs a reader again and again, until it is to end.
async fn keep_running(runner: Runner, launch: Launch, path: PathBuf, ended: oneshot::Receiver<()>) {
    let mut pause = PAUSE;
    tokio::pin!(ended);
    loop {
        let begun = clock::now();
        let mut is_over = false;
        let result = runner
            .run(launch.clone(), async {
                // Dropped or sent: it is to end.
                let _ = (&mut ended).await;
                is_over = true;
            })
            .await;
        if is_over {
            return;
        }
        pause =
            if clock::now().since(begun) > LONGEST_PAUSE { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        let (reader, output) = (launch.command.program(), result.output.trim_end());
        warn!(
            output,
            "{}: its reader {reader} {}: it is started again in {}s",
            path.display(),
            result.ending,
            pause.as_secs()
        );
        tokio::select! {
            () = tokio::time::sleep(pause) => info!("{}: its reader {reader} is started again", path.display()),
            _ = &mut ended => return,
        }
    }
}

#[cfg(test)]
mod tests;
