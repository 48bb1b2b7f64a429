//! Performs the director's requests to the kernel's IPVS table. It owns the daemon's only connection to the table; each
//! request is one blocking job, into which the connection is moved and from which it comes back.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::clock;
use crate::director::io::Input;
use crate::director::reconcile::Request;
use crate::ipvs::backend::{Backend, Error};
use crate::time::Instant;

/// Opens a connection to the kernel's table.
pub(crate) type Open = fn() -> Result<Box<dyn Backend>, Error>;

pub(crate) struct Actuator {
    open: Open,
    backend: Option<Box<dyn Backend>>,
    job: Option<Job>,
}

struct Job {
    is_read: bool,
    begun: Instant,
    handle: JoinHandle<(Option<Box<dyn Backend>>, Input)>,
}

impl Actuator {
    /// Works with this backend; `open` gets one at the first request, where there is none yet, or should it be lost.
    pub(crate) fn new(backend: Option<Box<dyn Backend>>, open: Open) -> Actuator {
        Actuator { open, backend, job: None }
    }

    /// Begins a request. The director asks for one at a time; a second one would wait for the first.
    pub(crate) fn begin(&mut self, request: Request) {
        let backend = self.backend.take();
        let open = self.open;
        let is_read = matches!(request, Request::Snapshot(_));
        let handle = tokio::task::spawn_blocking(move || {
            let mut backend = match backend.map_or_else(open, Ok) {
                Ok(backend) => backend,
                Err(error) => return (None, failed(is_read, error)),
            };
            let answer = match request {
                Request::Snapshot(scope) => Input::Snapshot(backend.snapshot(&scope)),
                Request::Apply(ops) => Input::Applied(backend.apply(&ops)),
            };
            (Some(backend), answer)
        });
        self.job = Some(Job { is_read, begun: clock::now(), handle });
    }

    /// For how long the request under way has been so; nothing when there is none.
    pub(crate) fn busy_for(&self, now: Instant) -> Duration {
        self.job.as_ref().map(|job| now.since(job.begun)).unwrap_or_default()
    }

    /// The answer to the request under way; waits for ever when there is none.
    pub(crate) async fn answer(&mut self) -> Input {
        let Some(job) = &mut self.job else { return std::future::pending().await };
        let is_read = job.is_read;
        let result = (&mut job.handle).await;
        self.job = None;
        match result {
            Ok((backend, answer)) => {
                self.backend = backend;
                answer
            }
            // The job died and took the backend along: the next request opens another.
            Err(error) => failed(is_read, Error::Transport(format!("the actuator's job failed: {error}"))),
        }
    }
}

fn failed(is_read: bool, error: Error) -> Input {
    if is_read { Input::Snapshot(Err(error)) } else { Input::Applied(Err(error)) }
}
