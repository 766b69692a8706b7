//! `loopback`: brings `lo` up.

use serde_json::json;

use crate::case::{Case, Step};
use crate::run_three_ways;

#[test]
fn up_and_down() {
    run_three_ways(
        "loopback::up_and_down",
        &[
            Case::new("alone", json!({ "type": "loopback" })).steps(&[
                Step::Add,
                Step::Add,
                Step::Check,
                Step::Del,
                Step::Check,
                Step::Del,
                Step::DelBlind,
            ]),
            Case::new("old version", json!({ "type": "loopback" }))
                .version("0.2.0")
                .steps(&[Step::Add, Step::Del])
                .differs("loopback: results of old versions", |line| line.starts_with("ADD: result.")),
        ],
    );
}
