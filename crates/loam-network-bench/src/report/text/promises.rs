//! What the specification promises.

use super::text;
use crate::report::table::Table;
use crate::report::{PromiseRow, Report, Verdict};

/// A line for each promise, a column for each contender.
pub(super) fn promises(report: &Report) -> Table {
    let mut names: Vec<&str> = report.promises.iter().map(|row| row.contender.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut table = Table::new(&[&["LIST", "PROMISE"], names.as_slice()].concat());
    let mut told: Vec<(&str, &str)> = Vec::new();
    for row in &report.promises {
        let line = (row.list.as_str(), row.promise.as_str());
        if told.contains(&line) {
            continue;
        }
        told.push(line);
        let verdicts = names.iter().map(|name| {
            let same = |other: &&PromiseRow| {
                (other.list.as_str(), other.promise.as_str()) == line && other.contender == *name
            };
            text(report.promises.iter().find(same).map_or("-", |found| match found.verdict {
                Verdict::Kept => "kept",
                Verdict::Broken => "BROKEN",
                Verdict::NotTried => "not tried",
            }))
        });
        table.row([text(line.0), text(line.1)].into_iter().chain(verdicts).collect());
    }
    table
}

/// What happened where a promise was not kept or not tried.
pub(super) fn broken(report: &Report) -> Table {
    let mut table = Table::new(&["LIST", "CONTENDER", "PROMISE", "NOTE"]);
    for row in report.promises.iter().filter(|row| !row.note.is_empty()) {
        table.row(vec![text(&row.list), text(&row.contender), text(&row.promise), text(&row.note)]);
    }
    table
}
