//! Outages, layer by layer from the client's link to the application: what the log, `lvsd status`, `lvsd doctor` and
//! the metrics say of each, and after how many seconds. Clients ask all the time. Doctor and one of log and status must
//! name each outage; a director that is well, before and after, is told nothing.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::lab::client::{Hits, hits};
use crate::lab::daemon::{Daemon, READY, configure, control, lvsd, run_dir};
use crate::lab::host::Host;
use crate::lab::judge::{curl, modprobe, output};
use crate::lab::site::Site;
use crate::lab::table::ipvsadm;
use crate::lab::topology::{VIP, batch};
use crate::lab::wait::{pause, seconds};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim};

const METRICS: &str = "127.0.0.1:9144";
/// How long an outage may go unnamed.
const LIMIT: u64 = 90;

mod files;
mod list;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut net = Net::build(lab)?;
    let mut rows = Vec::new();
    for outage in list::all() {
        lab.step(outage.name);
        let row = match net.suffer(lab, &outage) {
            Ok(row) => row,
            Err(e) => {
                (net.daemon, net.nuisance) = (None, None);
                Row { line: format!("{}: {e}", outage.name), text: e, is_named: false }
            }
        };
        lab.note(&row.text);
        rows.push(row);
    }
    let head = format!("{:52} | log | status | doctor | metric | clients", "outage, seconds until named by");
    lab.note(rows.iter().fold(head, |table, row| table + "\n" + &row.line));
    let unnamed: Vec<&str> = rows.iter().filter(|row| !row.is_named).map(|row| row.line.as_str()).collect();
    claim(unnamed.is_empty(), || format!("{} outages are not named:\n{}", unnamed.len(), unnamed.join("\n")))
}

/// One outage: how it is made and unmade, and in which words each must be named; empty words: not by this one.
struct Outage {
    name: &'static str,
    file: String,
    /// It is there before lvsd starts.
    is_first: bool,
    wrong: fn(&mut Net) -> Verdict,
    right: fn(&mut Net) -> Verdict,
    log: &'static str,
    status: &'static str,
    doctor: &'static str,
    metric: &'static str,
}

impl Outage {
    fn new(
        name: &'static str,
        file: String,
        wrong: fn(&mut Net) -> Verdict,
        right: fn(&mut Net) -> Verdict,
    ) -> Outage {
        Outage { name, file, is_first: false, wrong, right, log: "", status: "", doctor: "", metric: "" }
    }

    fn first(self) -> Outage {
        Outage { is_first: true, ..self }
    }

    /// The words of log, status, doctor and metrics.
    fn by(self, [log, status, doctor, metric]: [&'static str; 4]) -> Outage {
        Outage { log, status, doctor, metric, ..self }
    }
}

/// What one of log, status, doctor and metrics says of an outage.
struct Output {
    words: &'static str,
    text: String,
    /// After how many seconds it said the words.
    named: Option<u64>,
}

impl Output {
    fn new(words: &'static str) -> Output {
        Output { words, text: String::new(), named: None }
    }

    fn say(&mut self, text: String, seconds: u64) {
        if self.is_awaited() && text.contains(self.words) {
            self.named = Some(seconds);
        }
        self.text = text;
    }

    fn is_awaited(&self) -> bool {
        !self.words.is_empty() && self.named.is_none()
    }

    fn has_named(&self) -> bool {
        self.named.is_some()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named {
            Some(seconds) => write!(f, "{seconds:3}"),
            None if self.words.is_empty() => f.write_str("  -"),
            None => f.write_str(" NO"),
        }
    }
}

struct Row {
    line: String,
    text: String,
    is_named: bool,
}

/// A program that does something again and again until it is dropped.
struct Nuisance {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Verdict>>,
}

impl Drop for Nuisance {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Net {
    site: Site,
    director: Host,
    client: Host,
    others: Vec<Web>,
    nuisance: Option<Nuisance>,
    daemon: Option<Daemon>,
    file: PathBuf,
}

impl Net {
    fn build(lab: &mut Lab) -> Result<Net, String> {
        modprobe(&["ip_vs", "ipip", "dummy", "sch_ingress", "cls_matchall"])?;
        let site = lab.dr_site()?;
        for host in ["rs1", "rs2", "rs3"] {
            batch(Some(host), "link set tunl0 up\n")?;
        }
        let (director, client) = (site.director.clone(), site.client.clone());
        batch(Some("d1"), "addr add 10.1.0.77/32 dev eth0\n")?;
        Ok(Net {
            site,
            director,
            client,
            others: Vec::new(),
            nuisance: None,
            daemon: None,
            file: PathBuf::new(),
        })
    }

    fn suffer(&mut self, lab: &Lab, outage: &Outage) -> Result<Row, String> {
        let file = configure(lab, &self.director, &outage.file)?;
        self.file.clone_from(&file);
        // Connections of the outage before say nothing of this one.
        ipvsadm(&self.director, "-C")?;
        let _ = std::fs::remove_dir_all(run_dir(&self.director));
        if outage.is_first {
            (outage.wrong)(self)?;
        }
        let mut daemon = Daemon::start_lvsd(
            lab,
            &self.director,
            &file,
            &run_dir(&self.director),
            &["--metrics", METRICS],
        )?;
        daemon.wait_log(READY, seconds(30))?;
        pause(seconds(8));
        let mut before = 0;
        if !outage.is_first {
            before = daemon.log_text().len();
            self.daemon = Some(daemon);
            (outage.wrong)(self)?;
            daemon = self.daemon.take().ok_or("no daemon")?;
        }
        let started = Instant::now();
        let mut clients = Hits::default();
        let mut outputs = [outage.log, outage.status, outage.metric, outage.doctor].map(Output::new);
        let [log, status, metrics, doctor] = &mut outputs;
        let seconds_gone = || started.elapsed().as_secs();
        while [&*log, status, metrics, doctor].into_iter().any(Output::is_awaited) && seconds_gone() <= LIMIT
        {
            clients.add(hits(&self.client, 3, &format!("http://{VIP}/"))?);
            log.say(daemon.log_text().split_off(before), seconds_gone());
            status.say(self.status()?, seconds_gone());
            let page = curl(&self.director, &format!("http://{METRICS}/metrics"), seconds(5));
            metrics.say(page.map_or_else(|e| e, |(_, page)| page), seconds_gone());
            // Doctor costs most, and knows no less than the others do.
            let is_turn = ![&*log, status, metrics].into_iter().any(Output::is_awaited);
            if is_turn || seconds_gone() >= LIMIT / 2 {
                doctor.say(self.doctor(&file.display().to_string())?, seconds_gone());
            }
            pause(seconds(2));
        }
        self.daemon = Some(daemon);
        (outage.right)(self)?;
        self.nuisance = None;
        if let Some(daemon) = self.daemon.take() {
            daemon.kill()?;
        }
        // Half-open connections are forgotten after a minute: those of this outage are none of the next one's.
        pause(seconds(61));
        let [log, status, metrics, doctor] = &outputs;
        let line =
            format!("{:52} | {log} |  {status}   |  {doctor}   |  {metrics}   | {clients}", outage.name);
        let is_named = !outputs.iter().any(Output::is_awaited)
            && doctor.has_named()
            && (log.has_named() || status.has_named());
        let text = match is_named {
            true => line.clone(),
            false => {
                format!("{line}\nlog:\n{}\nstatus:\n{}\ndoctor:\n{}", log.text, status.text, doctor.text)
            }
        };
        Ok(Row { line, text, is_named })
    }

    fn status(&self) -> Result<String, String> {
        let said = lvsd(&self.director, &["status", "--control", &control(&run_dir(&self.director))])?;
        Ok(said.stdout + &said.stderr)
    }

    /// What it takes for an outage: the lines of findings that are no hints.
    fn doctor(&self, file: &str) -> Result<String, String> {
        let said = lvsd(&self.director, &["doctor", "-c", file, "--run-dir", &run_dir(&self.director)])?;
        Ok(said.stdout + &said.stderr)
    }

    fn every(&mut self, host: &str, command: &'static str) -> Verdict {
        let host = Host::new(host);
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = host.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                // It may have nothing to do.
                let _ = Command::new("sh").args(["-c", command]).output();
                pause(seconds(1));
            }
            Ok(())
        });
        self.nuisance = Some(Nuisance { is_over, thread: Some(thread) });
        Ok(())
    }

    fn webs(&mut self, act: fn(&mut Web) -> Verdict) -> Verdict {
        for name in ["rs1", "rs2", "rs3"] {
            act(self.site.web(name)?)?;
        }
        Ok(())
    }

    fn nft(&self, rules: &str) -> Verdict {
        output(&self.director, &["nft", rules]).map(drop)
    }

    fn order(&self, command: &[&str]) -> Verdict {
        let control = control(&run_dir(&self.director));
        for real in ["10.1.0.21", "10.1.0.22", "10.1.0.23"] {
            let said = lvsd(&self.director, &[command, &[real, "--control", &control]].concat())?;
            claim(said.code == Some(0), || format!("{said:?}"))?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Verdict {
        self.daemon.as_ref().ok_or("no daemon")?.signal(signal)
    }

    /// Leaves the daemon no descriptor to open, or as many as it had.
    fn descriptors(&self, is_limited: bool) -> Verdict {
        let id = self.daemon.as_ref().ok_or("no daemon")?.pid();
        let all = getrlimit(Resource::Nofile);
        let limit = if is_limited { Rlimit { current: Some(3), ..all } } else { all };
        prlimit(Pid::from_raw(id.cast_signed()), Resource::Nofile, limit).map(drop).map_err(|e| e.to_string())
    }
}
