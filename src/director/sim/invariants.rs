//! What must never, and what must finally, be true of the world.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::world::{Server, World, is_probe_service};
use crate::check::path::ProbePath;
use crate::config::{Config, RealServer, VirtualServer};
use crate::director::admin_override::AdminState;
use crate::director::desired;
use crate::director::reconcile::Request;
use crate::ipvs::backend::Op;
use crate::ipvs::types::{Destination, Family, ServiceEntry, ServiceKey};

/// How long the kernel remembers a connection that was begun.
const MINUTE: Duration = Duration::from_secs(60);

/// After every step: strangers' services are untouched, and the router knows what it should.
pub(super) fn always(world: &mut World) {
    if let Some(director) = world.director().filter(|director| !director.is_ending()) {
        let level = director.level();
        if world.router.as_ref() != Some(&level) {
            let text = format!("the router is told: {:?}, and should be {level:?}", world.router);
            world.broken.push(text);
        }
    }
    let missing: Vec<_> =
        world.strangers.iter().filter(|key| !world.kernel.table().contains_key(key)).copied().collect();
    for key in missing {
        world.broken.push(format!("foreign entries untouched: {key} is gone"));
        world.strangers.remove(&key);
    }
}

/// Before a request: every service it changes was saved as ours.
pub(super) fn owned_before_use(world: &mut World, request: &Request) {
    let Request::Apply(ops) = request else { return };
    // Ways to single real servers are known by their marks.
    for key in ops.iter().filter_map(Op::service).filter(|key| !is_probe_service(**key)) {
        if !world.saved().owned.contains(&desired::virtual_server_id(*key)) {
            world.broken.push(format!("state saved before the op: {key} is not in it"));
        }
    }
}

/// When a probe leaves: its mark leads to its real server and to no other, and the kernel has forgotten where the
/// last one from its port went.
pub(super) fn by_a_probe_service_of_its_own(world: &mut World, path: ProbePath, real: IpAddr) {
    let family = Family::of(path.source);
    let entry = world.kernel.table().get(&ServiceKey::Fwmark { family, mark: path.mark });
    let destinations: Vec<IpAddr> =
        entry.iter().flat_map(|e| e.destinations.keys().map(|at| at.ip())).collect();
    if destinations != [real] {
        world
            .broken
            .push(format!("a probe reaches its real server alone: {real}, and there are {destinations:?}"));
    }
    let now = world.now;
    if let Some(before) = world.leaves_by(path.slot).filter(|at| now.since(*at) < MINUTE) {
        world.broken.push(format!("a port comes again after {:?}", now.since(before)));
    }
}

/// At every operation: it is not about a stranger's service.
pub(super) fn not_a_strangers(world: &mut World, op: &Op) {
    if op.service().is_some_and(|key| world.strangers.contains(key)) {
        world.broken.push(format!("foreign entries untouched: {op:?}"));
    }
}

/// Within a batch that the kernel takes whole: a service that had a serving destination before and will have one
/// after has one in between.
pub(super) fn never_without_a_server(
    world: &mut World,
    op: &Op,
    before: &BTreeMap<ServiceKey, ServiceEntry>,
    batch: &[Op],
) {
    let Some(key) = op.service() else { return };
    let serves = |entry: Option<&ServiceEntry>| {
        entry.is_some_and(|e| e.destinations.values().any(|d| d.destination.weight > 0))
    };
    let brings = |op: &Op| match op {
        Op::AddDestination(k, _, d) | Op::SetDestination(k, _, d) => k == key && d.weight > 0,
        _ => false,
    };
    let will_serve = batch.iter().any(brings);
    if serves(before.get(key)) && will_serve && !serves(world.kernel.table().get(key)) {
        world.broken.push(format!("never without a server: {key} after {op:?} of {batch:?}"));
    }
}

/// At rest, after the last fault: the kernel holds what configuration and servers say, computed here by a simpler
/// model that knows neither pools nor reconcilers.
pub(super) fn at_rest(world: &mut World, config: &Config) {
    let mut expected: BTreeMap<ServiceKey, BTreeMap<SocketAddr, Destination>> = BTreeMap::new();
    for server in &config.virtual_servers {
        expected.insert(desired::service_key(server.id), model(server, world));
    }
    let mut actual: BTreeMap<ServiceKey, BTreeMap<SocketAddr, Destination>> = BTreeMap::new();
    for (key, entry) in &world.services() {
        if !world.strangers.contains(key) {
            let destinations = entry.destinations.iter().map(|(at, d)| (*at, d.destination));
            actual.insert(*key, destinations.collect());
        }
    }
    if actual != expected {
        world.broken.push(format!("converged after the last fault: have {actual:#?}, want {expected:#?}"));
    }
    for server in &config.virtual_servers {
        let key = desired::service_key(server.id);
        let entry = world.kernel.table().get(&key);
        if entry.is_some_and(|e| e.service != desired::service(server)) {
            world.broken.push(format!("converged after the last fault: settings of {key}"));
        }
    }
    judged_down_serve_nothing(world, config);
}

/// A server judged down has weight 0 or is absent, unless it serves as the sorry server.
fn judged_down_serve_nothing(world: &mut World, config: &Config) {
    let Some(status) = world.director().map(|d| d.status(world.now)) else { return };
    for (server, status) in config
        .virtual_servers
        .iter()
        .flat_map(|s| status.virtual_servers.iter().filter(|v| v.virtual_server == s.id).map(move |v| (s, v)))
    {
        let entry = world.kernel.table().get(&desired::service_key(server.id));
        for real in status.real_servers.iter().filter(|r| !r.is_up) {
            let at = real.real_server;
            let is_sorry = server.sorry_server.is_some_and(|s| s.address == at);
            let weight = entry.and_then(|e| e.destinations.get(&at)).map_or(0, |d| d.destination.weight);
            if weight > 0 && !is_sorry {
                world.broken.push(format!("judged down, weight 0 or absent: {at} of {}", server.id));
            }
        }
    }
}

fn model(server: &VirtualServer, world: &World) -> BTreeMap<SocketAddr, Destination> {
    let admin = |at: &SocketAddr| world.overrides.get(&(server.id, *at)).copied().unwrap_or_default();
    let is_out = |at: &SocketAddr| admin(at).state != AdminState::Free;
    let works =
        |at: &SocketAddr| matches!(world.servers.get(at), None | Some(Server::Answers)) && !is_out(at);
    let weight_of = |r: &RealServer| admin(&r.address).weight.unwrap_or(r.weight);
    let weight: u64 =
        server.real_servers.iter().filter(|r| works(&r.address)).map(|r| u64::from(weight_of(r))).sum();
    let is_sorry = server.sorry_server.is_some() && (weight == 0 || weight < u64::from(server.quorum));
    let mut table = BTreeMap::new();
    for r in &server.real_servers {
        let weight = if works(&r.address) && !is_sorry { weight_of(r) } else { 0 };
        let is_kept = (r.inhibit_on_failure && !is_out(&r.address)) || (works(&r.address) && !is_sorry);
        let (upper_threshold, lower_threshold) = (r.upper_threshold, r.lower_threshold);
        if is_kept {
            let d = Destination { forwarding: r.forwarding, weight, upper_threshold, lower_threshold };
            table.insert(r.address, d);
        }
    }
    if let Some(sorry) = server.sorry_server {
        let d = |weight| Destination {
            forwarding: sorry.forwarding,
            weight,
            upper_threshold: 0,
            lower_threshold: 0,
        };
        if is_sorry {
            table.insert(sorry.address, d(1));
        } else if sorry.inhibit {
            table.entry(sorry.address).or_insert(d(0));
        }
    }
    table
}
