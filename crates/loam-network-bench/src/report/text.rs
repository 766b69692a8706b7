//! The report for people.

use super::table::{Cell, Table, number};
use super::{Outcome, Remains, Report, Verdict};
use crate::measure::Summary;

/// How much is told of a thing that was left; the JSON form has the whole line.
const WIDEST: usize = 140;

/// All tables that have rows.
pub(super) fn render(report: &Report) -> String {
    let mut text = format!("{}\n", report.machine);
    if let Some(compared) = &report.compared {
        text.push_str(&format!("ratios: of the median to that of {compared}\n"));
    }
    if !report.uncounted.is_empty() {
        let kinds = report.uncounted.join(" and ");
        text.push_str(&format!("leftovers: {kinds} are not counted, the program for it is missing\n"));
    }
    let sections: [(&str, Table); 8] = [
        ("WHO", contenders(report)),
        ("LATENCY, milliseconds; CPU is user and system time of all processes", latency(report)),
        ("GROWTH: milliseconds of ADD with so many attachments present", growth(report)),
        ("PARALLEL CALLERS", parallel(report)),
        ("LEFTOVERS", leftovers(report)),
        ("DATA PATH: Gbit/s, and microseconds of a round trip and of a connection", data_path(report)),
        ("PROMISES of the specification", promises(report)),
        ("PROMISES that were not kept or not tried", broken(report)),
    ];
    for (heading, table) in sections.into_iter().filter(|(_, table)| !table.is_empty()) {
        text.push_str(&format!("\n{heading}\n\n{}", table.render()));
    }
    text.push_str(&remains(report));
    text
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn figure(value: Option<f64>) -> Cell {
    Cell::Number(value.map_or_else(|| "-".to_owned(), number))
}

fn why(outcome: &Outcome) -> Cell {
    text(outcome.failure.as_deref().unwrap_or_default())
}

/// The ratio of a figure to that of the contender that is compared with.
fn ratio<'a, R: 'a>(
    report: &Report,
    contender: &str,
    own: Option<f64>,
    mut rows: impl Iterator<Item = &'a R>,
    is_other: impl Fn(&R, &str) -> bool,
    of: impl Fn(&R) -> Option<f64>,
) -> Cell {
    let ratio = report.compared.as_deref().filter(|compared| *compared != contender).and_then(|compared| {
        let other = rows.find(|row| is_other(row, compared)).and_then(of)?;
        own.filter(|_| other > 0.0).map(|own| format!("{:.2}", own / other))
    });
    Cell::Number(ratio.unwrap_or_default())
}

fn contenders(report: &Report) -> Table {
    let mut table = Table::new(&["LIST", "CONTENDER", "CNI", "LACKS", "NOTE"]);
    for row in &report.contenders {
        table.row(vec![
            text(&row.list),
            text(&row.contender),
            text(row.version.as_deref().unwrap_or("-")),
            Cell::Text(row.lacks.join(", ")),
            text(row.failure.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

fn latency(report: &Report) -> Table {
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
        let compared = |own, of: fn(&super::LatencyRow) -> Option<Summary>| {
            let same = |other: &super::LatencyRow, name: &str| {
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

fn growth(report: &Report) -> Table {
    let mut table = Table::new(&["LIST", "CONTENDER", ">PRESENT", ">ADD", ">CPU", ">RATIO TO FIRST", "NOTE"]);
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
                if place == last { why(&row.outcome) } else { text("") },
            ]);
        }
        if row.points.is_empty() {
            let none = || Cell::Number("-".into());
            let cells = [none(), none(), none(), none(), why(&row.outcome)];
            table.row([text(&row.list), text(&row.contender)].into_iter().chain(cells).collect());
        }
    }
    table
}

fn parallel(report: &Report) -> Table {
    let headings =
        ["LIST", ">CALLERS", "CONTENDER", ">ADD/S", ">DEL/S", ">CALLS", ">ERRORS", ">ADD RATIO", "NOTE"];
    let mut table = Table::new(&headings);
    for row in &report.parallel {
        let same = |other: &super::ParallelRow, name: &str| {
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

fn leftovers(report: &Report) -> Table {
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
fn remains(report: &Report) -> String {
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

/// A line for each promise, a column for each contender.
fn promises(report: &Report) -> Table {
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
            let same = |other: &&super::PromiseRow| {
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
fn broken(report: &Report) -> Table {
    let mut table = Table::new(&["LIST", "CONTENDER", "PROMISE", "NOTE"]);
    for row in report.promises.iter().filter(|row| !row.note.is_empty()) {
        table.row(vec![text(&row.list), text(&row.contender), text(&row.promise), text(&row.note)]);
    }
    table
}

fn data_path(report: &Report) -> Table {
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
        let compared = |of: fn(&super::DataPathRow) -> Option<Summary>| {
            let same = |other: &super::DataPathRow, name: &str| {
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

#[cfg(test)]
mod tests {
    use crate::report::sample::report;

    #[test]
    fn every_table_has_its_rows_ratios_and_reasons() {
        insta::assert_snapshot!(report().text(), @r"
        2 x processor, Linux 6.12
        ratios: of the median to that of /usr/lib/cni

        WHO

        LIST    CONTENDER     CNI    LACKS      NOTE
        bridge  loam          1.0.0  bandwidth
        bridge  /usr/lib/cni  1.0.0

        LATENCY, milliseconds; CPU is user and system time of all processes

        LIST    VERB  CONTENDER      MIN  MEDIAN   P95   MAX   CPU  RATIO  CPU RATIO  NOTE
        bridge  ADD   loam          1.00    2.00  3.00  3.00  2.00   0.05       0.05
        bridge  ADD   /usr/lib/cni  20.0    40.0  60.0  60.0  40.0
        bridge  DEL   loam          0.50    0.75  1.00  1.00  0.75
        bridge  DEL   /usr/lib/cni     -       -     -     -     -                    DEL failed in `bridge`: \u{1b}[31mno

        GROWTH: milliseconds of ADD with so many attachments present

        LIST    CONTENDER     PRESENT   ADD   CPU  RATIO TO FIRST  NOTE
        bridge  loam                1  2.00  2.00            1.00
        bridge  loam               10  2.00  2.00            1.00
        bridge  loam              100  2.20  2.20            1.10
        bridge  /usr/lib/cni        -     -     -               -  it hangs

        PARALLEL CALLERS

        LIST    CALLERS  CONTENDER  ADD/S  DEL/S  CALLS  ERRORS  ADD RATIO  NOTE
        bridge        4  loam         321   45.6     20       1             two attachments got address `10.0.0.2/24`

        LEFTOVERS

        LIST    AFTER              CONTENDER     ATTACHED  KILLED  ERRORS  AT ONCE              AFTER 5 S            CLEAN AFTER MS  NOTE
        bridge  kill -9, then DEL  /usr/lib/cni        20      18       0  2 addresses, 1 rule  2 addresses, 1 rule               -

        DATA PATH: Gbit/s, and microseconds of a round trip and of a connection

        LIST    PATH               CONTENDER     GBIT/S  ROUND TRIP  CONNECTION  GBIT RATIO  TRIP RATIO  NOTE
        bridge  host to container  loam            20.0        30.0         120        1.25        1.00
        bridge  host to container  /usr/lib/cni    16.0        30.0         120

        PROMISES of the specification

        LIST    PROMISE                              /usr/lib/cni
        bridge  CHECK fails when an address is gone  BROKEN

        PROMISES that were not kept or not tried

        LIST    CONTENDER     PROMISE                              NOTE
        bridge  /usr/lib/cni  CHECK fails when an address is gone  it succeeded

        left by /usr/lib/cni with bridge, after kill -9, then DEL:
          rule accept
        ");
    }
}
