//! Connections.

use super::{figure, ratio, text, why};
use crate::measure::Summary;
use crate::report::table::Table;
use crate::report::{DataPathRow, Report};

pub(super) fn data_path(report: &Report) -> Table {
    let headings = [
        "LIST",
        "PATH",
        "CONTENDER",
        ">GBIT/S",
        ">ROUND TRIP",
        ">CONNECTION",
        ">GBIT RATIO",
        ">TRIP RATIO",
        "NOTE",
    ];
    let mut table = Table::new(&headings);
    for row in &report.data_path {
        let median = |summary: Option<Summary>| summary.map(|summary| summary.median);
        let compared = |of: fn(&DataPathRow) -> Option<Summary>| {
            let same = |other: &DataPathRow, name: &str| {
                other.contender == name && other.list == row.list && other.path == row.path
            };
            ratio(report, &row.contender, median(of(row)), report.data_path.iter(), same, |row| {
                median(of(row))
            })
        };
        table.row(vec![
            text(&row.list),
            text(&row.path),
            text(&row.contender),
            figure(median(row.throughput)),
            figure(median(row.round_trip)),
            figure(median(row.connection)),
            compared(|row| row.throughput),
            compared(|row| row.round_trip),
            why(&row.outcome),
        ]);
    }
    table
}
