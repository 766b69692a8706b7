//! A report as it could be, for the tests of its forms.

use std::collections::BTreeMap;

use super::{
    ContenderReport, DataPathRow, GrowthPoint, GrowthRow, LatencyRow, LeftoverRow, Outcome, ParallelRow,
    PromiseRow, Remains, Report, RulesRow, Verdict,
};
use crate::measure::{Samples, Summary};
use crate::plan::Plan;

const OURS: &str = "loam";
const THEIRS: &str = "/usr/lib/cni";

fn summary(values: &[f64]) -> Option<Summary> {
    values.iter().copied().collect::<Samples>().summary()
}

fn latency(contender: &str, verb: &str, wall: &[f64], failure: Option<&str>) -> LatencyRow {
    LatencyRow {
        list: "bridge".into(),
        contender: contender.into(),
        verb: verb.into(),
        wall: summary(wall),
        cpu: summary(wall),
        samples: wall.iter().copied().collect(),
        outcome: Outcome { failure: failure.map(str::to_owned) },
    }
}

fn growth(contender: &str, add: &[f64], failure: Option<&str>) -> GrowthRow {
    let presents = [1, 10, 100];
    let points = presents.into_iter().zip(add);
    let points = points.map(|(present, add)| GrowthPoint {
        present,
        add: *add,
        cpu: *add,
        ratio: add / 2.0,
        bare: Some(add / 4.0),
        bare_ratio: Some(add / 2.0),
    });
    GrowthRow {
        list: "bridge".into(),
        contender: contender.into(),
        points: points.collect(),
        outcome: Outcome { failure: failure.map(str::to_owned) },
    }
}

/// The report.
pub(crate) fn report() -> Report {
    let mut report = Report::empty(Plan::default(), Some(THEIRS.into()));
    report.machine = "2 x processor, Linux 6.12".into();
    for (contender, lacks) in [(OURS, vec!["bandwidth".to_owned()]), (THEIRS, Vec::new())] {
        report.contenders.push(ContenderReport {
            list: "bridge".into(),
            contender: contender.into(),
            version: Some("1.0.0".into()),
            lacks,
            failure: None,
        });
    }
    report.latency = vec![
        latency(OURS, "ADD", &[1.0, 2.0, 3.0], None),
        latency(THEIRS, "ADD", &[20.0, 40.0, 60.0], None),
        latency(OURS, "DEL", &[0.5, 1.0], None),
        latency(THEIRS, "DEL", &[], Some("DEL failed in `bridge`: \u{1b}[31mno")),
    ];
    report.growth = vec![growth(OURS, &[2.0, 2.0, 2.2], None), growth(THEIRS, &[], Some("it hangs"))];
    report.parallel = vec![ParallelRow {
        list: "bridge".into(),
        contender: OURS.into(),
        callers: 4,
        adds_per_second: Some(321.0),
        dels_per_second: Some(45.6),
        calls: 20,
        errors: 1,
        outcome: Outcome { failure: Some("two attachments got address `10.0.0.2/24`".into()) },
    }];
    let left = Remains {
        counts: BTreeMap::from([("address".into(), 2), ("rule".into(), 1)]),
        lines: vec!["rule accept".into()],
    };
    report.leftovers = vec![LeftoverRow {
        list: "bridge".into(),
        contender: THEIRS.into(),
        after: "kill -9, then DEL".into(),
        attachments: 20,
        killed: Some(18),
        errors: 0,
        at_once: Some(left.clone()),
        later: Some(left),
        clean_after: None,
        outcome: Outcome::default(),
    }];
    report.promises = vec![PromiseRow {
        list: "bridge".into(),
        contender: THEIRS.into(),
        promise: "CHECK fails when an address is gone".into(),
        verdict: Verdict::Broken,
        note: "it succeeded".into(),
    }];
    report.data_path = [(OURS, 20.0), (THEIRS, 16.0)]
        .map(|(contender, throughput)| DataPathRow {
            list: "bridge".into(),
            contender: contender.into(),
            path: "host to container".into(),
            throughput: summary(&[throughput]),
            round_trip: summary(&[30.0]),
            connection: summary(&[120.0]),
            outcome: Outcome::default(),
        })
        .to_vec();
    report.rules = vec![RulesRow {
        contender: OURS.into(),
        rules: 500,
        container: "first".into(),
        wall: summary(&[4.0]),
        cpu: summary(&[4.0]),
        samples: [4.0].into_iter().collect(),
        outcome: Outcome::default(),
    }];
    report.targets = super::targets::judge(&report);
    report
}
