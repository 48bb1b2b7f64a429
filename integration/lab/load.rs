//! Load in the background: new connections at a steady pace until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{Hits, get_here};
use super::host::Host;
use super::wait::{pause, seconds, wait_for};

/// Threads that ask; a request that hangs must not stop the others.
const THREADS: u32 = 4;

/// Clients that ask for a URL again and again.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    /// The longest that an answer took, in milliseconds.
    slowest: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<Hits, String>>>,
}

impl Load {
    /// Starts asking from a host, `rate` requests a second in all.
    pub(crate) fn start(host: &Host, url: &str, rate: u32) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let failed = Arc::new(AtomicU64::new(0));
        let slowest = Arc::new(AtomicU64::new(0));
        let pace = Duration::from_secs(1) * THREADS / rate.max(1);
        let threads = (0..THREADS)
            .map(|_| {
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                let (failed, slowest) = (Arc::clone(&failed), Arc::clone(&slowest));
                let url = url.to_owned();
                host.spawn(move || {
                    let mut hits = Hits::default();
                    while !stop.load(Ordering::SeqCst) {
                        let begun = Instant::now();
                        let outcome = get_here(&url);
                        let fine = matches!(&outcome, Ok(r) if r.status == 200);
                        let counter = if fine { &answered } else { &failed };
                        counter.fetch_add(1, Ordering::SeqCst);
                        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                        slowest.fetch_max(took, Ordering::SeqCst);
                        hits.count(outcome);
                        pause(pace.saturating_sub(begun.elapsed()));
                    }
                    Ok(hits)
                })
            })
            .collect();
        Load { stop, answered, failed, slowest, threads }
    }

    /// Requests answered and failed so far.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.answered.load(Ordering::SeqCst), self.failed.load(Ordering::SeqCst))
    }

    /// The longest that one of them took since this was last asked.
    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_millis(self.slowest.swap(0, Ordering::SeqCst))
    }

    /// Waits until `n` more requests were answered: proof that the load really runs.
    ///
    /// # Errors
    /// When they were not within 20 seconds.
    pub(crate) fn wait_for_answers(&self, n: u64) -> Result<(), String> {
        let goal = self.so_far().0 + n;
        wait_for(&format!("{n} more requests answered"), seconds(20), || {
            let (answered, failed) = self.so_far();
            if answered >= goal { Ok(()) } else { Err(format!("{answered} answered, {failed} failed")) }
        })
    }

    /// Stops asking and answers what came of it.
    ///
    /// # Errors
    /// When a thread could not even begin.
    pub(crate) fn stop(self) -> Result<Hits, String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Hits::default();
        for thread in self.threads {
            all.add(thread.join().map_err(|_| "load: a thread panicked")??);
        }
        Ok(all)
    }
}
