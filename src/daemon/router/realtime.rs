//! What lets a thread keep its appointments on a busy machine: scheduling before others, memory that stays.
//!
//! Each of these may be denied; the effect is logged, and the thread goes on without.

use std::io;
use std::time::Duration;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CpuSet, Pid, capabilities, gettid, sched_setaffinity};

use crate::time::Instant;
use crate::vrrp::settings::Realtime;

/// CPUs a set can name.
const MAX_CPUS: usize = 1024;
/// For how long a thread that ran too long is an ordinary one: at first, and at most.
const PENALTY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// What follows when a real-time thread ran for too long without a pause (RLIMIT_RTTIME): it is an ordinary one for a
/// while, for longer each time it happens again soon. One long moment is no reason to be late for ever.
#[derive(Debug, Default)]
pub(super) struct Penalty {
    length: Duration,
    ends: Option<Instant>,
    /// When the last one ended.
    ended: Option<Instant>,
}

impl Penalty {
    /// It ran too long: for how long it is an ordinary thread. None: it is one already.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Duration> {
        if self.ends.is_some() {
            return None;
        }
        let is_first = self.ended.is_none_or(|ended| now.since(ended) >= PENALTY.1);
        self.length = if is_first { PENALTY.0 } else { (self.length * 2).min(PENALTY.1) };
        self.ends = Some(now + self.length);
        Some(self.length)
    }

    /// When it is a real-time thread again.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// It is one again.
    pub(super) fn end(&mut self, now: Instant) {
        self.ends = None;
        self.ended = Some(now);
    }
}

/// Makes the calling thread what the settings want; complaints about what was denied.
pub(super) fn apply(wanted: &Realtime) -> Vec<String> {
    let mut complaints = Vec::new();
    let late = "adverts may be late on a busy machine";
    if let Err(error) = schedule(0, wanted.priority) {
        complaints.push(format!(
            "VRRP's thread has no real-time scheduling (SCHED_RR, priority {}): {error}: {late}; give lvsd CAP_SYS_NICE, \
             or set vrrp_rt_priority 0",
            wanted.priority
        ));
    } else if wanted.priority > 0
        && let Err(error) = limit(wanted.limit)
    {
        complaints.push(format!("no limit to the time VRRP's thread may run without sleeping: {error}"));
    }
    if let Err(error) = run_on(&wanted.cpus) {
        complaints.push(format!("vrrp_cpu_affinity: {error}: VRRP's thread runs on any CPU"));
    }
    complaints.extend(
        lock_memory().err().map(|why| format!("memory is not locked: {why}: when memory is short, {late}")),
    );
    complaints
}

/// Makes the calling thread an ordinary one that comes before other ordinary ones, for a thread that works for a
/// real-time one; where that is denied it is one of many.
pub(super) fn assist(wanted: &Realtime) {
    /// The highest there is.
    const NICE: i32 = -20;
    if wanted.priority > 0 {
        let _ = rustix::process::setpriority_process(Some(gettid()), NICE);
    }
    // What was denied, the router's thread has reported.
    let _ = run_on(&wanted.cpus);
}

/// Back to an ordinary thread: what the thread's own limit of time asks for when it is reached.
pub(super) fn demote(thread: Pid) -> io::Result<()> {
    schedule(thread.as_raw_pid(), 0)
}

/// Makes it what the settings want again, with its limit, which the kernel has raised.
pub(super) fn promote(thread: Pid, wanted: &Realtime) -> io::Result<()> {
    limit(wanted.limit)?;
    schedule(thread.as_raw_pid(), wanted.priority)
}

/// Children do not inherit it: a script is no router.
#[allow(unsafe_code)]
pub(super) fn schedule(thread: i32, priority: u8) -> io::Result<()> {
    let policy = if priority == 0 { libc::SCHED_OTHER } else { libc::SCHED_RR };
    let parameters = libc::sched_param { sched_priority: i32::from(priority) };
    // SAFETY: the parameters live through the call; thread 0 is the calling one.
    let result = unsafe {
        libc::sched_setscheduler(thread, policy | libc::SCHED_RESET_ON_FORK, &raw const parameters)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Past it the kernel sends SIGXCPU once a second; the hard limit, which would kill, stays where it is.
fn limit(limit: Duration) -> io::Result<()> {
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
    fn an_ordinary_thread_on_any_cpu_needs_no_right() {
        let found = std::thread::spawn(|| {
            let wanted = Realtime { priority: 0, ..Realtime::default() };
            (schedule(0, wanted.priority).map_err(|e| e.kind()), run_on(&wanted.cpus).map_err(|e| e.kind()))
        });
        assert_eq!(found.join().unwrap(), (Ok(()), Ok(())));
    }

    #[test]
    fn a_thread_that_ran_too_long_is_a_real_time_one_again_after_a_while_that_grows_while_it_recurs() {
        let mut penalty = Penalty::default();
        let mut now = Instant::from_nanos(1_000_000_000);
        let mut lengths = Vec::new();
        for _ in 0..8 {
            let length = penalty.begin(now).expect("it is a real-time thread");
            assert_eq!(penalty.begin(now), None, "signals that were under way");
            assert_eq!(penalty.ends(), Some(now + length));
            lengths.push(length.as_secs());
            now = now + length;
            penalty.end(now);
        }
        assert_eq!(lengths, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(penalty.begin(now + Duration::from_secs(3600)), Some(Duration::from_secs(60)));
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
