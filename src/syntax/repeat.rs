//! Lines that stand for several: `~SEQ(NAME,[START,[STEP,]]END) TEXT` and `~LST(NAME,VALUE,...) TEXT`.
//!
//! This module reads what is between the parentheses; `expand` reads the text once for each row, with the names
//! of the row defined.

use super::definition::is_name;

/// Names, and the rows of values they take one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repeat<'a> {
    /// Length of `~...(...)`, from the tilde.
    pub length: usize,
    /// The names; as many as each row has values.
    pub names: Vec<&'a str>,
    rows: Rows<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rows<'a> {
    Sequence { start: i64, step: i64, end: i64, is_hex: bool },
    List(Vec<Vec<&'a str>>),
}

impl<'a> Repeat<'a> {
    /// The row of this number, from 0; None behind the last.
    pub(crate) fn row(&self, number: usize) -> Option<Vec<String>> {
        match &self.rows {
            Rows::Sequence { start, step, end, is_hex } => {
                let offset = i64::try_from(number).ok()?.checked_mul(*step)?;
                let value = start.checked_add(offset)?;
                let is_in = if *step > 0 { value <= *end } else { value >= *end };
                let text = if *is_hex { format!("{value:x}") } else { value.to_string() };
                is_in.then(|| vec![text])
            }
            Rows::List(rows) => Some(rows.get(number)?.iter().map(|v| (*v).to_owned()).collect()),
        }
    }
}

/// Length of `~...(...)` that a line begins with.
pub(crate) fn length(text: &str) -> Option<usize> {
    let (kind, rest) = text.strip_prefix('~')?.split_once('(')?;
    let (_, behind) = rest.split_once(')')?;
    matches!(kind, "SEQ" | "SEQx" | "LST").then(|| text.len() - behind.len())
}

/// The repetition a line begins with; None when it begins with none.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(text: &str) -> Option<Result<Repeat<'_>, &'static str>> {
    let (kind, rest) = text.strip_prefix('~')?.split_once('(')?;
    if !matches!(kind, "SEQ" | "SEQx" | "LST") {
        return None;
    }
    let Some((inside, text_behind)) = rest.split_once(')') else { return Some(Err("its `)` is missing")) };
    let length = text.len() - text_behind.len();
    let parts = split(inside);
    Some(match kind {
        "LST" => list(&parts, length),
        _ => sequence(&parts, length, kind == "SEQx"),
    })
}

fn sequence<'a>(parts: &[&'a str], length: usize, is_hex: bool) -> Result<Repeat<'a>, &'static str> {
    let Some((name, numbers)) = parts.split_first() else { return Err("it has no name") };
    let numbers: Vec<i64> = numbers.iter().filter_map(|n| number(n)).collect();
    let (start, step, end) = match numbers[..] {
        [end] if parts.len() == 2 => (if end < 0 { -1 } else { 1 }, None, end),
        [start, end] if parts.len() == 3 => (start, None, end),
        [start, step, end] if parts.len() == 4 => (start, Some(step), end),
        _ => return Err("write ~SEQ(NAME,START,STEP,END) with whole numbers"),
    };
    let step = step.unwrap_or(if end < start { -1 } else { 1 });
    if step == 0 {
        return Err("a step of 0 never ends");
    }
    if !is_name(name) {
        return Err("its name is none: letters, digits and `_`");
    }
    Ok(Repeat { length, names: vec![name], rows: Rows::Sequence { start, step, end, is_hex } })
}

fn list<'a>(parts: &[&'a str], length: usize) -> Result<Repeat<'a>, &'static str> {
    let tuple = |part: &'a str| match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
        Some(inside) => inside.split(',').map(str::trim).collect(),
        None => vec![part],
    };
    let Some((names, rows)) = parts.split_first() else { return Err("it has no name") };
    let names: Vec<&str> = tuple(names);
    let rows: Vec<Vec<&str>> = rows.iter().map(|r| tuple(r)).collect();
    if !names.iter().all(|n| is_name(n)) {
        return Err("its name is none: letters, digits and `_`");
    }
    if rows.iter().any(|r| r.len() != names.len()) {
        return Err("each row needs as many values as there are names");
    }
    Ok(Repeat { length, names, rows: Rows::List(rows) })
}

/// Splits at commas outside braces.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let is_comma = |c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(is_comma).map(str::trim).collect()
}

/// A whole number, decimal or `0x` and hex digits.
fn number(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse::<u32>().ok()?,
    };
    Some(sign * i64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_count_up_and_down_in_either_notation() {
        assert_eq!(rows("~SEQ(i,3) x"), ["1", "2", "3"]);
        assert_eq!(rows("~SEQ(i, 0, 2, 5) x"), ["0", "2", "4"]);
        assert_eq!(rows("~SEQ(i,-3) x"), ["-1", "-2", "-3"]);
        assert_eq!(rows("~SEQ(i,2,-1)"), ["2", "1", "0", "-1"]);
        assert_eq!(rows("~SEQx(i,0xe,0x10)"), ["e", "f", "10"]);
        assert_eq!(rows("~SEQ(i,5,1,4)"), [""; 0]);
        assert_eq!(parse("~SEQ(i,3) x").unwrap().unwrap().length, 9);
    }

    #[test]
    fn lists_have_one_name_or_several() {
        assert_eq!(rows("~LST(n,a,b c) x"), ["a", "b c"]);
        assert_eq!(rows("~LST({n,m},{1,2},{3,4}) x"), ["1 2", "3 4"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in [
            "~SEQ(i,1,0,5)",
            "~SEQ(i)",
            "~SEQ(i,a)",
            "~SEQ(i,1,2,3,4)",
            "~SEQ(a-b,3)",
            "~SEQ(i,3",
            "~LST({a,b},{1})",
            "~LST()",
        ] {
            assert!(matches!(parse(text), Some(Err(_))), "{text}");
        }
        assert_eq!(parse("~OTHER(i,3)"), None);
        assert_eq!(parse("SEQ(i,3)"), None);
    }

    fn rows(text: &str) -> Vec<String> {
        let repeat = parse(text).unwrap().unwrap();
        (0..).map_while(|n| repeat.row(n)).map(|row| row.join(" ")).collect()
    }
}
