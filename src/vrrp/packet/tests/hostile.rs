//! Hostile packets: keepalived's own, mutated.
//!
//! `LVSD_FUZZ_PACKETS=100000000` makes it so many, `LVSD_FUZZ_SEED=N` begins elsewhere.

use super::*;

#[test]
fn hostile_packets_get_a_verdict() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let wanted = number("LVSD_FUZZ_PACKETS").unwrap_or(100_000);
    let mut random = fastrand::Rng::with_seed(number("LVSD_FUZZ_SEED").unwrap_or(1));
    let seeds = vectors();
    let ways = ["", "V2-PASS", "V2-AH", "HMAC"].map(authentication_of);
    let mut windows = [(); 4].map(|()| ReplayWindow::new());
    let (mut count, mut good) = (0u64, 0u64);
    while count < wanted {
        for _ in 0..1000 {
            let (_, seed) = &seeds[random.usize(..seeds.len())];
            let mut datagram = seed.clone();
            for _ in 0..random.usize(0..5) {
                mutate(&mut datagram, &seeds, &mut random);
            }
            count += 1;
            let Ok(heard) = decode(&datagram) else { continue };
            good += 1;
            judge(&heard, &datagram);
            let way = random.usize(..ways.len());
            let wall = heard.hmac.map_or(Duration::ZERO, |trailer| trailer.moment.time());
            let verdict = authenticate(&heard, &datagram, &ways[way], &mut windows[way], wall);
            verdict.err().inspect(|error| assert!(!error.to_string().is_empty()));
        }
    }
    assert!(good > count / 100, "{good} of {count} were understood: does it still try anything?");
    println!("{count} packets, {good} of them understood");
}

/// What must hold of everything that is understood.
fn judge(heard: &Received, datagram: &Datagram) {
    let advert = &heard.advert;
    assert!(advert.vrid != 0 && !advert.interval.is_zero(), "{datagram:?}");
    assert!(advert.addresses.len() <= MAX_ADDRESSES, "{datagram:?}");
    assert!(advert.addresses.iter().all(|ip| ip.is_ipv4() == datagram.source.is_ipv4()), "{datagram:?}");
    assert!(heard.message.end <= datagram.bytes.len(), "{datagram:?}");
    // The same content is the same bytes, but for the reserved bits.
    let way = match heard.authentication {
        ReceivedAuthentication::Password(password) => Authentication::Password(password),
        _ => Authentication::None,
    };
    if heard.authentication != ReceivedAuthentication::Header {
        let again = Datagram {
            bytes: encode_like(heard, datagram, &way, Duration::ZERO),
            protocol: PROTOCOL,
            ..datagram.clone()
        };
        assert_eq!(decode(&again).expect("own packets are understood").advert, *advert);
    }
}

fn mutate(datagram: &mut Datagram, seeds: &[(String, Datagram)], random: &mut fastrand::Rng) {
    let bytes = &mut datagram.bytes;
    let at = random.usize(0..=bytes.len());
    match random.u8(..10) {
        0 | 1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(..8)),
        2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.u8(..)),
        3 => bytes.truncate(at),
        4 => bytes.insert(at, random.u8(..)),
        5 => bytes.extend((0..random.usize(..40)).map(|_| 0)),
        6 => {
            let (_, other) = &seeds[random.usize(..seeds.len())];
            let from = random.usize(0..=other.bytes.len());
            bytes.truncate(at);
            bytes.extend(&other.bytes[from..]);
        }
        7 => datagram.protocol = [PROTOCOL, PROTOCOL_AH][random.usize(..2)],
        8 => {
            let (_, other) = &seeds[random.usize(..seeds.len())];
            (datagram.source, datagram.destination) = (other.source, other.destination);
        }
        _ => {
            // Lengths and checksums that fit what there is: past the gate.
            let total = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            let start = if datagram.source.is_ipv4() {
                write(bytes, 2, &total.to_be_bytes());
                IPV4_HEADER
            } else {
                0
            };
            if bytes.len() > start + VRRP_HEADER {
                mend(datagram, start);
            }
        }
    }
    datagram.bytes.truncate(9000);
}
