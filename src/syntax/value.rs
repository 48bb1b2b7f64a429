//! Values that words stand for: whole numbers, times, yes and no, addresses.
//!
//! Each reader answers the value, or why the word is none. What is done about it (an error, a warning and the
//! default) is the caller's business.

use std::net::IpAddr;
use std::time::Duration;

/// Why a word is not the value wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is no such value; how to write one, if that can be told.
    Malformed(Option<String>),
    /// It is one, but outside the range allowed.
    OutOfRange,
}

/// A whole number, decimal.
///
/// # Errors
/// [`Wrong`] when the word is none, or is outside `min..=max`.
pub(crate) fn number(word: &str, min: u32, max: u32) -> Result<u32, Wrong> {
    let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        let prefix: String = word.chars().take_while(char::is_ascii_digit).collect();
        return Err(Wrong::Malformed((!prefix.is_empty()).then(|| format!("write `{prefix}`"))));
    }
    match word.parse::<u32>() {
        Ok(n) if (min..=max).contains(&n) => Ok(n),
        _ => Err(Wrong::OutOfRange),
    }
}

/// A time, and whether it had a unit (which keepalived does not understand).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    pub duration: Duration,
    /// Whether it was written with `us`, `ms`, `s`, `m` or `h`.
    pub has_unit: bool,
    /// Whether it had more than six decimals, and was rounded.
    pub is_rounded: bool,
}

/// Seconds with up to six decimals, or a number with a unit: `us`, `ms`, `s`, `m`, `h`.
///
/// # Errors
/// [`Wrong`] when the word is none, or is longer than `u32::MAX` seconds.
pub(crate) fn time(word: &str) -> Result<Time, Wrong> {
    // What most files say.
    if let (Ok(seconds), false) = (word.parse::<u32>(), word.starts_with('+')) {
        let duration = Duration::from_secs(seconds.into());
        return Ok(Time { duration, has_unit: false, is_rounded: false });
    }
    let split = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
    let (digits, unit) = word.split_at(split);
    let micros_per_unit: u64 = match unit {
        "" | "s" => 1_000_000,
        "us" => 1,
        "ms" => 1000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return Err(Wrong::Malformed(None)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0
        || !is_number(whole.strip_prefix('-').unwrap_or(whole))
        || !is_number(fraction)
    {
        return Err(Wrong::Malformed(None));
    }
    if whole.starts_with('-') {
        return Err(Wrong::OutOfRange);
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Wrong::OutOfRange)? };
    // Seven decimals: six that count and one to round by.
    let digits = fraction.bytes().map(|digit| u64::from(digit - b'0')).chain(std::iter::repeat(0));
    let decimals = digits.take(7).fold(0, |all, digit| 10 * all + digit);
    let micros_of_fraction = (decimals * micros_per_unit + 5_000_000) / 10_000_000;
    let micros = whole
        .checked_mul(micros_per_unit)
        .and_then(|w| w.checked_add(micros_of_fraction))
        .filter(|m| *m <= u64::from(u32::MAX) * 1_000_000)
        .ok_or(Wrong::OutOfRange)?;
    let is_rounded = fraction.bytes().skip(6).any(|b| b != b'0');
    Ok(Time { duration: Duration::from_micros(micros), has_unit: !unit.is_empty(), is_rounded })
}

/// `on`, `true`, `yes`; `off`, `false`, `no`.
pub(crate) fn boolean(word: &str) -> Option<bool> {
    match word {
        "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        _ => None,
    }
}

/// Yes or no in YAML, which also writes `True` and `TRUE`.
pub(crate) fn yaml_boolean(word: &str) -> Option<bool> {
    match word {
        "True" | "TRUE" => Some(true),
        "False" | "FALSE" => Some(false),
        _ => boolean(word),
    }
}

/// The address and the prefix length of `ADDRESS/LENGTH`.
pub(crate) fn without_prefix(word: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = word.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.parse().ok().filter(|length| *length <= most)?;
    Some((address, length))
}

/// An IPv4 or IPv6 address.
///
/// # Errors
/// [`Wrong`] with a hint where the word looks like an address written in another way.
pub(crate) fn address(word: &str) -> Result<IpAddr, Wrong> {
    if let Ok(address) = word.parse() {
        return Ok(address);
    }
    let hint = if let Ok(both) = word.parse::<std::net::SocketAddr>() {
        Some(format!("write the port as a word of its own: `{} {}`", both.ip(), both.port()))
    } else if let Some(inner) = word.strip_prefix('[').and_then(|w| w.strip_suffix(']'))
        && let Ok(address) = inner.parse::<IpAddr>()
    {
        Some(format!("write it without brackets: `{address}`"))
    } else if let Some((address, _)) = word.split_once('/').filter(|(a, _)| a.parse::<IpAddr>().is_ok()) {
        Some(format!("write it without the prefix length: `{address}`"))
    } else if word.bytes().any(|b| b.is_ascii_alphabetic()) && !word.contains(':') {
        Some("write the address: names are not resolved here".to_owned())
    } else {
        None
    };
    Err(Wrong::Malformed(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_no_unit_and_keep_their_range() {
        assert_eq!(number("10", 1, 10), Ok(10));
        assert_eq!(number("11", 1, 10), Err(Wrong::OutOfRange));
        assert_eq!(number("-1", 0, 10), Err(Wrong::OutOfRange));
        assert_eq!(number("99999999999", 0, u32::MAX), Err(Wrong::OutOfRange));
        assert_eq!(number("5x", 0, 10), Err(Wrong::Malformed(Some("write `5`".into()))));
        assert_eq!(number("ten", 0, 10), Err(Wrong::Malformed(None)));
        assert_eq!(number("", 0, 10), Err(Wrong::Malformed(None)));
        assert_eq!(number("-", 0, 10), Err(Wrong::Malformed(None)));
    }

    #[test]
    fn times_are_seconds_with_six_decimals_or_carry_a_unit() {
        let micros = |word| time(word).map(|t| t.duration.as_micros());
        assert_eq!(micros("6"), Ok(6_000_000));
        assert_eq!(micros("6s"), Ok(6_000_000));
        assert_eq!(micros("0.25"), Ok(250_000));
        assert_eq!(micros(".5"), Ok(500_000));
        assert_eq!(micros("1.5ms"), Ok(1500));
        assert_eq!(micros("250us"), Ok(250));
        assert_eq!(micros("2m"), Ok(120_000_000));
        assert_eq!(micros("1h"), Ok(3_600_000_000));
        assert_eq!(micros("0.0000005"), Ok(1));
        assert_eq!(micros("0.000001"), Ok(1));
        assert_eq!(micros("4294967295"), Ok(4_294_967_295_000_000));
        assert_eq!(micros("4294967296"), Err(Wrong::OutOfRange));
        assert_eq!(micros("-1"), Err(Wrong::OutOfRange));
        for word in ["", ".", "s", "+6", "6 s", "6d", "1.2.3", "1e3", "0x10", "six", "１"] {
            assert!(matches!(time(word), Err(Wrong::Malformed(_))), "{word}");
        }
        assert!(time("1.0000001").unwrap().is_rounded);
        assert!(!time("1.000000").unwrap().is_rounded);
    }

    #[test]
    fn an_address_written_otherwise_gets_a_hint() {
        assert!(address("10.0.0.1").is_ok() && address("fd00::1").is_ok());
        let hint = |word| match address(word) {
            Err(Wrong::Malformed(hint)) => hint,
            other => panic!("{other:?}"),
        };
        assert_eq!(hint("10.0.0.1:80").unwrap(), "write the port as a word of its own: `10.0.0.1 80`");
        assert_eq!(hint("[fd00::1]").unwrap(), "write it without brackets: `fd00::1`");
        assert_eq!(hint("10.0.0.1/24").unwrap(), "write it without the prefix length: `10.0.0.1`");
        assert_eq!(hint("web1.example").unwrap(), "write the address: names are not resolved here");
        assert_eq!(hint("10.0.0.256"), None);
    }
}
