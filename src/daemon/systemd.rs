//! Messages to the service manager, over the datagram socket in NOTIFY_SOCKET (sd_notify(3)).
//!
//! Without that socket nothing is sent. A message that cannot be delivered is lost; a later one repeats it.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::{debug, warn};

use crate::text::line;
use crate::time::Instant;

/// Between the end of what was announced and the next word.
const MARGIN: Duration = Duration::from_secs(30);

/// The way to the service manager.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the service manager's environment says.
    pub(crate) fn from_environment() -> ServiceManager {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return ServiceManager::default() };
        let socket = match open(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!("NOTIFY_SOCKET {}: {error}: the service manager is not notified", name.display());
                None
            }
        };
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let limit = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && is_ours && socket.is_some());
        ServiceManager { socket, watchdog: limit.map(Duration::from_micros) }
    }

    /// How long the service manager waits for a sign of life before it ends this process.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The start is over: the kernel holds what it should. Also ends a reload.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// A reload begins.
    pub(crate) fn reloading(&self, now: Instant) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_nanos() / 1000));
    }

    /// The start or the end takes so much longer; some seconds more for what else is to be done.
    pub(crate) fn wait_for(&self, time: Duration) {
        let patience = time.saturating_add(MARGIN);
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", patience.as_micros()));
    }

    /// The end begins.
    pub(crate) fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}", line(status)));
    }

    /// One sentence on how things are.
    pub(crate) fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", line(status)));
    }

    /// A sign of life.
    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            debug!("could not send to the service manager {message:?}: {error}");
        }
    }
}

/// A socket that never blocks, and where to send; `@` begins a name without a file.
fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::other("it is neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
impl ServiceManager {
    /// A service manager of a test's own, and the way to it.
    pub(crate) fn pair(name: &str) -> (ServiceManager, UnixDatagram) {
        let name = format!("@lvsd-notify-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager.set_nonblocking(true).unwrap();
        (ServiceManager { socket: Some(open(OsStr::new(&name)).unwrap()), watchdog: None }, manager)
    }

    /// What a service manager has heard.
    pub(crate) fn heard(manager: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 200];
        let next =
            || manager.recv(&mut buffer).ok().map(|n| String::from_utf8_lossy(&buffer[..n]).into_owned());
        std::iter::from_fn(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_the_service_manager_reads_them() {
        let (service_manager, manager) = ServiceManager::pair("messages");
        service_manager.reloading(Instant::from_nanos(5_000_123));
        service_manager.ready("all is well\nSTOPPING=1");
        service_manager.alive();
        service_manager.wait_for(Duration::from_secs(10));
        let wanted = [
            "RELOADING=1\nMONOTONIC_USEC=5000",
            "READY=1\nSTATUS=all is well\\nSTOPPING=1",
            "WATCHDOG=1",
            "EXTEND_TIMEOUT_USEC=40000000",
        ];
        assert_eq!(ServiceManager::heard(&manager), wanted);
    }

    #[test]
    fn a_name_that_is_no_socket_is_refused_and_a_missing_listener_is_no_trouble() {
        assert!(open(OsStr::new("vsock:2:1")).is_err());
        let no_listener = open(OsStr::new("/nonexistent/notify")).unwrap();
        ServiceManager { socket: Some(no_listener), watchdog: None }.alive();
    }
}
