//! One run of a script, from its beginning to its end: bounded in time, in output, and in how many run at once.

use std::fmt;
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Command;
use super::account::Accounts;
use super::process::{NotBegun, Process};

/// From the request to end to the order.
const GRACE: Duration = Duration::from_secs(2);
/// From there until one is given up that even the kernel cannot end: such a script is left to itself.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Output that is kept of a run.
const MAX_OUTPUT: usize = 4096;
/// Outputs that are read at once, those of daemons included that scripts left behind: later ones have no
/// reader.
const MAX_READERS: usize = 256;
/// Kilobytes a pipe holds.
const MAX_READS: usize = 64;

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub command: Command,
    /// Added to the daemon's environment.
    pub environment: Vec<(String, String)>,
    /// What others than root can change does not run as root (`enable_script_security`).
    pub is_secure: bool,
    pub limit: Duration,
    /// Whether it is ended once its requester no longer waits; else it may outlive the daemon.
    pub is_ours: bool,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// By us, when its time was over.
    TimedOut,
    /// It never began, and why.
    CannotRun(String),
    /// It never began because this host is short of something, in words: of the script that says nothing.
    HostCannot(String),
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub ending: Ending,
    /// What it had said by then, the beginning of it.
    pub output: String,
}

impl Ending {
    /// Whether it did what it should.
    pub(crate) fn is_success(&self) -> bool {
        *self == Ending::Exited(0)
    }

    /// Why it cannot do its work at all, as opposed to doing it with a bad result: it did not begin, or the shell says
    /// so of the command within.
    pub(crate) fn cannot_run(&self) -> Option<String> {
        match self {
            Ending::CannotRun(why) => Some(why.clone()),
            Ending::Exited(126) => Some("exited with status 126: what it runs cannot be executed".to_owned()),
            Ending::Exited(127) => Some("exited with status 127: what it runs was not found".to_owned()),
            _ => None,
        }
    }
}

impl From<NotBegun> for Ending {
    fn from(not_begun: NotBegun) -> Ending {
        match not_begun.advice {
            Some(advice) => Ending::HostCannot(format!("{}: {advice}", not_begun.why)),
            None => Ending::CannotRun(not_begun.why),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited(status) => write!(f, "exited with status {status}"),
            Ending::Signalled(signal) => write!(f, "was ended by signal {signal}"),
            Ending::TimedOut => f.write_str("was ended because its time was over"),
            Ending::CannotRun(why) | Ending::HostCannot(why) => write!(f, "cannot be run: {why}"),
        }
    }
}

/// Runs scripts, at most so many at once; clones share the bound.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    slots: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    accounts: Accounts,
}

impl Runner {
    /// At most so many at once; later ones wait.
    pub(crate) fn new(at_once: usize) -> Runner {
        let readers = Arc::new(Semaphore::new(MAX_READERS));
        Runner { slots: Arc::new(Semaphore::new(at_once)), readers, accounts: Accounts::default() }
    }

    /// Runs it to its end. It is ended early when its time is over, or when `hurry` is done.
    pub(crate) async fn run(&self, launch: Launch, hurry: impl Future<Output = ()>) -> Ended {
        let (limit, is_ours) = (launch.limit, launch.is_ours);
        let time_is_over = async {
            tokio::select! {
                () = tokio::time::sleep(limit) => {}
                () = hurry => {}
            }
        };
        tokio::pin!(time_is_over);
        let slot = tokio::select! {
            biased;
            slot = Arc::clone(&self.slots).acquire_owned() => slot,
            () = &mut time_is_over => {
                let why = "others that hang hold all places to run in: see what they wait for";
                return Ended::without_output(Ending::HostCannot(why.to_owned()));
            }
        };
        let Ok(slot) = slot else {
            return Ended::without_output(Ending::CannotRun("lvsd is ending".to_owned()));
        };
        let (writer, output) = self.listen();
        let accounts = self.accounts.clone();
        // Executing a program reads files, which may hang: on a thread of its own.
        let mut beginning = tokio::task::spawn_blocking(move || Process::begin(&launch, &accounts, writer));
        let begun = tokio::select! {
            begun = &mut beginning => begun,
            () = &mut time_is_over => {
                // The thread cannot be given up like a script: it keeps its slot, or threads would pile up until none
                // is left for anything else.
                let late = async move {
                    if let Ok(Ok(mut process)) = beginning.await {
                        end(&mut process, is_ours).await;
                    }
                    drop(slot);
                };
                // One of ours runs again only when this is over.
                if is_ours { late.await } else { drop(tokio::spawn(late)) }
                return Ended::without_output(Ending::TimedOut);
            }
        };
        let mut process = match begun {
            Ok(Ok(process)) => process,
            Ok(Err(not_begun)) => return Ended::without_output(not_begun.into()),
            Err(error) => return Ended::without_output(Ending::CannotRun(error.to_string())),
        };
        let ending = tokio::select! {
            status = process.child.wait() => ending_of(status),
            () = time_is_over => {
                end(&mut process, is_ours).await;
                Ending::TimedOut
            }
        };
        let output = match output {
            Some(output) => output.so_far().await,
            None => String::new(),
        };
        Ended { ending, output }
    }

    /// A pipe for a script's output, and its reader; None when too many are read already.
    fn listen(&self) -> (Option<std::io::PipeWriter>, Option<Output>) {
        let Ok(permit) = Arc::clone(&self.readers).try_acquire_owned() else { return (None, None) };
        let Ok((reader, writer)) = std::io::pipe() else { return (None, None) };
        let Ok(receiver) = pipe::Receiver::from_owned_fd(reader.into()) else { return (None, None) };
        (Some(writer), Some(Output::begin(receiver, permit)))
    }
}

impl Ended {
    fn without_output(ending: Ending) -> Ended {
        Ended { ending, output: String::new() }
    }
}

fn ending_of(status: std::io::Result<ExitStatus>) -> Ending {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Exited(code),
            (None, Some(signal)) => Ending::Signalled(signal),
            (None, None) => Ending::CannotRun("its end cannot be understood".to_owned()),
        },
        Err(error) => Ending::CannotRun(format!("it cannot be waited for: {error}")),
    }
}

/// Asks a group to end, then ends it. One of ours that hangs in the kernel is waited for, or they would pile up.
async fn end(process: &mut Process, is_ours: bool) {
    process.signal(Signal::TERM);
    if timeout(GRACE, process.child.wait()).await.is_ok() {
        return;
    }
    process.signal(Signal::KILL);
    let patience = if is_ours { Duration::MAX } else { GIVE_UP };
    // Given up it is still reaped, whenever it ends.
    let _ = timeout(patience, process.child.wait()).await;
}

/// Reads a script's output for as long as a process writes it: a daemon it left behind must not die of a broken pipe.
struct Output {
    ask: tokio::sync::oneshot::Sender<()>,
    reader: JoinHandle<String>,
}

impl Output {
    fn begin(mut receiver: pipe::Receiver, permit: OwnedSemaphorePermit) -> Output {
        let (ask, mut asked) = tokio::sync::oneshot::channel();
        let reader = tokio::spawn(async move {
            let mut kept = Vec::new();
            let mut buffer = [0; 1024];
            let keep = |kept: &mut Vec<u8>, read: &[u8]| {
                let room = MAX_OUTPUT.saturating_sub(kept.len()).min(read.len());
                kept.extend_from_slice(read.get(..room).unwrap_or_default());
            };
            loop {
                tokio::select! {
                    biased;
                    _ = &mut asked => {
                        // What it wrote before its end is in the pipe, which holds no more than this.
                        for _ in 0..MAX_READS {
                            match receiver.try_read(&mut buffer) {
                                Ok(n) if n > 0 => keep(&mut kept, buffer.get(..n).unwrap_or_default()),
                                _ => break,
                            }
                        }
                        tokio::spawn(discard(receiver, permit));
                        break;
                    }
                    read = receiver.read(&mut buffer) => match read {
                        Ok(0) | Err(_) => break,
                        Ok(n) => keep(&mut kept, buffer.get(..n).unwrap_or_default()),
                    },
                }
            }
            String::from_utf8_lossy(&kept).into_owned()
        });
        Output { ask, reader }
    }

    /// What has been written by now.
    async fn so_far(self) -> String {
        // If the script has ended by itself, this has no receiver.
        let _ = self.ask.send(());
        self.reader.await.unwrap_or_default()
    }
}

async fn discard(mut receiver: pipe::Receiver, _permit: OwnedSemaphorePermit) {
    let mut buffer = [0; 1024];
    while receiver.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
}

#[cfg(test)]
mod tests;
