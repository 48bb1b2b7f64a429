//! A blocking job that is done again and again, beside the main loop and one at a time.

use tokio::task::{JoinError, JoinHandle};

use super::clock;
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Repeated<T> {
    at: Option<Instant>,
    job: Option<JoinHandle<T>>,
}

impl<T> Default for Repeated<T> {
    fn default() -> Repeated<T> {
        Repeated { at: None, job: None }
    }
}

impl<T: Send + 'static> Repeated<T> {
    /// When the job is begun the next time; None: not again. One under way goes on.
    pub(super) fn set(&mut self, at: Option<Instant>) {
        self.at = at;
    }

    /// Waits until it is time and `begin` has said what to do, then for what comes of it. May be left and entered again
    /// at any time.
    ///
    /// # Errors
    /// When the job panicked.
    pub(super) async fn next<J>(&mut self, begin: impl FnOnce() -> J) -> Result<T, JoinError>
    where
        J: FnOnce() -> T + Send + 'static,
    {
        let job = match &mut self.job {
            Some(job) => job,
            None => {
                clock::sleep_until(self.at).await;
                self.job.insert(tokio::task::spawn_blocking(begin()))
            }
        };
        let ended = job.await;
        self.job = None;
        ended
    }
}
