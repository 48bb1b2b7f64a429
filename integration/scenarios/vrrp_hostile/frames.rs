//! Invalid frames, each named, and what must come of it.

use std::net::Ipv4Addr;

use crate::lab::vrrp::frame::{Forged, message_v2, message_v3};

/// The VRID of version 2, and its VIP.
pub(super) const TWO: u8 = 10;
pub(super) const VIP2: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// The VRID of version 3, and its VIP.
pub(super) const THREE: u8 = 11;
pub(super) const VIP3: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 101);
/// Their sender: an unused address, with a priority above the director's.
pub(super) const SENDER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
pub(super) const PRIORITY: u8 = 200;
/// The director, as it sends itself.
const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Bytes of the longest packet, as large as jumbo frames carry.
pub(super) const LONG: usize = 9000;

/// What must come of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing at all: state and timers go on as if it had never come.
    Ignored,
    /// It is an advertisement like any other.
    Heard,
}

/// Frames of one kind.
pub(super) struct Kind {
    pub name: String,
    pub vrid: u8,
    pub frames: Vec<Vec<u8>>,
    pub fate: Fate,
    /// What keepalived 2.2.7 says of them, where it says something.
    pub words: &'static str,
    /// keepalived 2.2.7 fails this.
    pub beyond_keepalived: bool,
}

/// The advertisement that is as it should be.
pub(super) fn good(vrid: u8) -> Forged {
    if vrid == TWO {
        Forged::new(SENDER, message_v2(TWO, PRIORITY, 1, &[VIP2])).sum_v2()
    } else {
        Forged::new(SENDER, message_v3(THREE, PRIORITY, 100, &[VIP3])).sum_v3()
    }
}

/// All of them.
pub(super) fn all() -> Vec<Kind> {
    [of_both(TWO), of_both(THREE), of_two(), of_three()].into_iter().flatten().collect()
}

/// What is wrong in either version.
fn of_both(vrid: u8) -> Vec<Kind> {
    let good = || good(vrid);
    let sum = |forged: Forged| if vrid == TWO { forged.sum_v2() } else { forged.sum_v3() };
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut forged = good();
        edit(&mut forged.message);
        sum(forged).frame()
    };
    let byte = |at: usize, value: u8| {
        edited(&|m| {
            if let Some(b) = m.get_mut(at) {
                *b = value;
            }
        })
    };
    let version = if vrid == TWO { 0x20 } else { 0x30 };
    let length = good().message.len();
    let mut kinds = vec![
        ignored(vrid, "TTL 254", vec![Forged { hop_limit: 254, ..good() }.frame()], "invalid TTL/HL"),
        ignored(
            vrid,
            "another version",
            [0x01, 0x11, 0x41, 0xf1].into_iter().map(|v| byte(0, v)).collect(),
            "",
        ),
        ignored(vrid, "type 2", vec![byte(0, version | 2)], "Invalid packet type"),
        ignored(vrid, "checksum wrong", vec![good().with_sum(0xbeef).frame()], "checksum"),
        ignored(vrid, "checksum zero", vec![good().with_sum(0).frame()], "checksum"),
        ignored(vrid, "truncated", (0..length).map(|n| edited(&|m| m.truncate(n))).collect(), "too short"),
        ignored(vrid, "counts 255 addresses, has one", vec![byte(3, 255)], "too short"),
        ignored(vrid, "counts 2 addresses, has one", vec![byte(3, 2)], "too short"),
        ignored(vrid, "counts none, has one", vec![byte(3, 0)], "too long"),
        ignored(
            vrid,
            "bytes behind its end",
            (1..=28).map(|n| edited(&|m| m.extend(vec![0x5a; n]))).collect(),
            "too long",
        ),
        ignored(vrid, "9000 bytes", vec![edited(&|m| m.resize(LONG - 20, 0x5a))], "too long"),
        ignored(vrid, "VRID 0", vec![byte(1, 0)], ""),
        ignored(vrid, "an unused VRID", vec![byte(1, 77)], ""),
        ignored(
            vrid,
            "unicast to a multicast instance",
            vec![sum(Forged { to_mac: [2, 0, 0, 0, 0, 1], destination: DIRECTOR, ..good() }).frame()],
            "",
        ),
        ignored(
            vrid,
            "its own address as the source",
            vec![sum(Forged { source: DIRECTOR, from_mac: [2, 0, 0, 0, 0, 9], ..good() }).frame()],
            "",
        ),
        ignored(
            vrid,
            "a packet that says it is longer than the frame",
            vec![Forged { total: Some(1400), ..good() }.frame()],
            "",
        ),
        ignored(
            vrid,
            "the first of two fragments, and no second",
            vec![Forged { fragment: 0x2000, ..good() }.frame()],
            "",
        ),
        heard(vrid, "padded to 60 bytes", {
            let mut frame = good().frame();
            frame.resize(60, 0x5a);
            frame
        }),
        heard(vrid, "with options of IP", {
            // Router alert, and no operation.
            Forged { options: vec![0x94, 0x04, 0, 0, 1, 1, 1, 1], ..good() }.frame()
        }),
    ];
    let looped = if vrid == TWO {
        Forged::new(DIRECTOR, message_v2(TWO, 100, 1, &[VIP2])).sum_v2()
    } else {
        Forged::new(DIRECTOR, message_v3(THREE, 100, 100, &[VIP3])).sum_v3()
    };
    kinds.push(ignored(vrid, "its own packet come back", vec![looped.frame()], ""));
    kinds
}

/// What is wrong in version 2.
fn of_two() -> Vec<Kind> {
    let with = |at: usize, value: u8| {
        let mut forged = good(TWO);
        if let Some(byte) = forged.message.get_mut(at) {
            *byte = value;
        }
        forged.sum_v2().frame()
    };
    vec![
        ignored(TWO, "another interval", vec![with(5, 2)], "interval mismatch"),
        ignored(TWO, "an unexpected password", vec![with(4, 1)], "auth, expecting 0"),
        ignored(TWO, "an unknown authentication", vec![with(4, 3)], "Invalid auth type"),
        ignored(
            TWO,
            "version 3 to version 2",
            vec![Forged::new(SENDER, message_v3(TWO, PRIORITY, 100, &[VIP2])).sum_v3().frame()],
            "wrong version",
        ),
    ]
}

/// What is wrong in version 3, and what is not.
fn of_three() -> Vec<Kind> {
    let interval = |centiseconds: u16| {
        Forged::new(SENDER, message_v3(THREE, PRIORITY, centiseconds, &[VIP3])).sum_v3().frame()
    };
    let mut reserved = good(THREE);
    if let Some(byte) = reserved.message.get_mut(4) {
        *byte |= 0xf0;
    }
    vec![
        Kind { beyond_keepalived: true, ..ignored(THREE, "interval 0", vec![interval(0)], "") },
        ignored(
            THREE,
            "version 2 to version 3",
            vec![Forged::new(SENDER, message_v2(THREE, PRIORITY, 1, &[VIP3])).sum_v2().frame()],
            "wrong version",
        ),
        heard(THREE, "reserved bits set", reserved.sum_v3().frame()),
        Kind {
            beyond_keepalived: true,
            ..heard(THREE, "a checksum without pseudo header", good(THREE).sum_v2().frame())
        },
    ]
}

fn ignored(vrid: u8, name: &str, frames: Vec<Vec<u8>>, words: &'static str) -> Kind {
    let name = format!("version {}: {name}", if vrid == TWO { 2 } else { 3 });
    Kind { name, vrid, frames, fate: Fate::Ignored, words, beyond_keepalived: false }
}

fn heard(vrid: u8, name: &str, frame: Vec<u8>) -> Kind {
    Kind { fate: Fate::Heard, ..ignored(vrid, name, vec![frame], "") }
}
