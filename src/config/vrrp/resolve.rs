//! Options to [`Settings`]: defaults, the common words as defaults of instances, and what leaves nothing to choose.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::net::types::{Address, Route, Rule};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::files::Files;
use crate::syntax::keyword::{Reader, get};
use crate::syntax::tree::Word;
use crate::vrrp::settings::{
    CheckSettings, Damping, Family, GroupSettings, NotifyCommands, NotifySettings, Pacing, Settings, Track,
    TrackTarget, Virtual,
};

use super::address::AddressOptions;
use super::command::{self, UserOptions};
use super::global::VrrpGlobal;
use super::line::Line;
use super::names::Names;
use super::script::FileOptions;
use super::session::{MAX_WEIGHT, SessionOptions};
use super::track::{Kind, TrackOptions, Tracked, WeightOptions, too_large};
use super::{VrrpOptions, route, rule};
use crate::config::checker::Inherited;
use crate::config::defaults::Dialect;
use crate::config::mail::Alerts;
use crate::config::timing::Timings;

mod instance;

/// The checks that are defined, by name.
pub(in crate::config) fn checks(
    options: &VrrpOptions,
    from: &Inherited<'_>,
    reader: &mut Reader<'_>,
) -> BTreeMap<String, Arc<CheckSettings>> {
    let mut timings = Timings::default();
    let all = options.checks.iter().map(|check| check.resolve(from, &mut timings, reader));
    all.map(|check| (check.name.clone(), Arc::new(check))).collect()
}

/// Makes a sync group of the two families of each instance that has both, and takes both into the groups that name it.
fn add_pairs(settings: &mut Settings) {
    let sixes = settings.instances.iter().filter(|i| i.family == Family::Ipv6);
    let pairs: Vec<(String, String)> =
        sixes.filter_map(|i| Some((i.pair.clone()?, i.name.clone()))).collect();
    for (pair, six) in pairs {
        for group in settings.groups.iter_mut().filter(|group| group.members.contains(&pair)) {
            Arc::make_mut(group).members.push(six.clone());
        }
        settings.groups.push(Arc::new(GroupSettings {
            name: pair.clone(),
            is_pair: true,
            members: vec![pair, six],
            tracks: Vec::new(),
            counts_weights: true,
            notify: NotifyCommands::default(),
        }));
    }
}

/// Everything virtual routers need.
pub(crate) struct Resolve<'a> {
    options: &'a VrrpOptions,
    sessions: &'a [SessionOptions],
    global: &'a VrrpGlobal,
    dialect: Dialect,
    files: &'a dyn Files,
    names: Names<'a>,
    user: UserOptions,
    alerts: Alerts,
}

/// The settings of all blocks.
pub(crate) fn settings(
    options: &VrrpOptions,
    sessions: &[SessionOptions],
    global: &VrrpGlobal,
    dialect: Dialect,
    files: &dyn Files,
    alerts: Alerts,
    reader: &mut Reader<'_>,
) -> Settings {
    let user = command::usual_user(get(&global.script_user), files);
    let resolve =
        Resolve { options, sessions, global, dialect, files, names: Names::new(files), user, alerts };
    resolve.settings(reader)
}

impl Resolve<'_> {
    fn settings(&self, reader: &mut Reader<'_>) -> Settings {
        let options = self.options;
        let scripts = options.scripts.iter().filter_map(|s| s.resolve(self.dialect, &self.user));
        let files = options.files.iter().filter_map(|f| f.resolve());
        let processes = options.processes.iter().filter_map(|p| p.resolve());
        let sessions = self.sessions.iter().filter_map(|s| s.resolve(self.dialect));
        let delays = options.delays.iter().map(|(link, delay)| (link.text.to_string(), delay.resolve()));
        let weight = get(&self.global.forwarding_weight).and_then(|n| u8::try_from(n).ok());
        let mut settings = Settings {
            scripts: scripts.map(|s| (s.name.clone(), Arc::new(s))).collect(),
            files: files.map(|f| (f.name.clone(), Arc::new(f))).collect(),
            processes: processes.map(|p| (p.name.clone(), Arc::new(p))).collect(),
            // They are resolved before, as the checkers of real servers are.
            checks: BTreeMap::new(),
            sessions: sessions.map(|s| (s.name.clone(), Arc::new(s))).collect(),
            instances: options
                .instances
                .iter()
                .flat_map(|i| self.instances(i, reader))
                .map(Arc::new)
                .collect(),
            groups: options
                .groups
                .iter()
                .filter(|g| !(g.members.is_empty() && g.has_members_elsewhere))
                .map(|g| Arc::new(self.group(g, reader)))
                .collect(),
            static_addresses: self.static_addresses(reader),
            static_routes: self
                .routes(&options.static_routes, reader)
                .into_iter()
                .map(|r| r.wanted)
                .collect(),
            static_rules: self.rules(&options.static_rules, reader).into_iter().map(|r| r.wanted).collect(),
            pacing: self.pacing(),
            startup_delay: get(&self.global.startup_delay).unwrap_or_default(),
            on_crash: get(&self.global.on_crash).unwrap_or_default(),
            forwarding_weight: weight.unwrap_or(self.dialect.forwarding_weight()),
            realtime: self.global.realtime(),
            logs_unknown_vrids: get(&self.global.tells_unknown).unwrap_or(false),
            link_delays: delays.collect::<BTreeMap<_, _>>(),
            damping: BTreeMap::new(),
            secures_scripts: get(&self.global.secures_scripts).unwrap_or(false),
            notify: NotifySettings {
                fifos: self.global.fifos(&self.user, reader),
                repeats_on_reload: get(&self.global.repeats_on_reload).unwrap_or(false),
                mails_no_faults: self.alerts.no_faults,
            },
        };
        add_pairs(&mut settings);
        settings.damping = self.damping(&settings, reader);
        settings
    }

    /// The damping of what is tracked; the link of an instance's own `interface` only where it is tracked as well.
    fn damping(&self, settings: &Settings, reader: &mut Reader<'_>) -> BTreeMap<TrackTarget, Damping> {
        let options = self.options;
        let tracked = settings.followed();
        let scripts = options.scripts.iter().map(|s| (&s.name, TrackTarget::Script as Kind, &s.damping));
        let processes = options.processes.iter().map(|p| (&p.name, TrackTarget::Process as Kind, &p.damping));
        let checks = options.checks.iter().map(|c| (&c.name, TrackTarget::Check as Kind, &c.damping));
        let links = options.delays.iter().map(|(link, d)| (link, TrackTarget::Interface as Kind, &d.damping));
        let mut all = BTreeMap::new();
        for (name, kind, damping) in scripts.chain(processes).chain(checks).chain(links) {
            let Some(damping) = damping.resolve() else { continue };
            let target = kind(name.text.to_string());
            if tracked.contains(&target) {
                all.insert(target, damping);
                continue;
            }
            let text = format!("`damping` of {} has no effect: nothing tracks it", name.text);
            let problem = Diagnostic::warning(name.span, text);
            let help = "it damps what is tracked: an instance's own interface only if `track_interface` names it, too";
            reader.diagnostics.push(problem.help(help));
        }
        all
    }

    fn group(&self, options: &super::group::SyncGroupOptions, reader: &mut Reader<'_>) -> GroupSettings {
        let notifies_priority = get(&self.global.notifies_priority).unwrap_or(false);
        GroupSettings {
            name: options.name.text.to_string(),
            is_pair: false,
            members: options.members.iter().map(|word| word.text.to_string()).collect(),
            tracks: self.tracks(&options.tracked, reader),
            counts_weights: get(&options.counts_weights).unwrap_or(false),
            notify: options.tracked.notify.resolve(&self.user, notifies_priority, self.alerts),
        }
    }

    fn pacing(&self) -> Vec<Pacing> {
        let (arp, neighbour) = (get(&self.global.arp_interval), get(&self.global.neighbour_interval));
        let common = arp.or(neighbour).map(|_| Pacing {
            links: Vec::new(),
            arp: arp.unwrap_or_default(),
            neighbour: neighbour.unwrap_or_default(),
        });
        self.options.pacing.iter().map(|p| p.resolve()).chain(common).collect()
    }

    /// Static addresses go where they say, or to `default_interface`.
    fn static_addresses(&self, reader: &mut Reader<'_>) -> Vec<Arc<Address>> {
        let link = get(&self.global.default_interface).unwrap_or_else(|| "eth0".to_owned());
        let all = self.options.static_addresses.iter();
        all.filter_map(|a| a.resolve(Some(&link), &self.names, reader)).map(Arc::new).collect()
    }

    fn addresses(
        &self,
        options: &[AddressOptions],
        link: Option<&str>,
        reader: &mut Reader<'_>,
    ) -> Vec<Virtual<Address>> {
        let resolved = options.iter().filter_map(|a| {
            let wanted = Arc::new(a.resolve_vip(link, &self.names, reader)?);
            Some(Virtual { wanted, is_tracked: a.is_tracked() })
        });
        resolved.collect()
    }

    fn routes(&self, lines: &[Line], reader: &mut Reader<'_>) -> Vec<Virtual<Route>> {
        let resolved = lines.iter().filter_map(|line| route::resolve(line, &self.names, reader));
        resolved.map(|(wanted, is_tracked)| Virtual { wanted: Arc::new(wanted), is_tracked }).collect()
    }

    fn rules(&self, lines: &[Line], reader: &mut Reader<'_>) -> Vec<Virtual<Rule>> {
        let resolved = lines.iter().filter_map(|line| rule::resolve(line, &self.names, reader));
        resolved.map(|(wanted, is_tracked)| Virtual { wanted: Arc::new(wanted), is_tracked }).collect()
    }

    /// What is followed, the weights where they are not given being those of what is followed.
    fn tracks(&self, tracked: &Tracked, reader: &mut Reader<'_>) -> Vec<Track> {
        let options = self.options;
        let script =
            |name: &Word| options.scripts.iter().find(|s| s.name == *name).and_then(|s| get(&s.weight));
        let file = |name: &Word| {
            let found = options.files.iter().find(|f| f.name == *name);
            Some(found.map_or(WeightOptions { weight: 1, is_reversed: None }, FileOptions::usual_weight))
        };
        let process =
            |name: &Word| options.processes.iter().find(|p| p.name == *name).and_then(|p| get(&p.weight));
        let check =
            |name: &Word| options.checks.iter().find(|c| c.name == *name).and_then(|c| get(&c.weight));
        let session =
            |name: &Word| self.sessions.iter().find(|s| s.name == *name).and_then(|s| s.usual_weight());
        let mut tracks = Vec::new();
        let mut add = |all: &[TrackOptions],
                       most: i16,
                       target: fn(String) -> TrackTarget,
                       usual: &dyn Fn(&Word) -> Option<WeightOptions>| {
            for track in all {
                let target = target(track.name.text.to_string());
                // keepalived ignores what is followed already.
                if tracks.iter().any(|known: &Track| known.target == target) {
                    continue;
                }
                if let Some(span) = too_large(&track.weight, most) {
                    let text = format!("`weight` of `{}` is not from -{most} to {most}", track.name.text);
                    reader.compat_unheeded(span, text, ", and is ignored");
                }
                let own = get(&track.weight).filter(|w| w.weight.abs() <= most);
                let usual = usual(&track.name).filter(|w| w.weight.abs() <= most);
                let is_reversed = get(&track.is_reversed)
                    .or(own.and_then(|w| w.is_reversed))
                    .or(usual.and_then(|w| w.is_reversed));
                tracks.push(Track {
                    target,
                    weight: own.or(usual).map_or(0, |w| w.weight),
                    is_reversed: is_reversed.unwrap_or(false),
                });
            }
        };
        add(&tracked.interfaces, 253, TrackTarget::Interface, &|_| None);
        add(&tracked.scripts, 253, TrackTarget::Script, &script);
        add(&tracked.files, 254, TrackTarget::File, &file);
        add(&tracked.processes, 254, TrackTarget::Process, &process);
        add(&tracked.checks, 253, TrackTarget::Check, &check);
        add(&tracked.sessions, MAX_WEIGHT, TrackTarget::Bfd, &session);
        tracks
    }
}
