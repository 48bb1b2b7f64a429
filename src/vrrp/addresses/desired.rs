//! The addresses, routes, rules and VMACs that this host should have. They follow from the settings and the states of the
//! instances, and from nothing else.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::reconcile::AddressKey;
use crate::net::types::{Address, Route, Rule, Vmac};
use crate::vrrp::io::State;
use crate::vrrp::router::Router;
use crate::vrrp::settings::Virtual;

/// An entry that the kernel should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Desired<T> {
    pub(crate) value: Arc<T>,
    /// The instance that needs it; empty for a static entry.
    pub(crate) instance: String,
    /// It is reported and restored when another program removes it; false for `no_track`.
    pub(crate) is_tracked: bool,
}

/// Everything that the kernel should have, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DesiredNetwork {
    /// Macvlans, in every state of their instances.
    pub(crate) vmacs: Vec<Arc<Vmac>>,
    pub(crate) addresses: Vec<Desired<Address>>,
    pub(crate) routes: Vec<Desired<Route>>,
    pub(crate) rules: Vec<Desired<Rule>>,
    /// Virtual addresses by link. Where lvsd added one, with any prefix length, it is removed unless it is desired.
    pub(crate) forbidden: BTreeSet<(String, IpAddr)>,
    /// The same with their prefix lengths. One that is present without lvsd's mark may be left over.
    pub(crate) exact: BTreeSet<AddressKey>,
    /// Those of them that a predecessor handed over.
    pub(crate) inherited: BTreeSet<AddressKey>,
    /// Virtual addresses of an owner (priority 255), by link. Without lvsd's mark they are the host's own and stay.
    pub(crate) owned_by_host: BTreeSet<(String, IpAddr)>,
    /// Source addresses of advertisements, which are the host's own.
    pub(crate) sources: BTreeSet<IpAddr>,
    /// All routes of the configuration, in every state of their instances: one that is present and not desired is left over.
    pub(crate) known_routes: Vec<Arc<Route>>,
    /// All rules of the configuration, likewise.
    pub(crate) known_rules: Vec<Arc<Rule>>,
}

impl Router {
    /// Derives the desired network from the states and gives it to the reconciler.
    pub(crate) fn update_desired(&mut self) {
        let mut desired = DesiredNetwork::default();
        let is_running = !self.is_stopping();
        if is_running {
            let settings = &self.settings;
            desired.addresses.extend(settings.static_addresses.iter().map(of_static));
            desired.routes.extend(settings.static_routes.iter().map(of_static));
            desired.rules.extend(settings.static_rules.iter().map(of_static));
        }
        desired.known_routes.extend(self.settings.static_routes.iter().cloned());
        desired.known_rules.extend(self.settings.static_rules.iter().cloned());
        // In the file's order: a route may need an address, the position of an address in a list may matter.
        for settings in &self.settings.instances {
            let Some(member) = self.members.get(&settings.name) else { continue };
            let settings = member.settings();
            if is_running
                && let Some(vmac) = &settings.vmac
                && !desired.vmacs.iter().any(|known| known.name == vmac.name)
            {
                desired.vmacs.push(Arc::clone(vmac));
            }
            let places = || member.addresses().map(|a| (a.wanted.link.clone(), a.wanted.prefix.ip));
            let exact = || member.addresses().map(|a| (a.wanted.link.clone(), a.wanted.prefix));
            desired.forbidden.extend(places());
            desired.exact.extend(exact());
            desired.sources.extend(settings.source);
            desired.known_routes.extend(settings.routes.iter().map(|r| Arc::clone(&r.wanted)));
            desired.known_rules.extend(settings.rules.iter().map(|r| Arc::clone(&r.wanted)));
            if settings.priority == 255 {
                // The macvlan is lvsd's, and so is what a dead process left on it.
                let is_ours = |link: &String| settings.vmac.as_ref().is_some_and(|vmac| vmac.name == *link);
                desired.owned_by_host.extend(places().filter(|(link, _)| !is_ours(link)));
            }
            if member.is_inherited {
                desired.inherited.extend(exact());
            }
            let is_kept = member.is_inherited && member.state() == State::Init && is_running;
            if is_kept || member.state() == State::Master {
                let name = &settings.name;
                desired.addresses.extend(member.addresses().map(|a| of_instance(a, name)));
                desired.routes.extend(settings.routes.iter().map(|r| of_instance(r, name)));
                desired.rules.extend(settings.rules.iter().map(|r| of_instance(r, name)));
            }
        }
        self.reconciler.set_desired(desired);
    }
}

fn of_static<T>(it: &Arc<T>) -> Desired<T> {
    Desired { value: Arc::clone(it), instance: String::new(), is_tracked: true }
}

fn of_instance<T>(it: &Virtual<T>, instance: &str) -> Desired<T> {
    Desired { value: Arc::clone(&it.wanted), instance: instance.to_owned(), is_tracked: it.is_tracked }
}
