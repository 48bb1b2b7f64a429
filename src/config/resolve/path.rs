//! `path_check`: which real servers' way through the VIP is checked, and why others' is not.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Resolve;
use crate::config::real_server::RealServerOptions;
use crate::config::timing::Timings;
use crate::config::types::{Checker, PathCheck, RealServer, VirtualServerId};
use crate::config::virtual_server::{Heading, VirtualServerOptions};
use crate::ipvs::types::{Forwarding, Protocol};
use crate::syntax::keyword::{Reader, get};

impl Resolve<'_> {
    /// How its way through the VIP is checked: as often as it is itself. Not by NAT, which has no VIP there; not where
    /// there is no connection to be made, or no VIP to be known.
    pub(super) fn path_check(
        &self,
        written: &RealServerOptions,
        outer: &VirtualServerOptions,
        checkers: &[Checker],
        (address, forwarding): (SocketAddr, Forwarding),
        timings: &mut Timings,
    ) -> Option<Arc<PathCheck>> {
        let is_wanted = get(&written.path_check).unwrap_or_else(|| outer.path_check(self.dialect));
        let is_direct = matches!(forwarding, Forwarding::Dr | Forwarding::Tun(_));
        let VirtualServerId::Address { protocol: Protocol::Tcp, port, .. } = self.id else { return None };
        if !is_direct || !is_wanted {
            return None;
        }
        let own = checkers.first().map(|checker| (&checker.spec.target, &checker.spec.timing, checker.alpha));
        // Of every port, the one its own check asks.
        let asked = own.map(|(target, ..)| target.address).filter(|at| at.ip() == address.ip());
        let port = Some(port).filter(|port| *port != 0).or(asked.map(|at| at.port()))?;
        let check = match own {
            Some((target, timing, alpha)) => {
                let (timing, connect_timeout) = (Arc::clone(timing), target.connect_timeout);
                PathCheck { timing, connect_timeout, port, alpha }
            }
            None => {
                let options = written.timing.clone().or(&outer.timing);
                let timing = options.resolve(self.dialect, None, self.dialect.delay_before_retry());
                PathCheck {
                    timing: timings.shared(timing),
                    connect_timeout: options.connect_timeout(self.dialect),
                    port,
                    alpha: options.alpha(self.dialect),
                }
            }
        };
        Some(timings.shared_path(check))
    }

    /// Says why a check through the VIP that was asked for cannot be made; of a group not for each of its addresses.
    pub(super) fn tell_pathless(
        &self,
        options: &VirtualServerOptions,
        real_servers: &[Arc<RealServer>],
        reader: &mut Reader<'_>,
    ) {
        let written =
            [&options.path_check].into_iter().chain(options.real_servers.iter().map(|r| &r.path_check));
        let Some(first) = written.flatten().find(|written| written.value) else { return };
        let has_some = real_servers.iter().any(|real| real.path_check.is_some());
        if has_some || matches!(options.heading.value, Heading::Group(_)) {
            return;
        }
        let why = match self.id {
            VirtualServerId::Fwmark { .. } => "a firewall mark does not say at which VIP to ask".to_owned(),
            VirtualServerId::Address { protocol: Protocol::Tcp, port: 0, .. } => {
                "which port to ask at the VIP follows from a check, and there is none".to_owned()
            }
            VirtualServerId::Address { protocol: Protocol::Tcp, .. } => {
                "packets to real servers by NAT are not for the VIP any more".to_owned()
            }
            VirtualServerId::Address { protocol, .. } => {
                format!("there is no connection to be made by {protocol}")
            }
        };
        reader.warning(first.span, format!("`path_check` has no effect here: {why}"));
    }
}
