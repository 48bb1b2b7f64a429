//! What befalls a pair of directors, and how all of it ends.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::{Director, Soak, VRID, pick};
use crate::lab::topology::{SWITCH, batch};
use crate::lab::vrrp::frame::{Forged, message_v2};
use crate::lab::vrrp::segment::{VIP, WIRE};
use crate::lab::wait::pause;
use crate::lab::{Verdict, judge};

/// Something that happens.
type Fault = fn(&mut Soak<'_>) -> Verdict;

const FAULTS: [(&str, Fault); 12] = [
    ("killed", killed),
    ("main killed", main_killed),
    ("stopped", stopped),
    ("paused", paused),
    ("unplugged", unplugged),
    ("parted", parted),
    ("lossy", lossy),
    ("unwell", unwell),
    ("VIP deleted", vip_deleted),
    ("reloaded", reloaded),
    ("garbage", garbage),
    ("migrated", migrated),
];

/// One of them.
pub(super) fn draw(rng: &mut fastrand::Rng) -> Option<(&'static str, Fault)> {
    rng.choice(FAULTS)
}

/// Everything is as it should be, and both run.
pub(super) fn mend(soak: &mut Soak<'_>) -> Verdict {
    let switch = soak.lab.host(SWITCH)?;
    for director in [&soak.first, &soak.second] {
        let port = director.port();
        well(director.name, true)?;
        soak.lab.mend(director.name, "eth0")?;
        batch(Some(SWITCH), &format!("link set {port} master {WIRE}\n"))?;
        // Without one that is lossy there is none to delete.
        let _ = judge::output(&switch, &["tc", "qdisc", "del", "dev", &port, "root"]);
    }
    soak.start()
}

/// What a director's script looks at.
pub(super) fn well(name: &str, is_well: bool) -> Verdict {
    let path = format!("/run/{name}.well");
    if is_well {
        return fs::write(&path, "").map_err(|e| format!("{path}: {e}"));
    }
    // It may be unwell already.
    let _ = fs::remove_file(&path);
    Ok(())
}

fn killed(soak: &mut Soak<'_>) -> Verdict {
    let director = soak.any();
    if std::mem::take(&mut director.runs) { director.node.kill_all() } else { Ok(()) }
}

/// Its main process alone; what is left of it has to see that.
fn main_killed(soak: &mut Soak<'_>) -> Verdict {
    let director = soak.any();
    if std::mem::take(&mut director.runs) { director.node.kill_main() } else { Ok(()) }
}

fn stopped(soak: &mut Soak<'_>) -> Verdict {
    let director = soak.any();
    if std::mem::take(&mut director.runs) { director.node.end(Signal::TERM) } else { Ok(()) }
}

fn paused(soak: &mut Soak<'_>) -> Verdict {
    let time = Duration::from_millis(soak.rng.u64(..8_000));
    let director = soak.any();
    if !director.runs {
        return Ok(());
    }
    director.node.signal_all(Signal::STOP)?;
    pause(time);
    director.node.signal_all(Signal::CONT)
}

fn unplugged(soak: &mut Soak<'_>) -> Verdict {
    let (is_cut, lab) = (soak.rng.bool(), soak.lab);
    let name = soak.any().name;
    if is_cut { lab.cut(name, "eth0") } else { lab.mend(name, "eth0") }
}

/// The switch drops its frames, and its link stays up.
fn parted(soak: &mut Soak<'_>) -> Verdict {
    let how = if soak.rng.bool() { "nomaster".to_owned() } else { format!("master {WIRE}") };
    batch(Some(SWITCH), &format!("link set {} {how}\n", soak.any().port()))
}

/// Packets to it are lost, doubled, late and out of order.
fn lossy(soak: &mut Soak<'_>) -> Verdict {
    let loss = format!("{}%", soak.rng.u8(5..=60));
    let port = soak.any().port();
    let mut command = vec!["tc", "qdisc", "replace", "dev", &port, "root", "netem", "loss", &loss];
    command.extend(["duplicate", "20%", "delay", "20ms", "10ms", "reorder", "25%"]);
    judge::output(&soak.lab.host(SWITCH)?, &command).map(drop)
}

fn unwell(soak: &mut Soak<'_>) -> Verdict {
    let is_well = soak.rng.bool();
    well(soak.any().name, is_well)
}

fn vip_deleted(soak: &mut Soak<'_>) -> Verdict {
    // It may not have it.
    let _ = batch(Some(soak.any().name), &format!("addr del {VIP}/24 dev eth0\n"));
    Ok(())
}

fn reloaded(soak: &mut Soak<'_>) -> Verdict {
    let director = soak.any();
    if director.runs { director.node.signal(Signal::HUP) } else { Ok(()) }
}

/// Random bytes as an advertisement of the VRID.
fn garbage(soak: &mut Soak<'_>) -> Verdict {
    for _ in 0..soak.rng.u8(1..=50) {
        let mut message = message_v2(VRID, 200, 1, &[VIP]);
        let (at, off) = (soak.rng.usize(..message.len()), soak.rng.u8(1..));
        if let Some(byte) = message.get_mut(at) {
            *byte = byte.wrapping_add(off);
        }
        message.truncate(soak.rng.usize(..=message.len()));
        let frame = Forged::new([10, 77, 0, 9].into(), message).frame();
        soak.wire.send(&frame).map_err(|e| format!("injecting: {e}"))?;
    }
    Ok(())
}

/// The other make takes over its file, as a site goes from one to the other.
fn migrated(soak: &mut Soak<'_>) -> Verdict {
    let (lab, make) = (soak.lab, pick(&mut soak.rng));
    let director = soak.any();
    if std::mem::take(&mut director.runs) {
        director.node.end(Signal::TERM)?;
    }
    *director = Director::new(lab, director.name, director.priority, make)?;
    soak.start()
}
