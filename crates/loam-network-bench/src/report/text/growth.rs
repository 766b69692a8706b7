//! ADD with more and more attachments, and several callers at once.

use super::{figure, ratio, text, why};
use crate::report::table::{Cell, Table};
use crate::report::{ParallelRow, Report};

pub(super) fn growth(report: &Report) -> Table {
    let headings = [
        "LIST",
        "CONTENDER",
        ">PRESENT",
        ">ADD",
        ">CPU",
        ">RATIO TO FIRST",
        ">PAIR ALONE",
        ">PAIR RATIO",
        "NOTE",
    ];
    let mut table = Table::new(&headings);
    for row in &report.growth {
        let last = row.points.len().saturating_sub(1);
        for (place, point) in row.points.iter().enumerate() {
            table.row(vec![
                text(&row.list),
                text(&row.contender),
                Cell::Number(point.present.to_string()),
                figure(Some(point.add)),
                figure(Some(point.cpu)),
                figure(Some(point.ratio)),
                figure(point.bare),
                figure(point.bare_ratio),
                if place == last { why(&row.outcome) } else { text("") },
            ]);
        }
        if row.points.is_empty() {
            let none = || Cell::Number("-".into());
            let cells = [none(), none(), none(), none(), none(), none(), why(&row.outcome)];
            table.row([text(&row.list), text(&row.contender)].into_iter().chain(cells).collect());
        }
    }
    table
}

pub(super) fn parallel(report: &Report) -> Table {
    let headings =
        ["LIST", ">CALLERS", "CONTENDER", ">ADD/S", ">DEL/S", ">CALLS", ">ERRORS", ">ADD RATIO", "NOTE"];
    let mut table = Table::new(&headings);
    for row in &report.parallel {
        let same = |other: &ParallelRow, name: &str| {
            other.contender == name && other.list == row.list && other.callers == row.callers
        };
        let rows = report.parallel.iter();
        table.row(vec![
            text(&row.list),
            Cell::Number(row.callers.to_string()),
            text(&row.contender),
            figure(row.adds_per_second),
            figure(row.dels_per_second),
            Cell::Number(row.calls.to_string()),
            Cell::Number(row.errors.to_string()),
            ratio(report, &row.contender, row.adds_per_second, rows, same, |row| row.adds_per_second),
            why(&row.outcome),
        ]);
    }
    table
}
