//! Columns of text, as wide as what is in them.

use std::fmt::Write;

use crate::text;

/// Rows of cells; a row of one cell is a line of its own and widens nothing.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Appends a row; cells may quote strangers.
    pub(super) fn row<const N: usize>(&mut self, cells: [impl AsRef<str>; N]) {
        self.rows.push(cells.into_iter().map(|cell| text::line(cell.as_ref()).into_owned()).collect());
    }

    /// The text, without blanks at the ends of lines.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter(|row| row.len() > 1).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a string cannot fail.
                let _ = write!(line, "{cell:width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_a_lone_cell_widens_nothing() {
        let mut table = Table::default();
        table.row(["a", "long cell", "c"]);
        table.row(["a headline that is longer than everything else"]);
        table.row(["abc", "x", "y"]);
        let expected =
            "a    long cell  c\na headline that is longer than everything else\nabc  x          y\n";
        assert_eq!(table.render(), expected);
    }
}
