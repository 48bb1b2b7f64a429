//! From one configuration to the next: state is carried by identity, never by position.
//!
//! A checker whose whole specification is the same goes on as if nothing happened. A changed one begins anew but
//! inherits what was known, and its turn: a real server that was down stays down until the new checker passes, one
//! that was up stays up until it fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Director;
use super::admin_override::AdminOverride;
use super::checkers::{BySpec, CheckerId, Checkers, Entry, PoolMemberKey};
use super::event::Event;
use super::io::Effect;
use super::lifecycle::Life;
use super::path_check;
use super::pool::{Member, Pool, Subscription};
use super::state::KnownDown;
use crate::check::outcome::{Outcome, Phase};
use crate::check::schedule::{Health, Turn};
use crate::check::spec::{CheckerSpec, Question};
use crate::config::{Config, RealServer, VirtualServer, VirtualServerId};
use crate::time::Instant;

impl Director {
    /// Takes a new configuration.
    pub(super) fn reload(
        &mut self,
        now: Instant,
        config: Arc<Config>,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        if self.life != Life::Running {
            return;
        }
        self.forget_overrides(&config);
        let mut old = std::mem::take(&mut self.pools);
        let (mut predecessors, mut added) = (Vec::new(), Vec::new());
        let mut builder = self.builder(now);
        let pool = |server: &VirtualServer| {
            let pool = match old.remove(&server.id) {
                Some(mut pool) => {
                    let members = builder.successors(server, &pool);
                    predecessors.push((server.id, pool.reconfigure(server.clone(), members)));
                    pool
                }
                None => {
                    let members = builder.fresh(server, &BTreeMap::new());
                    added.push(server.id);
                    Pool::new(server.clone(), members)
                }
            };
            (server.id, pool)
        };
        let mut pools: BTreeMap<_, _> = config.virtual_servers.iter().map(pool).collect();
        // Last of all: a checker that another virtual server takes over goes on.
        for (id, members) in &mut predecessors {
            let Some(pool) = pools.get_mut(id) else { continue };
            for (at, checker) in pool.stay(now, members, builder.checkers) {
                builder.ended.push((checker, (*id, at)));
            }
            builder.retire(*id, members, Some(&pool.members));
        }
        for (id, pool) in &mut old {
            pool.end_stays();
            builder.retire(*id, &pool.members, None);
        }
        let ended = std::mem::take(&mut builder.ended);
        effects.extend(self.checkers.unsubscribe(ended).into_iter().map(Effect::CancelProbe));
        self.configure_track_checks(&config, now, effects);
        for pool in old.values() {
            self.reconciler.remove_desired(pool.key());
        }
        self.changed_pools.extend(pools.keys());
        self.templates.retain(|id| pools.contains_key(id));
        self.pools = pools;
        self.find_templates();
        for id in added {
            self.pools.get_mut(&id).into_iter().for_each(|pool| pool.begin(&self.checkers));
        }
        self.vrrp_link.configure(&config);
        self.configure_sources(&config);
        self.configure_suspension(now, &config, events, effects);
        self.config = config;
        self.configure_path_check();
        self.run_path_check(now, path_check::Input::Reloaded, events, effects);
        self.set_desired_settings();
        self.saves.mark_stale();
    }

    /// Makes members of the director's pools.
    pub(super) fn builder(&mut self, now: Instant) -> MemberBuilder<'_> {
        MemberBuilder {
            by_spec: self.checkers.by_spec(),
            checkers: &mut self.checkers,
            overrides: &self.overrides,
            rng: &mut self.rng,
            now,
            ended: Vec::new(),
        }
    }
}

/// What making members needs.
pub(crate) struct MemberBuilder<'a> {
    pub checkers: &'a mut Checkers,
    /// The same by what they ask.
    pub by_spec: BySpec,
    /// Orders of operators.
    pub overrides: &'a BTreeMap<PoolMemberKey, AdminOverride>,
    /// The core's generator.
    pub rng: &'a mut fastrand::Rng,
    pub now: Instant,
    /// Subscriptions that are to end.
    pub ended: Vec<(CheckerId, PoolMemberKey)>,
}

impl MemberBuilder<'_> {
    /// The members of a virtual server that was not there before; `known` is what a predecessor knew.
    pub(crate) fn fresh(
        &mut self,
        server: &VirtualServer,
        known: &BTreeMap<PoolMemberKey, Vec<KnownDown>>,
    ) -> BTreeMap<SocketAddr, Member> {
        let member = |real: &Arc<RealServer>| {
            let known = known.get(&(server.id, real.address)).map(Vec::as_slice).unwrap_or_default();
            self.member(server, real, known, None)
        };
        server.real_servers.iter().map(member).map(|m| (m.real_server.address, m)).collect()
    }

    /// The members of a virtual server that goes on under a new configuration.
    pub(crate) fn successors(&mut self, server: &VirtualServer, old: &Pool) -> BTreeMap<SocketAddr, Member> {
        let member = |real: &Arc<RealServer>| {
            let before = old.member(&real.address);
            let known = before.map(|m| known_down(self.checkers, &(server.id, real.address), m));
            let mut member = self.member(server, real, &known.unwrap_or_default(), before);
            member.is_new = before.is_none_or(|before| {
                let still_is = before.is_new && !old.staying.is_empty();
                still_is || (before.real_server.weight == 0 && real.weight > 0)
            });
            // Under another name it is another subject of notifications.
            let is_same_name = |before: &&Member| {
                before.real_server.named() == real.named() && old.server.notices.group == server.notices.group
            };
            let same = old.members.get(&real.address).filter(is_same_name);
            member.notified = same.and_then(|before| before.notified);
            member
        };
        server.real_servers.iter().map(member).map(|m| (m.real_server.address, m)).collect()
    }

    /// Ends the subscriptions of a virtual server's `old` members that `new` ones did not take over.
    pub(crate) fn retire(
        &mut self,
        id: VirtualServerId,
        old: &BTreeMap<SocketAddr, Member>,
        new: Option<&BTreeMap<SocketAddr, Member>>,
    ) {
        for (at, member) in old {
            let successor = new.and_then(|n| n.get(at));
            for s in &member.subscriptions {
                let is_kept =
                    successor.is_some_and(|m| m.subscriptions.iter().any(|n| n.checker == s.checker));
                if !is_kept {
                    self.ended.push((s.checker, (id, *at)));
                }
            }
        }
    }

    fn member(
        &mut self,
        server: &VirtualServer,
        real: &Arc<RealServer>,
        known: &[KnownDown],
        before: Option<&Member>,
    ) -> Member {
        let subscriber: PoolMemberKey = (server.id, real.address);
        let path = path_check::spec(server, real);
        let mut subscriptions: Vec<Subscription> =
            Vec::with_capacity(real.checkers.len() + usize::from(path.is_some()));
        let mut fresh = Vec::new();
        let is_path_alpha = real.path_check.as_ref().is_some_and(|check| check.alpha);
        let own = real.checkers.iter().map(|checker| (&checker.spec, checker.alpha));
        for (spec, alpha) in own.chain(path.iter().map(|spec| (spec, is_path_alpha))) {
            let by_spec = &mut self.by_spec;
            let turn = turn(self.checkers, spec, &subscriptions, before);
            let id = self.checkers.find_or_make(by_spec, spec, turn, self.rng, self.now);
            let inherited = before.and_then(|m| m.subscriptions.iter().find(|s| s.checker == id));
            if inherited.is_none() && !subscriptions.iter().any(|s| s.checker == id) {
                self.checkers.subscribe(id, subscriber);
            }
            let was_up = before.is_some_and(|m| m.is_up);
            let is_optimistic = inherited.map_or(!alpha || was_up, |s| s.is_optimistic || was_up);
            subscriptions.push(Subscription { checker: id, is_optimistic });
            // Also a checker that another virtual server of this reload has just begun without knowing a verdict.
            if self.checkers.get(id).is_some_and(|c| c.schedule.health() == Health::Unknown) {
                fresh.push(id);
            }
        }
        self.inherit(&fresh, known);
        self.inherit_up(&fresh, before);
        let since = before.map_or(self.now, |m| m.since);
        let admin = self.overrides.get(&subscriber).copied().unwrap_or_default();
        let is_reported = before.is_some_and(|m| m.is_reported);
        let checked_weight = before.and_then(|m| m.checked_weight);
        let (real_server, subscriptions) = (Arc::clone(real), subscriptions.into_boxed_slice());
        let mut member = Member {
            real_server,
            subscriptions,
            is_up: true,
            since,
            is_reported,
            is_new: true,
            admin,
            checked_weight,
            notified: None,
        };
        member.is_up = before.map_or_else(|| member.judge(self.checkers), |m| m.is_up);
        member
    }

    /// A new checker begins as up where one with the same keyword and address was up before. So its first failure does
    /// not decide at once, as the first run ever would.
    fn inherit_up(&mut self, fresh: &[CheckerId], before: Option<&Member>) {
        for s in before.into_iter().flat_map(|m| &m.subscriptions) {
            let Some(old) =
                self.checkers.get(s.checker).filter(|c| c.schedule.health().is_up() == Some(true))
            else {
                continue;
            };
            let (question, target) = (old.spec.question.keyword(), old.spec.target.address);
            let Some(last) = old.schedule.last().cloned() else { continue };
            for id in fresh {
                let is_like = self.checkers.get(*id).is_some_and(|c| {
                    c.spec.question.keyword() == question
                        && c.spec.target.address == target
                        && c.schedule.health() == Health::Unknown
                });
                if is_like {
                    self.checkers.know_up(*id, self.now, last.clone());
                }
            }
        }
    }

    /// New checkers begin as down where one with the same keyword and address was down before. If no new checker of the
    /// real server has that keyword and address, all of them begin as down.
    fn inherit(&mut self, fresh: &[CheckerId], known: &[KnownDown]) {
        let is_like = |checkers: &Checkers, id: CheckerId, down: &KnownDown| {
            checkers.get(id).is_some_and(|c| {
                c.spec.question.keyword() == down.checker && c.spec.target.address == down.target
            })
        };
        for down in known {
            let has_like = fresh.iter().any(|id| is_like(self.checkers, *id, down));
            for id in fresh {
                if !has_like || is_like(self.checkers, *id, down) {
                    self.checkers.know_down(*id, self.now, remembered(down));
                }
            }
        }
    }
}

/// The turn of a new checker, if it is not to have one of its own: that of the checker it replaces; of a path_check, that of
/// the server's own check, which it follows.
fn turn(
    checkers: &Checkers,
    spec: &CheckerSpec,
    fresh: &[Subscription],
    before: Option<&Member>,
) -> Option<Turn> {
    let entry = |s: &Subscription| checkers.get(s.checker);
    if matches!(spec.question, Question::Path(_)) {
        return fresh.first().and_then(entry).map(|own| own.turn);
    }
    let is_like = |old: &&Entry| {
        old.spec.question.keyword() == spec.question.keyword()
            && old.spec.target.address == spec.target.address
    };
    before.iter().flat_map(|m| &m.subscriptions).filter_map(entry).find(is_like).map(|old| old.turn)
}

/// The verdicts "down" among a member's checkers.
fn known_down(checkers: &Checkers, subscriber: &PoolMemberKey, member: &Member) -> Vec<KnownDown> {
    let down = |s: &Subscription| {
        let entry = checkers.get(s.checker)?;
        (entry.schedule.health().is_up() == Some(false)).then(|| known(entry, subscriber))
    };
    member.subscriptions.iter().filter_map(down).collect()
}

/// The verdicts "down" of all checkers.
pub(crate) fn all_known_down(checkers: &Checkers) -> Vec<KnownDown> {
    let of_each = |entry: &Entry| entry.subscribers.iter().map(|s| known(entry, s)).collect::<Vec<_>>();
    let mut down: Vec<KnownDown> = checkers.down().flat_map(of_each).collect();
    down.sort_by_key(|known| (known.virtual_server, known.real_server));
    down
}

fn known(entry: &Entry, subscriber: &PoolMemberKey) -> KnownDown {
    KnownDown {
        virtual_server: subscriber.0,
        real_server: subscriber.1,
        checker: entry.spec.question.keyword().to_owned(),
        target: entry.spec.target.address,
        reason: entry.schedule.last().map(|o| o.reason.to_string()).unwrap_or_default(),
    }
}

fn remembered(down: &KnownDown) -> Outcome {
    Outcome::fail(Phase::Done, down.reason.clone())
}
