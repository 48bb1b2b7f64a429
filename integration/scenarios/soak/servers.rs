//! The servers behind the director: web servers that fall ill, cables that are cut, and whether a check of one
//! should pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::configuration::Check;
use crate::lab::topology::{REAL_SERVERS, front};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict};

/// Ports of the web servers on each real server.
const PORTS: [u16; 3] = [80, 8081, 8082];

/// How a web server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Well,
    /// Connections are refused.
    Refusing,
    /// /health answers 503.
    Ill,
    /// Connections are accepted, nothing is said.
    Hanging,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Servers {
    webs: BTreeMap<(&'static str, u16), (Web, Condition)>,
    cut: BTreeSet<&'static str>,
}

impl Servers {
    /// Starts them all, well; the sorry server, too.
    pub(super) fn start(lab: &Lab) -> Result<Servers, String> {
        let mut webs = BTreeMap::new();
        let places = REAL_SERVERS.into_iter().flat_map(|h| PORTS.map(|p| (h, p))).chain([("sorry", 80)]);
        for (host, port) in places {
            webs.insert((host, port), (Web::start_at(&lab.host(host)?, port)?, Condition::Well));
        }
        Ok(Servers { webs, cut: BTreeSet::new() })
    }

    /// Changes how the web server is.
    pub(super) fn set(&mut self, host: &'static str, port: u16, condition: Condition) -> Verdict {
        let (web, is) = self.webs.get_mut(&(host, port)).ok_or_else(|| format!("no server {host}:{port}"))?;
        *is = condition;
        web.hang(condition == Condition::Hanging);
        web.set_health_status(if condition == Condition::Ill { 503 } else { 200 });
        if condition == Condition::Refusing {
            web.stop();
            return Ok(());
        }
        web.resume()
    }

    /// Cuts or mends a host's cable.
    pub(super) fn cut(&mut self, lab: &Lab, host: &'static str, is_cut: bool) -> Verdict {
        if is_cut {
            self.cut.insert(host);
            lab.cut(host, "eth0")
        } else {
            self.cut.remove(host);
            lab.mend(host, "eth0")
        }
    }

    /// Whether the host's cable is cut.
    pub(super) fn is_cut(&self, host: &str) -> bool {
        self.cut.contains(host)
    }

    /// Whether a check of this real server passes, as things are.
    pub(super) fn passes(&self, at: SocketAddr, check: Check) -> bool {
        let Some(host) = host_of(at) else { return false };
        let condition = |port| self.webs.get(&(host, port)).map(|(_, condition)| *condition);
        let listens = match check {
            Check::None => return true,
            Check::Tcp(port) => condition(port).is_some_and(|c| c != Condition::Refusing),
            Check::Http(port) => condition(port) == Some(Condition::Well),
        };
        listens && !self.is_cut(host)
    }
}

/// The real server with this address.
pub(super) fn host_of(at: SocketAddr) -> Option<&'static str> {
    REAL_SERVERS.into_iter().find(|h| front(h).is_some_and(|addresses| addresses.contains(&at.ip())))
}

/// A place by chance.
pub(super) fn any(rng: &mut fastrand::Rng) -> (&'static str, u16) {
    let host = REAL_SERVERS.get(rng.usize(..REAL_SERVERS.len())).unwrap_or(&"rs1");
    (host, *PORTS.get(rng.usize(..PORTS.len())).unwrap_or(&80))
}
