//! What it means when the kernel refuses an operation: in words, whether it is a surprise, and how long to wait.

use std::time::Duration;

use crate::ipvs::backend::{Op, Refusal};

/// First and longest pause after a failure.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// linux/errno-base.h
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;

/// The pause after `failures` failures in a row: 100 ms doubled each time, at most 5 s.
pub(crate) fn back_off(failures: u32) -> Duration {
    let (first, longest) = BACK_OFF;
    first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(longest)
}

/// Whether a refusal only says that the table is not what we thought.
pub(crate) fn is_surprise(op: &Op, errno: i32) -> bool {
    match op {
        Op::AddService(..) => errno == EEXIST,
        Op::SetService(..) => errno == ESRCH,
        Op::AddDestination(..) => errno == EEXIST || errno == ESRCH,
        _ => errno == ENOENT || errno == ESRCH,
    }
}

/// A refusal in the operator's words.
pub(crate) fn explain(op: &Op, refusal: &Refusal) -> String {
    let kernel = match &refusal.text {
        Some(text) => text.clone(),
        None => std::io::Error::from_raw_os_error(refusal.errno).to_string(),
    };
    match op {
        Op::AddService(_, s) | Op::SetService(_, s) if refusal.errno == ENOENT => {
            let engine = match &s.persistence_engine {
                Some(pe) => format!(", or persistence engine {pe} (module ip_vs_pe_{pe})"),
                None => String::new(),
            };
            format!(
                "this kernel has no scheduler {0} (module ip_vs_{0}){engine}: choose another lb_algo, or \
                 install the module; it is tried again every few seconds",
                s.scheduler
            )
        }
        Op::AddService(..) => format!("the kernel refuses the service: {kernel}"),
        Op::SetService(..) => format!("the kernel refuses the service's new settings: {kernel}"),
        Op::RemoveService(_) => format!("the kernel refuses to delete the service: {kernel}"),
        Op::AddDestination(_, at, _) => format!("the kernel refuses destination {at}: {kernel}"),
        Op::SetDestination(_, at, _) => format!("the kernel refuses to change destination {at}: {kernel}"),
        Op::RemoveDestination(_, at) => format!("the kernel refuses to delete destination {at}: {kernel}"),
        Op::SetTimeouts(_) => format!("the kernel refuses the timeouts: {kernel}"),
        Op::StartSync(d) => format!("the kernel refuses the sync daemon on {}: {kernel}", d.interface),
        Op::StopSync(_) => format!("the kernel refuses to stop the sync daemon: {kernel}"),
    }
}
