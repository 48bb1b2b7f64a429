//! Prometheus' text format (exposition format 0.0.4): families of samples, escaped as it says.

use std::fmt::{Display, Write};

/// What a family's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, until a restart.
    Counter,
}

/// The labels of a sample, escaped once and used for many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels(String);

impl Labels {
    /// These, with one more.
    #[must_use]
    pub(super) fn with(&self, name: &str, value: impl Display) -> Labels {
        let mut text = self.0.clone();
        if !text.is_empty() {
            text.push(',');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{name}=\"{}\"", escaped(&value.to_string(), true));
        Labels(text)
    }
}

/// A text that grows family by family.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// Appends a family; one without samples is left out.
    pub(super) fn family<V: Display>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let _ = writeln!(self.text, "# HELP {name} {}\n# TYPE {name} {kind}", escaped(help, false));
        for (Labels(labels), value) in samples {
            let _ = if labels.is_empty() {
                writeln!(self.text, "{name} {value}")
            } else {
                writeln!(self.text, "{name}{{{labels}}} {value}")
            };
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Backslash and line feed are escaped everywhere, quotes in labels only.
fn escaped(text: &str, is_label: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if is_label => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_written_as_the_format_says() {
        let mut text = Exposition::default();
        let labels = Labels::default().with("a", "x\\y\"z\nw").with("b", 7);
        text.family("one_total", Kind::Counter, "A \"help\"\nof \\two lines.", [(labels, 3)]);
        text.family("two", Kind::Gauge, "No labels.", [(Labels::default(), 1.5)]);
        text.family("none", Kind::Gauge, "No samples.", Vec::<(Labels, u8)>::new());
        let wanted = "# HELP one_total A \"help\"\\nof \\\\two lines.\n# TYPE one_total counter\n\
                      one_total{a=\"x\\\\y\\\"z\\nw\",b=\"7\"} 3\n\
                      # HELP two No labels.\n# TYPE two gauge\ntwo 1.5\n";
        assert_eq!(text.into_text(), wanted);
    }
}
