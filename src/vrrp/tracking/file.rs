//! `track_file`: the number in a file.

/// Bytes of a file that are looked at.
pub(crate) const MAX_BYTES: usize = 128;

/// The number a file's text begins with, white space aside. An empty file says 0.
///
/// # Errors
/// In words, when it says something else than a number.
pub(crate) fn number(text: &[u8]) -> Result<i64, String> {
    let text = String::from_utf8_lossy(text.get(..MAX_BYTES).unwrap_or(text));
    let Some(word) = text.split_whitespace().next() else { return Ok(0) };
    // Beyond 32 bits the numbers only saturate what they are multiplied with.
    let bounded = |n: i64| n.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    word.parse().map(bounded).map_err(|_| format!("`{}` is no whole number", word.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_a_whole_number_or_nothing_that_counts() {
        let says = |text: &str| number(text.as_bytes());
        assert_eq!(says("5\n"), Ok(5));
        assert_eq!(says("  -7 for maintenance\n"), Ok(-7));
        assert_eq!(says("+3"), Ok(3));
        assert_eq!((says(""), says("\n")), (Ok(0), Ok(0)));
        assert_eq!(says("99999999999"), Ok(i64::from(i32::MAX)));
        assert_eq!(says("one"), Err("`one` is no whole number".to_owned()));
        assert_eq!(says("5x"), Err("`5x` is no whole number".to_owned()), "half a number is none");
        assert!(number(&[b'1'; 4096]).is_err(), "more digits than any number has");
        assert!(number(&[0xff, 0xfe]).is_err());
    }
}
