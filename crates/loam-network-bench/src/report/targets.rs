//! What Loam's own plugins shall reach with the built-in networks, beside what they do. Ratios are of medians of the same run.

use serde::Serialize;

use super::{DataPathRow, LatencyRow, Report};
use crate::report::table::number;

/// Our plugins, as functions.
const FUNCTIONS: &str = "loam";
/// Our plugins, as programs.
const PROGRAMS: &str = "loam-cni";
/// With how many attachments growth is judged.
const PRESENT: usize = 500;

/// A target, and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetRow {
    /// What is measured, of whom.
    pub what: String,
    /// What it shall be.
    pub target: String,
    /// What it is; `None` when it was not measured.
    pub measured: Option<String>,
    /// Whether it is as it shall be; `None` when it was not measured.
    pub met: Option<bool>,
}

/// All targets. Those that nothing was measured for say so; of a report without our plugins there are none.
pub(crate) fn judge(report: &Report) -> Vec<TargetRow> {
    if !report.contenders.iter().any(|row| [FUNCTIONS, PROGRAMS].contains(&row.contender.as_str())) {
        return Vec::new();
    }
    let mut rows = vec![
        most("ADD, bridge, as functions", "3 ms", 3.0, wall(report, FUNCTIONS, "bridge", "ADD")),
        share(report, "ADD, bridge, as functions", FUNCTIONS, "bridge", 8.0),
        share(report, "ADD, bridge, as programs", PROGRAMS, "bridge", 2.0),
        share(report, "ADD, chain, as functions", FUNCTIONS, "chain", 25.0),
        growth(report),
    ];
    for (contender, how) in [(FUNCTIONS, "functions"), (PROGRAMS, "programs")] {
        for verb in ["DEL", "DEL, namespace gone"] {
            let what = format!("{verb}, bridge, as {how}");
            rows.push(most(&what, "2 ms", 2.0, wall(report, contender, "bridge", verb)));
        }
    }
    rows.push(most("DEL, chain, as functions", "2 ms", 2.0, wall(report, FUNCTIONS, "chain", "DEL")));
    rows.push(nothing_left(report));
    for (container, limit) in [("first", 5.0), ("with the same rules", 1.0)] {
        let found = report.rules.iter().find(|row| row.container == container);
        let what = format!("500 rules, {container}");
        let median = found.and_then(|row| row.wall).map(|wall| wall.median);
        rows.push(row(&what, format!("under {limit} ms"), median.map(|ms| (milliseconds(ms), ms < limit))));
    }
    rows.push(data_path(report));
    rows
}

fn row(what: &str, target: String, found: Option<(String, bool)>) -> TargetRow {
    let (measured, met) = found.unzip();
    TargetRow { what: what.to_owned(), target, measured, met }
}

fn milliseconds(value: f64) -> String {
    format!("{} ms", number(value))
}

/// The median wall time of a verb.
fn wall(report: &Report, contender: &str, list: &str, verb: &str) -> Option<f64> {
    let same = |row: &&LatencyRow| row.contender == contender && row.list == list && row.verb == verb;
    report.latency.iter().find(same)?.wall.map(|wall| wall.median)
}

fn most(what: &str, target: &str, limit: f64, median: Option<f64>) -> TargetRow {
    row(what, format!("at most {target}"), median.map(|ms| (milliseconds(ms), ms <= limit)))
}

/// ADD as a part of what it takes the contender that is compared with.
fn share(report: &Report, what: &str, contender: &str, list: &str, part: f64) -> TargetRow {
    let compared = report.compared.as_deref().and_then(|compared| wall(report, compared, list, "ADD"));
    let found = wall(report, contender, list, "ADD").zip(compared).filter(|(ours, _)| *ours > 0.0);
    let found = found.map(|(ours, theirs)| (format!("1/{}", number(theirs / ours)), theirs / ours >= part));
    row(what, format!("at most 1/{part} of the reference"), found)
}

fn growth(report: &Report) -> TargetRow {
    let rows = report.growth.iter().find(|row| row.contender == FUNCTIONS && row.list == "ports");
    let point = rows.and_then(|row| row.points.iter().find(|point| point.present == PRESENT));
    let found = point.map(|point| {
        let bare = point.bare_ratio.map(|ratio| format!(" (a pair alone {} x)", number(ratio)));
        (format!("{} x{}", number(point.ratio), bare.unwrap_or_default()), point.ratio <= 1.2)
    });
    row("ADD with one port, 500 attachments present", "at most 1.2 x the first".to_owned(), found)
}

/// All that was looked at after DEL, kills included.
fn nothing_left(report: &Report) -> TargetRow {
    let ours = |name: &str| [FUNCTIONS, PROGRAMS].contains(&name);
    let rows: Vec<_> = report.leftovers.iter().filter(|row| ours(&row.contender)).collect();
    let unclean: Vec<String> = rows
        .iter()
        .filter(|row| row.errors > 0 || row.later.as_ref().is_none_or(|left| !left.is_empty()))
        .map(|row| format!("{}, {}, after {}", row.contender, row.list, row.after))
        .collect();
    let said = if unclean.is_empty() { "nothing".to_owned() } else { unclean.join("; ") };
    let found = (!rows.is_empty()).then_some((said, unclean.is_empty()));
    row("left 5 s after DEL, and after kills", "nothing".to_owned(), found)
}

/// Our median must lie within what the reference itself spreads over, or beyond it on the good side, on every path.
fn data_path(report: &Report) -> TargetRow {
    let mut worse = Vec::new();
    let mut seen = false;
    for ours in report.data_path.iter().filter(|row| row.contender == FUNCTIONS) {
        let same = |row: &&DataPathRow| {
            Some(&row.contender) == report.compared.as_ref() && row.list == ours.list && row.path == ours.path
        };
        let Some(theirs) = report.data_path.iter().find(same) else { continue };
        let pairs = [
            ("throughput", ours.throughput, theirs.throughput),
            ("round trip", ours.round_trip, theirs.round_trip),
            ("connection", ours.connection, theirs.connection),
        ];
        for (what, ours_is, theirs_is) in pairs {
            let Some((mine, other)) = ours_is.zip(theirs_is) else { continue };
            seen = true;
            let bad = match what {
                "throughput" => mine.median < other.min,
                _ => mine.median > other.max,
            };
            if bad {
                worse.push(format!("{what}, {}, {}", ours.list, ours.path));
            }
        }
    }
    let said = if worse.is_empty() { "within its spread".to_owned() } else { worse.join("; ") };
    row("data path", "as the reference".to_owned(), seen.then_some((said, worse.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn verdict(report: &Report, what: &str) -> Option<bool> {
        let rows = judge(report);
        let row = rows.iter().find(|row| row.what == what);
        row.unwrap_or_else(|| panic!("no `{what}`: {rows:#?}")).met
    }

    #[test]
    fn each_target_can_be_met_missed_or_not_measured() {
        let mut report = sample::report();
        assert_eq!(verdict(&report, "ADD, bridge, as functions"), Some(true));
        assert_eq!(judge(&report)[1].measured.as_deref(), Some("1/20.0"));
        assert_eq!(verdict(&report, "ADD, bridge, as programs"), None);
        assert_eq!(verdict(&report, "ADD, chain, as functions"), None);
        assert_eq!(verdict(&report, "500 rules, first"), Some(true));
        assert_eq!(verdict(&report, "500 rules, with the same rules"), None);
        assert_eq!(verdict(&report, "data path"), Some(true));
        assert_eq!(
            verdict(&report, "left 5 s after DEL, and after kills"),
            None,
            "only the reference was looked at"
        );
        for row in &mut report.latency {
            if let Some(wall) = row.wall.as_mut().filter(|_| row.contender == FUNCTIONS) {
                wall.median = 9.0;
            }
        }
        report.rules[0].wall.as_mut().expect("measured").median = 5.0;
        report.data_path[0].throughput.as_mut().expect("measured").median = 1.0;
        report.leftovers[0].contender = PROGRAMS.into();
        for what in [
            "ADD, bridge, as functions",
            "DEL, bridge, as functions",
            "500 rules, first",
            "left 5 s after DEL, and after kills",
            "data path",
        ] {
            assert_eq!(verdict(&report, what), Some(false), "{what}");
        }
        report.growth[0].list = "ports".into();
        report.growth[0].points[2].present = PRESENT;
        let growth = "ADD with one port, 500 attachments present";
        assert_eq!(verdict(&report, growth), Some(true));
        let said = judge(&report).into_iter().find(|row| row.what == growth).and_then(|row| row.measured);
        assert_eq!(said.as_deref(), Some("1.10 x (a pair alone 1.10 x)"));
        report.growth[0].points[2].ratio = 1.3;
        assert_eq!(verdict(&report, growth), Some(false));
        report.contenders.retain(|row| row.contender == "/usr/lib/cni");
        assert_eq!(judge(&report), []);
    }
}
