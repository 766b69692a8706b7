//! Figures and their summaries.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::orphans;

/// Several measurements of one thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Samples(Vec<f64>);

/// What is said of several measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// The one in the middle; of an even number the mean of the middle two.
    pub median: f64,
    /// The one that 95 of 100 do not exceed, by the nearest rank.
    pub p95: f64,
    /// The greatest.
    pub max: f64,
}

impl Samples {
    /// Adds a measurement.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// All of them, in the order of measuring.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The summary; `None` when nothing was measured.
    pub fn summary(&self) -> Option<Summary> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
        // The nearest rank, counted from one: the smallest that is at least 95 of 100.
        let rank = (count * 95).div_ceil(100).max(1);
        Some(Summary { count, min, median, p95: sorted[rank - 1], max })
    }

    /// The value in the middle.
    pub fn median(&self) -> Option<f64> {
        self.summary().map(|summary| summary.median)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// What one call took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Wall time in milliseconds.
    pub(crate) wall: f64,
    /// Processor time in milliseconds.
    pub(crate) cpu: f64,
}

/// Runs a function and tells what it took: wall time until it returned; processor time of this process and of its
/// children, with those that it left running to do the rest of its work, which are waited for.
pub(crate) fn measured<T>(function: impl FnOnce() -> T) -> io::Result<(T, Cost)> {
    let others = orphans::children();
    let before = loam_sys::processor_time()?;
    let begun = Instant::now();
    let value = function();
    let wall = begun.elapsed();
    let until_then = loam_sys::processor_time()?.saturating_sub(before);
    // What the waiting itself takes is not the function's.
    let waited_for = loam_sys::processor_time_of_children()?;
    orphans::wait_for_all_but(&others)?;
    let cpu = until_then + loam_sys::processor_time_of_children()?.saturating_sub(waited_for);
    Ok((value, Cost { wall: milliseconds(wall), cpu: milliseconds(cpu) }))
}

/// A length of time in milliseconds.
pub(crate) fn milliseconds(length: Duration) -> f64 {
    length.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_of_the_sorted_values() {
        assert_eq!(Samples::default().summary(), None);
        let one: Samples = [7.0].into_iter().collect();
        assert_eq!(one.summary(), Some(Summary { count: 1, min: 7.0, median: 7.0, p95: 7.0, max: 7.0 }));
        let four: Samples = [4.0, 1.0, 3.0, 2.0].into_iter().collect();
        assert_eq!(four.summary(), Some(Summary { count: 4, min: 1.0, median: 2.5, p95: 4.0, max: 4.0 }));
        let hundred: Samples = (1..=100).map(f64::from).collect();
        let summary = hundred.summary().expect("not empty");
        assert_eq!((summary.median, summary.p95, summary.max), (50.5, 95.0, 100.0));
        assert_eq!(four.values(), [4.0, 1.0, 3.0, 2.0], "the order of measuring stays");
    }

    #[test]
    fn processor_time_of_children_counts() {
        let work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let run = || std::process::Command::new("sh").args(["-c", work]).status();
        let (status, cost) = measured(run).expect("the kernel counts");
        assert!(status.expect("sh runs").success());
        assert!(cost.wall > 0.0 && cost.cpu > 0.0, "{cost:?}");
    }
}
