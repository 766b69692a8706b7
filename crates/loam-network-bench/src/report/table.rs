//! Tables for people: columns aligned, two spaces between, numbers to the right, foreign text escaped.

use loam_model::escaped;

/// A cell.
#[derive(Debug)]
pub(crate) enum Cell {
    /// Aligned to the left.
    Text(String),
    /// Aligned to the right.
    Number(String),
}

/// Builds a table row by row.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings; those that begin with `>` are of columns of numbers.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let cell = |heading: &&str| match heading.strip_prefix('>') {
            Some(number) => Cell::Number(number.to_owned()),
            None => Cell::Text((*heading).to_owned()),
        };
        Self { rows: vec![headings.iter().map(cell).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        let clean = |cell| match cell {
            Cell::Text(text) => Cell::Text(escaped(&text).into_owned()),
            Cell::Number(text) => Cell::Number(text),
        };
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// Whether there are rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The text, a line for each row.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let length = |cell: &Cell| match cell {
            Cell::Text(text) | Cell::Number(text) => text.chars().count(),
        };
        let width =
            |column| self.rows.iter().filter_map(|row| row.get(column)).map(length).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                match cell {
                    Cell::Text(text) => line.push_str(&format!("{text:<width$}  ")),
                    Cell::Number(text) => line.push_str(&format!("{text:>width$}  ")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A number with three significant digits, which is all that a shared machine gives.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_left_and_numbers_right() {
        let mut table = Table::new(&["NAME", ">MS"]);
        assert!(table.is_empty());
        table.row(vec![Cell::Text("größe".into()), Cell::Number(number(1.5))]);
        table.row(vec![Cell::Text("a\u{1b}[0m".into()), Cell::Number(number(123.4))]);
        let text = table.render();
        assert!(text.starts_with("NAME"), "{text}");
        assert!(!text.contains('\u{1b}'), "what plugins say can't change the terminal: {text:?}");
        let ends: Vec<_> = text.lines().map(|line| line.chars().count()).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{text}");
        assert_eq!([number(0.123), number(12.34), number(123.4)], ["0.12", "12.3", "123"]);
    }
}
