//! The socket every conversation begins with: opened, bound and marked as the target says, then connected.
//!
//! An error is an outcome already: by the table in [`super::errno`] it is a failed check or one that could not be made
//! here. [`super::tcp`] and [`super::http`] say something on the connection, [`super::path`] only opens it.
//!
//! A TCP check costs six system calls and its share of a wait: socket, connect, two registrations,
//! SO_ERROR, close.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::errno::{self, Meaning, When};
use super::outcome::{Outcome, Phase};
use super::spec::{Source, Target};

/// Where Linux begins to choose source ports by default (`net.ipv4.ip_local_port_range`).
const FIRST_EPHEMERAL_PORT: u16 = 32768;

/// Connects to `target` within its `connect_timeout`.
///
/// # Errors
/// [`ProbeResult::Fail`](super::outcome::ProbeResult::Fail) in phase `Connect` when the real server or the network
/// refused or kept silent; `Inconclusive` in phase `Socket` or `Connect` when this host could not try.
pub(crate) async fn connect(target: &Target) -> Result<TcpStream, Outcome> {
    reach(open(target)?, target).await.map_err(|failed| failed.outcome)
}

/// A connection that did not come about.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    /// connect() itself failed: nothing of the network has answered.
    pub(super) is_immediate: bool,
}

/// The same by a socket that was opened. Whether connect() failed at once or the network answered later makes a
/// difference, so both are done by hand.
pub(super) async fn reach(socket: Socket, target: &Target) -> Result<TcpStream, Failed> {
    let immediate = |outcome| Failed { outcome, is_immediate: true };
    let later = |outcome| Failed { outcome, is_immediate: false };
    match socket.connect(&target.address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
            return Err(immediate(refused(target, When::Connecting, &error)));
        }
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into())
        .map_err(|error| immediate(refused(target, When::Preparing, &error)))?;
    let answered = async {
        stream.writable().await?;
        stream.take_error()
    };
    match timeout(target.connect_timeout, answered).await {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(error)) | Err(error)) => return Err(later(refused(target, When::Answered, &error))),
        Err(_elapsed) => {
            let reason = format!("no answer within {}", in_words(target.connect_timeout));
            return Err(later(Outcome::fail(Phase::Connect, reason)));
        }
    }
    if is_connected_to_itself(target, &stream) {
        let reason = "connection refused (only this socket itself answered)";
        return Err(later(Outcome::fail(Phase::Connect, reason)));
    }
    Ok(stream)
}

/// `3 s`, `0.25 s`.
pub(super) fn in_words(d: Duration) -> String {
    format!("{} s", d.as_secs_f64())
}

/// The address that the kernel would choose for a check without `bindto`, by its route and interface; None where it has
/// no route, which the check will say. Nothing is sent: it is a connected UDP socket's.
pub(crate) fn kernels_source(target: &Target) -> Option<IpAddr> {
    let socket = open_as(target, Type::DGRAM, Protocol::UDP).ok()?;
    socket.connect(&target.address.into()).ok()?;
    socket.local_addr().ok()?.as_socket().map(|address| address.ip())
}

/// A UDP socket that is bound, marked and connected as the target says: it hears the target alone, and the ICMP errors
/// that the target's packets meet.
pub(super) fn datagram(target: &Target) -> Result<UdpSocket, Outcome> {
    let socket = open_as(target, Type::DGRAM.nonblocking(), Protocol::UDP)?;
    bind(&socket, target.source(), target.address)?;
    socket.connect(&target.address.into()).map_err(|e| refused(target, When::Connecting, &e))?;
    UdpSocket::from_std(socket.into()).map_err(|e| refused(target, When::Preparing, &e))
}

thread_local! {
    /// Where a datagram is read to: one for each thread, as a check that waits for its reply needs none.
    static DATAGRAM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The longest datagram, in bytes.
const DATAGRAM_LIMIT: usize = 65_536;

/// Waits for datagrams, and hands each to `take` until that returns something.
///
/// # Errors
/// The socket's, an ICMP refusal at once.
pub(super) async fn receive<T>(
    socket: &UdpSocket,
    mut take: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<T> {
    // A refusal makes the socket erroneous, and not readable.
    let interest = Interest::READABLE | Interest::ERROR;
    let mut read = || {
        DATAGRAM.with_borrow_mut(|buffer| {
            buffer.resize(DATAGRAM_LIMIT, 0);
            let (datagram, _) = rustix::net::recv(socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT)?;
            Ok(take(buffer.get(..datagram).unwrap_or_default()))
        })
    };
    // One at a time: a flood of datagrams must not keep the loop from its other work.
    loop {
        if let Some(taken) = socket.async_io(interest, &mut read).await? {
            return Ok(taken);
        }
    }
}

/// The socket, not blocking and closed on exec, with everything the target wishes of it.
pub(super) fn open(target: &Target) -> Result<Socket, Outcome> {
    let socket = open_as(target, Type::STREAM.nonblocking(), Protocol::TCP)?;
    bind(&socket, target.source(), target.address)?;
    Ok(socket)
}

/// The same before it has an address.
pub(super) fn open_as(target: &Target, kind: Type, protocol: Protocol) -> Result<Socket, Outcome> {
    let socket = Socket::new(Domain::for_address(target.address), kind, Some(protocol))
        .map_err(|e| refused(target, When::Preparing, &e))?;
    let source = target.source();
    if let Some(interface) = &source.interface {
        socket.bind_device(Some(interface.as_bytes())).map_err(|e| {
            let reason = match e.raw_os_error() {
                Some(libc::ENODEV) => format!("no interface {interface}: create it or correct bind_if"),
                Some(libc::EPERM) => format!("bind_if {interface} needs the capability CAP_NET_RAW"),
                _ => format!("bind_if {interface}: {}", errno::of_this_host(&e)),
            };
            inconclusive(Phase::Socket, reason, &e)
        })?;
    }
    if let Some(mark) = source.fwmark {
        socket.set_mark(mark).map_err(|e| {
            let reason = match e.raw_os_error() {
                Some(libc::EPERM) => format!("fwmark {mark} needs the capability CAP_NET_ADMIN"),
                _ => format!("fwmark {mark}: {}", errno::of_this_host(&e)),
            };
            inconclusive(Phase::Socket, reason, &e)
        })?;
    }
    Ok(socket)
}

/// Gives the socket its source address and port, where they are named.
pub(super) fn bind(socket: &Socket, source: &Source, target: SocketAddr) -> Result<(), Outcome> {
    let address = match (source.address, source.port) {
        (None, None) => return Ok(()),
        (Some(address), _) => address,
        (None, Some(_)) if target.is_ipv6() => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        (None, Some(_)) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    if address.is_ipv4() != target.is_ipv4() {
        let reason = format!("bindto {address} and {} are of different families", target.ip());
        return Err(Outcome::inconclusive(Phase::Socket, reason));
    }
    let bound = SocketAddr::new(address, source.port.unwrap_or(0));
    let prepared = match source.port {
        // Without a zero linger the port would stay taken for a minute after each check (FIN_WAIT2, TIME_WAIT),
        // and the next check from it to the same server could not be made.
        Some(_) => socket.set_reuse_address(true).and_then(|()| socket.set_linger(Some(Duration::ZERO))),
        None => choose_port_at_connect(socket),
    };
    prepared.and_then(|()| socket.bind(&bound.into())).map_err(|e| {
        let reason = match e.raw_os_error() {
            Some(libc::EADDRNOTAVAIL) => {
                format!("bindto {address} is not an address of this host: add it or correct bindto")
            }
            Some(libc::EADDRINUSE) => format!("source port {} is in use on this host", bound.port()),
            Some(libc::EACCES) => {
                format!("source port {} needs the capability CAP_NET_BIND_SERVICE", bound.port())
            }
            Some(libc::EINVAL) => format!("bindto {address} cannot be used: a link-local one needs bind_if"),
            _ => format!("bindto {address}: {}", errno::of_this_host(&e)),
        };
        inconclusive(Phase::Socket, reason, &e)
    })
}

/// Lets connect() choose the source port, so that one port can serve probes to many servers; a bind() to
/// port 0 would take a port for itself alone and run out at some 28,000.
#[allow(unsafe_code)]
fn choose_port_at_connect(socket: &Socket) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).expect("an int's size fits socklen_t");
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel reads `size` bytes
    // of `on`, which lives across the call.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size,
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a connection that failed says.
pub(super) fn refused(target: &Target, when: When, error: &io::Error) -> Outcome {
    let phase = if when == When::Preparing { Phase::Socket } else { Phase::Connect };
    let outcome = match (errno::meaning(when, error), error.raw_os_error()) {
        (Meaning::ServerDown(words), _) => Outcome::fail(phase, words),
        (Meaning::AsRouted(words, _), _) if is_unroutable(target) => Outcome::fail(phase, words),
        (Meaning::CannotAsk(_), Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE)) => {
            Outcome::inconclusive(phase, no_source(target))
        }
        (Meaning::CannotAsk(words) | Meaning::AsRouted(_, words), _) => Outcome::inconclusive(phase, words),
    };
    outcome.with_errno(error.raw_os_error())
}

fn no_source(target: &Target) -> Cow<'static, str> {
    match target.source().port {
        Some(port) => format!("source port {port} is still in use towards {}", target.address).into(),
        None => "no source port left: widen sysctl net.ipv4.ip_local_port_range".into(),
    }
}

/// Whether forwarded packets find no way to the target, either. A connected UDP socket looks its route up as IPVS does,
/// by the destination alone, without the probe's source, mark and interface; it sends nothing.
fn is_unroutable(target: &Target) -> bool {
    if let IpAddr::V6(ip) = target.address.ip()
        && ip.is_unicast_link_local()
    {
        return false;
    }
    let Ok(socket) = Socket::new(Domain::for_address(target.address), Type::DGRAM, None) else {
        return false;
    };
    let result = socket.connect(&target.address.into());
    let route = [libc::EACCES, libc::EINVAL, libc::EHOSTUNREACH, libc::ENETUNREACH];
    result.is_err_and(|error| error.raw_os_error().is_some_and(|errno| route.contains(&errno)))
}

/// Whether the connection's two ends are one socket: towards a closed port of this host from which the kernel
/// happened to choose the source port, TCP connects to itself, and a dead server would look alive.
fn is_connected_to_itself(target: &Target, stream: &TcpStream) -> bool {
    let may_be_chosen =
        target.address.port() >= FIRST_EPHEMERAL_PORT || target.source().port == Some(target.address.port());
    may_be_chosen
        && stream
            .local_addr()
            .is_ok_and(|local| local.port() == target.address.port() && local.ip() == target.address.ip())
}

fn inconclusive(phase: Phase, reason: impl Into<Cow<'static, str>>, error: &io::Error) -> Outcome {
    Outcome::inconclusive(phase, reason).with_errno(error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::check::outcome::ProbeResult;
    use crate::check::scripted::target;

    #[tokio::test]
    async fn the_source_address_is_the_bound_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut target = target(listener.local_addr().unwrap());
        from(&mut target).address = Some("127.0.0.9".parse().unwrap());
        let _stream = connect(&target).await.unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), "127.0.0.9".parse::<IpAddr>().unwrap());
    }

    #[tokio::test]
    async fn a_bound_port_serves_check_after_check() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut target = target(listener.local_addr().unwrap());
        from(&mut target).port = Some(unused_port());
        let mut slow = Vec::new();
        for _ in 0..3 {
            let probe = connect(&target).await.unwrap();
            let (server, source) = listener.accept().unwrap();
            assert_eq!(Some(source.port()), target.source().port);
            // A server that is slow to close would hold the port at this end, too.
            slow.push(server);
            drop(probe);
        }
    }

    #[tokio::test]
    async fn a_bound_port_serves_two_servers_at_once() {
        let servers = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = unused_port();
        let mut probes = Vec::new();
        for server in &servers {
            let mut target = target(server.local_addr().unwrap());
            from(&mut target).port = Some(port);
            probes.push(connect(&target).await.unwrap());
        }
        assert_eq!(probes.len(), 2);
    }

    #[tokio::test]
    async fn a_bound_address_takes_no_port_before_it_connects() {
        for (address, source) in [("127.0.0.1:9", "127.0.0.9"), ("[::1]:9", "::1")] {
            let mut target = target(address.parse().unwrap());
            from(&mut target).address = Some(source.parse().unwrap());
            match open(&target) {
                Ok(socket) => assert_eq!(socket.local_addr().unwrap().as_socket().unwrap().port(), 0),
                // A machine without IPv6 must say so.
                Err(outcome) => assert!(target.address.is_ipv6(), "{outcome:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_source_of_the_other_family_is_this_hosts_error() {
        let mut target = target("127.0.0.1:9".parse().unwrap());
        from(&mut target).address = Some("::1".parse().unwrap());
        let outcome = connect(&target).await.unwrap_err();
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Inconclusive, Phase::Socket));
        assert_eq!(outcome.reason, "bindto ::1 and 127.0.0.1 are of different families");
    }

    #[tokio::test]
    async fn a_source_address_nobody_has_is_this_hosts_error() {
        let mut target = target("127.0.0.1:9".parse().unwrap());
        from(&mut target).address = Some("192.0.2.77".parse().unwrap());
        let outcome = connect(&target).await.unwrap_err();
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Inconclusive, Phase::Socket));
        assert_eq!(outcome.errno, Some(libc::EADDRNOTAVAIL));
        assert_eq!(
            outcome.reason,
            "bindto 192.0.2.77 is not an address of this host: add it or correct bindto"
        );
    }

    #[tokio::test]
    async fn a_source_port_in_use_is_this_hosts_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut target = target("127.0.0.1:9".parse().unwrap());
        from(&mut target).port = Some(taken.local_addr().unwrap().port());
        let outcome = connect(&target).await.unwrap_err();
        assert_eq!((outcome.result, outcome.errno), (ProbeResult::Inconclusive, Some(libc::EADDRINUSE)));
        assert!(outcome.reason.starts_with("source port "), "{}", outcome.reason);
    }

    #[tokio::test]
    async fn the_interface_is_bound_or_the_outcome_says_why_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut target = target(listener.local_addr().unwrap());
        from(&mut target).interface = Some("lo".to_owned());
        match open(&target) {
            Ok(socket) => assert_eq!(socket.device().unwrap().as_deref(), Some(b"lo".as_slice())),
            Err(outcome) => assert_eq!(outcome.reason, "bind_if lo needs the capability CAP_NET_RAW"),
        }
        from(&mut target).interface = Some("nosuchif0".to_owned());
        let outcome = connect(&target).await.unwrap_err();
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Inconclusive, Phase::Socket));
        assert_eq!(outcome.reason, "no interface nosuchif0: create it or correct bind_if");
    }

    #[tokio::test]
    async fn the_mark_is_set_or_the_outcome_says_why_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut target = target(listener.local_addr().unwrap());
        from(&mut target).fwmark = Some(77);
        match open(&target) {
            Ok(socket) => assert_eq!(socket.mark().unwrap(), 77),
            Err(outcome) => {
                assert_eq!((outcome.result, outcome.errno), (ProbeResult::Inconclusive, Some(libc::EPERM)));
                assert_eq!(outcome.reason, "fwmark 77 needs the capability CAP_NET_ADMIN");
            }
        }
    }

    #[tokio::test]
    async fn a_socket_that_reaches_only_itself_has_reached_nobody() {
        let port = unused_port();
        let mut target = target(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        from(&mut target).address = Some(Ipv4Addr::LOCALHOST.into());
        from(&mut target).port = Some(port);
        let outcome = connect(&target).await.unwrap_err();
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Connect));
        assert_eq!(outcome.reason, "connection refused (only this socket itself answered)");
    }

    #[test]
    fn an_error_of_the_kernel_becomes_the_operators_words() {
        let target = target("127.0.0.1:80".parse().unwrap());
        let here = ProbeResult::Inconclusive;
        for (when, errno, result, reason) in [
            (When::Answered, libc::ECONNREFUSED, ProbeResult::Fail, "connection refused"),
            (When::Connecting, libc::EHOSTUNREACH, ProbeResult::Fail, "no route to host"),
            (
                When::Connecting,
                libc::EPERM,
                here,
                "forbidden on this host: look at its outgoing firewall rules and its security policy",
            ),
            // The way to 127.0.0.1 is open: so it is not a route that forbids it.
            (
                When::Connecting,
                libc::EACCES,
                here,
                "forbidden on this host: look at its security policy (SELinux, AppArmor)",
            ),
            (
                When::Connecting,
                libc::EINVAL,
                here,
                "the kernel refuses this source or address: look at bindto, and a link-local address needs bind_if",
            ),
            (
                When::Answered,
                libc::EACCES,
                ProbeResult::Fail,
                "administratively prohibited: a firewall on the way rejects it (ICMPv6)",
            ),
            (
                When::Connecting,
                libc::EADDRNOTAVAIL,
                here,
                "no source port left: widen sysctl net.ipv4.ip_local_port_range",
            ),
            (When::Connecting, libc::EMFILE, here, "no file descriptors left: raise LimitNOFILE"),
            (
                When::Connecting,
                libc::ENFILE,
                here,
                "no file descriptors left on this host: raise sysctl fs.file-max",
            ),
            (When::Connecting, libc::ENOBUFS, here, "no memory left for sockets on this host"),
            (When::Connecting, libc::EAFNOSUPPORT, here, "this address family is switched off on this host"),
            (When::Connecting, libc::EIO, here, "Input/output error (os error 5), on this host"),
        ] {
            let outcome = refused(&target, when, &io::Error::from_raw_os_error(errno));
            assert_eq!((outcome.result, &*outcome.reason), (result, reason));
            assert_eq!((outcome.phase, outcome.errno), (Phase::Connect, Some(errno)));
        }
    }

    fn from(target: &mut Target) -> &mut Source {
        target.source.get_or_insert_default()
    }

    #[tokio::test]
    async fn a_refusal_that_comes_while_a_reply_is_awaited_ends_the_wait() {
        for is_heard_before in [false, true] {
            let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let client = datagram(&target(server.local_addr().unwrap())).unwrap();
            if is_heard_before {
                server.send_to(b"unwanted", client.local_addr().unwrap()).unwrap();
            }
            let mut wait = Box::pin(receive(&client, |packet| (packet == b"wanted").then_some(())));
            let step = Duration::from_millis(50);
            assert!(tokio::time::timeout(step, &mut wait).await.is_err());
            drop(server);
            client.send(b"x").await.unwrap();
            let error = tokio::time::timeout(step * 100, wait).await.expect("the wait ended").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        }
    }

    #[tokio::test]
    async fn a_check_that_waits_for_a_datagram_holds_no_buffer() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = datagram(&target(server.local_addr().unwrap())).unwrap();
        let wait = receive(&client, |_| Some(()));
        assert!(size_of_val(&wait) < 512, "{} bytes", size_of_val(&wait));
    }

    fn unused_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }
}
