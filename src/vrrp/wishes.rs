//! What should be on this host: it follows from the settings and the states, and from nothing else.

use std::sync::Arc;

use super::exchange::State;
use super::holdings::{Want, Wanted};
use super::router::Router;
use super::settings::Virtual;

impl Router {
    /// What should be there follows from the states.
    pub(super) fn want(&mut self) {
        let mut wanted = Wanted::default();
        let is_running = !self.is_stopping();
        if is_running {
            let settings = &self.settings;
            wanted.addresses.extend(settings.static_addresses.iter().map(of_nobody));
            wanted.routes.extend(settings.static_routes.iter().map(of_nobody));
            wanted.rules.extend(settings.static_rules.iter().map(of_nobody));
        }
        wanted.known_routes.extend(self.settings.static_routes.iter().cloned());
        wanted.known_rules.extend(self.settings.static_rules.iter().cloned());
        // In the file's order: a route may need an address, an address's place in a list may matter.
        for settings in &self.settings.instances {
            let Some(member) = self.members.get(&settings.name) else { continue };
            let settings = member.settings();
            if is_running
                && let Some(vmac) = &settings.vmac
                && !wanted.vmacs.iter().any(|known| known.name == vmac.name)
            {
                wanted.vmacs.push(Arc::clone(vmac));
            }
            let places = || member.addresses().map(|a| (a.wanted.link.clone(), a.wanted.prefix.ip));
            let exact = || member.addresses().map(|a| (a.wanted.link.clone(), a.wanted.prefix));
            wanted.forbidden.extend(places());
            wanted.exact.extend(exact());
            wanted.sources.extend(settings.source);
            wanted.known_routes.extend(settings.routes.iter().map(|r| Arc::clone(&r.wanted)));
            wanted.known_rules.extend(settings.rules.iter().map(|r| Arc::clone(&r.wanted)));
            if settings.priority == 255 {
                // The macvlan is ours, and so is whatever a dead process left there.
                let is_ours = |link: &String| settings.vmac.as_ref().is_some_and(|vmac| vmac.name == *link);
                wanted.owned_by_host.extend(places().filter(|(link, _)| !is_ours(link)));
            }
            if member.is_inherited {
                wanted.inherited.extend(exact());
            }
            let is_kept = member.is_inherited && member.state() == State::Init && is_running;
            if is_kept || member.state() == State::Master {
                let name = &settings.name;
                wanted.addresses.extend(member.addresses().map(|a| of_instance(a, name)));
                wanted.routes.extend(settings.routes.iter().map(|r| of_instance(r, name)));
                wanted.rules.extend(settings.rules.iter().map(|r| of_instance(r, name)));
            }
        }
        self.holdings.want(wanted);
    }
}

fn of_nobody<T>(it: &Arc<T>) -> Want<T> {
    Want { it: Arc::clone(it), instance: String::new(), is_tracked: true }
}

fn of_instance<T>(it: &Virtual<T>, instance: &str) -> Want<T> {
    Want { it: Arc::clone(&it.wanted), instance: instance.to_owned(), is_tracked: it.is_tracked }
}
