//! What a director puts on the wire, byte by byte, beside frames recorded from keepalived (2.2.7, and 2.4.3 where it
//! says so): the configurations are those of the recording, and so are addresses and MACs.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::vrrp::frame::bytes;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::Segment;
use crate::lab::vrrp::tap::Passed;
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict, claim};

/// One configuration and the frames it must make, in this order among the others it makes.
struct Recorded {
    name: &'static str,
    /// Inside the block `vrrp_instance`.
    instance: &'static str,
    frames: &'static [&'static str],
    /// What it says when it stops.
    priority_zero: Option<&'static str>,
    /// Whether Debian's keepalived can make it.
    in_debian: bool,
}

/// Where a frame of IPv6 has its hop limit.
const HOP_LIMIT_6: usize = 21;
/// GARP-PHYS.
const GARP: &str = "ffffffffffff020000000001080600010800060400010200000000010a4d0064ffffffffffff0a4d0064";
/// The VIP of most of them.
const VIP: &str = "virtual_ipaddress {\n10.77.0.100\n}";

const RECORDED: &[Recorded] = &[
    Recorded {
        name: "V2-NOAUTH",
        instance: "virtual_router_id 51\nadvert_int 1\n",
        frames: &[
            "01005e000012020000000001080045c0002800010000ff70d0440a4d0001e000001221336401000170190a4d00640000000000000000",
            GARP,
        ],
        priority_zero: Some(
            "01005e000012020000000001080045c0002800040000ff70d0410a4d0001e0000012213300010001d4190a4d00640000000000000000",
        ),
        in_debian: true,
    },
    Recorded {
        name: "V2-3VIPS",
        instance: "virtual_router_id 52\nadvert_int 1\nvirtual_ipaddress {\n10.77.0.100\n10.77.0.101\n10.77.0.102\n}",
        frames: &[
            "01005e000012020000000001080045c0003000010000ff70d03c0a4d0001e00000122134640300015ab10a4d00640a4d00650a4d00660000000000000000",
        ],
        priority_zero: None,
        in_debian: true,
    },
    Recorded {
        name: "V2-PASS",
        instance: "virtual_router_id 53\nadvert_int 1\nauthentication {\nauth_type PASS\nauth_pass s3cret\n}\n",
        frames: &[
            "01005e000012020000000001080045c0002800010000ff70d0440a4d0001e000001221356401010132fd0a4d00647333637265740000",
        ],
        priority_zero: None,
        in_debian: true,
    },
    Recorded {
        name: "V2-AH",
        instance: "virtual_router_id 54\nadvert_int 1\nauthentication {\nauth_type AH\nauth_pass s3cret\n}\n",
        frames: &[
            "01005e000012020000000001080045c0004000010000ff33d0690a4d0001e0000012700400000a4d000100000001129348f7952de6ea03606ddb2136640102016e160a4d00640000000000000000",
            "01005e000012020000000001080045c0004000020000ff33d0680a4d0001e0000012700400000a4d0001000000021fabee670f47608dac62bf562136640102016e160a4d00640000000000000000",
        ],
        priority_zero: None,
        in_debian: true,
    },
    Recorded {
        name: "V2-OWNER",
        instance: "virtual_router_id 63\npriority 255\nadvert_int 1\n",
        frames: &[
            "01005e000012020000000001080045c0002800010000ff70d0440a4d0001e0000012213fff010001d50c0a4d00640000000000000000",
        ],
        priority_zero: None,
        in_debian: true,
    },
    Recorded {
        name: "V2-UNICAST",
        instance: "virtual_router_id 57\nadvert_int 1\nunicast_src_ip 10.77.0.1\nunicast_peer {\n10.77.0.2\n10.77.0.3\n}\n",
        frames: &[
            "020000000002020000000001080045c0002800010000ff70a6080a4d00010a4d000221396401000170130a4d00640000000000000000",
            "020000000003020000000001080045c0002800010000ff70a6070a4d00010a4d000321396401000170130a4d00640000000000000000",
        ],
        priority_zero: None,
        in_debian: true,
    },
    Recorded {
        name: "V3-IP4",
        instance: "virtual_router_id 55\nversion 3\nadvert_int 0.25\n",
        frames: &[
            "01005e000012020000000001080045c0002000010000ff70d04c0a4d0001e000001231376401001975200a4d0064",
        ],
        priority_zero: Some(
            "01005e000012020000000001080045c0002000160000ff70d0370a4d0001e0000012313700010019d9200a4d0064",
        ),
        in_debian: true,
    },
    Recorded {
        name: "V3-IP4-UNICAST",
        instance: "virtual_router_id 58\nversion 3\nadvert_int 1\nunicast_src_ip 10.77.0.1\nunicast_peer {\n10.77.0.2\n10.77.0.3\n}\n",
        frames: &[
            "020000000002020000000001080045c0002000010000ff70a6100a4d00010a4d0002313a640100644a960a4d0064",
            "020000000003020000000001080045c0002000010000ff70a60f0a4d00010a4d0003313a640100644a950a4d0064",
        ],
        priority_zero: None,
        in_debian: true,
    },
    Recorded {
        name: "V3-IP6",
        instance: "virtual_router_id 56\nversion 3\nadvert_int 1\nvirtual_ipaddress {\nfe80::56\nfd77::100\n}\n",
        frames: &[
            "33330000001202000000000186dd6c03f788002870fffe80000000000000000000fffe000001ff0200000000000000000000000000123138640200646fe3fe800000000000000000000000000056fd770000000000000000000000000100",
            "33330000000102000000000186dd6000000000203afffe800000000000000000000000000056ff020000000000000000000000000001880056f120000000fe8000000000000000000000000000560201020000000001",
        ],
        priority_zero: Some(
            "33330000001202000000000186dd6c03f788002870fffe80000000000000000000fffe000001ff020000000000000000000000000012313800020064d3e3fe800000000000000000000000000056fd770000000000000000000000000100",
        ),
        in_debian: true,
    },
    Recorded {
        name: "V3-IP6-UNICAST",
        instance: "virtual_router_id 59\nversion 3\nadvert_int 1\nunicast_src_ip fd77::1\nunicast_peer {\nfd77::2\n}\nvirtual_ipaddress {\nfd77::100\n}\n",
        frames: &[
            "02000000000202000000000186dd6c08b2f900187040fd770000000000000000000000000001fd770000000000000000000000000002313b64010064706cfd770000000000000000000000000100",
        ],
        priority_zero: None,
        in_debian: true,
    },
    Recorded {
        name: "V3-IP4-VMAC",
        instance: "virtual_router_id 61\nversion 3\nadvert_int 1\nuse_vmac\n",
        frames: &[
            "01005e00001200005e00013d080045c0002000010000ff70d04c0a4d0001e0000012313d6401006474cf0a4d0064",
            "ffffffffffff00005e00013d0806000108000604000100005e00013d0a4d0064ffffffffffff0a4d0064",
        ],
        priority_zero: None,
        in_debian: true,
    },
    Recorded {
        name: "V3-IP6-VMAC",
        instance: "virtual_router_id 62\nversion 3\nadvert_int 1\nuse_vmac\nvirtual_ipaddress {\nfe80::62\nfd77::62\n}\n",
        frames: &[
            "33330000001200005e00023e86dd6c03f788002870fffe80000000000000000000fffe000001ff020000000000000000000000000012313e64020064706ffe800000000000000000000000000062fd770000000000000000000000000062",
            "33330000000100005e00023e86dd6000000000203afffe800000000000000000000000000062ff0200000000000000000000000000018800f89b20000000fe800000000000000000000000000062020100005e00023e",
        ],
        priority_zero: None,
        in_debian: true,
    },
    Recorded {
        name: "V3-IP4-NOPSEUDO",
        instance: "virtual_router_id 10\nversion 3\nadvert_int 1\nv3_checksum_as_v2\n",
        frames: &[
            "01005e000012020000000001080045c0002000010000ff70d04c0a4d0001e0000012310a640100645fdf0a4d0064",
        ],
        priority_zero: None,
        in_debian: false,
    },
];

/// Longest until it speaks: four intervals of a second.
const PATIENCE: Duration = seconds(6);

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(3)?;
    let mut wrong = Vec::new();
    for make in [Make::Keepalived, Make::Lvsd] {
        for recorded in RECORDED.iter().filter(|r| r.in_debian || make == Make::Lvsd) {
            lab.step(format!("{} {}", make.name(), recorded.name));
            if let Err(e) = compare(lab, &segment, make, recorded) {
                lab.step(format!("wrong: {e}"));
                wrong.push(format!("{} {}: {e}", make.name(), recorded.name));
            }
        }
    }
    claim(wrong.is_empty(), || wrong.join("\n"))
}

/// Runs one configuration alone, and finds each frame among those it sent.
fn compare(lab: &Lab, segment: &Segment, make: Make, recorded: &Recorded) -> Verdict {
    let vip = if recorded.instance.contains("virtual_ipaddress") { "" } else { VIP };
    let priority = if recorded.instance.contains("priority") { "" } else { "priority 100\n" };
    let state = if priority.is_empty() { "MASTER" } else { "BACKUP" };
    let text = format!(
        "vrrp_instance VI {{\nstate {state}\ninterface eth0\n{priority}{}{vip}\n}}\n",
        recorded.instance
    );
    let mut node = Node::new(lab, "d1", make, &text)?;
    let begun = Instant::now();
    node.start(lab)?;
    for frame in recorded.frames {
        let mut want = comparable(&bytes(frame)?);
        // To a peer by name keepalived sends what the kernel likes, 64; lvsd sends what tells a neighbour from others.
        if let Some(hops) = want.get_mut(HOP_LIMIT_6).filter(|h| make == Make::Lvsd && **h == 64) {
            *hops = 255;
        }
        let what = format!("{} among its frames\n{}\n", recorded.name, hexadecimal(&want));
        segment.tap.wait(&what, begun, PATIENCE, |p| (comparable(&p.frame) == want).then_some(()))?;
    }
    let stopped = Instant::now();
    node.end(Signal::TERM)?;
    if let Some(frame) = recorded.priority_zero {
        let want = comparable(&bytes(frame)?);
        let within = Duration::from_millis(20);
        let is_it = |p: &Passed| (comparable(&p.frame) == want && p.at <= stopped + within).then_some(());
        segment.tap.wait("its priority_zero, 20 ms after the signal", stopped, within, is_it)?;
    }
    pause(seconds(1));
    Ok(())
}

/// A frame without what another run makes otherwise: IPv4's identification and with it the header's checksum (and
/// nothing else, as an authentication header covers the identification), IPv6's flow label.
fn comparable(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let volatile: &[(usize, usize)] = match frame.get(12..14) {
        Some([0x08, 0x00]) if frame.get(23) == Some(&51) => &[],
        Some([0x08, 0x00]) => &[(18, 20), (24, 26)],
        Some([0x86, 0xdd]) => &[(15, 18)],
        _ => &[],
    };
    for (from, to) in volatile {
        if let Some(part) = frame.get_mut(*from..*to) {
            part.fill(0);
        }
    }
    frame
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
