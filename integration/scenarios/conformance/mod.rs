//! lvsd's netlink backend passes, against this kernel, the conformance suite that the imitation of the
//! kernel passes in the unit tests; afterwards ipvsadm finds the table as empty as before.

use lvsd::internals::ipvs::NetlinkBackend;
use lvsd::internals::ipvs::Scheduler;
use lvsd::internals::ipvs::conformance;
use lvsd::internals::ipvs::{Backend, Op};
use lvsd::internals::ipvs::{
    Destination, Forwarding, Persistence, Protocol, Service, ServiceFlags, ServiceKey, Tunnel, TunnelChecksum,
};

use crate::lab::table::Table;
use crate::lab::topology::{VIP, VIP6};
use crate::lab::{Lab, Verdict, same};

/// What [`programmed_by_netlink`] programs, in ipvsadm's words.
const WANT: &str = "-A -t 10.1.0.100:80 -s wlc -p 300
-a -t 10.1.0.100:80 -r 10.3.0.21:8080 -m -w 7
-A -u [fd00:1::100]:53 -s rr -o
-a -u [fd00:1::100]:53 -r [fd00:1::21]:53 -i -w 3 --tun-type gue --tun-port 5555 --tun-nocsum
";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    let host = lab.host("d2")?;
    let claims = host.enter(|| {
        let mut backend = NetlinkBackend::open().map_err(|e| e.to_string())?;
        conformance::run(&mut backend, "eth0")
    })?;
    lab.step(format!("{claims} claims hold"));
    same("the table afterwards", &Table::read(&host)?, &Table::default())?;

    host.enter(programmed_by_netlink)?;
    same("what ipvsadm reads of what we wrote", &Table::read(&host)?, &Table::parse(WANT)?)
}

fn programmed_by_netlink() -> Verdict {
    let key = |protocol, address: &str, port| {
        let address = address.parse().map_err(|e| format!("{address}: {e}"))?;
        Ok::<_, String>(ServiceKey::Address { protocol, address, port })
    };
    let scheduler = |name| Scheduler::new(name).ok_or_else(|| format!("{name}: no scheduler"));
    let destination =
        |forwarding, weight| Destination { forwarding, weight, upper_threshold: 0, lower_threshold: 0 };
    let at = |text: &str| text.parse().map_err(|e| format!("{text}: {e}"));
    let web = key(Protocol::Tcp, VIP, 80)?;
    let names = key(Protocol::Udp, VIP6, 53)?;
    let persistent = Service {
        scheduler: scheduler("wlc")?,
        flags: ServiceFlags::default(),
        persistence: Some(Persistence { timeout: 300, prefix: 32 }),
        persistence_engine: None,
    };
    let one_packet = Service {
        scheduler: scheduler("rr")?,
        flags: ServiceFlags::ONE_PACKET,
        persistence: None,
        persistence_engine: None,
    };
    let gue = Forwarding::Tun(Tunnel::Gue { port: 5555, checksum: TunnelChecksum::None });
    let mut backend = NetlinkBackend::open().map_err(|e| e.to_string())?;
    let refused = backend
        .apply(&[
            Op::AddService(web, persistent),
            Op::AddService(names, one_packet),
            Op::AddDestination(web, at("10.3.0.21:8080")?, destination(Forwarding::Nat, 7)),
            Op::AddDestination(names, at("[fd00:1::21]:53")?, destination(gue, 3)),
        ])
        .map_err(|e| e.to_string())?;
    same("refused operations", &refused, &Vec::new())
}
