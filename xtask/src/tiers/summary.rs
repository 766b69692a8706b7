//! The records of all tiers, side by side.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Tier;
use super::record::{Outcome, Record, kept};
use crate::programs::Build;

/// A table of tests and tiers.
pub(super) struct Summary {
    tests: Vec<String>,
    /// The tiers that have a record.
    columns: Vec<(Tier, Record)>,
    /// All there are.
    tiers: Vec<Tier>,
}

impl Summary {
    /// What is known of the tests with these words in their names.
    pub(super) fn of(build: &Build, filters: &[String]) -> Result<Self> {
        let columns = Tier::all().into_iter().map(|tier| (kept(&tier, build), tier));
        let columns = columns.filter(|(record, _)| !record.is_empty()).map(|(record, tier)| (tier, record));
        Ok(Self { tests: build.list(filters)?, columns: columns.collect(), tiers: Tier::all() })
    }

    /// The table, and below it how many ran on each tier, and which on none.
    pub(super) fn text(&self) -> String {
        let mut rows = vec![self.row("test", |tier, _| tier.name.clone())];
        let cell = |test: &str, record: &Record| match record.get(test) {
            Some(Outcome::Ran) => "ran".to_owned(),
            Some(Outcome::Lacks(needs)) => format!("lacks {}", needs.join(", ")),
            None => "-".to_owned(),
        };
        rows.extend(self.tests.iter().map(|test| self.row(test, |_, record| cell(test, record))));
        let ran = |record: &Record| {
            self.tests.iter().filter(|test| record.get(*test) == Some(&Outcome::Ran)).count().to_string()
        };
        rows.push(self.row(&format!("{} tests, of which ran", self.tests.len()), |_, record| ran(record)));
        let mut text = format!("\n{}", aligned(&rows));
        for test in self.tests.iter().filter(|test| !self.ran(test)) {
            text.push_str(&format!("ran on no tier: {test}{}\n", self.where_it_can(test)));
        }
        text
    }

    /// What must not be, when these tiers have been passed just now. Nothing is to be said when none was.
    pub(super) fn problems(&self, passed: &[Tier]) -> Vec<String> {
        if passed.is_empty() {
            return Vec::new();
        }
        let has_passed = |tier: &Tier| passed.iter().any(|other| other.name == tier.name);
        let mut problems = Vec::new();
        for (tier, record) in self.columns.iter().filter(|(tier, _)| has_passed(tier)) {
            for test in &self.tests {
                let Some(Outcome::Lacks(needs)) = record.get(test) else { continue };
                problems.extend(needs.iter().filter(|need| tier.provides(need)).map(|need| {
                    format!("`{test}` found no {need} on the tier {}, which should have it", tier.name)
                }));
            }
        }
        for test in self.tests.iter().filter(|test| !self.ran(test)) {
            let able = self.able(test);
            let says = self.columns.iter().any(|(_, record)| record.contains_key(test));
            if !says {
                problems.push(format!("`{test}` did not say on any tier whether it ran"));
            } else if able.is_empty() && passed.iter().any(|tier| tier.name == Tier::host().name) {
                problems.push(format!("`{test}` ran on no tier, and no guest has {}", self.lacks(test)));
            } else if able.iter().any(has_passed) {
                problems.push(format!("`{test}` ran on no tier"));
            }
        }
        problems
    }

    /// The tests that ran nowhere and that a tier can run.
    pub(super) fn left_to(&self, tier: &Tier) -> Vec<String> {
        let is_able = |test: &&String| self.able(test).iter().any(|able| able.name == tier.name);
        self.tests.iter().filter(|test| !self.ran(test)).filter(is_able).cloned().collect()
    }

    /// The tests of which no guest has said anything.
    pub(super) fn tried_in_no_guest(&self) -> Vec<String> {
        let guests = || self.columns.iter().filter(|(tier, _)| tier.name != Tier::host().name);
        let is_untried = |test: &&String| !guests().any(|(_, record)| record.contains_key(*test));
        self.tests.iter().filter(is_untried).cloned().collect()
    }

    fn ran(&self, test: &str) -> bool {
        self.columns.iter().any(|(_, record)| record.get(test) == Some(&Outcome::Ran))
    }

    /// Everything that a test lacked anywhere.
    fn needs(&self, test: &str) -> BTreeSet<&str> {
        let outcomes = self.columns.iter().filter_map(|(_, record)| record.get(test));
        let lacking = outcomes.filter_map(|outcome| match outcome {
            Outcome::Lacks(needs) => Some(needs),
            Outcome::Ran => None,
        });
        lacking.flatten().map(String::as_str).collect()
    }

    fn lacks(&self, test: &str) -> String {
        self.needs(test).into_iter().collect::<Vec<_>>().join(", ")
    }

    /// The tiers that have what a test is known to need.
    fn able(&self, test: &str) -> Vec<Tier> {
        let needs = self.needs(test);
        let has_all = |tier: &&Tier| !needs.is_empty() && needs.iter().all(|need| tier.provides(need));
        self.tiers.iter().filter(has_all).cloned().collect()
    }

    fn where_it_can(&self, test: &str) -> String {
        let names: Vec<String> = self.able(test).into_iter().map(|tier| tier.name).collect();
        match (self.needs(test).is_empty(), names.is_empty()) {
            (true, _) => String::new(),
            (false, true) => format!(", lacks {}", self.lacks(test)),
            (false, false) => format!(", lacks {}, which is on {}", self.lacks(test), names.join(", ")),
        }
    }

    fn row(&self, first: &str, cell: impl Fn(&Tier, &Record) -> String) -> Vec<String> {
        let cells = self.columns.iter().map(|(tier, record)| cell(tier, record));
        std::iter::once(first.to_owned()).chain(cells).collect()
    }
}

/// Columns as wide as their widest cell.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
