//! The verbs, one at a time; and rules that are set at once.

use super::{figure, ratio, text, why};
use crate::measure::Summary;
use crate::report::table::{Cell, Table};
use crate::report::{LatencyRow, Report};

pub(super) fn latency(report: &Report) -> Table {
    let headings = [
        "LIST",
        "VERB",
        "CONTENDER",
        ">MIN",
        ">MEDIAN",
        ">P95",
        ">MAX",
        ">CPU",
        ">RATIO",
        ">CPU RATIO",
        "NOTE",
    ];
    let mut table = Table::new(&headings);
    for row in &report.latency {
        let of_wall = |summary: Option<Summary>| summary.map(|summary| summary.median);
        let compared = |own, of: fn(&LatencyRow) -> Option<Summary>| {
            let same = |other: &LatencyRow, name: &str| {
                other.contender == name && other.list == row.list && other.verb == row.verb
            };
            ratio(report, &row.contender, of_wall(own), report.latency.iter(), same, |row| of_wall(of(row)))
        };
        let mut cells = vec![text(&row.list), text(&row.verb), text(&row.contender)];
        let wall = row.wall;
        cells.extend([
            figure(wall.map(|wall| wall.min)),
            figure(of_wall(wall)),
            figure(wall.map(|wall| wall.p95)),
            figure(wall.map(|wall| wall.max)),
            figure(of_wall(row.cpu)),
            compared(wall, |row| row.wall),
            compared(row.cpu, |row| row.cpu),
            why(&row.outcome),
        ]);
        table.row(cells);
    }
    table
}

pub(super) fn rules(report: &Report) -> Table {
    let mut table =
        Table::new(&["CONTENDER", ">RULES", "CONTAINER", ">MIN", ">MEDIAN", ">P95", ">MAX", ">CPU", "NOTE"]);
    for row in &report.rules {
        table.row(vec![
            text(&row.contender),
            Cell::Number(row.rules.to_string()),
            text(&row.container),
            figure(row.wall.map(|wall| wall.min)),
            figure(row.wall.map(|wall| wall.median)),
            figure(row.wall.map(|wall| wall.p95)),
            figure(row.wall.map(|wall| wall.max)),
            figure(row.cpu.map(|cpu| cpu.median)),
            why(&row.outcome),
        ]);
    }
    table
}
