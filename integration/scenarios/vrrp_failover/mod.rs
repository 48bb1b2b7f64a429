//! The VIP moves, under load: each way a director can go, and its return. The scenario checks the wire (who advertised
//! when), rtnetlink (who held the VIP when), ipvsadm (which sync daemon runs), and clients: forty new connections a
//! second, and one that was there before and must be there after.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::echo::{Conversation, serve_tcp};
use crate::lab::load::Load;
use crate::lab::topology::{SWITCH, batch};
use crate::lab::vrrp::failover::Case;
use crate::lab::vrrp::frame::Advert;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::{Segment, VIP, WIRE, address};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const VRID: u8 = 51;
const CONF: &str = include_str!("director.conf");
/// 3 advertisements of 1 s and the skew of priority 100, 156/256 s.
const MASTER_DOWN: Duration = Duration::from_micros(3_609_375);
/// The skew alone.
const SKEW: Duration = Duration::from_micros(609_375);
/// How far from them the wire may be. Computing takes no time in this kernel; its timers fire on the next tick of
/// the high-resolution clock.
const EXACT: Duration = Duration::from_millis(1);
/// What is done at once is done in this time.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Requests a second: each costs the host some milliseconds, whatever the guest's clock says.
const RATE: u32 = 40;
/// Advertisements are this far apart.
const INTERVAL: Duration = seconds(1);
/// Clients use the new holder of the VIP after this, at the latest: it is announced every ten seconds, and TCP tries
/// again later and later.
const HEEDED: Duration = seconds(40);
/// A change of Master is over for addresses after this.
const SETTLED: Duration = Duration::from_millis(50);

/// Two directors under load.
struct Pair<'a> {
    lab: &'a Lab,
    segment: Segment,
    /// Priority 150.
    first: Node,
    /// Priority 100.
    second: Node,
    load: Option<Load>,
    failed: u64,
}

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    for name in ["rs1", "rs2"] {
        serve_tcp(&lab.host(name)?, 7)?;
    }
    for name in ["d1", "d2"] {
        // A connection is told to the other director with its first packet.
        lab.host(name)?.sysctl(&[("net.ipv4.vs.sync_threshold", "0 1")])?;
        well(name, true)?;
    }
    let pairs = [
        (Make::Keepalived, Make::Keepalived),
        (Make::Lvsd, Make::Keepalived),
        (Make::Keepalived, Make::Lvsd),
        (Make::Lvsd, Make::Lvsd),
    ];
    let mut segment = Some(segment);
    for (first, second) in pairs {
        lab.step(format!("{} with priority 150, {} with 100", first.name(), second.name()));
        let Some(here) = segment.take() else { return Err("no segment".to_owned()) };
        let mut pair = Pair {
            lab,
            segment: here,
            first: Node::new(lab, "d1", first, &configuration("d1", 150))?,
            second: Node::new(lab, "d2", second, &configuration("d2", 100))?,
            load: None,
            failed: 0,
        };
        let told = pair.run_case().map_err(|e| format!("{} and {}: {e}", first.name(), second.name()))?;
        lab.note(format!("{} with 150, {} with 100\n{}", first.name(), second.name(), told.join("\n")));
        segment = Some(pair.segment);
    }
    Ok(())
}

/// The file of one director.
fn configuration(name: &str, priority: u8) -> String {
    format!("$NAME={name}\n$PRIORITY={priority}\n{CONF}")
}

/// What the directors' script looks at.
fn well(name: &str, is_well: bool) -> Verdict {
    let path = format!("/run/{name}.well");
    let done = if is_well { fs::write(&path, "") } else { fs::remove_file(&path) };
    done.map_err(|e| format!("{path}: {e}"))
}

/// A way to go, and what was measured.
type Part<'a> = fn(&mut Pair<'a>) -> Result<String, String>;

impl<'a> Pair<'a> {
    /// Every way to go, one after another; each begins and ends with the first as Master.
    fn run_case(&mut self) -> Result<Vec<String>, String> {
        let begun = Instant::now();
        self.first.start(self.lab)?;
        self.second.start(self.lab)?;
        self.settle("the first speaks", begun, "d1")?;
        self.load = Some(Load::start(&self.segment.client, &format!("http://{VIP}/"), RATE));
        self.serving()?;
        let mut told = Vec::new();
        let parts: [(&str, Part<'a>); 9] = [
            ("kill -9 of all", Pair::killed),
            ("kill -9 of one", Pair::main_killed),
            ("hand-over", Pair::handed_over),
            ("SIGTERM", Pair::stopped),
            ("link down", Pair::unplugged),
            ("partition", Pair::parted),
            ("paused for 6 s", Pair::paused),
            ("script fails", Pair::unwell),
            ("clock set", Pair::clock_set),
        ];
        for (name, part) in parts {
            self.lab.step(name);
            // A part begins at a phase of the advertisements that the part before has left to chance; the silence
            // does not depend on it.
            let mut conversation = Conversation::open(&self.segment.client, SocketAddr::from((VIP, 7)))?;
            let who = conversation.ask(seconds(3))?;
            pause(seconds(3));
            let text = part(self).map_err(|e| format!("{name}: {e}"))?;
            let asked = Instant::now();
            let still = conversation.ask(HEEDED).map_err(|e| format!("{name}: {e}"))?;
            same("who answers on the old connection", &still, &who)?;
            let silent = asked.elapsed().as_secs_f64();
            let lost = self.lost()?;
            told.push(format!(
                "{name:<15} {text}; requests lost {lost}; the old connection goes on after {silent:.1} s"
            ));
        }
        if let Some(load) = self.load.take() {
            self.lab.step(format!("load: {}", load.stop()?));
        }
        for node in [&mut self.first, &mut self.second] {
            node.end(Signal::TERM)?;
        }
        Ok(told)
    }

    /// All its processes are killed at once. No process sends priority 0, and the VIP stays on the dead.
    fn killed(&mut self) -> Result<String, String> {
        let failover = moves_on(&self.segment)?.measure(|| self.first.kill_all())?;
        near("silence", failover.silence, MASTER_DOWN)?;
        self.returns(|pair| pair.first.start(pair.lab))?;
        Ok(failover.to_string())
    }

    /// Its main process is killed: what is left of it sends priority 0 and takes the VIP away, at once.
    fn main_killed(&mut self) -> Result<String, String> {
        let failover = moves_on(&self.segment)?.measure(|| self.first.kill_main())?;
        claim(failover.priority_zero, || "something sends priority 0".to_owned())?;
        near("silence", failover.silence, SKEW)?;
        claim(failover.advert <= SKEW + AT_ONCE, || {
            format!("the second speaks after {:?}", failover.advert)
        })?;
        let gone = self.segment.holders.wait("d1", VIP.into(), false, failover.begun, AT_ONCE)?;
        let gone = gone.saturating_duration_since(failover.begun);
        self.one_holder("d2", failover.begun + failover.advert)?;
        self.returns(|pair| pair.first.start(pair.lab))?;
        Ok(format!("{failover}; VIP gone after {:.3} ms", gone.as_secs_f64() * 1e3))
    }

    /// It hands over to its successor, without a gap. keepalived has nothing of the kind.
    fn handed_over(&mut self) -> Result<String, String> {
        if self.first.make == Make::Keepalived {
            return Ok("is no hand-over".to_owned());
        }
        let begun = Instant::now();
        self.first.hand_over()?;
        let ended = begun.elapsed();
        self.first.start(self.lab)?;
        let source = address("d1")?;
        let is_it = |a: &Advert| a.vrid == VRID && a.source == source;
        let (spoke, _) = self.segment.tap.wait_advert("its successor", begun + ended, seconds(4), is_it)?;
        pause(MASTER_DOWN + INTERVAL);
        let now = Instant::now();
        same("who spoke", &self.segment.tap.peers(VRID, begun, now), &vec![source])?;
        let adverts = self.segment.tap.adverts(VRID, begun, now);
        claim(adverts.iter().all(|(_, a)| a.priority == 150), || {
            format!("no host sends priority 0: {adverts:?}")
        })?;
        let changes = self.segment.holders.changes(VIP.into(), begun, now);
        claim(changes.is_empty(), || format!("the VIP does not move: {changes:?}"))?;
        self.sync_daemons("d1")?;
        Ok(format!(
            "ended after {:.0} ms, its successor speaks {:.0} ms later",
            ended.as_secs_f64() * 1e3,
            spoke.saturating_duration_since(begun + ended).as_secs_f64() * 1e3
        ))
    }

    /// It is told to stop: priority 0, then the VIP leaves.
    fn stopped(&mut self) -> Result<String, String> {
        let failover = moves_on(&self.segment)?.measure(|| self.first.signal(Signal::TERM))?;
        self.first.wait_end()?;
        claim(failover.priority_zero, || "it sends priority 0".to_owned())?;
        near("silence", failover.silence, SKEW)?;
        near("until the advert", failover.advert, SKEW)?;
        self.one_holder("d2", failover.begun + failover.advert)?;
        self.returns(|pair| pair.first.start(pair.lab))?;
        Ok(failover.to_string())
    }

    /// Its link goes down: it knows, and gives the VIP up.
    fn unplugged(&mut self) -> Result<String, String> {
        let failover = moves_on(&self.segment)?.measure(|| self.lab.cut("d1", "eth0"))?;
        near("silence", failover.silence, MASTER_DOWN)?;
        self.one_holder("d2", failover.begun + failover.advert)?;
        self.returns(|pair| pair.lab.mend("d1", "eth0"))?;
        Ok(failover.to_string())
    }

    /// The switch drops its frames, with its link up: both hold the VIP, and one yields when they meet again.
    fn parted(&mut self) -> Result<String, String> {
        let failover = moves_on(&self.segment)?.measure(|| plugged(false))?;
        near("silence", failover.silence, MASTER_DOWN)?;
        pause(seconds(2));
        same(
            "who holds the VIP while parted",
            &self.holders(Instant::now()),
            &vec!["d1".into(), "d2".into()],
        )?;
        self.sends_to("d2")?;
        // The second has just spoken when they meet: it hears the first before that has heard of it, and yields.
        let (first, second) = (address("d1")?, address("d2")?);
        let now = Instant::now();
        let tap = &self.segment.tap;
        tap.wait_advert("the second speaks", now, seconds(2), |a| a.vrid == VRID && a.source == second)?;
        pause(INTERVAL / 5);
        let met = Instant::now();
        plugged(true)?;
        let lost = self.segment.holders.wait("d2", VIP.into(), false, met, seconds(5))?;
        let within = lost.saturating_duration_since(met);
        claim(within <= INTERVAL + SETTLED, || format!("the second yields in one interval: {within:?}"))?;
        self.one_holder("d1", lost)?;
        let spoke = tap.adverts(VRID, met, lost + SETTLED).first().map(|(_, a)| a.source);
        same("who speaks first when they meet", &spoke, &Some(first))?;
        let heeded = match (self.second.make, self.sends_to("d1")) {
            (_, Ok(())) => "heeded at once",
            (Make::Keepalived, Err(_)) => "the client goes on with the second",
            (Make::Lvsd, Err(wrong)) => return Err(wrong),
        };
        Ok(format!("{failover}; healed in {:.0} ms, {heeded}", within.as_secs_f64() * 1e3))
    }

    /// The client's packets to the VIP go to this director.
    fn sends_to(&self, director: &str) -> Verdict {
        let said = judge::output(&self.segment.client, &["ip", "neigh", "show", &VIP.to_string()])?;
        let want = format!("lladdr 02:00:00:00:00:0{}", director.trim_start_matches('d'));
        claim(said.contains(&want), || format!("the client sends to {director}: {said}"))
    }

    /// Its script fails and takes 60 of its 150: the second preempts.
    fn unwell(&mut self) -> Result<String, String> {
        let failover = moves_on(&self.segment)?.measure(|| well("d1", false))?;
        self.one_holder("d2", failover.begun + failover.advert)?;
        self.returns(|_| well("d1", true))?;
        Ok(failover.to_string())
    }

    /// The clock is set, an hour on and two back: no state changes, and a takeover takes as long as before.
    fn clock_set(&mut self) -> Result<String, String> {
        let begun = Instant::now();
        for step in ["+1 hour", "-2 hours"] {
            judge::run(&["date", "-s", step])?;
            pause(MASTER_DOWN + INTERVAL);
        }
        let now = Instant::now();
        let source = address("d1")?;
        let adverts = self.segment.tap.adverts(VRID, begun - INTERVAL, now);
        let times = adverts.iter().map(|(at, _)| *at);
        let gap = times.clone().zip(times.skip(1)).map(|(one, next)| next - one).max();
        claim(gap.is_some_and(|gap| gap <= INTERVAL + EXACT), || {
            format!("the first was silent for {gap:?}")
        })?;
        same("who spoke", &self.segment.tap.peers(VRID, begun, now), &vec![source])?;
        let changes = self.segment.holders.changes(VIP.into(), begun, now);
        claim(changes.is_empty(), || format!("the VIP does not move: {changes:?}"))?;
        let failover = moves_on(&self.segment)?.measure(|| {
            self.first.kill_all()?;
            judge::run(&["date", "-s", "+1 hour"]).map(drop)
        })?;
        near("silence", failover.silence, MASTER_DOWN)?;
        self.returns(|pair| pair.first.start(pair.lab))?;
        Ok(failover.to_string())
    }

    /// Its machine stands still and wakes up: keepalived wakes up as Master and quarrels.
    fn paused(&mut self) -> Result<String, String> {
        let failover = moves_on(&self.segment)?.measure(|| self.first.signal_all(Signal::STOP))?;
        near("silence", failover.silence, MASTER_DOWN)?;
        pause(seconds(2));
        let woken = Instant::now();
        self.first.signal_all(Signal::CONT)?;
        self.settle("the first speaks again", woken, "d1")?;
        Ok(failover.to_string())
    }

    /// Does something, and waits until the first has the VIP back and is heeded.
    fn returns(&mut self, act: impl FnOnce(&mut Self) -> Verdict) -> Verdict {
        // The load has seen the second at work.
        self.serving()?;
        let begun = Instant::now();
        act(self)?;
        self.settle("the first is back", begun, "d1")?;
        self.serving()
    }

    /// Waits until a director is Master for all to see, and looks at everything that must follow from it.
    fn settle(&self, what: &str, from: Instant, director: &str) -> Verdict {
        let source = address(director)?;
        let is_it = |a: &Advert| a.vrid == VRID && a.source == source && a.priority > 0;
        let (spoke, _) = self.segment.tap.wait_advert(what, from, seconds(20), is_it)?;
        self.one_holder(director, spoke)?;
        pause(INTERVAL + SETTLED);
        let now = Instant::now();
        self.one_holder(director, now.checked_sub(SETTLED).unwrap_or(now))?;
        same("who speaks", &self.segment.tap.peers(VRID, now - INTERVAL - EXACT, now), &vec![source])?;
        self.sync_daemons(director)
    }

    /// From 50 ms after a change, exactly this director holds the VIP, for an interval.
    fn one_holder(&self, director: &str, change: Instant) -> Verdict {
        let settled = change + SETTLED;
        pause(settled.saturating_duration_since(Instant::now()));
        same("who holds the VIP", &self.holders(settled), &vec![director.to_owned()])
    }

    /// The kernel's sync daemons follow the VIP.
    fn sync_daemons(&self, master: &str) -> Verdict {
        for name in ["d1", "d2"] {
            let want = if name == master { "master" } else { "backup" };
            let host = self.lab.host(name)?;
            wait_for(&format!("{name}'s sync daemon is {want}"), seconds(1), || {
                let said = judge::output(&host, &["ipvsadm", "-l", "--daemon"])?;
                let states: Vec<&str> = said
                    .lines()
                    .filter_map(|l| l.split_once(" sync daemon"))
                    .map(|(state, _)| state)
                    .collect();
                if states == [want] { Ok(()) } else { Err(said) }
            })?;
        }
        Ok(())
    }

    /// Requests are answered now, by either director.
    fn serving(&self) -> Verdict {
        self.load.as_ref().map_or(Ok(()), |load| load.wait_for_answers(30))
    }

    /// Requests that failed since this was last asked.
    fn lost(&mut self) -> Result<u64, String> {
        // Those under way fail within their patience, or not at all.
        pause(seconds(4));
        self.serving()?;
        let failed = self.load.as_ref().map(|l| l.so_far().1).unwrap_or_default();
        let lost = failed - self.failed;
        self.failed = failed;
        Ok(lost)
    }

    fn holders(&self, moment: Instant) -> Vec<String> {
        self.segment.holders.at(IpAddr::from(VIP), moment)
    }
}

/// How the VIP comes to the second.
fn moves_on(segment: &Segment) -> Result<Case<'_>, String> {
    Ok(Case {
        segment,
        vrid: VRID,
        vip: VIP.into(),
        from: address("d1")?,
        survivor: "d2",
        to: address("d2")?,
        patience: seconds(12),
    })
}

/// Whether the switch forwards what the first director sends and is sent. Its link stays up.
fn plugged(is_plugged: bool) -> Verdict {
    let how = if is_plugged { format!("master {WIRE}") } else { "nomaster".to_owned() };
    batch(Some(SWITCH), &format!("link set d1-eth0 {how}\n"))
}

fn near(what: &str, got: Duration, want: Duration) -> Verdict {
    let off = got.max(want) - got.min(want);
    claim(off <= EXACT, || format!("{what}: want {want:?}, got {got:?}"))
}
