//! A strict reader of Prometheus' text format: what a scrape must be, and nothing more lenient.

use std::collections::{BTreeMap, BTreeSet};

use super::host::Host;
use super::judge::curl;
use super::same;
use super::wait::seconds;

/// A scrape: values by name and labels, as `name{label="value",...}` with the labels sorted and unescaped.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scrape {
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Scrape {
    /// What the metrics page at an address says, seen from this host.
    ///
    /// # Errors
    /// When there is none, or it is not in the format.
    pub(crate) fn of(host: &Host, address: &str) -> Result<Scrape, String> {
        let (code, text) = curl(host, &format!("http://{address}/metrics"), seconds(10))?;
        same("status code of the metrics", &code, &200)?;
        Scrape::parse(&text)
    }

    /// Reads a scrape.
    ///
    /// # Errors
    /// The line that is not as the format says: no HELP and TYPE before a family's samples, families torn apart,
    /// a sample twice, a name or an escape that must not be, a counter that is negative or not called `_total`.
    fn parse(text: &str) -> Result<Scrape, String> {
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        let mut scrape = Scrape::default();
        let mut families = BTreeSet::new();
        let mut helped: Option<String> = None;
        let mut family: Option<(String, String)> = None;
        for line in text.lines() {
            let wrong = |why: &str| Err(format!("{why}: {line:?}"));
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let Some((name, help)) = rest.split_once(' ') else { return wrong("a HELP without words") };
                if help.trim().is_empty() || unescape(help, false).is_none() {
                    return wrong("a HELP that is empty or badly escaped");
                }
                if !families.insert(name.to_owned()) {
                    return wrong("a family twice");
                }
                helped = Some(name.to_owned());
                family = None;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let Some((name, kind)) = rest.split_once(' ') else { return wrong("a TYPE without a kind") };
                if helped.take().as_deref() != Some(name) {
                    return wrong("a TYPE that does not follow its HELP");
                }
                if !["gauge", "counter"].contains(&kind) || (kind == "counter") != name.ends_with("_total") {
                    return wrong("a kind that is unknown or does not fit the name");
                }
                family = Some((name.to_owned(), kind.to_owned()));
            } else {
                let Some((name, kind)) = &family else { return wrong("a sample outside a family") };
                let Some((found, labels, value)) = sample(line) else { return wrong("not a sample") };
                if &found != name {
                    return wrong("a sample of another family");
                }
                if kind == "counter" && !(value.is_finite() && value >= 0.0) {
                    return wrong("a counter that cannot be");
                }
                if scrape.samples.insert((found, labels), value).is_some() {
                    return wrong("a sample twice");
                }
            }
        }
        Ok(scrape)
    }

    /// The value of the only sample of this name whose labels include these.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64, String> {
        let is_it = |(n, l): &(String, BTreeMap<String, String>)| {
            n == name && labels.iter().all(|(k, v)| l.get(*k).is_some_and(|found| found == v))
        };
        let found: Vec<f64> = self.samples.iter().filter(|(key, _)| is_it(key)).map(|(_, v)| *v).collect();
        match &found[..] {
            [only] => Ok(*only),
            others => Err(format!("{name} with {labels:?}: {} samples", others.len())),
        }
    }
}

fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"")?;
            let close = closing_quote(behind)?;
            let (value, behind) = behind.split_at_checked(close)?;
            let value = unescape(value, true)?;
            if !is_name(label, false) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            rest = behind.strip_prefix('"')?;
            match rest.split_at_checked(1)? {
                (",", more) => rest = more,
                ("}", more) => {
                    rest = more;
                    break;
                }
                _ => return None,
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    if !is_name(name, true) || value.contains(' ') {
        return None;
    }
    Some((name.to_owned(), labels, value.parse().ok()?))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let closes = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        closes.then_some(at)
    })
}

fn unescape(text: &str, is_label: bool) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                '\\' => out.push('\\'),
                'n' => out.push('\n'),
                '"' if is_label => out.push('"'),
                _ => return None,
            },
            c => out.push(c),
        }
    }
    Some(out)
}

fn is_name(text: &str, may_have_colon: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (may_have_colon && c == ':');
    !text.is_empty() && text.chars().all(fits) && !text.starts_with(|c: char| c.is_ascii_digit())
}
