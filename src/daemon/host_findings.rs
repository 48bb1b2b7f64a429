//! Runs the host's part of `lvsd doctor` every 30 seconds: settings, links, addresses, the firewall, and other hosts
//! that answer for the VIPs. Findings are logged when they begin and end, and kept for status and metrics. The director
//! gets the ARP problems: the real servers that answer for a VIP.
//!
//! In a blocking job, because it runs other programs for the firewall's rules and waits a second for neighbours'
//! answers. Without the right to send ARP (CAP_NET_RAW) it asks no neighbours, and says so once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::repeated::Repeated;
use super::{clock, firewall, host_checks, host_watch, process, sync_ids};
use crate::config::Config;
use crate::director::arp_problem::{self, ArpProblems};
use crate::director::io::Input;
use crate::doctor::environment::{Capability, Environment};
use crate::doctor::{self, Ipvs, Listed, Severity, View};
use crate::net::holders;
use crate::net::kernel::Kernel;

/// From a start or a reload to the first look.
const SOON: Duration = Duration::from_secs(5);
/// From the end of one look to the next.
const INTERVAL: Duration = Duration::from_secs(30);
/// Looking may take this part of the time: a firewall may have very many rules.
const PART: u32 = 60;
/// With more VIPs than this, neighbours are asked only where path_check needs to know ARP problems.
const ASKED: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct HostFindings {
    /// Something of the configuration can hurt.
    is_needed: bool,
    looks: Repeated<Look>,
    found: Vec<Listed>,
    /// The next look is the first one since the start or the last reload, which log the settings' findings themselves.
    is_first: bool,
    /// The ARP problems that the director knows.
    arp_problems: ArpProblems,
    unseen: String,
}

impl HostFindings {
    /// Looks for the sake of this configuration, and not at all where nothing can hurt it.
    pub(crate) fn configure(&mut self, config: &Config) {
        let is_needed = !config.virtual_servers.is_empty();
        self.is_needed = is_needed;
        // Once more even so: ARP problems that the director knows may be none any longer.
        self.looks.set((is_needed || !self.arp_problems.is_empty()).then(|| clock::now() + SOON));
        self.found.retain(|_| is_needed);
        self.is_first = true;
    }

    /// What was found last, the worst first.
    pub(crate) fn found(&self) -> &[Listed] {
        &self.found
    }

    /// Looks when it is time, for the sake of the configuration in force. Returns what the director has to know when
    /// that changed; may be left and entered again at any time.
    pub(crate) async fn next(&mut self, config: &Arc<Config>) -> Input {
        loop {
            let begin = || {
                let config = self.is_needed.then(|| Arc::clone(config));
                move || config.as_deref().map(look).unwrap_or_default()
            };
            let look = self.looks.next(begin).await.unwrap_or_default();
            let pause = INTERVAL.max(look.took.saturating_mul(PART));
            self.looks.set(self.is_needed.then(|| clock::now() + pause));
            // What could not be looked at may be as it was.
            if let Some(found) = look.found {
                let is_first = std::mem::replace(&mut self.is_first, false);
                self.take(found, if is_first { look.settings.as_slice() } else { &[] });
            }
            match look.arp_problems {
                Ok(found) if found != self.arp_problems => {
                    self.arp_problems.clone_from(&found);
                    return Input::ArpProblems(found);
                }
                Ok(_) => {}
                Err(unseen) if unseen != self.unseen => {
                    info!("other hosts that answer for VIPs are not known: {unseen}");
                    self.unseen = unseen;
                }
                Err(_) => {}
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
            info!("this host: resolved: {}", old.what);
        }
        self.found = found;
    }
}

/// What came of one look.
#[derive(Debug)]
struct Look {
    /// None when this host cannot be read.
    found: Option<Vec<Listed>>,
    /// What the findings among them say that are of settings.
    settings: Vec<String>,
    /// Why they are not known, where the configuration needs them.
    arp_problems: Result<ArpProblems, String>,
    /// How long the firewall's programs and its rules took.
    took: Duration,
}

impl Default for Look {
    fn default() -> Look {
        Look { found: None, settings: Vec::new(), arp_problems: Ok(ArpProblems::new()), took: Duration::ZERO }
    }
}

fn look(config: &Config) -> Look {
    let needs_arp_problems = arp_problem::is_needed(config);
    let host = match Kernel::open().and_then(|mut kernel| kernel.host()) {
        Ok(host) => host,
        Err(unseen) if needs_arp_problems => return Look { arp_problems: Err(unseen), ..Look::default() },
        Err(_) => return Look::default(),
    };
    let mut unseen = Vec::new();
    let began = clock::now();
    let rules = firewall::rules(&mut unseen);
    let mut took = clock::now().since(began);
    let (mut vips, reals) = arp_problem::addresses_to_ask(config);
    let is_few = vips.len() <= ASKED;
    if !is_few && !needs_arp_problems {
        vips.clear();
    }
    let sync_messages = sync_ids::listen(config, &host, &mut unseen, clock::now);
    let mut unasked = Vec::new();
    let (claims, mut asked) = holders::ask_around(&host, &vips, &reals, &mut unasked, clock::now);
    let arp_problems = match unasked.pop() {
        // VIPs of other networks are no ARP problem.
        Some(why)
            if needs_arp_problems
                && claims.is_empty()
                && !process::has_capability(Capability::NetRaw.number()) =>
        {
            Err(why)
        }
        _ => Ok(()),
    };
    let (mut holders, names) = arp_problem::answers(claims, &vips);
    let arp_problems = arp_problems.map(|()| match needs_arp_problems {
        true => {
            let around = host_watch::around(&host);
            arp_problem::find(config, &around.own, |vip| around.on_network.contains(&vip), &holders, &names)
        }
        false => ArpProblems::new(),
    });
    if !is_few {
        holders.clear();
        asked.retain(|ip| !vips.contains(ip));
    }
    let view = View {
        host: host_checks::facts(),
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
        environment: Environment::default(),
        names,
        answers: Vec::new(),
        firewall: rules,
        prepare: String::new(),
        is_yaml: false,
    };
    let began = clock::now();
    let settings = doctor::host_checks::check(config, &view.host);
    let names = settings.iter().map(|problem| problem.what.clone()).collect();
    let found = doctor::of_host(config, settings, &view).into_iter().map(Listed::from).collect();
    took += clock::now().since(began);
    Look { found: Some(found), settings: names, arp_problems, took }
}
