//! Which addresses checks of DR and TUN must not leave from: kept up to date with configuration, addresses and instances.
//!
//! A part of the director; [`crate::check::source`] says why, and chooses.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::Director;
use super::checkers::Entry;
use crate::check::source::Sources;
use crate::config::{Config, VirtualServer, VirtualServerId};
use crate::ipvs::types::Forwarding;

/// What of it follows from the configuration, and the result.
#[derive(Debug, Default)]
pub(super) struct SourceKeeper {
    /// VIPs of services that forward by DR or TUN.
    vips: Arc<BTreeSet<IpAddr>>,
    /// A service by firewall mark does; its VIPs are not in the configuration.
    has_unknown_vips: bool,
    /// None while the kernel cannot choose a VIP.
    current: Option<Arc<Sources>>,
}

/// Whether packets arrive at some real server still addressed to the VIP, which it must have itself.
fn is_direct(server: &VirtualServer) -> bool {
    server.real_servers.iter().any(|real| is_direct_method(real.forwarding))
}

fn is_direct_method(forwarding: Forwarding) -> bool {
    matches!(forwarding, Forwarding::Dr | Forwarding::Tun(_))
}

impl Director {
    /// The configuration changed.
    pub(super) fn configure_sources(&mut self, config: &Config) {
        let direct = || config.virtual_servers.iter().filter(|server| is_direct(server));
        self.sources.vips = Arc::new(direct().filter_map(|server| server.id.address()).collect());
        self.sources.has_unknown_vips =
            direct().any(|server| matches!(server.id, VirtualServerId::Fwmark { .. }));
        let pools = &self.pools;
        self.checkers.mark_direct(|(server, at)| {
            let member = pools.get(server).and_then(|pool| pool.member(at));
            member.is_some_and(|member| is_direct_method(member.real_server.forwarding))
        });
        self.find_sources();
    }

    /// Addresses or instances changed.
    pub(super) fn find_sources(&mut self) {
        let sources = Sources {
            vips: Arc::clone(&self.sources.vips),
            floating: self.vrrp_link.vips().collect(),
            avoids_floating: self.sources.has_unknown_vips,
            own: self.placement.own_on_links().collect(),
        };
        let needed = Some(sources).filter(Sources::are_needed);
        // The same one while nothing changes: the prober remembers the kernel's choices by it.
        if self.sources.current.as_deref() != needed.as_ref() {
            self.sources.current = needed.map(Arc::new);
        }
    }

    /// What a checker's runs have to avoid.
    pub(super) fn sources_of(&self, entry: &Entry) -> Option<Arc<Sources>> {
        let current = self.sources.current.as_ref()?;
        let is_bound = entry.spec.target.source().address.is_some();
        (entry.is_direct && !is_bound).then(|| Arc::clone(current))
    }
}
