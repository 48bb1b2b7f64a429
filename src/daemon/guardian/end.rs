//! What the guardian does: it waits for the daemon's death, carries out the crash plan, and ends. A daemon that shows no
//! sign of life for longer than its peers wait counts as dead, too; one that hands over has some time for its successor.
//!
//! After the death it allocates nothing, and takes no failure for a reason to stop.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::RawFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RawProtocol, SendFlags, SocketFlags, SocketType, bind, ipproto, netdevice, sendto,
    socket_with, sockopt,
};
use socket2::SockRef;

use super::claim::{HandoverPlace, is_taken_over};
use super::page::Page;
use super::plan::{self, CrashAction, LONGEST};
use super::{ENGAGE, FOLLOW, HAND_OVER};
use crate::daemon::clock;
use crate::net::namespace;

/// Descriptors a process may have this early.
const EARLY: RawFd = 256;
const VRRP: u32 = 112;
/// Traffic class of what VRRP says.
const CLASS: u32 = 0xc0;

/// Between two looks whether there is a limit to the daemon's silence.
const LOOK: Duration = Duration::from_secs(1);
/// A guardian that wakes up so late did not run itself, as when its whole machine was paused.
const LATE: Duration = Duration::from_millis(100);
/// Then the daemon has so much time to show that it lives.
const GRACE: Duration = Duration::from_millis(250);

/// Waits until the other end of the socket is closed, then does what is to be done.
pub(super) fn await_death(page: &Page, daemon: &OwnedFd, keep: RawFd, place: Option<&HandoverPlace>) {
    detach(keep);
    let mut listener = None;
    let mut is_engaged = false;
    // The plan that was carried out for a silent daemon; it is not carried out again.
    let mut done = None;
    loop {
        match wait(page, daemon, is_engaged, done) {
            DaemonSignal::Word(HAND_OVER) => {
                listener = place.and_then(|place| place.listen().ok());
                let _ = rustix::io::write(daemon, &[u8::from(listener.is_some())]);
            }
            DaemonSignal::Word(ENGAGE) => {
                is_engaged = true;
                engage(page);
            }
            DaemonSignal::Word(FOLLOW) => follow(page),
            DaemonSignal::Word(_) => {}
            DaemonSignal::Silence => {
                act(page);
                done = Some(page.publications());
            }
            DaemonSignal::Death => break,
        }
    }
    if let (Some((claim_by, done_by)), Some(listener), Some(place)) = (page.handed_over(), &listener, place) {
        let is_over = is_taken_over(listener, claim_by, done_by);
        place.close();
        if is_over {
            return;
        }
        place.forget();
    }
    act(page);
}

/// What comes from the daemon.
enum DaemonSignal {
    Word(u8),
    /// Nothing, for longer than is allowed.
    Silence,
    Death,
}

fn wait(page: &Page, daemon: &OwnedFd, is_engaged: bool, done: Option<u32>) -> DaemonSignal {
    let mut is_doubtful = false;
    loop {
        let silent_at = || page.silent_at().filter(|_| done != Some(page.publications()));
        let begun = clock::now();
        let time = match silent_at() {
            Some(_) if is_doubtful => Some(GRACE),
            Some(at) => Some(at.since(begun)),
            None if is_engaged => Some(LOOK),
            None => None,
        };
        let limit = time.and_then(|time| Timespec::try_from(time).ok());
        match poll(&mut [PollFd::new(daemon, PollFlags::IN)], limit.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => {
                let mut word = [0];
                return match rustix::io::read(daemon, &mut word) {
                    Ok(1) => DaemonSignal::Word(word[0]),
                    _ => DaemonSignal::Death,
                };
            }
            Err(_) => return DaemonSignal::Death,
        }
        let woken = clock::now();
        if silent_at().is_none_or(|at| at > woken) {
            is_doubtful = false;
        } else if is_doubtful || time.is_some_and(|time| woken.since(begun) <= time + LATE) {
            return DaemonSignal::Silence;
        } else {
            is_doubtful = true;
        }
    }
}

/// Moves to where the daemon is: its addresses are there.
fn follow(page: &Page) {
    let Some(daemon) = rustix::process::getppid() else { return };
    if let Err(error) = namespace::follow(daemon) {
        page.complain(error.raw_os_error().unwrap_or(libc::EPERM));
    }
}

/// Makes sure of what it will need when memory may be short.
fn engage(page: &Page) {
    // Memory that is not to be locked without CAP_IPC_LOCK is no reason not to guard.
    let _ = mlockall(MlockAllFlags::CURRENT);
    // The sockets of now are closed again: what matters is whether they may be had.
    if let Err(errno) = Sockets::open() {
        page.complain(errno.raw_os_error());
    }
}

/// Leaves the daemon's session, folder and files; keeps the streams (on /dev/null) and the socket to the daemon.
fn detach(keep: RawFd) {
    let _ = rustix::thread::set_name(c"lvsd: guardian");
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    close_others(keep);
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
}

/// Closes everything but the standard streams and the socket to the daemon.
fn close_others(keep: RawFd) {
    let keep = keep.unsigned_abs();
    // SAFETY: this process was forked a moment ago and runs nothing but this module, which owns that socket alone: nothing
    // uses or closes what is closed here.
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(libc::SYS_close_range, 3_u32, keep.saturating_sub(1).max(2), 0_u32);
        if libc::syscall(libc::SYS_close_range, keep.saturating_add(1), u32::MAX, 0_u32) != 0 {
            // Before Linux 5.9; so early the daemon has a handful.
            for descriptor in (3..EARLY).filter(|d| d.unsigned_abs() != keep) {
                libc::close(descriptor);
            }
        }
    }
}

struct Sockets {
    ipv4: OwnedFd,
    /// None where there is no IPv6.
    ipv6: Option<OwnedFd>,
    netlink: OwnedFd,
}

impl Sockets {
    fn open() -> Result<Sockets, Errno> {
        Ok(Sockets {
            ipv4: raw(AddressFamily::INET, ipproto::RAW.as_raw())?,
            ipv6: match raw(AddressFamily::INET6, RawProtocol::new(VRRP).ok_or(Errno::INVAL)?) {
                Err(Errno::AFNOSUPPORT) => None,
                other => Some(other?),
            },
            netlink: socket_with(AddressFamily::NETLINK, SocketType::RAW, FLAGS, None)?,
        })
    }
}

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

fn raw(family: AddressFamily, protocol: RawProtocol) -> Result<OwnedFd, Errno> {
    socket_with(family, SocketType::RAW, FLAGS, Some(rustix::net::Protocol::from_raw(protocol)))
}

fn act(page: &Page) {
    // No plan was published, or it was withdrawn: a planned end.
    if page.read(0, &mut [0; 1]) == 0 {
        return;
    }
    let Ok(sockets) = Sockets::open() else { return };
    let (mut content, mut at) = ([0; LONGEST], 0);
    while let Some((action, length, next)) = plan::read(page, at, &mut content) {
        at = next;
        let content = content.get(..length).unwrap_or_default();
        let _ = match action {
            CrashAction::Netlink => {
                sendto(&sockets.netlink, content, SendFlags::DONTWAIT, &SocketAddrNetlink::new(0, 0))
            }
            CrashAction::Send { link, source, destination, hop_limit } => {
                send(&sockets, link, source, destination, hop_limit, content)
            }
        };
    }
}

fn send(
    sockets: &Sockets,
    link: u32,
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    packet: &[u8],
) -> Result<usize, Errno> {
    let socket = match destination {
        IpAddr::V4(_) => &sockets.ipv4,
        IpAddr::V6(_) => sockets.ipv6.as_ref().ok_or(Errno::AFNOSUPPORT)?,
    };
    if link != 0 {
        let name = netdevice::index_to_name_inlined(&sockets.netlink, link)?;
        SockRef::from(socket).bind_device(Some(name.as_bytes())).map_err(|_| Errno::NODEV)?;
    } else {
        SockRef::from(socket).bind_device(None).map_err(|_| Errno::NODEV)?;
    }
    match source {
        // The packet brings its header along.
        IpAddr::V4(_) => sockopt::set_ip_multicast_loop(socket, false)?,
        IpAddr::V6(source) => {
            let scope = if source.is_unicast_link_local() { link } else { 0 };
            bind(socket, &SocketAddrV6::new(source, 0, 0, scope))?;
            sockopt::set_ipv6_multicast_loop(socket, false)?;
            sockopt::set_ipv6_multicast_hops(socket, u32::from(hop_limit))?;
            sockopt::set_ipv6_unicast_hops(socket, Some(hop_limit))?;
            sockopt::set_ipv6_tclass(socket, CLASS)?;
        }
    }
    let to = match destination {
        IpAddr::V4(ip) => SocketAddr::from((ip, 0)),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, link).into(),
    };
    sendto(socket, packet, SendFlags::DONTWAIT, &to)
}
