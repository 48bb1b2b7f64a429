//! What a certificate says of its own time and purpose: when it ends is asked of every server, verified or not.
//!
//! A certificate that cannot be read says nothing; [`super::verify`] decides whether one is trusted.

use std::time::Duration;

/// The certificate's `notAfter`, as the time since 1970 UTC; zero for earlier times. None when `der` is not a
/// certificate.
pub(super) fn expires_at(der: &[u8]) -> Option<Duration> {
    Some(read(der)?.not_after)
}

/// What a certificate says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// From when it is valid, since 1970 UTC; zero for earlier times.
    pub(super) not_before: Duration,
    pub(super) not_after: Duration,
    /// Whether it may be a server's: it names no purposes, or that one.
    pub(super) is_for_servers: bool,
}

/// Reads what it says. None when `der` is not a certificate.
pub(super) fn read(der: &[u8]) -> Option<Terms> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (tbs, _) = element(certificate, SEQUENCE)?;
    // RFC 5280 4.1: [0] version, serialNumber, signature, issuer, validity, subject, key, ..., [3] extensions.
    let rest = element(tbs, VERSION).map_or(tbs, |(_, rest)| rest);
    let (_, rest) = element(rest, INTEGER)?;
    let (_, rest) = element(rest, SEQUENCE)?;
    let (_, rest) = element(rest, SEQUENCE)?;
    let (validity, mut rest) = element(rest, SEQUENCE)?;
    let (not_before, validity) = time(validity)?;
    let (not_after, _) = time(validity)?;
    let mut is_for_servers = true;
    while !rest.is_empty() {
        if let Some((extensions, _)) = element(rest, EXTENSIONS) {
            is_for_servers = is_for_servers_by(extensions)?;
        }
        (_, rest) = any_element(rest)?;
    }
    Some(Terms { not_before, not_after, is_for_servers })
}

/// Whether the extensions name no purposes (RFC 5280 4.2.1.12), or servers among them.
fn is_for_servers_by(extensions: &[u8]) -> Option<bool> {
    let (mut rest, _) = element(extensions, SEQUENCE)?;
    while !rest.is_empty() {
        let (extension, others) = element(rest, SEQUENCE)?;
        rest = others;
        let (name, value) = element(extension, OBJECT)?;
        if name != EXTENDED_KEY_USAGE {
            continue;
        }
        let value = element(value, BOOLEAN).map_or(value, |(_, value)| value);
        let (mut purposes, _) = element(element(value, OCTETS)?.0, SEQUENCE)?;
        while !purposes.is_empty() {
            let (purpose, others) = element(purposes, OBJECT)?;
            purposes = others;
            if purpose == SERVER || purpose == ANY_PURPOSE {
                return Some(true);
            }
        }
        return Some(false);
    }
    Some(true)
}

/// The time in the first element, and what follows it.
fn time(der: &[u8]) -> Option<(Duration, &[u8])> {
    if let Some((text, rest)) = element(der, UTC_TIME) {
        let (year, text) = number(text, 2)?;
        // RFC 5280 4.1.2.5.1.
        let year = if year >= 50 { 1900 + year } else { 2000 + year };
        return Some((since_1970(year, text)?, rest));
    }
    let (text, rest) = element(der, GENERALIZED_TIME)?;
    let (year, text) = number(text, 4)?;
    Some((since_1970(year, text)?, rest))
}

const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.37, 1.3.6.1.5.5.7.3.1 and 2.5.29.37.0.
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// The content of the first element, if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    (*der.first()? == tag).then(|| any_element(der)).flatten()
}

/// The content of the first element, and what follows it.
fn any_element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..=0x7f => (short, rest),
        // Longer than four bytes is longer than any certificate.
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(long - 0x80)?;
            (digits.iter().fold(0, |n: usize, byte| n << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// The decimal number in the first `digits` bytes, and what follows it.
fn number(text: &[u8], digits: usize) -> Option<(u64, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let value = number
        .iter()
        .try_fold(0, |n, byte| byte.is_ascii_digit().then(|| n * 10 + u64::from(byte - b'0')))?;
    Some((value, rest))
}

/// From 1970 to `MMDDHHMMSSZ` of this year.
fn since_1970(year: u64, text: &[u8]) -> Option<Duration> {
    let (month, rest) = number(text, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 || rest != b"Z" {
        return None;
    }
    // The calendar counted from March, so that the leap day is a year's last; 719,468 days from 0000-03-01.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.saturating_sub(719_468);
    Some(Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_time_are_read() {
        // date -ud ... +%s
        for (text, seconds) in [
            ("700101000000Z", 0),
            ("491231235959Z", 2_524_607_999),
            ("500101000000Z", 0),
            ("240229120000Z", 1_709_208_000),
            ("261120112233Z", 1_795_173_753),
        ] {
            assert_eq!(
                expires_at(&certificate(UTC_TIME, text)),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for (text, seconds) in [
            ("20500101000000Z", 2_524_608_000),
            ("20000229235960Z", 951_868_800),
            ("99991231235959Z", 253_402_300_799),
            ("19000101000000Z", 0),
        ] {
            let der = certificate(GENERALIZED_TIME, text);
            assert_eq!(expires_at(&der), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in ["", "261120112233", "261320112233Z", "261100112233Z", "2611201122Z", "26112011223xZ"] {
            assert_eq!(expires_at(&certificate(UTC_TIME, text)), None, "{text}");
        }
    }

    #[test]
    fn a_certificate_cut_anywhere_is_none_and_nothing_panics() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let der = params.self_signed(&key).unwrap().der().to_vec();
        assert!(read(&der).is_some_and(|terms| !terms.is_for_servers && terms.not_before < terms.not_after));
        assert!(expires_at(&der).is_some());
        for end in 0..der.len() {
            assert_eq!(expires_at(&der[..end]), None, "cut at {end}");
        }
        for at in 0..der.len() {
            for byte in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut odd = der.clone();
                odd[at] = byte;
                let _ = expires_at(&odd);
            }
        }
    }

    /// As much of a certificate as matters.
    fn certificate(tag: u8, not_after: &str) -> Vec<u8> {
        let wrap = |tag: u8, parts: &[&[u8]]| {
            let content = parts.concat();
            [&[tag, u8::try_from(content.len()).unwrap()], content.as_slice()].concat()
        };
        let validity =
            wrap(SEQUENCE, &[&wrap(UTC_TIME, &[b"200101000000Z"]), &wrap(tag, &[not_after.as_bytes()])]);
        let version = wrap(VERSION, &[&wrap(INTEGER, &[&[2]])]);
        let empty = wrap(SEQUENCE, &[]);
        let tbs = wrap(SEQUENCE, &[&version, &wrap(INTEGER, &[&[1]]), &empty, &empty, &validity]);
        wrap(SEQUENCE, &[&tbs])
    }
}
