//! Words of strangers: what a terminal, a log or a service manager would obey is shown, and not done.
//!
//! An answer of a server, the name of a certificate or file, the output of a script, or what the kernel repeats of
//! another program may hold line ends, escape sequences and characters that turn the direction of what stands beside them.
//! Here is the only place that says which these are, and what becomes of them.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character steers what shows it, or is not seen.
fn steers(c: char) -> bool {
    let is_format = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    is_format || c.is_control()
}

/// One line of text: what steers is written as JSON would, so that JSON stays what it is.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Text of several lines: as [`line`], but line ends and tabs stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| steers(c) && !stays(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !steers(c) || stays(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(out)
}

/// One line for a program that reads lines, or a mail: what steers is a space; bounded in bytes.
pub(crate) fn plain(text: &str, limit: usize) -> String {
    let text = text.chars().map(|c| if steers(c) { ' ' } else { c });
    text.scan(0, |length, c| {
        *length += c.len_utf8();
        (*length <= limit).then_some(c)
    })
    .collect()
}

/// Text that is cut at a character's border when it is longer than so many bytes, and says so.
pub(crate) fn bounded(text: Cow<'_, str>, limit: usize) -> Cow<'_, str> {
    const MARK: &str = "...";
    if text.len() <= limit {
        return text;
    }
    let mut end = limit.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut text = text.into_owned();
    text.truncate(end);
    text.push_str(MARK);
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_as_in_json() {
        for (text, expected) in [
            ("plain é 日本 \\ \"", "plain é 日本 \\ \""),
            ("a\x1b[2Jb\nlvsd: all is well\r\t", "a\\u001b[2Jb\\nlvsd: all is well\\r\\t"),
            ("\u{9b}31m \u{7f}", "\\u009b31m \\u007f"),
            ("moc.\u{202e}elpmaxe\u{2066}\u{200b}\u{feff}", "moc.\\u202eelpmaxe\\u2066\\u200b\\ufeff"),
            ("\u{e0041}", "\\udb40\\udc41"),
        ] {
            assert_eq!(line(text), expected);
            let json: String = serde_json::from_str(&format!("\"{}\"", line("a\u{9b}\u{e0041}\n"))).unwrap();
            assert_eq!(json, "a\u{9b}\u{e0041}\n");
        }
        assert_eq!(lines("a\n\tb\r\x1b\n"), "a\n\tb\\r\\u001b\n");
        assert_eq!(plain("a\r\nBcc: b\u{202e}c", 100), "a  Bcc: b c");
        assert_eq!(plain("éé", 3), "é");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        let text = bounded("é".repeat(150).into(), 200);
        assert!(text.len() <= 200 && text.ends_with("é..."), "{text}");
        assert_eq!(bounded("x".repeat(200).into(), 200), "x".repeat(200));
    }
}
