//! Clients' TCP connections as /proc/net/ip_vs_conn lists them: how many are half open, how many were completed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::types::Protocol;

/// Connections of one VIP to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Only TCP has a handshake.
    pub protocol: Protocol,
    /// What clients ask.
    pub vip: SocketAddr,
    /// Where the kernel sends them.
    pub destination: SocketAddr,
}

/// How the connections of a flow got on since the reading before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// The client has sent a SYN, and nothing that shows that it was answered (SYN_RECV).
    pub half_open: u32,
    /// Connections that came behind that state since the reading before.
    pub completed: u32,
}

/// Connections whose client has answered, by flow and client.
pub(crate) type Completed = BTreeSet<(Flow, SocketAddr)>;

/// Reads the kernel's list, whose last line may be cut; what makes no sense is passed over. `known` are the completed
/// connections of the reading before, and become those of this one.
pub(crate) fn parse(text: &str, known: &mut Completed) -> BTreeMap<Flow, Handshakes> {
    let mut found: BTreeMap<Flow, Handshakes> = BTreeMap::new();
    let mut completed = Completed::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let Some((flow, client, is_half_open)) = connection(line) else { continue };
        let seen = found.entry(flow).or_default();
        if is_half_open {
            seen.half_open = seen.half_open.saturating_add(1);
        } else {
            let is_new = !known.contains(&(flow, client));
            seen.completed = seen.completed.saturating_add(u32::from(is_new));
            completed.insert((flow, client));
        }
    }
    *known = completed;
    found
}

/// `TCP 0A020002 C350 0A010064 0050 0A010015 0050 SYN_RECV  57`
fn connection(line: &str) -> Option<(Flow, SocketAddr, bool)> {
    let mut words = line.split_ascii_whitespace();
    if words.next()? != "TCP" {
        return None;
    }
    let client = socket(words.next()?, words.next()?)?;
    let vip = socket(words.next()?, words.next()?)?;
    let destination = socket(words.next()?, words.next()?)?;
    let state = words.next()?;
    // A template of persistence is no connection.
    let flow = Flow { protocol: Protocol::Tcp, vip, destination };
    (state != "NONE").then_some((flow, client, state == "SYN_RECV"))
}

fn socket(address: &str, port: &str) -> Option<SocketAddr> {
    let ip: IpAddr = match address.contains(':') {
        true => address.trim_matches(['[', ']']).parse::<Ipv6Addr>().ok()?.into(),
        false => Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?).into(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A020002 C350 0A010064 0050 0A010015 0050 SYN_RECV         57
TCP 0A020002 C351 0A010064 0050 0A010015 0050 ESTABLISHED     899
TCP 0A020002 C352 0A010064 0050 0A010015 0050 CLOSE             9
TCP 0A020002 0000 0A010064 0050 0A010015 0050 NONE             49
UDP 0A020002 C353 0A010064 0035 0A010015 0035 UDP             299
TCP fd00:0002:0000:0000:0000:0000:0000:0002 C350 fd00:0001:0000:0000:0000:0000:0000:0100 0050 fd00:0001:0000:0000:0000:0000:0000:0021 0050 SYN_RECV         57
TCP what is this
TCP 0A020002 C354 0A010064 0050 0A010015 0050 SYN_RE";

    #[test]
    fn half_open_and_completed_connections_are_counted_by_destination() {
        let mut known = Completed::new();
        let found = parse(LIST, &mut known);
        let flow = |vip: &str, destination: &str| Flow {
            protocol: Protocol::Tcp,
            vip: vip.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        let four = flow("10.1.0.100:80", "10.1.0.21:80");
        let six = flow("[fd00:1::100]:80", "[fd00:1::21]:80");
        assert_eq!(found.len(), 2);
        assert_eq!(found.get(&four), Some(&Handshakes { half_open: 1, completed: 2 }));
        assert_eq!(found.get(&six), Some(&Handshakes { half_open: 1, completed: 0 }));
        let again = parse(LIST, &mut known);
        assert_eq!(again.get(&four), Some(&Handshakes { half_open: 1, completed: 0 }), "none of them is new");
    }
}
