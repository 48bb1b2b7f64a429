//! UDP and SCTP servers of ours that answer with their host's name, and a client for each.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Verdict;
use super::host::Host;

const PATIENCE: Duration = Duration::from_secs(3);
/// IPPROTO_SCTP.
const SCTP: Protocol = Protocol::SCTP;

/// Answers datagrams to this address with the host's name, until the guest ends. With DR the answer must
/// come from the VIP: bind to it.
///
/// # Errors
/// When the address cannot be had.
pub fn serve_udp(host: &Host, address: IpAddr, port: u16) -> Verdict {
    let fail = |e: std::io::Error| format!("{}: udp {address} {port}: {e}", host.name());
    let socket = host.enter(|| UdpSocket::bind((address, port)).map_err(fail))?;
    let name = host.name().to_owned();
    host.spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, client)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(name.as_bytes(), client);
        }
        Ok(())
    });
    Ok(())
}

/// One question by UDP from a host; the name that answered.
///
/// # Errors
/// No answer within 3 seconds.
pub fn ask_udp(host: &Host, server: SocketAddr) -> Result<String, String> {
    let fail = |e: std::io::Error| format!("udp {server}: {e}");
    host.enter(|| {
        let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, 0)).map_err(fail)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
        socket.connect(server).map_err(fail)?;
        socket.send(b"who?").map_err(fail)?;
        let mut buffer = [0; 64];
        let n = socket.recv(&mut buffer).map_err(fail)?;
        Ok(String::from_utf8_lossy(buffer.get(..n).unwrap_or_default()).into_owned())
    })
}

/// Answers SCTP associations to this address with the host's name, until the guest ends.
///
/// # Errors
/// When the address cannot be had (the module `sctp` must be loaded).
pub fn serve_sctp(host: &Host, address: IpAddr, port: u16) -> Verdict {
    let fail = |e: std::io::Error| format!("{}: sctp {address} {port}: {e}", host.name());
    let local = SocketAddr::new(address, port);
    let socket = host.enter(|| {
        let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(SCTP)).map_err(fail)?;
        socket.bind(&SockAddr::from(local)).map_err(fail)?;
        socket.listen(16).map_err(fail)?;
        Ok(socket)
    })?;
    let name = host.name().to_owned();
    host.spawn(move || {
        while let Ok((mut association, _)) = socket.accept() {
            let _ = association.write_all(name.as_bytes());
        }
        Ok(())
    });
    Ok(())
}

/// One SCTP association from a host; the name that answered.
///
/// # Errors
/// No association or no answer within 3 seconds.
pub fn ask_sctp(host: &Host, server: SocketAddr) -> Result<String, String> {
    let fail = |e: std::io::Error| format!("sctp {server}: {e}");
    host.enter(|| {
        let mut socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(SCTP)).map_err(fail)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
        socket.set_write_timeout(Some(PATIENCE)).map_err(fail)?;
        socket.connect(&SockAddr::from(server)).map_err(fail)?;
        let mut buffer = [0; 64];
        let n = socket.read(&mut buffer).map_err(fail)?;
        Ok(String::from_utf8_lossy(buffer.get(..n).unwrap_or_default()).into_owned())
    })
}
