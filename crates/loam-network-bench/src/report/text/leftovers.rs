//! What is left.

use super::{figure, text, why};
use crate::report::table::{Cell, Table};
use crate::report::{Remains, Report};

/// How much is told of a thing that was left; the JSON form has the whole line.
const WIDEST: usize = 140;

fn plural(kind: &str, count: usize) -> &'static str {
    match (count, kind) {
        (1, _) => "",
        (_, "address") => "es",
        _ => "s",
    }
}

fn counts(remains: Option<&Remains>) -> Cell {
    let Some(remains) = remains else { return text("-") };
    let parts: Vec<String> = remains
        .counts
        .iter()
        .map(|(kind, count)| format!("{count} {kind}{}", plural(kind, *count)))
        .collect();
    Cell::Text(if remains.is_empty() { "nothing".into() } else { parts.join(", ") })
}

pub(super) fn leftovers(report: &Report) -> Table {
    let headings = [
        "LIST",
        "AFTER",
        "CONTENDER",
        ">ATTACHED",
        ">KILLED",
        ">ERRORS",
        "AT ONCE",
        "AFTER 5 S",
        ">CLEAN AFTER MS",
        "NOTE",
    ];
    let mut table = Table::new(&headings);
    for row in &report.leftovers {
        table.row(vec![
            text(&row.list),
            text(&row.after),
            text(&row.contender),
            Cell::Number(row.attachments.to_string()),
            Cell::Number(row.killed.map(|killed| killed.to_string()).unwrap_or_default()),
            Cell::Number(row.errors.to_string()),
            counts(row.at_once.as_ref()),
            counts(row.later.as_ref()),
            figure(row.clean_after),
            why(&row.outcome),
        ]);
    }
    table
}

/// What it is that was left after five seconds, line by line.
pub(super) fn remains(report: &Report) -> String {
    let mut text = String::new();
    for row in &report.leftovers {
        let Some(later) = row.later.as_ref().filter(|later| !later.is_empty()) else { continue };
        text.push_str(&format!("\nleft by {} with {}, after {}:\n", row.contender, row.list, row.after));
        for line in &later.lines {
            let line: String = line.chars().take(WIDEST).collect();
            text.push_str(&format!("  {}\n", loam_model::escaped(&line)));
        }
    }
    text
}
