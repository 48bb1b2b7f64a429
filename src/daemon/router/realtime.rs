//! What lets a thread keep its appointments on a busy machine: scheduling before others, memory that stays.
//!
//! Each of these may be denied; what that means is told, and the thread goes on without.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CpuSet, Pid, capabilities, gettid, sched_setaffinity};

use crate::vrrp::settings::Realtime;

/// CPUs a set can name.
const MAX_CPUS: usize = 1024;

/// Makes the calling thread what the settings want; what was denied is told.
pub(super) fn apply(wanted: &Realtime) -> Vec<String> {
    let mut told = Vec::new();
    let late = "adverts may be late on a busy machine";
    if let Err(error) = schedule(0, wanted.priority) {
        told.push(format!(
            "VRRP's thread has no real-time scheduling (SCHED_RR, priority {}): {error}: {late}; give lvsd CAP_SYS_NICE, \
             or set vrrp_rt_priority 0",
            wanted.priority
        ));
    } else if wanted.priority > 0
        && let Err(error) = limit(wanted.limit)
    {
        told.push(format!("no limit to the time VRRP's thread may run without sleeping: {error}"));
    }
    if let Err(error) = run_on(&wanted.cpus) {
        told.push(format!("vrrp_cpu_affinity: {error}: VRRP's thread runs on any CPU"));
    }
    told.extend(
        lock_memory().err().map(|why| format!("memory is not locked: {why}: when memory is short, {late}")),
    );
    told
}

/// Makes the calling thread an ordinary one that comes before other ordinary ones, for a thread that works for a
/// real-time one; where that is denied it is one of many.
pub(super) fn assist(wanted: &Realtime) {
    /// The highest there is.
    const NICE: i32 = -20;
    if wanted.priority > 0 {
        let _ = rustix::process::setpriority_process(Some(gettid()), NICE);
    }
    // What was denied, the router's thread has told.
    let _ = run_on(&wanted.cpus);
}

/// Back to an ordinary thread: what the thread's own limit of time asks for when it is reached.
pub(super) fn demote(thread: Pid) -> io::Result<()> {
    schedule(thread.as_raw_pid(), 0)
}

/// Children do not inherit it: a script is no router.
#[allow(unsafe_code)]
fn schedule(thread: i32, priority: u8) -> io::Result<()> {
    let policy = if priority == 0 { libc::SCHED_OTHER } else { libc::SCHED_RR };
    let parameters = libc::sched_param { sched_priority: i32::from(priority) };
    // SAFETY: the parameters live through the call; thread 0 is the calling one.
    let result = unsafe {
        libc::sched_setscheduler(thread, policy | libc::SCHED_RESET_ON_FORK, &raw const parameters)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Past it the kernel sends SIGXCPU once a second; the hard limit, which would kill, stays where it is.
fn limit(limit: std::time::Duration) -> io::Result<()> {
    let maximum = getrlimit(Resource::Rttime).maximum;
    let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    let current = maximum.map_or(micros, |most| micros.min(most));
    Ok(setrlimit(Resource::Rttime, Rlimit { current: Some(current), maximum })?)
}

fn run_on(cpus: &[u64; 16]) -> io::Result<()> {
    let is_named = |cpu: &usize| cpus.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1);
    let named: Vec<usize> = (0..MAX_CPUS).filter(is_named).collect();
    if named.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    named.into_iter().filter(|cpu| *cpu < CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu));
    Ok(sched_setaffinity(None, &set)?)
}

/// Pages stay once they were used. Without the capability a limit of a few megabytes would make every later
/// allocation fail, which is worse than a page that has to be fetched.
fn lock_memory() -> Result<(), String> {
    let is_unlimited = getrlimit(Resource::Memlock).current.is_none();
    let is_capable = capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::IPC_LOCK));
    if !is_unlimited && !is_capable {
        return Err("it needs CAP_IPC_LOCK, or no limit of locked memory (LimitMEMLOCK=infinity)".to_owned());
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_thread_on_any_cpu_is_what_everybody_may_have() {
        let told = std::thread::spawn(|| {
            let wanted = Realtime { priority: 0, ..Realtime::default() };
            (schedule(0, wanted.priority).map_err(|e| e.kind()), run_on(&wanted.cpus).map_err(|e| e.kind()))
        });
        assert_eq!(told.join().unwrap(), (Ok(()), Ok(())));
    }

    #[test]
    fn the_cpu_that_is_named_is_the_one_it_runs_on() {
        let on = std::thread::spawn(|| {
            let mut cpus = [0; 16];
            cpus[0] = 1;
            run_on(&cpus).unwrap();
            rustix::thread::sched_getaffinity(None).unwrap().count()
        });
        assert_eq!(on.join().unwrap(), 1);
    }
}
