//! Operations: performed in order in as few sends as can be, each with its own verdict.
//!
//! Adding what exists and removing what is absent are successes; the tables are read only to find out whether a
//! refusal means that, so a takeover of absent addresses is one send.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustix::io::Errno;

use super::decode::{self, ShownAddress};
use super::encode::{self, Unspeakable};
use super::wire::{FOREVER, IFA_F_DEPRECATED, IFA_F_GIVEN};
use super::{Kernel, find, in_words, name};
use crate::net::types::{Address, IFA_F_NODAD, LinkIndex, Op, Prefix, Refusal, Route, Rule};
use crate::netlink::conversation::Refused;
use crate::netlink::request::Request;

const ADDRNOTAVAIL: i32 = Errno::ADDRNOTAVAIL.raw_os_error();
const EXIST: i32 = Errno::EXIST.raw_os_error();
const NODEV: i32 = Errno::NODEV.raw_os_error();
const NOENT: i32 = Errno::NOENT.raw_os_error();
const SRCH: i32 = Errno::SRCH.raw_os_error();

impl Kernel {
    /// Performs operations in order and answers what was refused; that stops none of the others.
    pub fn apply(&mut self, ops: &[Op]) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let ops = self.without_present_rules(ops);
        let mut rest = ops.as_slice();
        while let [first, others @ ..] = rest {
            let refused = match first {
                Op::AddVmac(vmac) => self.add_vmac(vmac),
                Op::RemoveVmac(vmac) => self.remove_vmac(vmac),
                _ => {
                    let is_vmac = |op: &Op| matches!(op, Op::AddVmac(_) | Op::RemoveVmac(_));
                    let end = rest.iter().position(is_vmac).unwrap_or(rest.len());
                    let (run, behind) = rest.split_at(end);
                    rest = behind;
                    self.run(run, &mut refusals);
                    continue;
                }
            };
            rest = others;
            refusals.extend(refused.err().map(|refused| refusal(first, refused)));
        }
        refusals
    }

    /// The kernel gives a rule without a priority a new one each time it is added, so that it would be there twice.
    fn without_present_rules(&mut self, ops: &[Op]) -> Vec<Op> {
        let chooses = |op: &Op| matches!(op, Op::AddRule(rule) if rule.priority.is_none());
        if !ops.iter().any(chooses) {
            return ops.to_vec();
        }
        let mut there: Vec<Rule> = Vec::new();
        for is_ipv6 in [false, true] {
            // Where the rules cannot be read, the kernel refuses those that exist.
            there.extend(self.rules(is_ipv6).unwrap_or_default());
        }
        let mut kept: Vec<Op> = Vec::with_capacity(ops.len());
        for op in ops {
            match op {
                Op::AddRule(rule) if rule.priority.is_none() => {
                    if there.iter().any(|shown| rule.is_same(shown)) {
                        continue;
                    }
                    there.push(Rule { priority: Some(0), ..rule.canonical() });
                }
                Op::RemoveRule(rule) => there.retain(|shown| !rule.is_same(shown)),
                _ => {}
            }
            kept.push(op.clone());
        }
        kept
    }

    /// Performs operations without macvlans among them. The first address of a network takes the others with it when
    /// it goes, unless the link promotes them; among them may be the host's own, so the link is made to.
    fn run(&mut self, ops: &[Op], refusals: &mut Vec<Refusal>) {
        let emptied: BTreeSet<LinkIndex> = ops
            .iter()
            .filter_map(|op| match op {
                Op::RemoveAddress { link, prefix } if has_secondaries(*prefix) => Some(*link),
                _ => None,
            })
            .filter(|link| !super::promotes_secondaries(*link))
            .collect();
        let promote = |is_on| emptied.iter().map(|link| encode::promote_secondaries(*link, is_on)).collect();
        let (first, last): (Vec<_>, Vec<_>) = (promote(true), promote(false));
        // A link that goes meanwhile needs neither.
        if !first.is_empty()
            && let Err(silence) = self.rtnetlink.batch(&first)
        {
            let unknown = |op: &Op| Refusal { op: op.clone(), errno: 0, text: silence.clone() };
            return refusals.extend(ops.iter().map(unknown));
        }
        self.run_promoted(ops, refusals);
        if !last.is_empty()
            && let Err(silence) = self.rtnetlink.batch(&last)
        {
            self.remarks.push(format!("promote_secondaries of a link stays on: {silence}"));
        }
    }

    fn run_promoted(&mut self, ops: &[Op], refusals: &mut Vec<Refusal>) {
        let mut rest = ops;
        while !rest.is_empty() {
            match self.attempt(rest, refusals) {
                Ok(done) => rest = rest.get(done..).unwrap_or_default(),
                Err(silence) => {
                    let unknown = |op: &Op| Refusal { op: op.clone(), errno: 0, text: silence.clone() };
                    refusals.extend(rest.iter().map(unknown));
                    return;
                }
            }
        }
    }

    /// Performs operations up to the end, or up to one that had to be mended: how many are done or refused. Those behind
    /// one are performed again, because a route may have gone with an address that was made anew.
    fn attempt(&mut self, ops: &[Op], refusals: &mut Vec<Refusal>) -> Result<usize, String> {
        let mut requests = Vec::with_capacity(ops.len());
        let mut spoken = Vec::with_capacity(ops.len());
        for op in ops {
            let request = self.request(op);
            spoken.push(request.as_ref().err().cloned());
            requests.extend(request.ok());
        }
        let mut refused_requests = self.rtnetlink.batch(&requests)?.into_iter().peekable();
        let mut sent = 0..requests.len();
        let mut found = Vec::new();
        let mut addresses = None;
        for (index, (op, unspeakable)) in ops.iter().zip(spoken).enumerate() {
            let refused = match unspeakable {
                Some((NODEV, _)) if is_removal(op) => continue,
                Some(unspeakable) => unspeakable,
                None => {
                    let request = sent.next();
                    let Some(refused) = refused_requests.next_if(|r| Some(r.index) == request) else {
                        continue;
                    };
                    match self.judge(op, refused, &mut addresses)? {
                        Judgement::Fine => continue,
                        Judgement::Refused(refused) => refused,
                        Judgement::Mended(outcome) => {
                            refusals.append(&mut found);
                            refusals.extend(outcome.err().map(|refused| refusal(op, refused)));
                            return Ok(index + 1);
                        }
                    }
                }
            };
            found.push(refusal(op, refused));
        }
        refusals.append(&mut found);
        Ok(ops.len())
    }

    fn request(&self, op: &Op) -> Result<Request, Unspeakable> {
        let find = |name: &str| find(&self.names, name);
        match op {
            Op::AddAddress(address) => encode::add_address(address, self.link_of(address)?, false),
            Op::RemoveAddress { link, prefix } => Ok(encode::remove_address(*link, *prefix, prefix.ip)),
            Op::AddRoute(route) => encode::add_route(route, false, &find),
            Op::RemoveRoute(route) => encode::remove_route(route, &find),
            Op::AddRule(rule) => Ok(encode::add_rule(rule)),
            Op::RemoveRule(rule) => Ok(encode::remove_rule(rule)),
            Op::AddVmac(_) | Op::RemoveVmac(_) => {
                Err((Errno::INVAL.raw_os_error(), "macvlans are made elsewhere".into()))
            }
        }
    }

    fn link_of(&self, address: &Address) -> Result<LinkIndex, Unspeakable> {
        let found = find(&self.names, &address.link);
        found.ok_or_else(|| (NODEV, format!("there is no link {}", address.link)))
    }

    /// What a refusal means.
    fn judge(
        &mut self,
        op: &Op,
        refused: Refused,
        addresses: &mut Option<Vec<ShownAddress>>,
    ) -> Result<Judgement, String> {
        match (op, refused.errno) {
            (Op::RemoveAddress { .. }, NODEV)
            | (Op::RemoveRoute(_), SRCH | NODEV)
            | (Op::RemoveRule(_), NOENT) => return Ok(Judgement::Fine),
            (Op::RemoveAddress { link, prefix }, ADDRNOTAVAIL) => {
                let shown = self.read_once(addresses)?;
                let far =
                    shown.iter().find(|a| a.held.link == *link && a.held.prefix == *prefix).map(|a| a.far);
                return match far {
                    None => Ok(Judgement::Fine),
                    Some(far) => self.mend(&[encode::remove_address(*link, *prefix, far)]),
                };
            }
            (Op::AddAddress(address), EXIST) => {
                let link = match self.link_of(address) {
                    Ok(link) => link,
                    Err(gone) => return Ok(Judgement::Refused(gone)),
                };
                let shown = self.read_once(addresses)?;
                return match difference(address, link, shown) {
                    Difference::None => Ok(Judgement::Fine),
                    Difference::Lifetime => match encode::add_address(address, link, true) {
                        Ok(request) => self.mend(&[request]),
                        Err(refused) => Ok(Judgement::Refused(refused)),
                    },
                    Difference::All(far) => {
                        let away = encode::remove_address(link, wire_prefix(address), far);
                        let (mut first, mut last) = (Vec::new(), Vec::new());
                        if has_secondaries(address.prefix) && !super::promotes_secondaries(link) {
                            first.push(encode::promote_secondaries(link, true));
                            last.push(encode::promote_secondaries(link, false));
                        }
                        match encode::add_address(address, link, false) {
                            Ok(request) => self.mend(&[first, vec![away], last, vec![request]].concat()),
                            Err(refused) => Ok(Judgement::Refused(refused)),
                        }
                    }
                };
            }
            (Op::AddRoute(route), EXIST) => return self.replace_own_route(route),
            (Op::AddRule(rule), EXIST) => return self.judge_existing_rule(rule),
            _ => {}
        }
        Ok(Judgement::Refused(in_kernels_words(&refused)))
    }

    /// A route of that destination and metric is there: ours is brought up to date, another's is left alone.
    fn replace_own_route(&mut self, route: &Route) -> Result<Judgement, String> {
        let there = self.routes_like(route)?;
        if there.iter().any(|shown| is_as_wanted(route, shown) && shown.protocol == route.protocol) {
            return Ok(Judgement::Fine);
        }
        let wanted = route.canonical();
        let in_the_way = |shown: &&Route| {
            let shown = shown.canonical();
            (shown.destination, shown.from, shown.tos, shown.metric)
                == (wanted.destination, wanted.from, wanted.tos, wanted.metric)
        };
        let Some(other) = there.iter().find(in_the_way) else {
            let text = format!("another kind of route to {} is there already", wanted.destination);
            return Ok(Judgement::Refused((EXIST, text)));
        };
        if other.protocol != route.protocol {
            let text = format!(
                "a route to {} with metric {} is there already, made by another (protocol {})",
                wanted.destination,
                wanted.metric.unwrap_or(0),
                other.protocol
            );
            return Ok(Judgement::Refused((EXIST, text)));
        }
        let find = |name: &str| find(&self.names, name);
        match encode::add_route(route, true, &find) {
            Ok(request) => self.mend(&[request]),
            Err(refused) => Ok(Judgement::Refused(refused)),
        }
    }

    /// Such a rule is there: ours, or another's that must not go with us.
    fn judge_existing_rule(&mut self, rule: &Rule) -> Result<Judgement, String> {
        let there = self.rules(rule.is_ipv6)?;
        if there.iter().any(|shown| rule.is_same(shown)) {
            return Ok(Judgement::Fine);
        }
        let text =
            "the same rule is there already, made by another: it does its work, and stays when lvsd's go";
        Ok(Judgement::Refused((EXIST, text.to_owned())))
    }

    /// The routes of a route's destination, in its table and of its kind.
    fn routes_like(&mut self, route: &Route) -> Result<Vec<Route>, String> {
        let (destination, table) = (route.canonical().destination, route.canonical().table);
        let names = &self.names;
        // A kernel that cannot choose sends them all.
        let is_like = |shown: &Route| shown.destination == destination && shown.table == table;
        self.rtnetlink.list(&encode::routes_like(route), |payload| {
            let shown = decode::route(payload, &|index| name(names, index))?;
            Ok(shown.filter(is_like))
        })
    }

    fn read_once<'a>(
        &mut self,
        addresses: &'a mut Option<Vec<ShownAddress>>,
    ) -> Result<&'a [ShownAddress], String> {
        if addresses.is_none() {
            *addresses = Some(self.addresses()?);
        }
        Ok(addresses.as_deref().unwrap_or_default())
    }

    /// Performs requests one after the other; the last one's verdict counts.
    fn mend(&mut self, requests: &[Request]) -> Result<Judgement, String> {
        let refused = self.rtnetlink.batch(requests)?.pop().filter(|r| r.index + 1 == requests.len());
        let outcome = refused.map_or(Ok(()), |refused| Err(in_kernels_words(&refused)));
        Ok(Judgement::Mended(outcome))
    }
}

enum Judgement {
    Fine,
    Refused(Unspeakable),
    Mended(Result<(), Unspeakable>),
}

/// How an address that is there differs from what is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    None,
    /// Only in what can be changed while it stays.
    Lifetime,
    /// It must be made anew; its other end.
    All(IpAddr),
}

fn difference(wanted: &Address, link: LinkIndex, shown: &[ShownAddress]) -> Difference {
    let prefix = wire_prefix(wanted);
    let Some(there) = shown.iter().find(|a| a.held.link == link && a.held.prefix == prefix) else {
        // An IPv6 address is on a link only once, with one length: the host's own, if its owner is the virtual router.
        return Difference::None;
    };
    let far = wanted.peer.map_or(wanted.prefix.ip, |peer| peer.ip);
    let is_ipv4 = prefix.ip.is_ipv4();
    let has_given_flags = there.flags & IFA_F_GIVEN == wanted.flags & IFA_F_GIVEN;
    let is_ipv4_as_wanted = there.held.scope == wanted.scope
        && there.broadcast == wanted.broadcast
        && there.label.as_deref() == Some(wanted.label.as_deref().unwrap_or(&wanted.link))
        && has_given_flags;
    let is_doomed = there.has_failed && wanted.flags & IFA_F_NODAD != 0;
    if there.far != far || is_doomed || (is_ipv4 && !is_ipv4_as_wanted) {
        return Difference::All(there.far);
    }
    // IPv4 shows a deprecated address without end as preferred for ever.
    let is_deprecated = there.flags & IFA_F_DEPRECATED != 0;
    let has_lifetime = match wanted.preferred_lifetime {
        None | Some(FOREVER) => there.preferred == FOREVER && !is_deprecated,
        Some(0) => is_deprecated,
        // It has been running down since it was given.
        Some(_) => false,
    };
    if has_lifetime && has_given_flags { Difference::None } else { Difference::Lifetime }
}

/// Whether an address can be the first of a network that has others.
pub(super) fn has_secondaries(prefix: Prefix) -> bool {
    prefix.ip.is_ipv4() && prefix.length < 32
}

/// The address with the length the kernel gives it: its other end's.
fn wire_prefix(address: &Address) -> Prefix {
    Prefix { ip: address.prefix.ip, length: address.peer.map_or(address.prefix.length, |peer| peer.length) }
}

/// The same route; the program that made it does not matter.
fn is_as_wanted(wanted: &Route, shown: &Route) -> bool {
    let is_whole = shown.hops.len() == wanted.canonical().hops.len();
    is_whole && wanted.is_same(&Route { protocol: wanted.protocol, ..shown.clone() })
}

fn is_removal(op: &Op) -> bool {
    matches!(op, Op::RemoveAddress { .. } | Op::RemoveRoute(_) | Op::RemoveRule(_))
}

pub(super) fn in_kernels_words(refused: &Refused) -> Unspeakable {
    (refused.errno, in_words(refused.errno, refused.text.as_deref()))
}

fn refusal(op: &Op, (errno, text): Unspeakable) -> Refusal {
    Refusal { op: op.clone(), errno, text }
}
