//! Sessions with servers, kept to be resumed: the next handshake then costs a fraction.
//!
//! rustls keeps sessions by name, and asks in the middle of a handshake, through a shared store. Many real
//! servers share a name and none can resume the session of another, so [`Sessions`] keeps them by address, and a
//! handshake gets a [`View`] of its own server's. [`super::TlsClient`] owns one for all its servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use crate::time::Instant;

/// Most servers whose sessions are kept; beyond it all are forgotten, which costs each one full handshake.
const LIMIT: usize = 20_000;
/// Longest time since a server last proved itself in a full handshake: a resumed session shows the certificate
/// of its beginning, and a new one must not go unnoticed.
const LONGEST: Duration = Duration::from_secs(3600);

/// rustls asks through a shared reference, from wherever a handshake runs.
#[allow(clippy::disallowed_types, reason = "the trait ClientSessionStore demands a shared store")]
type Shared<T> = std::sync::Mutex<T>;

/// The sessions with all servers that are asked in the same way.
#[derive(Debug, Default)]
pub(super) struct Sessions(Shared<BTreeMap<SocketAddr, Session>>);

/// What is kept of one server.
#[derive(Debug, Default)]
struct Session {
    /// When its last full handshake was.
    begun: Option<Instant>,
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// The newest ticket; each is good for one handshake.
    tls13: Option<Tls13ClientSessionValue>,
}

impl Sessions {
    /// The session with one server, as a handshake wants it that begins now.
    pub(super) fn with(self: &Arc<Self>, server: SocketAddr, now: Instant) -> Arc<View> {
        Arc::new(View { sessions: Arc::clone(self), server, now })
    }
}

/// The session with one server.
#[derive(Debug)]
pub(super) struct View {
    sessions: Arc<Sessions>,
    server: SocketAddr,
    now: Instant,
}

impl View {
    /// Notes that the handshake was a full one.
    pub(super) fn begin(&self) {
        self.change(|session| session.begun = Some(self.now));
    }

    /// Forgets the session: the next handshake is a full one.
    pub(super) fn forget(&self) {
        let mut sessions = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&self.server);
    }

    fn change(&self, change: impl FnOnce(&mut Session)) {
        let mut sessions = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= LIMIT && !sessions.contains_key(&self.server) {
            sessions.clear();
        }
        change(sessions.entry(self.server).or_default());
    }

    fn look<T>(&self, look: impl FnOnce(&mut Session) -> Option<T>) -> Option<T> {
        let mut sessions = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(sessions.get_mut(&self.server)?)
    }
}

impl Session {
    fn is_fresh(&self, now: Instant) -> bool {
        self.begun.is_some_and(|begun| now.since(begun) < LONGEST)
    }
}

impl ClientSessionStore for View {
    fn set_kx_hint(&self, _name: ServerName<'static>, group: NamedGroup) {
        self.change(|session| session.group = Some(group));
    }

    fn kx_hint(&self, _name: &ServerName<'_>) -> Option<NamedGroup> {
        self.look(|session| session.group)
    }

    fn set_tls12_session(&self, _name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.change(|session| session.tls12 = Some(value));
    }

    fn tls12_session(&self, _name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.look(|session| session.tls12.clone().filter(|_| session.is_fresh(self.now)))
    }

    fn remove_tls12_session(&self, _name: &ServerName<'static>) {
        self.change(|session| session.tls12 = None);
    }

    fn insert_tls13_ticket(&self, _name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.change(|session| session.tls13 = Some(value));
    }

    fn take_tls13_ticket(&self, _name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.look(|session| session.tls13.take().filter(|_| session.is_fresh(self.now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_servers_are_forgotten_and_the_store_begins_anew() {
        let sessions = Arc::new(Sessions::default());
        let count = |sessions: &Sessions| sessions.0.lock().unwrap().len();
        let servers = (0..u32::try_from(LIMIT).unwrap()).map(|n| (std::net::Ipv4Addr::from(n), 443).into());
        servers.for_each(|server| sessions.with(server, Instant::ZERO).begin());
        assert_eq!(count(&sessions), LIMIT);
        sessions.with("0.0.0.0:443".parse().unwrap(), Instant::ZERO).begin();
        assert_eq!(count(&sessions), LIMIT, "known already");
        sessions.with("192.0.2.1:443".parse().unwrap(), Instant::ZERO).begin();
        assert_eq!(count(&sessions), 1);
    }

    #[test]
    fn a_session_is_fresh_until_its_hour_is_over() {
        // From the machine's first moment on.
        for begun in [Instant::ZERO, Instant::ZERO + Duration::from_secs(40 * 86_400)] {
            let session = Session { begun: Some(begun), ..Session::default() };
            assert!(session.is_fresh(begun));
            assert!(session.is_fresh(begun + Duration::from_secs(3599)));
            assert!(!session.is_fresh(begun + Duration::from_secs(3600)));
            assert!(!Session::default().is_fresh(begun));
        }
    }
}
