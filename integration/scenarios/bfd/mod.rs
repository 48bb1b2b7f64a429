//! BFD between lvsd, keepalived and FRR: sessions come up over both families, a Master that cannot be reached is replaced
//! in a third of a second though its link stays up, a hand-over costs no session, and a real server is what its session is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::client::get;
use crate::lab::daemon::{Daemon, status};
use crate::lab::host::Host;
use crate::lab::table::Table;
use crate::lab::topology::{SWITCH, batch};
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::{Segment, VIP, WIRE};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

/// What the file says: three packets of 50 ms.
const DETECTION: Duration = Duration::from_millis(150);
/// From the failure to the VIP on the Backup: the detection time, at most as much again, and some room.
const FAILOVER: Duration = Duration::from_millis(330);
/// A real server's session: three packets of 100 ms, and what programming the kernel takes.
const OUT: Duration = Duration::from_millis(350);
/// A change that is waited for.
const PATIENCE: Duration = seconds(15);
/// Where FRR's bfdd lives, which is not among the programs that are typed.
const BFDD: &str = "/usr/lib/frr/bfdd";
/// The folder of bfdd's control socket and pid file.
const BFDD_RUN: &str = "/run/bfdd";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    let pairs = [(Make::Lvsd, Make::Lvsd), (Make::Keepalived, Make::Lvsd), (Make::Lvsd, Make::Keepalived)];
    for (first, second) in pairs {
        let names = format!("{} is Master, {} Backup", first.name(), second.name());
        lab.step(&names);
        Pair::start(lab, &segment, first, second)
            .and_then(|mut pair| pair.live())
            .map_err(|e| format!("{names}: {e}"))?;
    }
    lab.step("a hand-over and a stop");
    hand_over(lab, &segment)?;
    lab.step("real servers by sessions with FRR's bfdd");
    with_frr(lab)
}

struct Pair<'a> {
    lab: &'a Lab,
    segment: &'a Segment,
    first: Node,
    second: Node,
}

impl<'a> Pair<'a> {
    fn start(lab: &'a Lab, segment: &'a Segment, first: Make, second: Make) -> Result<Pair<'a>, String> {
        let file = |own: &str, other: &str, priority: &str| {
            include_str!("pair.conf")
                .replace("@own", own)
                .replace("@other", other)
                .replace("@priority", priority)
        };
        let mut pair = Pair {
            lab,
            segment,
            first: Node::new(lab, "d1", first, &file("1", "2", "150"))?,
            second: Node::new(lab, "d2", second, &file("2", "1", "100"))?,
        };
        let begun = Instant::now();
        pair.first.start(lab)?;
        pair.second.start(lab)?;
        pair.are_up()?;
        segment.holders.wait("d1", VIP.into(), true, begun, PATIENCE)?;
        Ok(pair)
    }

    fn live(&mut self) -> Verdict {
        // All is said of the start.
        pause(seconds(6));
        let cut = Instant::now();
        plugged(false)?;
        let taken = self.segment.holders.wait("d2", VIP.into(), true, cut, seconds(6))?;
        let took = taken.saturating_duration_since(cut);
        self.lab.note(format!("the VIP is on d2 {:.1} ms after the cut", took.as_secs_f64() * 1e3));
        if self.second.make == Make::Lvsd {
            claim(took <= FAILOVER, || format!("the VIP is on d2 in {FAILOVER:?}: {took:?}"))?;
            claim(took >= DETECTION - Duration::from_millis(50), || format!("not by chance: {took:?}"))?;
            claim(self.second.log().contains("cannot be reached: BFD heard nothing for 150 ms"), || {
                self.second.log()
            })?;
        } else {
            // Its tracks move priorities, and the Backup waits for the master-down interval.
            claim(took >= seconds(3), || format!("keepalived waits for its timer: {took:?}"))?;
        }
        self.are(&["down"])?;
        pause(seconds(1));
        let healed = Instant::now();
        plugged(true)?;
        self.segment.holders.wait("d2", VIP.into(), false, healed, seconds(5))?;
        self.are_up()?;
        pause(seconds(2));
        same(
            "who holds the VIP",
            &self.segment.holders.at(VIP.into(), Instant::now()),
            &vec!["d1".to_owned()],
        )?;
        for node in [&mut self.second, &mut self.first] {
            node.end(Signal::TERM)?;
        }
        Ok(())
    }

    fn are_up(&self) -> Verdict {
        self.are(&["up", "up"])
    }

    /// The sessions of every lvsd; keepalived has no status, and what it says agrees or lvsd's would not be up.
    fn are(&self, states: &[&str]) -> Verdict {
        for node in [&self.first, &self.second].into_iter().filter(|node| node.make == Make::Lvsd) {
            wait_for("the sessions", PATIENCE, || {
                let all = sessions(&node.host)?;
                let is_so = |(state, _): &(String, u64)| states.contains(&&**state);
                claim(all.len() == 2 && all.iter().all(is_so), || format!("{}: {all:?}", node.host.name()))
            })?;
        }
        Ok(())
    }
}

/// One lvsd hands over to the next, and neither end of the sessions notices; one that stops says so.
fn hand_over(lab: &Lab, segment: &Segment) -> Verdict {
    let mut pair = Pair::start(lab, segment, Make::Lvsd, Make::Lvsd)?;
    pause(seconds(2));
    let begun = Instant::now();
    pair.first.hand_over()?;
    pair.first.start(lab)?;
    pair.first.daemon()?.wait_log(" ready: ", seconds(30))?;
    pair.are_up()?;
    pause(seconds(3));
    same("sessions of d2 that went down", &downs(&pair.second.host)?, &0)?;
    same("sessions of d1 that went down", &downs(&pair.first.host)?, &0)?;
    same(
        "what came and went of the VIP",
        &segment.holders.changes(VIP.into(), begun, Instant::now()).len(),
        &0,
    )?;

    let stopped = Instant::now();
    pair.first.end(Signal::TERM)?;
    pair.second.daemon()?.wait_log("the neighbor says: administratively down", seconds(5))?;
    segment.holders.wait("d2", VIP.into(), true, stopped, seconds(2))?;
    pair.second.end(Signal::TERM)
}

fn with_frr(lab: &Lab) -> Verdict {
    let (d1, rs1, client) = (lab.host("d1")?, lab.host("rs1")?, lab.host("c")?);
    batch(Some("d1"), &format!("addr add {VIP}/24 dev eth0\naddr add fd77::100/64 dev eth0 nodad\n"))?;
    let mut lvsd = Daemon::lvsd(lab, &d1, include_str!("checks.conf"))?;
    wait_for("the real server with a TCP_CHECK serves alone", PATIENCE, || {
        same("who serves", &serving(&d1)?, &(vec!["10.77.0.22:80".to_owned()], Vec::new()))
    })?;
    let bfdd = bfdd(lab, &rs1)?;
    let all =
        (vec!["10.77.0.21:80".to_owned(), "10.77.0.22:80".to_owned()], vec!["[fd77::15]:80".to_owned()]);
    wait_for("all serve once the sessions are up", PATIENCE, || same("who serves", &serving(&d1)?, &all))?;
    let peers = judge::output(&rs1, &["vtysh", "--vty_socket", BFDD_RUN, "-c", "show bfd peers brief"])?;
    lab.note(&peers);
    same("sessions that bfdd has up", &peers.lines().filter(|l| l.trim_end().ends_with(" up")).count(), &2)?;
    get(&client, &format!("http://{VIP}/"))?;

    // It dies without a word: within the detection time its real servers are out.
    let died = Instant::now();
    bfdd.kill()?;
    lvsd.wait_log("session web4 with 10.77.0.21 is down: nothing was heard for 300 ms", seconds(2))?;
    let took = died.elapsed();
    lab.note(format!("out {:.0} ms after bfdd was killed", took.as_secs_f64() * 1e3));
    claim(took <= OUT, || format!("out in {OUT:?}: {took:?}"))?;
    wait_for("it serves no more", seconds(2), || {
        same("who serves", &serving(&d1)?, &(vec!["10.77.0.22:80".to_owned()], Vec::new()))
    })?;
    let why = crate::lab::daemon::lvsd(
        &d1,
        &["why", "10.77.0.21", "--control", &crate::lab::daemon::control("/run/lvsd-d1")],
    )?;
    claim(why.stdout.contains("BFD_CHECK") && why.stdout.contains("nothing was heard for 300 ms"), || {
        format!("why says so:\n{}", why.stdout)
    })?;

    let again = self::bfdd(lab, &rs1)?;
    wait_for("it serves again", PATIENCE, || same("who serves", &serving(&d1)?, &all))?;
    lvsd.end(Signal::TERM)?;
    wait_for("bfdd was told", seconds(2), || {
        let peers = judge::output(&rs1, &["vtysh", "--vty_socket", BFDD_RUN, "-c", "show bfd peers"])?;
        let told = peers.matches("Remote diagnostics: administratively down").count();
        same("sessions that were ended", &told, &2)
    })?;
    again.kill().map(drop)
}

/// FRR's bfdd, alone; its sockets are where its user may write.
fn bfdd(lab: &Lab, host: &Host) -> Result<Daemon, String> {
    let failed = |e: std::io::Error| format!("{BFDD_RUN}: {e}");
    fs::create_dir_all(BFDD_RUN).map_err(failed)?;
    fs::set_permissions(BFDD_RUN, fs::Permissions::from_mode(0o777)).map_err(failed)?;
    let file = format!("{BFDD_RUN}/bfdd.conf");
    fs::write(&file, include_str!("bfdd.conf")).map_err(failed)?;
    let mut command = Command::new(BFDD);
    command.args(["-f", &file, "-i", &format!("{BFDD_RUN}/pid"), "-u", "frr", "-g", "frr"]);
    command.args(["--vty_socket", BFDD_RUN, "-z", &format!("{BFDD_RUN}/zserv.api")]);
    command.args(["--bfdctl", &format!("{BFDD_RUN}/bfdd.sock"), "--log", "stdout"]);
    Daemon::start(lab, host, "bfdd", &mut command)
}

/// State of each session, and how often it went down.
fn sessions(host: &Host) -> Result<Vec<(String, u64)>, String> {
    let status = status(host)?;
    let all = status.pointer("/router/sessions").and_then(|all| all.as_array()).ok_or("no sessions")?;
    let of = |session: &serde_json::Value| {
        let state = session.get("state")?.as_str()?.to_owned();
        Some((state, session.get("went_down")?.as_u64()?))
    };
    all.iter().map(|session| of(session).ok_or_else(|| format!("no session: {session}"))).collect()
}

fn downs(host: &Host) -> Result<u64, String> {
    Ok(sessions(host)?.iter().map(|(_, downs)| downs).sum())
}

/// Who serves by IPv4, and by IPv6.
fn serving(host: &Host) -> Result<(Vec<String>, Vec<String>), String> {
    let table = Table::read(host)?;
    let of = |service: &str| table.serving(service).into_iter().map(str::to_owned).collect();
    Ok((of("-t 10.77.0.100:80"), of("-t [fd77::100]:80")))
}

/// The switch drops frames of d1, whose link stays up.
fn plugged(is_plugged: bool) -> Verdict {
    let how = if is_plugged { format!("master {WIRE}") } else { "nomaster".to_owned() };
    batch(Some(SWITCH), &format!("link set d1-eth0 {how}\n"))
}
