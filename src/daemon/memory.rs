//! Memory is given back to the system: what reading a file and a first reconciliation needed is several times what a
//! director keeps, and the allocator of the C library returns it only when asked.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::clock;

/// How long after a configuration was put in force: by then the kernel has it.
const DELAY: Duration = Duration::from_secs(10);

/// Gives memory back a while after a start or a reload.
#[derive(Debug, Default)]
pub(crate) struct MemoryReturn(Option<JoinHandle<()>>);

impl MemoryReturn {
    /// Ten seconds from now; another call meanwhile begins to count anew.
    pub(crate) fn schedule(&mut self) {
        let at = clock::now() + DELAY;
        let job = tokio::spawn(async move {
            clock::sleep_until(Some(at)).await;
            // Off the loop: it takes some milliseconds with much memory. Nothing needs its end.
            drop(tokio::task::spawn_blocking(trim));
        });
        if let Some(before) = self.0.replace(job) {
            before.abort();
        }
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: malloc_trim(3) may be called by any thread at any time; it takes the allocator's own locks.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries return memory by themselves.
#[cfg(not(target_env = "gnu"))]
fn trim() {}
