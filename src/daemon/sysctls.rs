//! Keeps settings of the kernel as configured, those of IPVS (`net.ipv4.vs.*`) and of virtual routers' interfaces, and
//! puts them back at a stop.
//!
//! What a setting was before is remembered on disk before it is changed, so that a crash or a hand-over leaves it to
//! the next lvsd. A setting that another program changed meanwhile is set again, and at a stop left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use tracing::{info, warn};

use super::state_file::OriginalsFile;
use crate::config::Config;
use crate::ipvs::types::Family;
use crate::net::sysctl;

/// Settings by name: `NAME` is one of net.ipv4.vs, `LINK/NAME` one of net.ipv4.conf.
pub(crate) type Values = BTreeMap<String, String>;

/// Takes packets from the network that come from an address of this host's; of no link, because only routes know by
/// which a real server answers.
const ACCEPT_LOCAL: &str = "all/accept_local";

/// Whether the kernel sends a client that it knows by persistence elsewhere when its server has weight 0.
pub(crate) const EXPIRES_TEMPLATES: &str = "expire_quiescent_template";

/// Where settings are.
pub(crate) trait Settings {
    /// A setting's value.
    ///
    /// # Errors
    /// When there is none of that name.
    fn read(&self, name: &str) -> io::Result<String>;
    /// Sets a setting.
    ///
    /// # Errors
    /// When that is refused.
    fn write(&mut self, name: &str, value: &str) -> io::Result<()>;
    /// Remembers what settings were before; nothing when there is nothing to put back.
    ///
    /// # Errors
    /// When that cannot be written.
    fn remember(&mut self, originals: &Values) -> io::Result<()>;
}

#[derive(Debug)]
pub(crate) struct Keeper<S> {
    settings: S,
    wanted: Values,
    originals: Values,
    /// Those that were set at least once; another value from then on is another program's.
    set: BTreeSet<String>,
    troubles: BTreeMap<String, String>,
}

impl<S: Settings> Keeper<S> {
    /// Begins with what a predecessor remembered.
    pub(crate) fn new(settings: S, originals: Values) -> Keeper<S> {
        Keeper { settings, wanted: Values::new(), originals, set: BTreeSet::new(), troubles: BTreeMap::new() }
    }

    /// Wants these from now on; what is no longer wanted is put back.
    pub(crate) fn want(&mut self, wanted: Values) {
        let before = std::mem::replace(&mut self.wanted, wanted);
        let dropped: Vec<String> =
            self.originals.keys().filter(|name| !self.wanted.contains_key(*name)).cloned().collect();
        for name in dropped {
            // The value that a predecessor set is not known: the setting is put back without comparing.
            self.put_back(&name, before.get(&name));
        }
        self.keep();
    }

    /// Sets what is not as wanted.
    pub(crate) fn keep(&mut self) {
        let mut found = Values::new();
        for name in self.wanted.keys().cloned().collect::<Vec<_>>() {
            match self.settings.read(&name) {
                Ok(value) => {
                    found.insert(name, value);
                }
                Err(error) => self.trouble(&name, &format!("cannot be read: {error}")),
            }
        }
        let count = self.originals.len();
        for (name, value) in &found {
            self.originals.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if self.originals.len() != count
            && let Err(error) = self.settings.remember(&self.originals)
        {
            warn!(
                "the original kernel settings cannot be saved: {error}: after a crash they are not restored"
            );
        }
        for (name, value) in found {
            let Some(wanted) = self.wanted.get(&name).filter(|wanted| **wanted != value).cloned() else {
                self.set.insert(name);
                continue;
            };
            if self.set.contains(&name) {
                warn!(
                    "setting {} was changed to {value} by another program, set to {wanted} again",
                    full(&name)
                );
            }
            match self.settings.write(&name, &wanted) {
                Ok(()) => {
                    info!("setting {} is {wanted}, it was {value}", full(&name));
                    self.set.insert(name.clone());
                    self.troubles.remove(&name);
                }
                Err(error) => self.trouble(&name, &format!("stays {value}: {error}")),
            }
        }
    }

    /// Writes again what is remembered: it was lost.
    pub(crate) fn remember(&mut self) {
        if let Err(error) = self.settings.remember(&self.originals) {
            warn!("the original kernel settings cannot be saved: {error}");
        }
    }

    /// Puts everything back.
    pub(crate) fn release(&mut self) {
        let before = std::mem::take(&mut self.wanted);
        for name in self.originals.keys().cloned().collect::<Vec<_>>() {
            self.put_back(&name, before.get(&name));
        }
    }

    /// Puts one back, unless it is not what was `wanted` of it: then another program has set it.
    fn put_back(&mut self, name: &str, wanted: Option<&String>) {
        let Some(original) = self.originals.remove(name) else { return };
        self.set.remove(name);
        self.troubles.remove(name);
        let result = self.settings.read(name).and_then(|found| {
            let is_ours = wanted.is_none_or(|wanted| *wanted == found);
            if !is_ours || found == original {
                return Ok(());
            }
            info!("setting {} is {original} again", full(name));
            self.settings.write(name, &original)
        });
        if let Err(error) = result {
            warn!("setting {} cannot be restored to {original}: {error}", full(name));
        }
        if let Err(error) = self.settings.remember(&self.originals) {
            warn!("the original kernel settings cannot be saved: {error}");
        }
    }

    fn trouble(&mut self, name: &str, trouble: &str) {
        if self.troubles.get(name).is_none_or(|before| before != trouble) {
            warn!("setting {} {trouble}", full(name));
            self.troubles.insert(name.to_owned(), trouble.to_owned());
        }
    }
}

/// The settings a configuration wants, and while a server that clients are known to leaves, that they are sent
/// elsewhere: unless the operator has said otherwise.
pub(crate) fn wanted(config: &Config, expires_templates: bool) -> Values {
    let while_leaving = expires_templates.then(|| (EXPIRES_TEMPLATES.to_owned(), "1".to_owned()));
    while_leaving.into_iter().chain(configured(config)).collect()
}

fn configured(config: &Config) -> Values {
    // Where nothing needs IPVS, the kernel may have no such settings.
    let ipvs = config
        .ipvs_need()
        .into_iter()
        .flat_map(|_| &config.global.sysctl)
        .map(|(name, value)| (name.clone(), value.to_string()));
    let promoting = config.vrrp.instances.iter().filter(|i| i.promotes_secondaries);
    let links = promoting.filter_map(|i| i.interface.as_ref());
    let promoted = links.map(|link| (format!("{link}/promote_secondaries"), "1".to_owned()));
    let servers = config.virtual_servers.iter().filter(|server| server.id.family() == Family::Inet);
    let checks_ways = servers.flat_map(|server| &server.real_servers).any(|real| real.path_check.is_some());
    // Answers to checks through the VIP come from the VIP, which is this host's own address while it is active.
    let accepted = checks_ways.then(|| (ACCEPT_LOCAL.to_owned(), "1".to_owned()));
    ipvs.chain(promoted).chain(accepted).collect()
}

/// The kernel's settings, remembered in the run directory.
#[derive(Debug)]
pub(crate) struct KernelSettings(pub OriginalsFile);

impl Settings for KernelSettings {
    fn read(&self, name: &str) -> io::Result<String> {
        read(name)
    }

    fn write(&mut self, name: &str, value: &str) -> io::Result<()> {
        match name.split_once('/') {
            Some((link, name)) => sysctl::write_of_link("ipv4", link, name, value),
            None => sysctl::write(&full(name), value),
        }
    }

    fn remember(&mut self, originals: &Values) -> io::Result<()> {
        self.0.save(originals)
    }
}

/// A setting's value in the kernel.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn read(name: &str) -> io::Result<String> {
    match name.split_once('/') {
        Some((link, name)) => sysctl::read_of_link("ipv4", link, name),
        None => sysctl::read(&full(name)),
    }
}

/// A setting's whole name.
pub(crate) fn full(name: &str) -> String {
    match name.split_once('/') {
        Some((link, name)) => format!("net.ipv4.conf.{link}.{name}"),
        None => format!("net.ipv4.vs.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kept_and_put_back() {
        let mut keeper = Keeper::new(Imitation::new(&[("a", "0"), ("b", "3 50")]), Values::new());
        keeper.want(values(&[("a", "1"), ("b", "3 50")]));
        assert_eq!(keeper.settings.now, values(&[("a", "1"), ("b", "3 50")]));
        assert_eq!(keeper.settings.remembered, values(&[("a", "0"), ("b", "3 50")]));
        keeper.settings.now.insert("a".into(), "7".into());
        keeper.keep();
        assert_eq!(keeper.settings.now.get("a").map(String::as_str), Some("1"), "another program's change");
        keeper.release();
        assert_eq!(keeper.settings.now, values(&[("a", "0"), ("b", "3 50")]));
        assert_eq!(keeper.settings.remembered, Values::new());
    }

    #[test]
    fn a_reload_restores_dropped_settings_and_keeps_the_original_of_changed_ones() {
        let mut keeper = Keeper::new(Imitation::new(&[("a", "0"), ("b", "0")]), Values::new());
        keeper.want(values(&[("a", "1"), ("b", "1")]));
        keeper.want(values(&[("a", "2")]));
        assert_eq!(keeper.settings.now, values(&[("a", "2"), ("b", "0")]));
        assert_eq!(keeper.settings.remembered, values(&[("a", "0")]));
    }

    #[test]
    fn a_successor_puts_back_what_its_predecessor_changed() {
        let mut keeper =
            Keeper::new(Imitation::new(&[("a", "1"), ("b", "1")]), values(&[("a", "0"), ("b", "0")]));
        keeper.want(values(&[("a", "1")]));
        assert_eq!(keeper.settings.now, values(&[("a", "1"), ("b", "0")]), "b is wanted no more");
        keeper.release();
        assert_eq!(keeper.settings.now, values(&[("a", "0"), ("b", "0")]));
    }

    #[test]
    fn at_a_stop_settings_changed_by_others_are_left_alone() {
        let mut keeper = Keeper::new(Imitation::new(&[("a", "0")]), Values::new());
        keeper.want(values(&[("a", "1")]));
        keeper.settings.now.insert("a".into(), "5".into());
        keeper.release();
        assert_eq!(keeper.settings.now, values(&[("a", "5")]));
    }

    #[test]
    fn a_setting_this_kernel_lacks_or_refuses_is_said_once_and_stops_nothing() {
        let mut keeper = Keeper::new(Imitation::new(&[("a", "0"), ("b", "0")]), Values::new());
        keeper.settings.refused = Some("a".to_owned());
        keeper.want(values(&[("a", "1"), ("b", "1"), ("absent", "1")]));
        keeper.keep();
        assert_eq!(keeper.settings.now, values(&[("a", "0"), ("b", "1")]));
        assert_eq!(keeper.troubles.keys().collect::<Vec<_>>(), ["a", "absent"]);
    }

    #[test]
    fn clients_are_sent_elsewhere_while_a_server_leaves_unless_the_operator_says_otherwise() {
        let mut config = Config::default();
        let of = |config: &Config, is_leaving| wanted(config, is_leaving).get(EXPIRES_TEMPLATES).cloned();
        assert_eq!((of(&config, false), of(&config, true)), (None, Some("1".to_owned())));
        config.global.timeouts.tcp = Some(9);
        config.global.sysctl.insert(EXPIRES_TEMPLATES.to_owned(), crate::config::SysctlValue(vec![0]));
        assert_eq!(of(&config, true).as_deref(), Some("0"));
        // Values of other programs are put back, unless they were changed meanwhile.
        for (meanwhile, at_the_end) in [(None, "0"), (Some("3"), "3")] {
            let mut keeper = Keeper::new(Imitation::new(&[(EXPIRES_TEMPLATES, "0")]), Values::new());
            keeper.want(wanted(&Config::default(), true));
            assert_eq!(keeper.settings.now, values(&[(EXPIRES_TEMPLATES, "1")]));
            if let Some(value) = meanwhile {
                keeper.settings.now.insert(EXPIRES_TEMPLATES.to_owned(), value.to_owned());
            }
            keeper.want(wanted(&Config::default(), false));
            assert_eq!(keeper.settings.now, values(&[(EXPIRES_TEMPLATES, at_the_end)]));
        }
    }

    /// Settings in memory, which must be remembered before they are changed.
    #[derive(Debug)]
    struct Imitation {
        now: Values,
        remembered: Values,
        refused: Option<String>,
    }

    impl Imitation {
        fn new(now: &[(&str, &str)]) -> Imitation {
            Imitation { now: values(now), remembered: Values::new(), refused: None }
        }
    }

    impl Settings for Imitation {
        fn read(&self, name: &str) -> io::Result<String> {
            self.now.get(name).cloned().ok_or(io::ErrorKind::NotFound.into())
        }

        fn write(&mut self, name: &str, value: &str) -> io::Result<()> {
            if self.refused.as_deref() == Some(name) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            self.now.insert(name.to_owned(), value.to_owned());
            Ok(())
        }

        fn remember(&mut self, originals: &Values) -> io::Result<()> {
            self.remembered = originals.clone();
            Ok(())
        }
    }

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }
}
