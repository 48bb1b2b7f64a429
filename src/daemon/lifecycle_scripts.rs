//! Scripts around the daemon's life: one before anything is begun, one after everything was given back.
//!
//! Each has its time and is ended when that is over. What came of it is logged and changes nothing: a director that did
//! not start for a script's sake would be worse than one that lacks what the script was to do.

use std::future::Future;

use tracing::{info, warn};

use super::systemd::ServiceManager;
use crate::config::LifeScript;
use crate::script::{Launch, Runner};

/// Runs one (`startup_script`, `shutdown_script`) to its end; `hurry` ends it early.
pub(super) async fn run(what: &str, script: &LifeScript, is_secure: bool, hurry: impl Future<Output = ()>) {
    let program = script.command.program();
    info!("{what}: {program} runs, {} s at most", script.limit.as_secs());
    ServiceManager::from_environment().wait_for(script.limit);
    let launch = Launch {
        command: script.command.clone(),
        environment: Vec::new(),
        is_secure,
        limit: script.limit,
        // One that even the kernel cannot end must not keep the daemon from its own life.
        is_ours: false,
    };
    let ended = Runner::new(1).run(launch, hurry).await;
    let output = ended.output.trim_end();
    if ended.ending.is_success() {
        info!(output, "{what}: {program} {}", ended.ending);
    } else {
        warn!(output, "{what}: {program} {}; going on all the same", ended.ending);
    }
}
