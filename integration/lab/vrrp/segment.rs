//! The network VRRP's scenarios live in: directors, two real servers and a client on one wire, with the addresses
//! of the recorded packets (10.77.0.1 is 02:00:00:00:00:01).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::holders::Holders;
use super::tap::Tap;
use crate::lab::host::Host;
use crate::lab::topology::Topology;
use crate::lab::web::Web;
use crate::lab::{Lab, judge};

/// The bridge.
pub(crate) const WIRE: &str = "lan";
/// The VIP of IPv4.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// The VIP of IPv6.
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);

/// A segment under observation.
#[derive(Debug)]
pub(crate) struct Segment {
    pub tap: Tap,
    pub holders: Holders,
    pub client: Host,
    /// The real servers' web servers, which live as long as this.
    _webs: Vec<Web>,
}

impl Lab {
    /// A segment with two or three directors, `d1`, `d2`, `d3`, observed from now on.
    ///
    /// # Errors
    /// What `ip` or a server said.
    pub(crate) fn segment(&mut self, directors: u8) -> Result<Segment, String> {
        judge::modprobe(&["ip_vs", "macvlan"])?;
        let mut network = Topology::new(&[WIRE]);
        let mut plug = |name: &str, number: u8| {
            let mac = format!("02:00:00:00:00:{number:02x}");
            let addresses = [format!("10.77.0.{number}/24"), format!("fd77::{number:x}/64")];
            network.host(name).mac(name, "eth0", &mac);
            network.plug(name, "eth0", WIRE, &[&addresses[0], &addresses[1]]);
        };
        let names: Vec<String> = (1..=directors).map(|n| format!("d{n}")).collect();
        for (name, number) in names.iter().zip(1..) {
            plug(name, number);
        }
        for (name, number) in [("rs1", 21), ("rs2", 22), ("c", 50)] {
            plug(name, number);
        }
        self.build(&network)?;
        self.vips_on_lo(&["rs1", "rs2"], &[&VIP.to_string(), &VIP6.to_string()])?;
        let webs = [self.host("rs1")?, self.host("rs2")?].iter().map(Web::start).collect::<Result<_, _>>()?;
        let hosts = names.iter().map(|n| self.host(n)).collect::<Result<Vec<_>, _>>()?;
        let segment = Segment {
            tap: Tap::start(self)?,
            holders: Holders::start(&hosts)?,
            client: self.host("c")?,
            _webs: webs,
        };
        self.step("the segment is up");
        Ok(segment)
    }
}

/// The address of a director, IPv4.
///
/// # Errors
/// When that is no director's name.
pub(crate) fn address(director: &str) -> Result<IpAddr, String> {
    let number = director.strip_prefix('d').and_then(|n| n.parse().ok());
    number.map(|n| Ipv4Addr::new(10, 77, 0, n).into()).ok_or_else(|| format!("{director} is no director"))
}

/// The link-local address of a director: what its advertisements of IPv6 come from.
///
/// # Errors
/// When that is no director's name.
pub(crate) fn link_local(director: &str) -> Result<IpAddr, String> {
    let number = director.strip_prefix('d').and_then(|n| n.parse().ok());
    let number: u16 = number.ok_or_else(|| format!("{director} is no director"))?;
    Ok(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, number).into())
}
