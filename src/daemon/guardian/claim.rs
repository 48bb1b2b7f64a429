//! A hand-over between two processes, seen from the guardian that outlives the first one and from the second one.
//!
//! The guardian listens on a socket in the run directory. The next process connects as soon as it begins, claims what
//! is handed over when it is about to go on with it, and says when it has. One that ends before, for any reason,
//! closes its connection: then no process will advertise for the addresses, and the guardian need not wait any longer.

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

use crate::daemon::clock;
use crate::daemon::handover;
use crate::time::Instant;

/// The socket's name in the run directory.
const SOCKET: &str = "guardian.sock";
/// The next process takes over now.
const CLAIM: u8 = b'C';
const GRANTED: u8 = b'Y';
const DONE: u8 = b'D';
/// Processes that may be starting at one time; further ones are turned away.
const MOST: usize = 4;
/// How long a claim waits for its answer.
const ANSWER_LIMIT: Duration = Duration::from_millis(300);

/// Paths of the socket and of the handed-over state. They are made before the fork, because the guardian allocates no
/// memory.
#[derive(Debug)]
pub(super) struct HandoverPlace {
    address: SocketAddrUnix,
    socket: CString,
    /// The state that the daemon wrote for the next process; removed when no process may use it any more.
    left: CString,
}

impl HandoverPlace {
    /// In this run directory.
    ///
    /// # Errors
    /// When its path is too long for a socket.
    pub(super) fn of(run_dir: &Path) -> io::Result<HandoverPlace> {
        let (socket, left) = (path(run_dir)?, std::path::absolute(run_dir)?.join(handover::NAME));
        let as_c = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
        Ok(HandoverPlace {
            address: SocketAddrUnix::new(&socket)?,
            socket: as_c(&socket)?,
            left: as_c(&left)?,
        })
    }

    /// Listens; only its own user, as which lvsd runs, may connect.
    pub(super) fn listen(&self) -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // One of a guardian that was killed.
        let _ = rustix::fs::unlink(&*self.socket);
        let before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let bound = bind(&listener, &self.address);
        rustix::process::umask(before);
        bound?;
        listen(&listener, i32::try_from(MOST).unwrap_or(1))?;
        Ok(listener)
    }

    /// No process can connect any more.
    pub(super) fn close(&self) {
        let _ = rustix::fs::unlink(&*self.socket);
    }

    /// What was written down is true no longer.
    pub(super) fn forget(&self) {
        let _ = rustix::fs::unlink(&*self.left);
    }
}

fn path(run_dir: &Path) -> io::Result<PathBuf> {
    Ok(std::path::absolute(run_dir)?.join(SOCKET))
}

/// Waits for a process that claims by a time, and has taken over by another. Whether one has.
pub(super) fn is_taken_over(listener: &OwnedFd, claim_by: Instant, done_by: Instant) -> bool {
    let mut until = claim_by;
    let mut successors: [Option<OwnedFd>; MOST] = Default::default();
    loop {
        let now = clock::now();
        if now >= until {
            return false;
        }
        let [a, b, c, d] = &successors;
        let watched = |it: &'_ Option<OwnedFd>| it.is_some();
        let each = [a, b, c, d].map(|it| {
            let flags = if watched(it) { PollFlags::IN } else { PollFlags::empty() };
            PollFd::new(it.as_ref().unwrap_or(listener), flags)
        });
        let [a, b, c, d] = each;
        let mut all = [a, b, c, d, PollFd::new(listener, PollFlags::IN)];
        match poll(&mut all, Timespec::try_from(until.since(now)).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return false,
        }
        let mut has_ended = false;
        for slot in &mut successors {
            let Some(successor) = slot else { continue };
            let mut word = [0];
            match rustix::io::read(&*successor, &mut word) {
                Ok(1) if word == [CLAIM] => {
                    let _ = rustix::io::write(&*successor, &[GRANTED]);
                    until = until.max(done_by);
                }
                Ok(1) if word == [DONE] => return true,
                Ok(1) | Err(Errno::AGAIN | Errno::INTR) => {}
                _ => {
                    *slot = None;
                    has_ended = true;
                }
            }
        }
        if let Ok(new) = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
            && let Some(free) = successors.iter_mut().find(|slot| slot.is_none())
        {
            *free = Some(new);
        }
        // The start has failed, and no other one is under way.
        if has_ended && successors.iter().all(Option::is_none) {
            return false;
        }
    }
}

/// A predecessor's guardian that waits for this process. Dropped before [`Predecessor::confirm_takeover`] it gives the
/// addresses up at once.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// The one that waits in this run directory.
    pub(crate) fn find(run_dir: &Path) -> Option<Predecessor> {
        let stream = UnixStream::connect(path(run_dir).ok()?).ok()?;
        // Only a process of the same user is trusted; others may be able to write to the directory.
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
        if peer.uid != rustix::process::geteuid() {
            return None;
        }
        stream
            .set_read_timeout(Some(ANSWER_LIMIT))
            .and_then(|()| stream.set_write_timeout(Some(ANSWER_LIMIT)))
            .ok()?;
        Some(Predecessor(stream))
    }

    /// Claims what was handed over; false when the guardian has given it up.
    pub(crate) fn claim(&mut self) -> bool {
        let mut answer = [0];
        let asked = self.0.write_all(&[CLAIM]).and_then(|()| self.0.read_exact(&mut answer));
        asked.is_ok() && answer == [GRANTED]
    }

    /// This process has taken over, and its own guardian knows what to do.
    pub(crate) fn confirm_takeover(mut self) {
        // One that ended meanwhile has given up, which the router sees.
        let _ = self.0.write_all(&[DONE]);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn listening(name: &str) -> (PathBuf, OwnedFd) {
        let folder = std::env::temp_dir().join(format!("lvsd-claim-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let listener = HandoverPlace::of(&folder).unwrap().listen().unwrap();
        (folder, listener)
    }

    fn in_time() -> Instant {
        clock::now() + Duration::from_secs(30)
    }

    #[test]
    fn a_successor_that_claims_and_goes_on_is_waited_for_no_longer() {
        let (folder, listener) = listening("goes-on");
        let other = folder.clone();
        let successor = std::thread::spawn(move || {
            let another = Predecessor::find(&other).unwrap();
            let mut this = Predecessor::find(&other).unwrap();
            // A second start that fails meanwhile, as beside a running one, changes nothing.
            drop(another);
            let is_granted = this.claim();
            this.confirm_takeover();
            is_granted
        });
        assert!(is_taken_over(&listener, in_time(), in_time()));
        assert!(successor.join().unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_successor_that_ends_early_is_noticed_at_once_whatever_it_has_said() {
        for claims in [false, true] {
            let (folder, listener) = listening(if claims { "ends-late" } else { "ends-early" });
            let other = folder.clone();
            let successor = std::thread::spawn(move || {
                let mut this = Predecessor::find(&other).unwrap();
                !claims || this.claim()
            });
            assert!(!is_taken_over(&listener, in_time(), in_time()));
            assert!(successor.join().unwrap());
            fs::remove_dir_all(&folder).unwrap();
        }
    }

    #[test]
    fn no_successor_is_waited_for_beyond_the_time_and_a_late_one_gets_nothing() {
        let (folder, listener) = listening("nobody");
        let soon = clock::now() + Duration::from_millis(20);
        assert!(!is_taken_over(&listener, soon, in_time()));
        drop(listener);
        assert!(Predecessor::find(&folder).is_none());
        fs::remove_dir_all(&folder).unwrap();
    }
}
