//! The status for all readers: gathered once, kept for a moment, and written once in each form.
//!
//! Thousands of real servers take a while to look at and longer to write down: the main loop looks at some of them at a
//! time while nothing else waits, and writing is done on other threads. A status is kept the longer, the more it costs,
//! for a second at most. An operator's order ends it: the next reader gets a new one.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::oneshot;

use super::control::{DaemonStatus, Reply};
use super::metrics;
use crate::director::Director;
use crate::director::status::PartialStatus;
use crate::time::Instant;

/// Real servers looked at in one go: a few milliseconds.
const SLICE: usize = 2000;
/// How long a status is kept for each of its real servers, and at most.
const KEPT_EACH: Duration = Duration::from_micros(20);
const KEPT_MOST: Duration = Duration::from_secs(1);
/// Longest time a status waits for the router's part.
const ROUTER_LIMIT: Duration = Duration::from_secs(2);

/// A status, and its forms.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<Forms>);

#[derive(Debug)]
struct Forms {
    status: DaemonStatus,
    reply: OnceLock<Bytes>,
    json: OnceLock<Bytes>,
    exposition: OnceLock<Bytes>,
}

impl Snapshot {
    /// Of this status.
    pub fn new(status: DaemonStatus) -> Snapshot {
        let forms =
            Forms { status, reply: OnceLock::new(), json: OnceLock::new(), exposition: OnceLock::new() };
        Snapshot(Arc::new(forms))
    }

    /// The status by itself.
    pub fn into_status(self) -> DaemonStatus {
        Arc::try_unwrap(self.0).map_or_else(|shared| shared.status.clone(), |forms| forms.status)
    }

    /// As a reply of the control socket; takes a while the first time.
    pub fn reply(&self) -> Bytes {
        let write = || serde_json::to_vec(&Reply::Status(self.clone())).unwrap_or_default().into();
        self.0.reply.get_or_init(write).clone()
    }

    /// As JSON for machines; takes a while the first time.
    pub fn json(&self) -> Bytes {
        self.0.json.get_or_init(|| self.to_json().into()).clone()
    }

    /// As metrics; takes a while the first time.
    pub fn exposition(&self) -> Bytes {
        self.0.exposition.get_or_init(|| metrics::render(self).into()).clone()
    }

    /// Lets go of it elsewhere: so do thousands of real servers take a while.
    fn drop_elsewhere(self) {
        tokio::task::spawn_blocking(move || drop(self));
    }
}

impl Deref for Snapshot {
    type Target = DaemonStatus;

    fn deref(&self) -> &DaemonStatus {
        &self.0.status
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Snapshot) -> bool {
        self.0.status == other.0.status
    }
}

impl Eq for Snapshot {}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.status.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Snapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Snapshot, D::Error> {
        DaemonStatus::deserialize(deserializer).map(Snapshot::new)
    }
}

/// Collects statuses, each once for all requests.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    kept: Option<(Snapshot, Instant)>,
    /// The requests that wait for the next one; the control socket bounds how many.
    asking: Vec<oneshot::Sender<Reply>>,
    /// The director's part, as far as it is there.
    partial: Option<PartialStatus>,
    is_complete: bool,
    /// When it is done without the router's part, while that is waited for.
    router_by: Option<Instant>,
}

impl Snapshots {
    /// A status is requested: answered at once with one that is kept. True when a new one is begun, and the router is
    /// to be asked for its part.
    pub(crate) fn ask(&mut self, now: Instant, reply: oneshot::Sender<Reply>) -> bool {
        if let Some((snapshot, _)) = self.kept.as_ref().filter(|(_, until)| now < *until) {
            // The requester has gone: nothing to send. The same below.
            let _ = reply.send(Reply::Status(snapshot.clone()));
            return false;
        }
        self.asking.push(reply);
        let is_new = self.partial.is_none();
        self.partial.get_or_insert_default();
        is_new
    }

    /// The router was asked for its part.
    pub(crate) fn await_router(&mut self, now: Instant) {
        self.router_by = Some(now + ROUTER_LIMIT);
    }

    /// The router's part is there, or will not come.
    pub(crate) fn router_is_known(&mut self) {
        self.router_by = None;
    }

    /// Something was ordered, or is configured otherwise: what was seen before it is no answer any more.
    pub(crate) fn forget(&mut self) {
        if let Some((snapshot, _)) = self.kept.take() {
            snapshot.drop_elsewhere();
        }
        if let Some(partial) = &mut self.partial {
            *partial = PartialStatus::default();
            self.is_complete = false;
        }
    }

    /// Whether there is more to look at.
    pub(crate) fn has_work(&self) -> bool {
        self.partial.is_some() && !self.is_complete
    }

    /// Looks at some more; true once all is there.
    pub(crate) fn work(&mut self, now: Instant, director: &Director) -> bool {
        if let Some(partial) = self.partial.as_mut().filter(|_| !self.is_complete) {
            self.is_complete = director.gather(now, partial, SLICE);
        }
        let is_awaiting = self.router_by.is_some_and(|by| now < by);
        self.is_complete && !is_awaiting
    }

    /// What was gathered.
    pub(crate) fn take(&mut self) -> PartialStatus {
        self.is_complete = false;
        self.router_by = None;
        self.partial.take().unwrap_or_default()
    }

    /// Answers all waiting requests, and keeps it for the next ones.
    pub(crate) fn answer(&mut self, now: Instant, status: DaemonStatus) {
        let servers = &status.director.virtual_servers;
        let reals: usize = servers.iter().map(|server| server.real_servers.len()).sum();
        let keep = KEPT_EACH.saturating_mul(u32::try_from(reals).unwrap_or(u32::MAX)).min(KEPT_MOST);
        let snapshot = Snapshot::new(status);
        for reply in std::mem::take(&mut self.asking) {
            let _ = reply.send(Reply::Status(snapshot.clone()));
        }
        if let Some((old, _)) = self.kept.replace((snapshot, now + keep)) {
            old.drop_elsewhere();
        }
    }

    /// When it must be looked after at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let kept = self.kept.as_ref().map(|(_, until)| *until);
        [kept, self.router_by].into_iter().flatten().min()
    }

    /// Drops one that is no answer any more.
    pub(crate) fn tidy(&mut self, now: Instant) {
        if self.kept.as_ref().is_some_and(|(_, until)| *until <= now)
            && let Some((old, _)) = self.kept.take()
        {
            old.drop_elsewhere();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use super::*;
    use crate::config::load::load_from;
    use crate::config::{Config, Strictness};
    use crate::director::state::State;
    use crate::syntax::files::MemoryFiles;

    #[tokio::test]
    async fn a_status_is_built_in_parts_once_for_all_requests_and_anew_after_an_order() {
        let at = |milliseconds| Instant::ZERO + Duration::from_millis(milliseconds);
        let director = Director::new(Arc::new(config()), State::default(), 1, at(0));
        let mut snapshots = Snapshots::default();
        let ask = |snapshots: &mut Snapshots, now| {
            let (reply, answer) = oneshot::channel();
            (snapshots.ask(now, reply), answer)
        };
        let make = |snapshots: &mut Snapshots, now| {
            let mut slices = 1;
            while !snapshots.work(now, &director) {
                slices += 1;
            }
            let status = director.status_of(now, snapshots.take());
            snapshots.answer(now, daemon(status));
            slices
        };
        let (is_new, first) = ask(&mut snapshots, at(0));
        let (is_second_new, second) = ask(&mut snapshots, at(0));
        assert_eq!((is_new, is_second_new), (true, false));
        assert_eq!(make(&mut snapshots, at(0)), 3, "5,010 servers, 2,000 at a time");
        let whole = Reply::Status(Snapshot::new(daemon(director.status(at(0)))));
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert!(first == whole && second == whole, "as it is made at once");
        let (Reply::Status(first), Reply::Status(second)) = (first, second) else { panic!() };
        assert_eq!(first.reply().as_ptr(), second.reply().as_ptr(), "written down once");
        assert_eq!(serde_json::from_slice::<Reply>(&first.reply()).unwrap(), whole);

        let (is_new, kept) = ask(&mut snapshots, at(99));
        assert!(!is_new && kept.await.unwrap() == whole);
        snapshots.forget();
        let (is_new, _after_an_order) = ask(&mut snapshots, at(99));
        assert!(is_new && !snapshots.work(at(99), &director));
        snapshots.forget();
        assert_eq!(make(&mut snapshots, at(99)), 3, "what was seen before an order is seen again");
        assert!(ask(&mut snapshots, at(200)).0, "later than 20 us for each server");

        snapshots.tidy(at(200));
        snapshots.await_router(at(200));
        assert!((0..9).all(|_| !snapshots.work(at(200), &director)), "the router's part is missing");
        assert!(!snapshots.has_work() && snapshots.deadline() == Some(at(2200)));
        assert!(snapshots.work(at(2200), &director), "and does not come");
    }

    fn config() -> Config {
        let mut text = String::new();
        for server in 0..10 {
            let _ = writeln!(text, "virtual_server 10.0.0.{server} 80 {{\nlb_algo rr\nlb_kind NAT");
            for real in 0..500 {
                let (high, low) = (real / 250, real % 250);
                let _ = writeln!(text, "real_server 10.{server}.{high}.{low} 80 {{\nweight 1\n}}");
            }
            text.push_str("}\n");
        }
        let files = MemoryFiles::new(&[("/keepalived.conf", &text)]);
        let loaded = load_from(&files, Path::new("/keepalived.conf"), Strictness::Strict);
        loaded.config.expect("a configuration")
    }

    fn daemon(director: crate::director::status::Status) -> DaemonStatus {
        DaemonStatus {
            version: "1".to_owned(),
            pid: 1,
            uptime_seconds: 1,
            config: "/keepalived.conf".into(),
            is_lenient: false,
            config_id: None,
            trouble: None,
            unsaved: None,
            last_reload: None,
            reloads_accepted: 0,
            reloads_rejected: 0,
            mail: None,
            host: Vec::new(),
            director,
            router: None,
        }
    }
}
