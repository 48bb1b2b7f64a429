//! Frames as the wire has them, read and written without a line of lvsd: the judge shares no code with the judged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const VRRP: u8 = 112;
const AH: u8 = 51;
const IGMP: u8 = 2;
const ICMP6: u8 = 58;
const AH_LENGTH: usize = 24;

/// What a frame says, as far as these scenarios care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Advert(Advert),
    /// ARP whose sender and target are the same address.
    GratuitousArp {
        address: Ipv4Addr,
        mac: [u8; 6],
    },
    /// An unsolicited neighbour advertisement, to all nodes.
    NeighbourAdvertisement {
        address: Ipv6Addr,
        mac: [u8; 6],
    },
    /// The answer to a neighbour solicitation.
    NeighbourAnswer {
        address: Ipv6Addr,
        mac: [u8; 6],
    },
    /// A report of group membership, IGMPv3 or MLDv2: records of type and group.
    Membership(Vec<(u8, IpAddr)>),
}

/// An advertisement as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advert {
    pub from_mac: [u8; 6],
    pub source: IpAddr,
    pub destination: IpAddr,
    pub hop_limit: u8,
    pub tos: u8,
    pub version: u8,
    pub vrid: u8,
    pub priority: u8,
    /// As it travels: seconds in version 2, hundredths in version 3.
    pub interval: u16,
    pub addresses: Vec<IpAddr>,
}

/// Reads a frame; None when it is none of those.
pub(crate) fn read(frame: &[u8]) -> Option<Message> {
    let from_mac: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    let body = frame.get(14..)?;
    match frame.get(12..14)? {
        [0x08, 0x06] => {
            let sender: [u8; 4] = body.get(14..18)?.try_into().ok()?;
            let is_gratuitous = body.get(24..28)? == sender;
            let mac = body.get(8..14)?.try_into().ok()?;
            is_gratuitous.then_some(Message::GratuitousArp { address: sender.into(), mac })
        }
        [0x08, 0x00] => read_v4(from_mac, body),
        [0x86, 0xdd] => read_v6(from_mac, body),
        _ => None,
    }
}

fn read_v4(from_mac: [u8; 6], packet: &[u8]) -> Option<Message> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let total = usize::from(number(packet, 2)?);
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let payload = packet.get(header..total)?;
    match *packet.get(9)? {
        IGMP => read_igmp(payload),
        protocol @ (VRRP | AH) => {
            let message = if protocol == AH { payload.get(AH_LENGTH..)? } else { payload };
            let advert = Advert {
                from_mac,
                source: IpAddr::from(source),
                destination: IpAddr::from(destination),
                hop_limit: *packet.get(8)?,
                tos: *packet.get(1)?,
                ..read_advert(message, 4)?
            };
            Some(Message::Advert(advert))
        }
        _ => None,
    }
}

fn read_v6(from_mac: [u8; 6], packet: &[u8]) -> Option<Message> {
    let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
    let length = usize::from(number(packet, 4)?);
    let payload = packet.get(40..40 + length)?;
    match *packet.get(6)? {
        VRRP => {
            let class = number(packet, 0)? >> 4 & 0xff;
            let advert = Advert {
                from_mac,
                source: IpAddr::from(source),
                destination: IpAddr::from(destination),
                hop_limit: *packet.get(7)?,
                tos: u8::try_from(class).ok()?,
                ..read_advert(payload, 16)?
            };
            Some(Message::Advert(advert))
        }
        ICMP6 if payload.first() == Some(&136) => {
            let address: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
            let (address, mac) = (address.into(), payload.get(26..32).unwrap_or(&from_mac).try_into().ok()?);
            Some(match destination.first()? {
                0xff => Message::NeighbourAdvertisement { address, mac },
                _ => Message::NeighbourAnswer { address, mac },
            })
        }
        // MLD travels behind a hop-by-hop header of 8 bytes with the router alert.
        0 if payload.get(8) == Some(&143) => {
            let report = payload.get(8..)?;
            let mut records = Vec::new();
            let mut at = 8;
            while let Some(record) = report.get(at..at + 20) {
                let group: [u8; 16] = record.get(4..)?.try_into().ok()?;
                records.push((*record.first()?, IpAddr::from(group)));
                at += 20 + usize::from(number(record, 2)?) * 16;
            }
            Some(Message::Membership(records))
        }
        _ => None,
    }
}

fn read_igmp(report: &[u8]) -> Option<Message> {
    if *report.first()? != 0x22 {
        return None;
    }
    let mut records = Vec::new();
    let mut at = 8;
    while let Some(record) = report.get(at..at + 8) {
        let group: [u8; 4] = record.get(4..)?.try_into().ok()?;
        records.push((*record.first()?, IpAddr::from(group)));
        at += 8 + usize::from(number(record, 2)?) * 4;
    }
    Some(Message::Membership(records))
}

/// The VRRP message; the caller chooses source and destination.
fn read_advert(message: &[u8], width: usize) -> Option<Advert> {
    let version = message.first()? >> 4;
    let field = number(message, 4)?;
    let interval = if version == 2 { field & 0xff } else { field & 0x0fff };
    let count = usize::from(*message.get(3)?);
    let list = message.get(8..8 + count * width)?;
    let addresses = list.chunks(width).filter_map(|bytes| match *bytes {
        [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    });
    Some(Advert {
        from_mac: [0; 6],
        source: Ipv4Addr::UNSPECIFIED.into(),
        destination: Ipv4Addr::UNSPECIFIED.into(),
        hop_limit: 0,
        tos: 0,
        version,
        vrid: *message.get(1)?,
        priority: *message.get(2)?,
        interval,
        addresses: addresses.collect(),
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Bytes written as hexadecimal digits.
///
/// # Errors
/// When they are not.
pub(crate) fn bytes(hexadecimal: &str) -> Result<Vec<u8>, String> {
    let digits = hexadecimal.as_bytes();
    digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok()))
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| format!("not hexadecimal: {hexadecimal}"))
}

/// RFC 1071 over these parts, each of even length.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|p| p.chunks(2)).map(|w| match *w {
        [a, b] => u32::from(u16::from_be_bytes([a, b])),
        [a] => u32::from(u16::from_be_bytes([a, 0])),
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// An IPv4 frame to the multicast group, or to what is said, with this VRRP message: what an injector starts from.
#[derive(Clone, Debug)]
pub(crate) struct Forged {
    pub from_mac: [u8; 6],
    pub to_mac: [u8; 6],
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub hop_limit: u8,
    pub message: Vec<u8>,
    /// Options of the IP header, a multiple of four bytes.
    pub options: Vec<u8>,
    /// Flags and offset of fragments.
    pub fragment: u16,
    /// What the header says the packet's length is, when it lies.
    pub total: Option<u16>,
}

impl Forged {
    /// A frame from this address with this message, all else as it should be.
    pub(crate) fn new(source: Ipv4Addr, message: Vec<u8>) -> Forged {
        Forged {
            from_mac: [2, 0, 0, 0, 0, *source.octets().last().unwrap_or(&0)],
            to_mac: [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12],
            source,
            destination: Ipv4Addr::new(224, 0, 0, 18),
            hop_limit: 255,
            message,
            options: Vec::new(),
            fragment: 0,
            total: None,
        }
    }

    /// The frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let length = u16::try_from(header + self.message.len()).unwrap_or(u16::MAX);
        let mut ip = vec![0x40 | u8::try_from(header / 4).unwrap_or(5), 0xc0];
        ip.extend(self.total.unwrap_or(length).to_be_bytes());
        ip.extend([0, 1]);
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([self.hop_limit, VRRP, 0, 0]);
        ip.extend(self.source.octets());
        ip.extend(self.destination.octets());
        ip.extend(&self.options);
        let sum = checksum(&[&ip]).to_be_bytes();
        ip.splice(10..12, sum);
        [&self.to_mac[..], &self.from_mac, &[0x08, 0x00], &ip, &self.message].concat()
    }

    /// Writes the checksum of version 3 with IPv4's pseudo header, keepalived's, into the message.
    pub(crate) fn sum_v3(self) -> Forged {
        let length = u16::try_from(self.message.len()).unwrap_or_default().to_be_bytes();
        let pseudo = [&self.source.octets()[..], &self.destination.octets(), &[0, VRRP], &length].concat();
        self.summed(&pseudo)
    }

    /// Writes the checksum of version 2, over the message alone.
    pub(crate) fn sum_v2(self) -> Forged {
        self.summed(&[])
    }

    /// The frame when its checksum is this.
    pub(crate) fn with_sum(mut self, sum: u16) -> Forged {
        // One that was cut short may have no room for it.
        for (place, byte) in self.message.iter_mut().skip(6).zip(sum.to_be_bytes()) {
            *place = byte;
        }
        self
    }

    fn summed(self, pseudo: &[u8]) -> Forged {
        let blank = self.with_sum(0);
        let sum = checksum(&[pseudo, &blank.message]);
        blank.with_sum(sum)
    }
}

/// A message of version 2 without authentication; its checksum is still zero.
pub(crate) fn message_v2(vrid: u8, priority: u8, interval: u8, addresses: &[Ipv4Addr]) -> Vec<u8> {
    let count = u8::try_from(addresses.len()).unwrap_or(u8::MAX);
    let mut message = vec![0x21, vrid, priority, count, 0, interval, 0, 0];
    message.extend(addresses.iter().flat_map(Ipv4Addr::octets));
    message.extend([0; 8]);
    message
}

/// A message of version 3; its checksum is still zero.
pub(crate) fn message_v3(vrid: u8, priority: u8, interval: u16, addresses: &[Ipv4Addr]) -> Vec<u8> {
    let count = u8::try_from(addresses.len()).unwrap_or(u8::MAX);
    let [high, low] = interval.to_be_bytes();
    let mut message = vec![0x31, vrid, priority, count, high, low, 0, 0];
    message.extend(addresses.iter().flat_map(Ipv4Addr::octets));
    message
}
