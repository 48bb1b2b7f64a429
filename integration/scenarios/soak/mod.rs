//! Hours of a director's life in minutes: a real lvsd on a real kernel, events by chance (servers, strangers,
//! operators, reloads, deaths), and after each burst of them a time of calm, in which the kernel must come to hold
//! what configuration, health and orders say, and go on holding it.
//!
//! `LVSD_SOAK=24h` is how long it lasts by the guest's clock, `LVSD_SOAK_SEED=N` repeats a life.

mod configuration;
mod faults;
mod kernel;
mod servers;
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use lvsd::internals::daemon::{Command, Reply, ask};
use rustix::process::Signal;

use self::configuration::Configuration;
use self::kernel::Kernel;
use self::servers::{Servers, host_of};
use self::truth::{Table, Truth, key};
use crate::lab::client::hits;
use crate::lab::daemon::{Daemon, configure, control, run_dir};
use crate::lab::host::Host;
use crate::lab::topology::{VIP, VIP6};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

/// Its name.
pub(super) const NAME: &str = "soak";

/// How long it lasts by default, in simulated time.
const ORDINARY: Duration = seconds(3600);
/// Wall-clock limit, in seconds, of one whose length was asked for.
const LIMIT_S: u64 = 14_400;
/// From the last event until the table is right. A check notices within delay_loop (16 s at most), three attempts
/// of two seconds and their pauses; a stranger's edit is found within ten; a server that a file takes out stays for two
/// minutes where what replaces it is dead.
const BOUND: Duration = seconds(180);
/// How long the table must stay right: longer than any delay_loop, and than lvsd's look at the whole table.
const HOLD: Duration = seconds(20);
/// Rounds from one long rest to the next.
const ROUNDS_TO_REST: u64 = 8;
/// After so long no removed real server still serves its last connections: two minutes and five, and some.
const REST: Duration = seconds(450);
/// Open descriptors no lvsd of this size needs.
const DESCRIPTORS: usize = 64;

/// Wall-clock limit, in seconds, when an ordinary one has this.
pub(super) fn limit_s(ordinary: u64) -> u64 {
    if std::env::var_os("LVSD_SOAK").is_some() { LIMIT_S } else { ordinary }
}

/// A life under way.
struct Soak<'a> {
    lab: &'a Lab,
    director: Host,
    client: Host,
    kernel: Kernel,
    truth: Truth,
    rng: fastrand::Rng,
    daemon: Option<Daemon>,
    /// Hosts to which packets are lost.
    lossy: BTreeSet<&'static str>,
    /// Hosts the director has no way to.
    forbidden: BTreeSet<&'static str>,
    statistics: Statistics,
}

/// What came of it.
#[derive(Default)]
struct Statistics {
    rounds: u64,
    events: BTreeMap<&'static str, u64>,
    comparisons: u64,
    requests: u64,
    starts: u64,
    rests: u64,
    worst: Duration,
}

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let seed = seed()?;
    let Some(length) = length(ORDINARY)? else {
        return lab.skip("hours are for simulated time; LVSD_SOAK=20m asks for real ones");
    };
    lab.note(format!("seed {seed}: LVSD_SOAK_SEED={seed} repeats it"));
    let begun_by_host = host_time(lab, "begun")?;
    lab.standard()?;
    lab.vips_on("d1", &[VIP, VIP6])?;
    lab.dr_real_servers(&[VIP, VIP6])?;
    let director = lab.host("d1")?;
    director
        .sysctl(&[("net.ipv4.vs.expire_nodest_conn", "1"), ("net.ipv4.vs.expire_quiescent_template", "1")])?;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut soak = Soak {
        lab,
        client: lab.host("c")?,
        kernel: Kernel::open(&director)?,
        director,
        truth: Truth::new(Configuration::random(&mut rng), Servers::start(lab)?),
        rng,
        daemon: None,
        lossy: BTreeSet::new(),
        forbidden: BTreeSet::new(),
        statistics: Statistics::default(),
    };
    let begun = Instant::now();
    soak.start()?;
    let mut hours = Hours::default();
    while begun.elapsed() < length {
        soak.round()?;
        hours.tell(lab, begun.elapsed(), soak.statistics.rounds);
    }
    soak.rest()?;
    let memory = soak.daemon()?.memory()?;
    soak.stop()?;
    let wall = host_time(lab, "ended")?.duration_since(begun_by_host).unwrap_or_default();
    lab.note(soak.statistics.summary(begun.elapsed(), wall, memory));
    nobody_panicked(lab)
}

impl Soak<'_> {
    /// A burst of events, then calm.
    fn round(&mut self) -> Verdict {
        self.statistics.rounds += 1;
        for _ in 0..self.rng.u8(1..=4) {
            let Some((name, _, fault)) = faults::draw(&mut self.rng) else { continue };
            fault(self).map_err(|e| format!("{name}: {e}"))?;
            *self.statistics.events.entry(name).or_default() += 1;
            // Connections for removed real servers to keep; what becomes of them amid all this is not asserted.
            if self.rng.bool() {
                hits(&self.client, 1, &format!("http://{VIP}/"))?;
            }
            pause(self.up_to(15));
        }
        faults::calm(self)?;
        let table = self.converge()?;
        self.requests(&table)?;
        self.health()?;
        if self.statistics.rounds.is_multiple_of(ROUNDS_TO_REST) { self.rest() } else { Ok(()) }
    }

    /// Waits until the table is right and stays so.
    fn converge(&mut self) -> Result<Table, String> {
        let calm = Instant::now();
        let mut wrong = String::new();
        let mut right_since = calm;
        loop {
            let table = self.kernel.read()?;
            self.statistics.comparisons += 1;
            if let Err(e) = self.truth.compare(&table, false) {
                right_since = Instant::now();
                wrong = e;
            }
            let took = right_since.duration_since(calm);
            if took > BOUND {
                return Err(format!(
                    "{:.1} s after the last event the table is wrong:\n{wrong}",
                    took.as_secs_f64()
                ));
            }
            if right_since.elapsed() >= HOLD {
                self.statistics.worst = self.statistics.worst.max(took);
                return Ok(table);
            }
            pause(seconds(1));
        }
    }

    /// Every request is answered, by a real server in the table.
    fn requests(&mut self, table: &Table) -> Verdict {
        let web = faults::web()?;
        let mut servers = self.truth.configuration.virtual_servers.iter();
        let Some(server) = servers.find(|v| key(v.id) == web) else { return Ok(()) };
        let Some(entry) = table.get(&key(server.id)) else { return Ok(()) };
        // These two send a client nowhere rather than past a destination with weight 0.
        let swallows = ["mh", "sh"].contains(&server.scheduler);
        if swallows || entry.destinations.values().all(|d| d.destination.weight == 0) {
            return Ok(());
        }
        let there: Vec<&str> = entry.destinations.keys().map(|at| host_of(*at).unwrap_or("sorry")).collect();
        let hits = hits(&self.client, 3, &format!("http://{VIP}/"))?;
        self.statistics.requests += 3;
        same("requests that failed in calm", &hits.failed, &BTreeMap::new())?;
        claim(hits.answered.keys().all(|name| there.contains(&name.as_str())), || {
            format!("answered by {hits}, in the table: {there:?}")
        })
    }

    /// lvsd runs, and holds on to nothing.
    fn health(&mut self) -> Verdict {
        let pid = {
            let daemon = self.daemon.as_mut().ok_or("no lvsd")?;
            claim(daemon.is_running(), || format!("lvsd has ended:\n{}", daemon.log_text()))?;
            daemon.pid()
        };
        let open = fs::read_dir(format!("/proc/{pid}/fd")).map_err(|e| format!("fd: {e}"))?.count();
        claim(open < DESCRIPTORS, || format!("{open} open descriptors"))
    }

    /// A long calm: removed servers have left the table, and lvsd's status agrees with the lab.
    fn rest(&mut self) -> Verdict {
        self.statistics.rests += 1;
        pause(REST);
        let table = self.kernel.read()?;
        self.statistics.comparisons += 1;
        self.truth.compare(&table, true).map_err(|e| format!("after a long rest:\n{e}"))?;
        let path = control(&run_dir(&self.director));
        match ask(path.as_ref(), Command::Status).map_err(|e| format!("{path}: {e}"))? {
            Reply::Status(status) => {
                claim(status.director.is_converged, || "the status says: not converged".to_owned())?;
                let foreign: Vec<_> = status.director.foreign_services.iter().map(|id| key(*id)).collect();
                let want: Vec<_> = self.truth.foreign.keys().copied().collect();
                same("foreign services, as the status has them", &foreign, &want)
            }
            other => Err(format!("not a status: {other:?}")),
        }
    }

    /// Starts lvsd with what is its configuration, and waits until it can be asked.
    fn start(&mut self) -> Verdict {
        let file = configure(self.lab, &self.director, &self.truth.configuration.text())?;
        let run_dir = run_dir(&self.director);
        let mut daemon = Daemon::start_lvsd(self.lab, &self.director, &file, &run_dir, &[])?;
        self.statistics.starts += 1;
        wait_for("lvsd answers", seconds(30), || {
            let answers = UnixStream::connect(control(&run_dir)).is_ok();
            if answers && daemon.is_running() { Ok(()) } else { Err(daemon.log_text()) }
        })?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Ends lvsd: nothing but the stranger's services stays.
    fn stop(&mut self) -> Verdict {
        self.take_daemon()?.end(Signal::TERM)?;
        let nothing = Configuration { virtual_servers: Vec::new() };
        let configuration = std::mem::replace(&mut self.truth.configuration, nothing);
        let verdict = self.truth.compare(&self.kernel.read()?, true);
        self.truth.configuration = configuration;
        self.statistics.comparisons += 1;
        verdict.map_err(|e| format!("after a stop:\n{e}"))
    }

    /// Writes lvsd's configuration file.
    fn write(&self, text: &str) -> Verdict {
        configure(self.lab, &self.director, text).map(drop)
    }

    fn daemon(&self) -> Result<&Daemon, String> {
        self.daemon.as_ref().ok_or_else(|| "no lvsd".to_owned())
    }

    fn take_daemon(&mut self) -> Result<Daemon, String> {
        self.daemon.take().ok_or_else(|| "no lvsd".to_owned())
    }

    /// Any time up to so many seconds.
    fn up_to(&mut self, seconds: u64) -> Duration {
        Duration::from_millis(self.rng.u64(..seconds * 1000))
    }

    /// Says in the log what happens.
    fn tell(&self, text: impl AsRef<str>) {
        self.lab.step(text);
    }
}

impl Statistics {
    fn summary(&self, lived: Duration, wall: Duration, memory: u64) -> String {
        let hours = lived.as_secs_f64() / 3600.0;
        let mut text = format!(
            "{hours:.2} hours lived in {:.0} s: {} rounds, {} starts of lvsd, {} comparisons with the kernel, \
             {} long rests, {} requests\n",
            wall.as_secs_f64(),
            self.rounds,
            self.starts,
            self.comparisons,
            self.rests,
            self.requests
        );
        let events: Vec<_> = self.events.iter().map(|(name, n)| format!("{name} {n}")).collect();
        let _ = writeln!(text, "events: {}", events.join(", "));
        let _ = writeln!(
            text,
            "longest from the last event to a table that was right and stayed so: {:.1} s; lvsd at the end: {memory} KiB",
            self.worst.as_secs_f64()
        );
        text
    }
}

/// Which life it is.
pub(super) fn seed() -> Result<u64, String> {
    match std::env::var("LVSD_SOAK_SEED") {
        Ok(text) => text.parse().map_err(|_| format!("LVSD_SOAK_SEED={text}: not a number")),
        Err(_) => Ok(SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| u64::from(d.subsec_nanos()))),
    }
}

/// How long, by the guest's clock; None: no real hours were asked for.
pub(super) fn length(ordinary: Duration) -> Result<Option<Duration>, String> {
    let line = fs::read_to_string("/proc/cmdline").map_err(|e| format!("/proc/cmdline: {e}"))?;
    let Ok(text) = std::env::var("LVSD_SOAK") else {
        return Ok(line.contains("time-travel").then_some(ordinary));
    };
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).unwrap_or_default();
    let unit = match unit {
        "h" => Some(3600),
        "m" => Some(60),
        "s" => Some(1),
        _ => None,
    };
    let length = number.parse::<u64>().ok().zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
    length.map(|l| Some(seconds(l))).ok_or_else(|| format!("LVSD_SOAK={text}: not like 24h, 90m or 600s"))
}

/// The host's clock, which simulated time hides: a file's age is the host's doing.
pub(super) fn host_time(lab: &Lab, name: &str) -> Result<SystemTime, String> {
    let path = lab.write(name, "")?;
    fs::metadata(&path).and_then(|m| m.modified()).map_err(|e| format!("{}: {e}", path.display()))
}

/// The hours that were reported: a simulated day takes minutes or hours of real time.
#[derive(Default)]
pub(super) struct Hours(u64);

impl Hours {
    /// Says when another hour is over.
    pub(super) fn tell(&mut self, lab: &Lab, lived: Duration, rounds: u64) {
        let hours = lived.as_secs() / 3600;
        if hours > self.0 {
            self.0 = hours;
            lab.step(format!("{hours} h lived, {rounds} rounds"));
        }
    }
}

pub(super) fn nobody_panicked(lab: &Lab) -> Verdict {
    for entry in fs::read_dir(lab.out()).map_err(|e| format!("{}: {e}", lab.out().display()))?.flatten() {
        if entry.file_name().to_string_lossy().ends_with(".log") {
            let text = fs::read(entry.path()).map_err(|e| format!("{}: {e}", entry.path().display()))?;
            let text = String::from_utf8_lossy(&text);
            let panic = text.lines().find(|l| l.contains("panicked"));
            claim(panic.is_none(), || format!("{}: {panic:?}", entry.path().display()))?;
        }
    }
    Ok(())
}
