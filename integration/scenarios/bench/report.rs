//! Figures of both makes, and the table of their ratios.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::lab::vrrp::node::Make;

/// A row of the table.
pub(super) struct Row {
    /// Its name, unique, for `scripts/bench --row`.
    pub name: String,
    /// What is measured, for people.
    pub about: String,
    /// The unit of its figures.
    pub unit: &'static str,
    /// The ratio to keepalived that is the aim.
    pub want: Option<f64>,
}

/// A figure of a row.
pub(super) struct Value {
    pub row: String,
    pub figure: f64,
}

impl Value {
    pub(super) fn new(row: impl Into<String>, figure: f64) -> Value {
        Value { row: row.into(), figure }
    }
}

/// All figures so far, by row.
#[derive(Default)]
pub(super) struct Report {
    figures: BTreeMap<String, Figures>,
}

#[derive(Default)]
struct Figures {
    keepalived: Vec<f64>,
    lvsd: Vec<f64>,
}

impl Report {
    pub(super) fn add(&mut self, make: Make, values: Vec<Value>) {
        for value in values {
            let figures = self.figures.entry(value.row).or_default();
            match make {
                Make::Keepalived => figures.keepalived.push(value.figure),
                Make::Lvsd => figures.lvsd.push(value.figure),
            }
        }
    }

    /// What was measured of each of these rows.
    pub(super) fn lines(&self, rows: Vec<Row>) -> Vec<Line> {
        let native = natives();
        let none = Figures::default();
        let line = |row: Row| {
            let figures = self.figures.get(&row.name).unwrap_or(&none);
            let native = native.get(&row.name).copied();
            Line { keepalived: spread(&figures.keepalived), lvsd: spread(&figures.lvsd), native, row }
        };
        rows.into_iter().map(line).collect()
    }
}

/// A row, and what was measured.
pub(super) struct Line {
    row: Row,
    /// Median, least and greatest figure.
    keepalived: Option<[f64; 3]>,
    lvsd: Option<[f64; 3]>,
    /// The ratio of CPU times on the machine itself.
    native: Option<f64>,
}

impl Line {
    /// lvsd's median to keepalived's.
    fn ratio(&self) -> Option<f64> {
        let ([theirs, ..], [ours, ..]) = (self.keepalived?, self.lvsd?);
        (theirs > 0.0).then(|| ours / theirs)
    }

    /// Whether the aim is reached.
    fn verdict(&self) -> &'static str {
        match (self.ratio(), self.row.want) {
            (Some(ratio), Some(want)) if ratio <= want => "met",
            (Some(_), Some(_)) => "short",
            _ => "",
        }
    }

    /// What a table says: both makes, the ratio, the aim, the ratio on the machine itself.
    fn cells(&self) -> [String; 5] {
        let figure = |spread: Option<[f64; 3]>| {
            spread.map_or_else(
                || "-".to_owned(),
                |[median, least, greatest]| {
                    let (less, more) = (number(least), number(greatest));
                    if less == more {
                        number(median)
                    } else {
                        format!("{} ({less} to {more})", number(median))
                    }
                },
            )
        };
        let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |r| format!("{r:.2}"));
        [
            figure(self.keepalived),
            figure(self.lvsd),
            ratio(self.ratio()),
            ratio(self.row.want),
            ratio(self.native),
        ]
    }
}

/// Ratios that `scripts/bench` measured on the machine itself: `parse=0.41,...`.
fn natives() -> BTreeMap<String, f64> {
    let text = std::env::var("LVSD_BENCH_NATIVE").unwrap_or_default();
    let pair = |pair: &str| {
        let (row, ratio) = pair.split_once('=')?;
        Some((row.to_owned(), ratio.parse().ok()?))
    };
    text.split(',').filter_map(pair).collect()
}

/// With as many digits as say something.
fn number(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size < 1.0 => format!("{figure:.3}"),
        size if size < 100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// For a terminal.
pub(super) fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "{:<20} {:>28} {:>28} {:>6} {:>6} {:>6} {:<5} unit\n",
        "row", "keepalived", "lvsd", "ratio", "want", "native", ""
    );
    for line in lines {
        let [keepalived, lvsd, ratio, want, native] = line.cells();
        let _ = writeln!(
            text,
            "{:<20} {keepalived:>28} {lvsd:>28} {ratio:>6} {want:>6} {native:>6} {:<5} {}",
            line.row.name,
            line.verdict(),
            line.row.unit
        );
    }
    text
}

/// An object for each row.
pub(super) fn json(lines: &[Line]) -> String {
    let row = |line: &Line| {
        serde_json::json!({
            "row": line.row.name, "about": line.row.about, "unit": line.row.unit, "want": line.row.want,
            "keepalived": line.keepalived, "lvsd": line.lvsd, "ratio": line.ratio(), "native": line.native,
        })
    };
    let rows: Vec<String> = lines.iter().map(|line| format!("  {}", row(line))).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

/// For docs/performance.md.
pub(super) fn markdown(lines: &[Line]) -> String {
    let mut text =
        "| row | what | keepalived | lvsd | ratio | want | native | |\n|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for line in lines {
        let [keepalived, lvsd, ratio, want, native] = line.cells();
        let (row, verdict) = (&line.row, line.verdict());
        let _ = writeln!(
            text,
            "| {} | {}, {} | {keepalived} | {lvsd} | {ratio} | {want} | {native} | {verdict} |",
            row.name, row.about, row.unit
        );
    }
    text
}

/// The plot: a bar for each ratio, on a scale of powers of two around 1.
pub(super) fn svg(lines: &[Line]) -> String {
    /// Pixels of a factor of two, of a row, of the names.
    const DOUBLING: f64 = 60.0;
    const ROW: f64 = 22.0;
    const NAMES: f64 = 190.0;
    /// How far the scale goes: a sixteenth to sixteen times.
    const REACH: f64 = 4.0;
    let at = |ratio: f64| NAMES + DOUBLING * (REACH + ratio.log2().clamp(-REACH, REACH));
    let rows: Vec<(&Line, f64)> = lines.iter().filter_map(|line| Some((line, line.ratio()?))).collect();
    let mut y = 2.0 * ROW;
    let mut body = String::new();
    for (line, ratio) in rows {
        let (one, end) = (at(1.0), at(ratio));
        let colour = if ratio <= 1.0 { "seagreen" } else { "indianred" };
        let _ = writeln!(
            body,
            r#"<text x="{:.0}" y="{:.0}" text-anchor="end">{}</text><rect x="{:.1}" y="{:.1}" width="{:.1}" height="14" fill="{colour}"/><text x="{:.1}" y="{:.0}">{ratio:.2}</text>"#,
            NAMES - 8.0,
            y + 11.0,
            line.row.name,
            one.min(end),
            y,
            (one - end).abs().max(1.0),
            one.max(end) + 4.0,
            y + 11.0,
        );
        if let Some(want) = line.row.want {
            let x = at(want);
            let _ = writeln!(body, r#"<path d="M{x:.1} {y:.1}v14" stroke="currentColor" stroke-width="2"/>"#);
        }
        y += ROW;
    }
    let mut grid = String::new();
    for ratio in [0.0625, 0.25, 1.0, 4.0, 16.0] {
        let x = at(ratio);
        let _ = writeln!(
            grid,
            r#"<path d="M{x:.1} 34V{y:.0}" stroke="gray"/><text x="{x:.1}" y="28" text-anchor="middle">{ratio}</text>"#
        );
    }
    let (width, height) = (at(16.0) + 60.0, y + ROW);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"gray\" color=\"gray\">\n\
         <title>lvsd's cost as a ratio to keepalived's; a dash is the aim</title>\n\
         <text x=\"{NAMES}\" y=\"14\">lvsd / keepalived (less is better)</text>\n{grid}{body}</svg>\n"
    )
}

/// Median, least, greatest.
fn spread(figures: &[f64]) -> Option<[f64; 3]> {
    let mut all = figures.to_vec();
    all.sort_by(f64::total_cmp);
    let (least, greatest) = (*all.first()?, *all.last()?);
    let upper = all.get(all.len() / 2)?;
    let lower = all.get((all.len() - 1) / 2)?;
    Some([f64::midpoint(*lower, *upper), least, greatest])
}

/// The figures of one repetition, for the log.
pub(super) fn line(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(|v| format!("{} {:.3}", v.row, v.figure)).collect();
    texts.join(", ")
}
