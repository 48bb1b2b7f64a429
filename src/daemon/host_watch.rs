//! Looks now and then at what of this host hurts what is configured: settings, links, addresses, the firewall, and who
//! else answers for the VIPs. The same findings as `lvsd doctor`'s; here they are logged when they begin and end, and
//! kept for status and metrics.
//!
//! In a blocking job, as it asks other programs for the firewall's rules and waits a second for neighbours' answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::repeated::Repeated;
use super::{clock, firewall, process, sync_ids, traps};
use crate::config::Config;
use crate::director::leaks;
use crate::doctor::surroundings::Surroundings;
use crate::doctor::{self, Ipvs, Listed, Severity, View};
use crate::net::holders;
use crate::net::kernel::Kernel;

/// From a start or a reload to the first look, and from one to the next.
const SOON: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_secs(30);
/// Looking may take this part of the time: a firewall may have very many rules.
const PART: u32 = 60;
/// VIPs that neighbours are asked for, at most.
const ASKED: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct HostWatch {
    config: Option<Arc<Config>>,
    looks: Repeated<Look>,
    found: Vec<Listed>,
    /// Nobody has looked since the start or the last reload, which log settings by themselves.
    is_first: bool,
}

impl HostWatch {
    /// Looks for the sake of this configuration, and not at all where nothing can hurt it.
    pub(crate) fn want(&mut self, config: &Arc<Config>) {
        let is_needed = !config.virtual_servers.is_empty();
        self.config = is_needed.then(|| Arc::clone(config));
        self.looks.set(is_needed.then(|| clock::now() + SOON));
        self.found.retain(|_| is_needed);
        self.is_first = true;
    }

    /// What was found last, the worst first.
    pub(crate) fn found(&self) -> &[Listed] {
        &self.found
    }

    /// Looks when it is time, for ever; may be left and entered again at any time.
    pub(crate) async fn work(&mut self) {
        loop {
            let begin = || {
                let config = self.config.clone();
                move || config.as_deref().map(look).unwrap_or_default()
            };
            let look = self.looks.next(begin).await.unwrap_or_default();
            let pause = INTERVAL.max(look.took.saturating_mul(PART));
            self.looks.set(self.config.as_ref().map(|_| clock::now() + pause));
            // What could not be looked at may be as it was.
            if let Some(found) = look.found {
                let is_first = std::mem::replace(&mut self.is_first, false);
                self.take(found, if is_first { look.settings.as_slice() } else { &[] });
            }
        }
    }

    /// `logged` are those that were logged already.
    fn take(&mut self, found: Vec<Listed>, logged: &[String]) {
        let is_in = |all: &[Listed], one: &Listed| all.iter().any(|other| other.what == one.what);
        for new in found.iter().filter(|new| !is_in(&self.found, new)) {
            if logged.contains(&new.what) {
                continue;
            }
            let Listed { what, evidence, why, fix, .. } = new;
            let fix = fix.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default();
            match new.severity {
                Severity::Broken => error!("this host: {what} ({evidence}): {why}{fix}"),
                Severity::Warning | Severity::Hint => warn!("this host: {what} ({evidence}): {why}{fix}"),
            }
        }
        for old in self.found.iter().filter(|old| !is_in(&found, old)) {
            info!("this host: no longer so: {}", old.what);
        }
        self.found = found;
    }
}

/// What came of one look.
#[derive(Debug, Default)]
struct Look {
    /// None when this host cannot be read.
    found: Option<Vec<Listed>>,
    /// Those of them that are settings.
    settings: Vec<String>,
    /// How long the firewall's programs and its rules took.
    took: Duration,
}

fn look(config: &Config) -> Look {
    let Ok(host) = Kernel::open().and_then(|mut kernel| kernel.host()) else { return Look::default() };
    let mut unseen = Vec::new();
    let began = clock::now();
    let rules = firewall::rules(&mut unseen);
    let mut took = clock::now().since(began);
    let (mut vips, reals) = leaks::questions(config);
    if vips.len() > ASKED {
        vips.clear();
    }
    let sync_messages = sync_ids::listen(config, &host, &mut unseen, clock::now);
    let (claims, asked) = holders::ask_around(&host, &vips, &reals, &mut unseen, clock::now);
    let (holders, names) = leaks::answers(claims, &vips);
    let view = View {
        host: traps::host(),
        network: &host,
        prepared: None,
        ipvs: Ipvs::Loaded,
        directors: process::rivals().into_iter().map(|rival| (rival.name.to_owned(), rival.pid)).collect(),
        others: Vec::new(),
        running: None,
        silence: None,
        services: None,
        holders,
        asked,
        adverts: BTreeSet::new(),
        sync_messages,
        remarks: Vec::new(),
        surroundings: Surroundings::default(),
        names,
        answers: Vec::new(),
        firewall: rules,
        prepare: String::new(),
        is_yaml: false,
    };
    let began = clock::now();
    let found = doctor::of_host(config, &view).into_iter().map(Listed::from).collect();
    took += clock::now().since(began);
    let settings = doctor::traps::of(config, &view.host).into_iter().map(|trap| trap.what).collect();
    Look { found: Some(found), settings, took }
}
