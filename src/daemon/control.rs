//! The control socket: one JSON line in, one JSON line out, over a Unix socket only root may open.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as BlockingListener, UnixStream as BlockingStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::admission::{Limits, Stage};
use super::clock;
use super::mails::MailStatus;
use super::serve::{Progress, serve};
use super::snapshot::Snapshot;
use crate::config::changes::Change;
use crate::director::admin_override::{self, Selector};
use crate::director::checkers::PoolMemberKey;
use crate::director::status::{RealServerHistory, Status};
use crate::director::track_checks::TrackCheckHistory;
use crate::doctor::Listed;
use crate::time::Instant;
use crate::vrrp::status::Status as RouterStatus;

/// Longest request, in bytes.
const REQUEST_LIMIT: u64 = 64 << 10;
/// Longest reply a client reads, in bytes: 10,000 real servers need about 5 MB.
const REPLY_LIMIT: u64 = 256 << 20;
/// Longest time a conversation may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted; further ones wait to be let in.
const BACKLOG: i32 = 128;
/// Conversations at one time; further ones wait in the socket's backlog while all of these have asked something.
const CONVERSATIONS: Limits = Limits { all: 16, of_peer: usize::MAX };
/// Longest time the end of the process waits until the last answers are written.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// What an operator may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Services, servers, health.
    Status,
    /// The same, after the kernel's table was read once more.
    StatusNow,
    /// Read the configuration again and put it in force.
    Reload {
        /// Also where most of what is in force would be removed.
        allow_removal: bool,
    },
    /// Is anything wrong with the daemon itself?
    Health,
    /// Leave everything in the kernel for the next start, and end.
    HandOver,
    /// The last attempts of the checkers of some real servers.
    Why(Selector),
    /// The same of all checks that virtual routers track.
    WhyChecks,
    /// An operator's order about some real servers.
    Order {
        /// Which.
        selector: Selector,
        /// What.
        change: admin_override::OverrideChange,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    command: Command,
    /// Until when its client waits: by the monotonic clock, which is the same for all processes of a machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<Instant>,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Command::Status`] and [`Command::StatusNow`].
    Status(Snapshot),
    /// To [`Command::Reload`], once it has ended.
    Reload(ReloadOutcome),
    /// To [`Command::Health`]: what is wrong, in words.
    Health(Option<String>),
    /// To [`Command::Why`]: the history of each real server.
    Why(Vec<RealServerHistory>),
    /// To [`Command::WhyChecks`].
    WhyChecks(Vec<TrackCheckHistory>),
    /// To [`Command::Order`].
    Ordered(Ordered),
    /// To [`Command::HandOver`], when everything is written and the process is about to exit.
    HandedOver {
        /// The process that ends.
        pid: u32,
    },
    /// The request made no sense.
    Error(String),
}

/// What an order came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// The real servers it is about.
    pub servers: Vec<PoolMemberKey>,
    /// What it does not do, in words: a sentence each.
    pub remarks: Vec<String>,
}

/// The daemon as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The configuration file.
    pub config: PathBuf,
    /// Unknown words in it are only warnings (`--lenient`).
    #[serde(default)]
    pub is_lenient: bool,
    /// What `@ID` in it is compared with, where it is not the host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_id: Option<String>,
    /// What is wrong with the daemon itself, in words: the same as `/healthz` says.
    pub trouble: Option<String>,
    /// Why the state cannot be saved, while it cannot: orders and real servers that are down would not survive a
    /// restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsaved: Option<String>,
    /// How the last reload ended; None when there was none.
    pub last_reload: Option<ReloadOutcome>,
    /// Reloads since the start that were put in force.
    pub reloads_accepted: u64,
    /// Reloads since the start that were rejected.
    pub reloads_rejected: u64,
    /// Mails; None when there are no recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailStatus>,
    /// The findings about this host, examined every 30 seconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host: Vec<Listed>,
    /// What it directs.
    pub director: Status,
    /// Its virtual routers; None when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterStatus>,
}

impl DaemonStatus {
    /// As JSON for machines: what `lvsd status --json` prints and `/status` serves.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadOutcome {
    /// Whether the new configuration is in force.
    pub is_accepted: bool,
    /// The file that was read.
    pub config: PathBuf,
    /// How many seconds ago.
    pub seconds_ago: u64,
    /// Its errors, a line each; empty when accepted.
    pub errors: Vec<String>,
    /// Its warnings, a line each; empty when rejected.
    pub warnings: Vec<String>,
    /// What it changed, in a few words; empty when rejected.
    pub summary: String,
    /// What it changed, at most [`CHANGES_LIMIT`](super::reload::CHANGES_LIMIT) of them.
    pub changes: Vec<Change>,
    /// How many further changes are not listed.
    pub more_changes: usize,
    /// It was rejected because a file system did not answer: the next reader of the file may hang as well.
    #[serde(default)]
    pub is_silent: bool,
    /// What `@ID` in the file was compared with, where it is not the host's name.
    #[serde(default)]
    pub config_id: Option<String>,
}

/// A command and where its reply goes.
pub(crate) struct Question {
    /// What is asked.
    pub command: Command,
    /// Where the reply goes.
    pub reply: oneshot::Sender<Reply>,
    /// The client; None: the daemon itself.
    pub client: Option<Client>,
}

/// A client of the control socket.
#[derive(Debug)]
pub(crate) struct Client {
    /// Until when it waits.
    by: Option<Instant>,
    /// Its connection; None when there are no descriptors to hold on to it.
    stream: Option<OwnedFd>,
}

impl Question {
    /// Whether the client still waits for the answer. An order that is carried out long after its client gave up, as by
    /// a daemon that was stopped meanwhile, would undo what the operator has done since.
    pub(crate) fn is_awaited(&self, now: Instant) -> bool {
        let client = self.client.as_ref();
        let is_late = client.and_then(|client| client.by).is_some_and(|by| now > by);
        let is_gone = client.and_then(|client| client.stream.as_ref()).is_some_and(has_hung_up);
        !self.reply.is_closed() && !is_late && !is_gone
    }
}

/// Whether the other side has closed its connection; one that only sends no more still waits.
fn has_hung_up(stream: &impl AsFd) -> bool {
    let mut all = [PollFd::new(stream, PollFlags::empty())];
    let is_told = poll(&mut all, Some(&Timespec::default())).is_ok();
    is_told && all.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

/// Asks the main loop from within the daemon.
#[derive(Clone)]
pub(crate) struct Asker(mpsc::Sender<Question>);

impl Asker {
    /// Asks, and waits for the reply.
    pub(crate) async fn ask(&self, command: Command) -> Reply {
        self.ask_for(None, command).await
    }

    async fn ask_for(&self, client: Option<Client>, command: Command) -> Reply {
        let (reply, answer) = oneshot::channel();
        let _ = self.0.send(Question { command, reply, client }).await;
        answer.await.unwrap_or_else(|_| Reply::Error("lvsd is about to exit".to_owned()))
    }
}

/// The listening socket; its file goes when it is dropped.
pub(crate) struct Control {
    path: PathBuf,
    questions: mpsc::Receiver<Question>,
    asker: Asker,
    end: Option<oneshot::Sender<()>>,
    conversations: JoinHandle<()>,
    /// The socket's file: its device and inode.
    file: (u64, u64),
}

impl Control {
    /// Listens at `path` (mode 0600), replacing a socket without a listener.
    ///
    /// # Errors
    /// When another process listens there, or the socket cannot be made.
    pub(crate) fn listen(path: &Path) -> io::Result<Control> {
        let (listener, file) = bind(path)?;
        // Full: the conversations wait, which their time limit bounds.
        let (sender, questions) = mpsc::channel(CONVERSATIONS.all);
        let asker = Asker(sender);
        let (end, conversations) = converse_over(listener, asker.clone());
        Ok(Control { path: path.to_owned(), questions, asker, end: Some(end), conversations, file })
    }

    /// Listens again where the socket's file was deleted or replaced; whether that was so.
    ///
    /// # Errors
    /// As [`Control::listen`].
    pub(crate) fn keep(&mut self) -> io::Result<bool> {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file) {
            return Ok(false);
        }
        let (listener, file) = bind(&self.path)?;
        self.file = file;
        let end;
        (end, self.conversations) = converse_over(listener, self.asker.clone());
        // Requests that came over the previous socket are still answered.
        let _ = self.end.replace(end).map(|end| end.send(()));
        Ok(true)
    }

    /// For other parts of the daemon that send commands as operators do.
    pub(crate) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Asks for nothing more: conversations that are under way end, which takes half a second at most.
    pub(crate) async fn finish(&mut self) {
        self.questions.close();
        while self.questions.try_recv().is_ok() {}
        // It may have ended by itself.
        let _ = self.end.take().map(|end| end.send(()));
        let _ = tokio::time::timeout(LAST_ANSWERS, &mut self.conversations).await;
    }

    /// The next question; waits for ever when the socket is gone.
    pub(crate) async fn next(&mut self) -> Question {
        match self.questions.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }

    /// The next question, if one waits.
    pub(crate) fn try_next(&mut self) -> Option<Question> {
        self.questions.try_recv().ok()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A socket that listens, and its file's device and inode.
fn bind(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    remove_stale(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file the mode of the socket: at no moment may another user connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    net::listen(&socket, BACKLOG)?;
    let found = fs::symlink_metadata(path)?;
    Ok((UnixListener::from_std(BlockingListener::from(socket))?, (found.dev(), found.ino())))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::other("it exists and is no socket")),
        Ok(_) if is_listened_to(path) => Err(io::Error::other("another process listens there")),
        Ok(_) => fs::remove_file(path),
    }
}

/// Whether a process listens on this socket, even if it does not accept just now.
fn is_listened_to(path: &Path) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let connected = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .and_then(|socket| net::connect(&socket, &SocketAddrUnix::new(path)?));
    matches!(connected, Ok(()) | Err(Errno::AGAIN))
}

/// Holds conversations over a socket, until it is ended.
fn converse_over(listener: UnixListener, asker: Asker) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (end, ended) = oneshot::channel();
    let converse = move |stream, progress| {
        let conversation = tokio::time::timeout(TIME_LIMIT, converse(stream, progress, asker.clone()));
        async move { conversation.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) }
    };
    (end, tokio::spawn(serve("control socket", listener, CONVERSATIONS, ended, converse)))
}

async fn converse(stream: UnixStream, progress: Progress, asker: Asker) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    BufReader::new(read.take(REQUEST_LIMIT)).read_until(b'\n', &mut line).await?;
    progress.reached(Stage::Waiting).await;
    let reply = match serde_json::from_slice::<Envelope>(&line) {
        Ok(Envelope { by, command }) => {
            let stream = write.as_ref().as_fd().try_clone_to_owned().ok();
            asker.ask_for(Some(Client { by, stream }), command).await
        }
        Err(error) => Reply::Error(format!("not a request: {error}")),
    };
    // Beside the main loop: thousands of servers take a while to write down.
    let text = tokio::task::spawn_blocking(move || match &reply {
        Reply::Status(snapshot) => Ok(snapshot.reply()),
        reply => serde_json::to_vec(reply).map(Bytes::from),
    });
    let text = text.await??;
    progress.reached(Stage::Taking).await;
    write.write_all(&text).await?;
    write.write_all(b"\n").await?;
    write.shutdown().await
}

/// A request of any form, for `crate::fuzz`: what is understood, written again, is understood the same.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn fuzz(line: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Envelope>(line) {
        let written = serde_json::to_vec(&request).expect("a request can be written");
        let again: Envelope = serde_json::from_slice(&written).expect("what was written can be read");
        assert_eq!((again.command, again.by), (request.command, request.by));
    }
}

/// The reason that there is no answer, in words.
pub(crate) fn unanswered(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "no process listens there".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted to ask".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("it does not answer within {} seconds", TIME_LIMIT.as_secs())
        }
        _ => error.to_string(),
    }
}

/// Asks the daemon at `path`; blocking, at most 10 s.
///
/// # Errors
/// When no process listens there, or the reply is late or makes no sense.
pub fn ask(path: &Path, command: Command) -> io::Result<Reply> {
    use std::io::{Read, Write};
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_read_timeout(Some(TIME_LIMIT))?;
    // A daemon that accepts no connection is waited for with a limit, too.
    socket.set_write_timeout(Some(TIME_LIMIT))?;
    let by = Some(clock::now() + TIME_LIMIT);
    socket.connect(&socket2::SockAddr::unix(path)?)?;
    let mut stream = BlockingStream::from(OwnedFd::from(socket));
    let mut text = serde_json::to_vec(&Envelope { command, by })?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut reply = Vec::new();
    stream.take(REPLY_LIMIT).read_to_end(&mut reply)?;
    Ok(serde_json::from_slice(&reply)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("lvsd-control-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn send(path: &Path, by: Option<Instant>, command: Command) -> BlockingStream {
        let mut stream = BlockingStream::connect(path).unwrap();
        let mut text = serde_json::to_vec(&Envelope { command, by }).unwrap();
        text.push(b'\n');
        stream.write_all(&text).unwrap();
        stream
    }

    #[tokio::test]
    async fn requests_of_clients_that_have_gone_are_dropped() {
        let folder = Folder::new("gone");
        let path = folder.0.join("control.sock");
        let mut control = Control::listen(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // All of them were sent while this daemon was stopped.
        let now = clock::now();
        let (gone, late) =
            (Command::Reload { allow_removal: true }, Command::Reload { allow_removal: false });
        drop(send(&path, Some(now + TIME_LIMIT), gone));
        let sends_no_more = send(&path, Some(now + TIME_LIMIT), Command::Health);
        sends_no_more.shutdown(std::net::Shutdown::Write).unwrap();
        let _says_no_time = send(&path, None, Command::Status);
        let _late = send(&path, Some(now), late);
        for _ in 0..4 {
            let question = control.next().await;
            let is_awaited = question.is_awaited(now + Duration::from_millis(1));
            assert_eq!(is_awaited, ![gone, late].contains(&question.command), "{:?}", question.command);
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_deleted_is_there_again_and_another_s_is_not_taken() {
        let folder = Folder::new("deleted");
        let path = folder.0.join("control.sock");
        let mut control = Control::listen(&path).unwrap();
        assert!(!control.keep().unwrap());
        assert!(Control::listen(&path).is_err(), "it is listened to");
        fs::remove_file(&path).unwrap();
        assert!(BlockingStream::connect(&path).is_err());
        assert!(control.keep().unwrap());
        let _client = send(&path, None, Command::HandOver);
        assert_eq!(control.next().await.command, Command::HandOver);
        fs::remove_file(&path).unwrap();
        let another = BlockingListener::bind(&path).unwrap();
        assert!(control.keep().is_err());
        drop(another);
        assert!(control.keep().unwrap(), "no process listens there any more");
    }
}
