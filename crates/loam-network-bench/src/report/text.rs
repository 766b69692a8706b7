//! The report for people: a table for each part that has rows.

mod data_path;
mod growth;
mod latency;
mod leftovers;
mod promises;

use super::table::{Cell, Table, number};
use super::{Outcome, Report};

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
    let sections: [(&str, Table); 10] = [
        ("WHO", contenders(report)),
        ("LATENCY, milliseconds; CPU is user and system time of all processes", latency::latency(report)),
        ("GROWTH: milliseconds of ADD with so many attachments present", growth::growth(report)),
        ("PARALLEL CALLERS", growth::parallel(report)),
        ("LEFTOVERS", leftovers::leftovers(report)),
        (
            "DATA PATH: Gbit/s, and microseconds of a round trip and of a connection",
            data_path::data_path(report),
        ),
        ("RULES on what a container may reach, all set at once; milliseconds", latency::rules(report)),
        ("PROMISES of the specification", promises::promises(report)),
        ("PROMISES that were not kept or not tried", promises::broken(report)),
        ("TARGETS of Loam's own plugins", targets(report)),
    ];
    for (heading, table) in sections.into_iter().filter(|(_, table)| !table.is_empty()) {
        text.push_str(&format!("\n{heading}\n\n{}", table.render()));
    }
    text.push_str(&leftovers::remains(report));
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

fn targets(report: &Report) -> Table {
    let mut table = Table::new(&["WHAT", "TARGET", "MEASURED", "VERDICT"]);
    for row in &report.targets {
        let verdict = match row.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        table.row(vec![
            text(&row.what),
            text(&row.target),
            text(row.measured.as_deref().unwrap_or("-")),
            text(verdict),
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

        LIST    CONTENDER     PRESENT   ADD   CPU  RATIO TO FIRST  PAIR ALONE  PAIR RATIO  NOTE
        bridge  loam                1  2.00  2.00            1.00        0.50        1.00
        bridge  loam               10  2.00  2.00            1.00        0.50        1.00
        bridge  loam              100  2.20  2.20            1.10        0.55        1.10
        bridge  /usr/lib/cni        -     -     -               -           -           -  it hangs

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

        RULES on what a container may reach, all set at once; milliseconds

        CONTENDER  RULES  CONTAINER   MIN  MEDIAN   P95   MAX   CPU  NOTE
        loam         500  first      4.00    4.00  4.00  4.00  4.00

        PROMISES of the specification

        LIST    PROMISE                              /usr/lib/cni
        bridge  CHECK fails when an address is gone  BROKEN

        PROMISES that were not kept or not tried

        LIST    CONTENDER     PROMISE                              NOTE
        bridge  /usr/lib/cni  CHECK fails when an address is gone  it succeeded

        TARGETS of Loam's own plugins

        WHAT                                        TARGET                         MEASURED           VERDICT
        ADD, bridge, as functions                   at most 3 ms                   2.00 ms            met
        ADD, bridge, as functions                   at most 1/8 of the reference   1/20.0             met
        ADD, bridge, as programs                    at most 1/2 of the reference   -                  not measured
        ADD, chain, as functions                    at most 1/25 of the reference  -                  not measured
        ADD with one port, 500 attachments present  at most 1.2 x the first        -                  not measured
        DEL, bridge, as functions                   at most 2 ms                   0.75 ms            met
        DEL, namespace gone, bridge, as functions   at most 2 ms                   -                  not measured
        DEL, bridge, as programs                    at most 2 ms                   -                  not measured
        DEL, namespace gone, bridge, as programs    at most 2 ms                   -                  not measured
        DEL, chain, as functions                    at most 2 ms                   -                  not measured
        left 5 s after DEL, and after kills         nothing                        -                  not measured
        500 rules, first                            under 5 ms                     4.00 ms            met
        500 rules, with the same rules              under 1 ms                     -                  not measured
        data path                                   as the reference               within its spread  met

        left by /usr/lib/cni with bridge, after kill -9, then DEL:
          rule accept
        ");
    }
}
