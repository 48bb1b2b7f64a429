//! One guest, from the host: start the kernel, carry its output, never wait longer than told.
//!
//! The guest sees the host's file system read-only, below an overlay that is thrown away; what it may write
//! for us is one directory ([`Scratch`]): `log` (the job's output), `status` (its exit status), `out/` (artefacts).
//! Not a wall against malice: a guest's root can read what this user can read.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::counted;
use super::init::{DIRECTORY, INIT_NAME, LIMIT};
use super::interrupt::Running;
use super::kernel::{self, Clock};
use super::scratch::Scratch;
use super::terminal::{self, Terminal};

/// The guest ran longer than allowed and was killed.
pub(crate) const TIMED_OUT: i32 = 124;
/// The guest ended without an exit status of its job.
pub(crate) const DIED: i32 = 125;

/// How often the guest's life and log are looked at.
const POLL: Duration = Duration::from_millis(20);
/// /dev/shm must have this much room for guests' memory, or the temporary directory holds it.
const SHM_FLOOR: u64 = 2 << 30;

/// Variables of the runner's environment that its guests have, too.
const PASSED_ON: [&str; 11] = [
    "TERM",
    "LANG",
    "RUST_BACKTRACE",
    "LVSD_LAB_DAEMON",
    "LVSD_LAB_SEED",
    "LVSD_BENCH_AGAINST",
    "LVSD_BENCH_NATIVE",
    "LVSD_BENCH_ROWS",
    "LVSD_RUNS",
    "LVSD_SOAK",
    "LVSD_SOAK_SEED",
];

/// What to boot.
#[derive(Debug)]
pub(crate) struct Order {
    /// Arguments of the job: this binary, run by the guest's init.
    pub arguments: Vec<String>,
    /// The clock it lives by; decides the kernel.
    pub clock: Clock,
    /// The guest's memory in MiB; only what it uses is taken from the host.
    pub memory: u32,
    /// Wall-clock limit.
    pub limit: Duration,
    /// Where the job's output goes.
    pub output: Output,
}

/// Where a job's output goes, beside the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Nowhere.
    Log,
    /// To stdout as it is written.
    Stream,
    /// The job has the terminal.
    Terminal,
}

/// How a guest ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The job's exit status, [`TIMED_OUT`] or [`DIED`].
    pub status: i32,
    /// From start to end.
    pub took: Duration,
    /// Its directory.
    pub scratch: Scratch,
}

impl Ending {
    /// The job's output.
    pub(crate) fn log(&self) -> String {
        read_lossy(self.scratch.path().join("log"))
    }

    /// The kernel's messages.
    pub(crate) fn console(&self) -> String {
        read_lossy(self.scratch.path().join("console"))
    }
}

/// Boots, waits, and reports.
///
/// # Errors
/// When the guest could not even be started.
pub(crate) fn boot(order: &Order) -> Result<Ending, String> {
    let started = Instant::now();
    let scratch = Scratch::new()?;
    prepare(order, &scratch).map_err(|e| format!("{}: {e}", scratch.path().display()))?;
    let mut terminal = match order.output {
        Output::Terminal => Some(Terminal::open().map_err(|e| format!("terminal: {e}"))?),
        Output::Log | Output::Stream => None,
    };
    let (running, mut child) = spawn(order, &scratch, terminal.as_ref())?;
    if let Some(terminal) = &mut terminal {
        terminal.handed_over();
    }

    let mut tail = Tail::new(&scratch, order.output == Output::Stream);
    let mut timed_out = false;
    loop {
        tail.copy();
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(_)) => break,
            Err(e) => return Err(format!("guest: {e}")),
        }
        if started.elapsed() >= order.limit && !timed_out {
            timed_out = true;
            running.kill();
        }
        std::thread::sleep(POLL);
    }
    tail.copy();
    drop(running);
    if let Some(terminal) = terminal {
        terminal.close();
    }
    let status = fs::read_to_string(scratch.path().join("status")).ok().and_then(|t| t.trim().parse().ok());
    let status = status.unwrap_or(if timed_out { TIMED_OUT } else { DIED });
    Ok(Ending { status, took: started.elapsed(), scratch })
}

/// Puts the job's description, and this binary as its init, into the directory.
fn prepare(order: &Order, scratch: &Scratch) -> io::Result<()> {
    let dir = scratch.path();
    fs::create_dir(dir.join("out"))?;
    File::create(dir.join("log"))?;
    std::os::unix::fs::symlink(std::env::current_exe()?, dir.join(INIT_NAME))?;
    let mut job = String::new();
    for argument in &order.arguments {
        job.push_str(argument);
        job.push('\n');
    }
    fs::write(dir.join("arguments"), job)?;
    let mut environment = String::new();
    for name in PASSED_ON {
        if let Ok(value) = std::env::var(name) {
            environment.push_str(&format!("{name}={value}\n"));
        }
    }
    if order.output != Output::Log && io::stdout().is_terminal() {
        environment.push_str("LAB_TERMINAL=yes\n");
        if let Some((rows, columns)) = terminal::size() {
            environment.push_str(&format!("LAB_ROWS={rows}\nLAB_COLUMNS={columns}\n"));
        }
    }
    fs::write(dir.join("environment"), environment)
}

fn spawn(order: &Order, scratch: &Scratch, terminal: Option<&Terminal>) -> Result<(Running, Child), String> {
    let dir = scratch.path();
    if order.clock == Clock::Counted {
        return counted::spawn(order, scratch, &kernel::find(order.clock)?);
    }
    let console = File::create(dir.join("console")).map_err(|e| format!("console: {e}"))?;
    let stderr = console.try_clone().map_err(|e| format!("console: {e}"))?;
    let path = kernel::find(order.clock)?;
    // A runner that is killed takes its guests along.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(&path);
    command
        .args([
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            "noreboot",
            "panic=-1",
            "quiet",
            "con=null",
        ])
        .arg(format!("mem={}M", order.memory))
        .arg(format!("init={}", dir.join(INIT_NAME).display()))
        .arg(format!("{DIRECTORY}{}", dir.display()))
        .arg(format!("uml_dir={}", dir.join("uml").display()))
        .arg("umid=guest")
        .stderr(stderr);
    match order.clock {
        Clock::Simulated => command.arg("time-travel=inf-cpu"),
        // The guest's own limit counts the guest's seconds: an hour of simulated ones is over at once.
        Clock::Real | Clock::Counted => command.arg(format!("{LIMIT}{}", order.limit.as_secs())),
    };
    match terminal {
        Some(terminal) => {
            let end = || terminal.guest_end().map(OwnedFd::from).map_err(|e| format!("terminal: {e}"));
            command.args(["con0=fd:0,fd:1", "loglevel=0", "lvsd.terminal"]).stdin(end()?).stdout(end()?);
        }
        None => {
            command.arg("con0=null,fd:1").stdin(Stdio::null()).stdout(console);
        }
    }
    // glibc registers restartable sequences for the process that UML forks the guest's address spaces from; in them
    // that memory is gone, and a host's kernel of today kills for it.
    command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
    if !shm_has_room() {
        command.env("TMPDIR", std::env::temp_dir());
    } else {
        command.env("TMPDIR", "/dev/shm");
    }
    Running::start(&mut command, dir).map_err(|e| format!("setpriv {}: {e}", path.display()))
}

/// A guest whose memory file finds no room dies of a bus error.
fn shm_has_room() -> bool {
    rustix::fs::statvfs("/dev/shm").is_ok_and(|s| s.f_bavail.saturating_mul(s.f_frsize) >= SHM_FLOOR)
}

fn read_lossy(path: PathBuf) -> String {
    fs::read(path).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Copies a growing log to stdout.
struct Tail(Option<File>);

impl Tail {
    fn new(scratch: &Scratch, wanted: bool) -> Tail {
        Tail(if wanted { File::open(scratch.path().join("log")).ok() } else { None })
    }

    fn copy(&mut self) {
        let Some(file) = &mut self.0 else { return };
        let mut buffer = Vec::new();
        if file.read_to_end(&mut buffer).is_ok() && !buffer.is_empty() {
            let mut out = io::stdout().lock();
            let _ = out.write_all(&buffer).and_then(|()| out.flush());
        }
    }
}
