//! When addresses are announced: bursts, second bursts, refreshes, and at which rate on each link.
//!
//! It knows names of instances and links and which announcements are due; frames and the addresses an instance has are
//! the router's. What waits is cancelled with its instance's mastership, and what a link had no room for waits again,
//! before what waited behind it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Instant;
use crate::vrrp::settings::{Announcing, Pacing};

/// Announcements of a link at once where no pace is set, and the pause after them: advertisements come between.
const BATCH: u32 = 64;
const BATCH_PAUSE: Duration = Duration::from_millis(1);

/// An address to announce.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Announcement {
    /// Whose it is.
    pub instance: String,
    pub link: String,
    pub ip: IpAddr,
}

/// Why addresses of an instance are announced again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// The second burst.
    Second,
    /// The second burst after a lower priority was heard.
    SecondLower,
    /// While Master, now and then.
    Refresh,
    /// While Master, now and then, on other interfaces than the instance's.
    Extra,
}

/// What waits to be announced.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    pacing: Vec<Pacing>,
    queues: BTreeMap<RateClass, Queue>,
    plans: BTreeMap<String, Plan>,
    /// Links without room for more.
    blocked: BTreeSet<String>,
    /// How many announcements of an instance wait.
    waiting: BTreeMap<String, usize>,
}

/// Announcements that share a rate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum RateClass {
    /// Of a group of links, and whether of IPv6.
    Group(usize, bool),
    /// Of a link, and whether of IPv6.
    Link(String, bool),
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Announcement>,
    next: Instant,
    spacing: Duration,
}

#[derive(Debug, Default)]
struct Plan {
    second: Option<Instant>,
    second_lower: Option<Instant>,
    refresh: Option<Instant>,
    extra: Option<Instant>,
}

impl RateClass {
    /// Nothing of it can leave.
    fn is_blocked(&self, queue: &Queue, blocked: &BTreeSet<String>) -> bool {
        match self {
            RateClass::Link(link, _) => blocked.contains(link),
            RateClass::Group(..) => {
                !blocked.is_empty() && queue.waiting.iter().all(|a| blocked.contains(&a.link))
            }
        }
    }
}

impl Queue {
    /// The next one that can leave.
    fn pop(&mut self, blocked: &BTreeSet<String>) -> Option<Announcement> {
        match blocked.is_empty() {
            true => self.waiting.pop_front(),
            false => {
                let next = self.waiting.iter().position(|a| !blocked.contains(&a.link))?;
                self.waiting.remove(next)
            }
        }
    }
}

impl Plan {
    fn times(&self) -> impl Iterator<Item = Instant> {
        [self.second, self.second_lower, self.refresh, self.extra].into_iter().flatten()
    }
}

impl Announcer {
    /// Sets the rates of links.
    pub(crate) fn set_pacing(&mut self, pacing: &[Pacing]) {
        if self.pacing != pacing {
            self.pacing = pacing.to_vec();
            let waiting: Vec<_> =
                std::mem::take(&mut self.queues).into_values().flat_map(|q| q.waiting).collect();
            self.waiting.clear();
            waiting.into_iter().for_each(|a| self.enqueue(a));
        }
    }

    /// An instance is Master and has addresses: what follows the first burst, and when.
    pub(crate) fn begin(&mut self, instance: &str, announcing: &Announcing, now: Instant) {
        let after = |time: Duration| (time > Duration::ZERO).then(|| now + time);
        self.plans.entry(instance.to_owned()).or_insert_with(|| Plan {
            second: after(announcing.delay),
            second_lower: None,
            refresh: after(announcing.refresh),
            extra: after(announcing.extra),
        });
    }

    /// The second burst follows once more: a link is back, and its switch may not pass frames yet.
    pub(crate) fn again(&mut self, instance: &str, announcing: &Announcing, now: Instant) {
        if let Some(plan) = self.plans.get_mut(instance)
            && announcing.delay > Duration::ZERO
        {
            plan.second = Some(now + announcing.delay);
        }
    }

    /// What waits for a link is not announced.
    pub(crate) fn drop_waiting(&mut self, instance: &str, link: &str) {
        let mut dropped = 0;
        for queue in self.queues.values_mut() {
            let before = queue.waiting.len();
            queue.waiting.retain(|a| a.instance != instance || a.link != link);
            dropped += before - queue.waiting.len();
        }
        no_longer_wait(&mut self.waiting, instance, dropped);
    }

    /// A lower priority was heard: when the second burst follows.
    pub(crate) fn lower_priority(&mut self, instance: &str, announcing: &Announcing, now: Instant) {
        if let Some(plan) = self.plans.get_mut(instance)
            && announcing.lower_priority_repeat > 0
            && announcing.lower_priority_delay > Duration::ZERO
        {
            plan.second_lower = Some(now + announcing.lower_priority_delay);
        }
    }

    /// Other settings while Master: later announcements follow them.
    pub(crate) fn change(&mut self, instance: &str, announcing: &Announcing, now: Instant) {
        if let Some(plan) = self.plans.get_mut(instance) {
            let after = |time: Duration| (time > Duration::ZERO).then(|| now + time);
            (plan.refresh, plan.extra) = (after(announcing.refresh), after(announcing.extra));
        }
    }

    /// It is no longer Master.
    pub(crate) fn cancel(&mut self, instance: &str) {
        self.plans.remove(instance);
        self.waiting.remove(instance);
        for queue in self.queues.values_mut() {
            queue.waiting.retain(|a| a.instance != instance);
        }
    }

    /// Announces each address so many times, all of them before the next round.
    pub(crate) fn burst(&mut self, addresses: &[Announcement], repeat: u32) {
        for _ in 0..repeat {
            for announcement in addresses {
                self.enqueue(announcement.clone());
            }
        }
    }

    /// Whether announcements of an instance still wait: others need not be added.
    pub(crate) fn is_busy(&self, instance: &str) -> bool {
        self.waiting.contains_key(instance)
    }

    /// Their links had no room for these, and have none for others until [`Announcer::unblock`]. They leave next, if
    /// their instance is still Master.
    pub(crate) fn give_back(&mut self, announcements: Vec<Announcement>) {
        for announcement in announcements.into_iter().rev() {
            self.blocked.insert(announcement.link.clone());
            if self.plans.contains_key(&announcement.instance) {
                let queue = self.queue(&announcement);
                queue.waiting.push_front(announcement);
            }
        }
    }

    /// A link has room again, or is there no more.
    pub(crate) fn unblock(&mut self, link: &str) {
        self.blocked.remove(link);
    }

    /// Links that are there no more will not say that they have room.
    pub(crate) fn keep_blocked(&mut self, is_there: impl Fn(&str) -> bool) {
        self.blocked.retain(|link| is_there(link));
    }

    fn enqueue(&mut self, announcement: Announcement) {
        self.queue(&announcement).waiting.push_back(announcement);
    }

    /// The queue that an announcement is about to join.
    fn queue(&mut self, announcement: &Announcement) -> &mut Queue {
        *self.waiting.entry(announcement.instance.clone()).or_default() += 1;
        let is_ipv6 = announcement.ip.is_ipv6();
        let link = &announcement.link;
        let group = self.pacing.iter().position(|p| p.links.contains(link));
        let pacing = match group {
            Some(group) => self.pacing.get(group),
            None => self.pacing.iter().find(|p| p.links.is_empty()),
        };
        let spacing = pacing.map_or(Duration::ZERO, |p| if is_ipv6 { p.neighbour } else { p.arp });
        let class = match group {
            Some(group) => RateClass::Group(group, is_ipv6),
            None => RateClass::Link(link.clone(), is_ipv6),
        };
        let queue = self.queues.entry(class).or_default();
        queue.spacing = spacing;
        queue
    }

    /// Whose addresses are to be announced again now, and why.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        announcing: impl Fn(&str) -> Option<Announcing>,
    ) -> Vec<(String, Again)> {
        let mut due = Vec::new();
        for (instance, plan) in &mut self.plans {
            let Some(announcing) = announcing(instance) else { continue };
            let once = [(&mut plan.second, Again::Second), (&mut plan.second_lower, Again::SecondLower)];
            for (at, again) in once {
                if at.take_if(|at| *at <= now).is_some() {
                    due.push((instance.clone(), again));
                }
            }
            let often = [
                (&mut plan.refresh, announcing.refresh, Again::Refresh),
                (&mut plan.extra, announcing.extra, Again::Extra),
            ];
            for (at, interval, again) in often {
                if at.take_if(|at| *at <= now).is_some() {
                    due.push((instance.clone(), again));
                    *at = (interval > Duration::ZERO).then(|| now + interval);
                }
            }
        }
        due
    }

    /// What may be sent now.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Announcement> {
        let mut taken = Vec::new();
        for (class, queue) in &mut self.queues {
            let mut batch = 0;
            if class.is_blocked(queue, &self.blocked) {
                continue;
            }
            while queue.next <= now
                && let Some(announcement) = queue.pop(&self.blocked)
            {
                no_longer_wait(&mut self.waiting, &announcement.instance, 1);
                taken.push(announcement);
                batch += 1;
                if queue.spacing > Duration::ZERO {
                    queue.next = now + queue.spacing;
                } else if batch == BATCH {
                    queue.next = now + BATCH_PAUSE;
                }
            }
        }
        self.queues.retain(|_, queue| !queue.waiting.is_empty() || queue.next > now);
        taken
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let can_leave = |(class, queue): &(&RateClass, &Queue)| {
            !queue.waiting.is_empty() && !class.is_blocked(queue, &self.blocked)
        };
        let waiting = self.queues.iter().filter(can_leave).map(|(_, queue)| queue.next);
        waiting.chain(self.plans.values().flat_map(Plan::times)).min()
    }
}

/// So many announcements of an instance have left, or never will.
fn no_longer_wait(waiting: &mut BTreeMap<String, usize>, instance: &str, count: usize) {
    if let Some(known) = waiting.get_mut(instance) {
        *known = known.saturating_sub(count);
        if *known == 0 {
            waiting.remove(instance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::sim::site::announcing;

    fn announcement(instance: &str, link: &str, ip: &str) -> Announcement {
        Announcement { instance: instance.to_owned(), link: link.to_owned(), ip: ip.parse().unwrap() }
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(milliseconds)
    }

    /// When each announcement leaves, for a shell that wakes exactly when asked.
    fn run(announcer: &mut Announcer, from: Instant) -> Vec<(Instant, String)> {
        let mut sent = Vec::new();
        let mut now = from;
        loop {
            sent.extend(announcer.take(now).into_iter().map(|a| (now, a.ip.to_string())));
            match announcer.deadline() {
                Some(next) => now = next,
                None => return sent,
            }
        }
    }

    #[test]
    fn a_burst_goes_round_all_addresses_before_it_repeats() {
        let mut announcer = Announcer::default();
        announcer.burst(&[announcement("a", "e0", "10.0.0.1"), announcement("a", "e0", "10.0.0.2")], 2);
        let order: Vec<_> = run(&mut announcer, at(0)).into_iter().map(|(_, ip)| ip).collect();
        assert_eq!(order, ["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"]);
    }

    #[test]
    fn links_of_a_group_share_a_rate_and_others_have_their_own() {
        let mut announcer = Announcer::default();
        let pace = Duration::from_millis(10);
        let group = |links: &[&str], arp| Pacing {
            links: links.iter().map(|l| (*l).to_owned()).collect(),
            arp,
            neighbour: Duration::ZERO,
        };
        announcer.set_pacing(&[group(&["e0", "e1"], pace), group(&[], pace / 2)]);
        let all = [("e0", "10.0.0.1"), ("e1", "10.0.0.2"), ("e2", "10.0.0.3")];
        announcer.burst(&all.map(|(link, ip)| announcement("a", link, ip)), 2);
        let sent = run(&mut announcer, at(0));
        let times = |ips: &[&str]| -> Vec<_> {
            sent.iter().filter(|(_, ip)| ips.contains(&ip.as_str())).map(|(t, _)| *t).collect()
        };
        assert_eq!(times(&["10.0.0.1", "10.0.0.2"]), [at(0), at(10), at(20), at(30)]);
        assert_eq!(times(&["10.0.0.3"]), [at(0), at(5)]);
    }

    #[test]
    fn where_no_pace_is_set_a_thousand_addresses_do_not_leave_at_once() {
        let mut announcer = Announcer::default();
        let all: Vec<_> =
            (0..1000u32).map(|n| announcement("a", "e0", &std::net::Ipv4Addr::from(n).to_string())).collect();
        announcer.burst(&all, 1);
        let sent = run(&mut announcer, at(0));
        assert_eq!(sent.len(), 1000);
        assert_eq!(sent.iter().filter(|(t, _)| *t == at(0)).count(), 64);
        assert_eq!(sent.last().map(|(t, _)| *t), Some(at(15)));
    }

    #[test]
    fn cancelling_takes_what_waits_and_the_second_burst() {
        let mut announcer = Announcer::default();
        announcer.begin("a", &announcing(), at(0));
        announcer.burst(&[announcement("a", "e0", "10.0.0.1"), announcement("b", "e0", "10.0.0.2")], 5);
        announcer.cancel("a");
        let rest = run(&mut announcer, at(0));
        assert!(rest.iter().all(|(_, ip)| ip == "10.0.0.2"), "{rest:?}");
        assert_eq!(announcer.deadline(), None);
    }

    #[test]
    fn what_a_link_had_no_room_for_leaves_next_and_no_address_is_left_out() {
        let mut announcer = Announcer::default();
        announcer.begin("a", &Announcing { delay: Duration::ZERO, ..announcing() }, at(0));
        let all: Vec<_> =
            (0..150u32).map(|n| announcement("a", "e0", &std::net::Ipv4Addr::from(n).to_string())).collect();
        announcer.burst(&all, 2);
        let (mut sent, mut now) = (Vec::new(), at(0));
        while let Some(next) = announcer.deadline() {
            now = next;
            let mut taken = announcer.take(now);
            let unsent = taken.split_off(taken.len().min(50));
            sent.extend(taken);
            if !unsent.is_empty() {
                announcer.give_back(unsent);
                assert_eq!(announcer.deadline(), None, "its link says when there is room");
                assert!(announcer.is_busy("a"));
                announcer.unblock("e0");
            }
        }
        assert_eq!(sent, [all.clone(), all].concat());
        assert!(!announcer.is_busy("a"));
        assert!(now < at(100), "{now:?}");
    }

    #[test]
    fn a_full_link_delays_no_other_not_even_of_its_group() {
        let mut announcer = Announcer::default();
        let pace = Duration::from_millis(10);
        let links = ["e0", "e1"].map(str::to_owned).into();
        announcer.set_pacing(&[Pacing { links, arp: pace, neighbour: pace }]);
        for instance in ["a", "b"] {
            announcer.begin(instance, &Announcing { delay: Duration::ZERO, ..announcing() }, at(0));
        }
        let all = [("e0", "10.0.0.1"), ("e1", "10.0.0.2"), ("e2", "10.0.0.3")];
        announcer.give_back(vec![announcement("a", "e0", "10.0.0.9")]);
        announcer.burst(&all.map(|(link, ip)| announcement("b", link, ip)), 1);
        let others: Vec<_> = run(&mut announcer, at(0)).into_iter().map(|(_, ip)| ip).collect();
        assert_eq!(others, ["10.0.0.2", "10.0.0.3"]);
        // An instance that is no longer Master announces nothing when there is room.
        announcer.cancel("a");
        announcer.give_back(vec![announcement("a", "e0", "10.0.0.8")]);
        announcer.unblock("e0");
        let rest: Vec<_> = run(&mut announcer, at(20)).into_iter().map(|(_, ip)| ip).collect();
        assert_eq!(rest, ["10.0.0.1"]);
    }

    #[test]
    fn the_second_burst_comes_once_and_a_refresh_again_and_again() {
        let mut announcer = Announcer::default();
        let announcing = Announcing { refresh: Duration::from_secs(7), ..announcing() };
        announcer.begin("a", &announcing, at(0));
        let mut due = Vec::new();
        while let Some(next) = announcer.deadline().filter(|next| *next <= at(15_000)) {
            due.extend(announcer.due(next, |_| Some(announcing)).into_iter().map(|(_, again)| (next, again)));
        }
        assert_eq!(
            due,
            [(at(5000), Again::Second), (at(7000), Again::Refresh), (at(14_000), Again::Refresh)]
        );
    }
}
