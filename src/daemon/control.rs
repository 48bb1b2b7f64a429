//! The control socket: one JSON line in, one JSON line out, over a Unix socket only root may open.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::admission::{Limits, Stage};
use super::mails::MailStatus;
use super::serve::{Progress, serve};
use super::snapshot::Snapshot;
use crate::config::changes::Change;
use crate::director::checkers::Subscriber;
use crate::director::order::{self, Selector};
use crate::director::status::{RealServerStory, Status};
use crate::vrrp::status::Status as RouterStatus;

/// Longest request, in bytes.
const REQUEST_LIMIT: u64 = 64 << 10;
/// Longest reply a client reads, in bytes: 10,000 real servers need about 5 MB.
const REPLY_LIMIT: u64 = 256 << 20;
/// Longest time a conversation may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);
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
    /// An operator's order about some real servers.
    Order {
        /// Which.
        selector: Selector,
        /// What.
        change: order::Change,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    command: Command,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Command::Status`].
    Status(Snapshot),
    /// To [`Command::Reload`], once it has ended.
    Reload(ReloadOutcome),
    /// To [`Command::Health`]: what is wrong, in words.
    Health(Option<String>),
    /// To [`Command::Why`]: a story for each real server.
    Why(Vec<RealServerStory>),
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
    pub servers: Vec<Subscriber>,
    /// What it does not do, in words: a sentence each.
    pub remarks: Vec<String>,
}

/// The daemon as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// lvsd's version.
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
    /// What is wrong with the daemon itself, in words: the same as `/healthz` says.
    pub trouble: Option<String>,
    /// Why the state cannot be saved, while it cannot: orders and who is down would not survive a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsaved: Option<String>,
    /// How the last reload ended; None when there was none.
    pub last_reload: Option<ReloadOutcome>,
    /// Reloads since the start that were put in force.
    pub reloads_accepted: u64,
    /// Reloads since the start that were rejected.
    pub reloads_rejected: u64,
    /// Mails; None when nobody gets any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailStatus>,
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
}

/// A command and where its reply goes.
pub struct Question {
    /// What is asked.
    pub command: Command,
    /// Where the reply goes.
    pub reply: oneshot::Sender<Reply>,
}

/// Asks the main loop from within the daemon.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<Question>);

impl Asker {
    /// Asks, and waits for the reply.
    pub async fn ask(&self, command: Command) -> Reply {
        let (reply, answer) = oneshot::channel();
        let _ = self.0.send(Question { command, reply }).await;
        answer.await.unwrap_or_else(|_| Reply::Error("lvsd is about to exit".to_owned()))
    }
}

/// The listening socket; its file goes when it is dropped.
pub struct Control {
    path: PathBuf,
    questions: mpsc::Receiver<Question>,
    asker: Asker,
    end: Option<oneshot::Sender<()>>,
    conversations: JoinHandle<()>,
}

impl Control {
    /// Listens at `path` (mode 0600), replacing a socket nobody listens at any more.
    ///
    /// # Errors
    /// When somebody listens there, or the socket cannot be made.
    pub fn listen(path: &Path) -> io::Result<Control> {
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        // Full: the conversations wait, which their time limit bounds.
        let (sender, questions) = mpsc::channel(CONVERSATIONS.all);
        let asker = Asker(sender);
        let (end, ended) = oneshot::channel();
        let asked = asker.clone();
        let converse = move |stream, progress| {
            let conversation = tokio::time::timeout(TIME_LIMIT, converse(stream, progress, asked.clone()));
            async move { conversation.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) }
        };
        let conversations = tokio::spawn(serve("control socket", listener, CONVERSATIONS, ended, converse));
        Ok(Control { path: path.to_owned(), questions, asker, end: Some(end), conversations })
    }

    /// For others within the daemon who ask what operators ask.
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Asks for nothing more: conversations that are under way end, which takes half a second at most.
    pub async fn finish(&mut self) {
        self.questions.close();
        while self.questions.try_recv().is_ok() {}
        // It may have ended by itself.
        let _ = self.end.take().map(|end| end.send(()));
        let _ = tokio::time::timeout(LAST_ANSWERS, &mut self.conversations).await;
    }

    /// The next question; waits for ever when the socket is gone.
    pub async fn next(&mut self) -> Question {
        match self.questions.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }

    /// The next question, if one waits.
    pub fn try_next(&mut self) -> Option<Question> {
        self.questions.try_recv().ok()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::other("it exists and is no socket")),
        Ok(_) if BlockingStream::connect(path).is_ok() => Err(io::Error::other("somebody listens there")),
        Ok(_) => fs::remove_file(path),
    }
}

async fn converse(stream: UnixStream, progress: Progress, asker: Asker) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    BufReader::new(read.take(REQUEST_LIMIT)).read_until(b'\n', &mut line).await?;
    progress.reached(Stage::Waiting).await;
    let reply = match serde_json::from_slice::<Envelope>(&line) {
        Ok(Envelope { command }) => asker.ask(command).await,
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

/// Asks the daemon at `path`; blocking, at most 10 s.
///
/// # Errors
/// When nobody listens there, or the reply is late or makes no sense.
pub fn ask(path: &Path, command: Command) -> io::Result<Reply> {
    use std::io::{Read, Write};
    let mut stream = BlockingStream::connect(path)?;
    stream.set_read_timeout(Some(TIME_LIMIT))?;
    stream.set_write_timeout(Some(TIME_LIMIT))?;
    let mut text = serde_json::to_vec(&Envelope { command })?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut reply = Vec::new();
    stream.take(REPLY_LIMIT).read_to_end(&mut reply)?;
    Ok(serde_json::from_slice(&reply)?)
}
