//! The lab about itself: a guest's exit status and output come back unchanged, what it writes elsewhere does
//! not reach the host, an hour of simulated time is an hour, a job that hangs is killed at its limit, a kernel that
//! dies is noticed, and after each of them no process and no directory is left on the host.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::boot::guest::{self, DIED, Ending, Order, Output, TIMED_OUT};
use crate::boot::kernel::{self, Clock};
use crate::boot::scratch::processes_of;
use crate::lab::Verdict;
use crate::lab::wait::{pause, seconds};
use crate::scenarios::Probe;

/// The guest's side.
pub(super) const PROBES: &[Probe] = &[
    Probe { name: "probe-speaks", run: speaks },
    Probe { name: "probe-writes", run: writes },
    Probe { name: "probe-hangs", run: hangs },
    Probe { name: "probe-sleeps", run: sleeps },
    Probe { name: "probe-kills-the-kernel", run: kills_the_kernel },
];

const TRACE: &str = "/etc/lvsd-lab-was-here";

/// The host's side.
pub(super) fn run() -> Verdict {
    let mut clocks = vec![Clock::Real];
    if !kernel::is_all_real()? {
        clocks.push(Clock::Simulated);
        simulated_time()?;
    }
    for clock in clocks {
        whole(clock).map_err(|e| format!("{clock:?} time: {e}"))?;
    }
    Ok(())
}

/// An hour is over at once, and is an hour.
fn simulated_time() -> Verdict {
    let ending = boot_probe("probe-sleeps", Clock::Simulated, seconds(60))?;
    expect("an hour's sleep ends", ending.status == 0, || describe(&ending))?;
    let slept = ending.log().trim().parse::<f64>().unwrap_or_default();
    expect("it took an hour there", (3600.0..3600.1).contains(&slept), || describe(&ending))?;
    nothing_remains(ending)
}

fn whole(clock: Clock) -> Verdict {
    let ending = boot_probe("probe-speaks", clock, seconds(60))?;
    expect("exit status 7 comes back", ending.status == 7, || describe(&ending))?;
    let log = ending.log();
    expect("stdout comes back", log.contains("to stdout, uid 0\n"), || describe(&ending))?;
    expect("stderr comes back", log.contains("to stderr\n"), || describe(&ending))?;
    nothing_remains(ending)?;

    let ending = boot_probe("probe-writes", clock, seconds(60))?;
    expect("a guest can write to its own /etc", ending.status == 0, || describe(&ending))?;
    expect("nothing of it is on the host", !Path::new(TRACE).exists(), || TRACE.to_owned())?;
    nothing_remains(ending)?;

    let ending = boot_probe("probe-hangs", clock, seconds(6))?;
    expect("a hang is killed", ending.status == TIMED_OUT, || describe(&ending))?;
    expect("at its limit", ending.took < Duration::from_secs(16), || describe(&ending))?;
    expect("what it said before is there", ending.log().contains("hanging"), || describe(&ending))?;
    nothing_remains(ending)?;

    let ending = boot_probe("probe-kills-the-kernel", clock, seconds(60))?;
    expect("a dead kernel is noticed", ending.status == DIED, || describe(&ending))?;
    expect("its last words are kept", ending.console().contains("panic"), || describe(&ending))?;
    nothing_remains(ending)
}

fn speaks() -> ExitCode {
    println!("to stdout, uid {}", rustix::process::getuid().as_raw());
    eprintln!("to stderr");
    ExitCode::from(7)
}

fn writes() -> ExitCode {
    fs::write(TRACE, "trace").map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn hangs() -> ExitCode {
    println!("hanging");
    pause(seconds(3600));
    // In simulated time that was nothing: only a process that never waits hangs there.
    loop {
        std::hint::spin_loop();
    }
}

fn sleeps() -> ExitCode {
    let begun = Instant::now();
    pause(seconds(3600));
    println!("{:.6}", begun.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn kills_the_kernel() -> ExitCode {
    let _ = fs::write("/proc/sysrq-trigger", "c");
    ExitCode::SUCCESS
}

/// No process of the guest runs any more, and its directory goes with it.
fn nothing_remains(ending: Ending) -> Verdict {
    let dir = ending.scratch.path().to_owned();
    let left = processes_of(&dir);
    expect("no process is left", left.is_empty(), || format!("{left:?}"))?;
    drop(ending);
    expect("no directory is left", !dir.exists(), || dir.display().to_string())
}

fn describe(ending: &Ending) -> String {
    format!("status {} after {:?}\n{}\n{}", ending.status, ending.took, ending.log(), ending.console())
}

/// Boots a guest that runs one of [`PROBES`].
fn boot_probe(name: &str, clock: Clock, limit: Duration) -> Result<Ending, String> {
    guest::boot(&Order {
        arguments: vec!["--inside".into(), name.into()],
        clock,
        memory: 128,
        limit,
        output: Output::Log,
    })
}

/// A verdict from a comparison.
fn expect(what: &str, holds: bool, seen: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(format!("{what}; saw {}", seen())) }
}
