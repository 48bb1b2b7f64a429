//! UDP, SCTP and TCP servers of ours that answer with their host's name, and a client for each.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
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
pub(crate) fn serve_udp(host: &Host, address: IpAddr, port: u16) -> Verdict {
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
pub(crate) fn ask_udp(host: &Host, server: SocketAddr) -> Result<String, String> {
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
pub(crate) fn serve_sctp(host: &Host, address: IpAddr, port: u16) -> Verdict {
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
pub(crate) fn ask_sctp(host: &Host, server: SocketAddr) -> Result<String, String> {
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

/// Answers every byte on every TCP connection to this port with the host's name, until the guest ends.
///
/// # Errors
/// When the port cannot be had.
pub(crate) fn serve_tcp(host: &Host, port: u16) -> Verdict {
    let fail = |e: std::io::Error| format!("{}: tcp {port}: {e}", host.name());
    let listener = host.enter(|| TcpListener::bind(("::", port)).map_err(fail))?;
    let name = host.name().to_owned();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let name = name.clone();
            std::thread::spawn(move || {
                let mut byte = [0];
                while matches!(stream.read(&mut byte), Ok(1)) && stream.write_all(name.as_bytes()).is_ok() {}
            });
        }
    });
    Ok(())
}

/// A TCP connection that is kept: what a failover must not break.
#[derive(Debug)]
pub(crate) struct Conversation(TcpStream);

impl Conversation {
    /// Opens one from a host.
    ///
    /// # Errors
    /// No connection within 3 seconds.
    pub(crate) fn open(host: &Host, server: SocketAddr) -> Result<Conversation, String> {
        let fail = |e: std::io::Error| format!("tcp {server}: {e}");
        host.enter(|| {
            let stream = TcpStream::connect_timeout(&server, PATIENCE).map_err(fail)?;
            stream.set_nodelay(true).map_err(fail)?;
            Ok(Conversation(stream))
        })
    }

    /// Asks once more; the name that answered.
    ///
    /// # Errors
    /// No answer within this time, or a connection that is no more.
    pub(crate) fn ask(&mut self, patience: Duration) -> Result<String, String> {
        let fail = |e: std::io::Error| format!("conversation: {e}");
        self.0.set_read_timeout(Some(patience)).map_err(fail)?;
        self.0.write_all(b"?").map_err(fail)?;
        let mut buffer = [0; 64];
        let n = self.0.read(&mut buffer).map_err(fail)?;
        if n == 0 {
            return Err("conversation: closed".to_owned());
        }
        Ok(String::from_utf8_lossy(buffer.get(..n).unwrap_or_default()).into_owned())
    }
}
