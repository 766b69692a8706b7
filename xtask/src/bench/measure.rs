//! Figures and their summaries.

use serde::Serialize;

/// Several measurements of one thing.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Series {
    values: Vec<f64>,
}

impl Series {
    /// Adds a measurement.
    pub(crate) fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    /// The value in the middle.
    pub(crate) fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// The value that 95 of 100 do not exceed.
    pub(crate) fn p95(&self) -> Option<f64> {
        self.quantile(0.95)
    }

    /// By the nearest rank; the median of an even number is the mean of the middle two.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank in a list of a few dozen"
    )]
    fn quantile(&self, share: f64) -> Option<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        if share == 0.5 && sorted.len().is_multiple_of(2) {
            return Some(f64::midpoint(sorted[last / 2], sorted[last / 2 + 1]));
        }
        Some(sorted[((share * last as f64).round() as usize).min(last)])
    }
}

/// One engine in one scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) engine: String,
    /// Wall time in milliseconds, or KiB for memory.
    pub(crate) wall: Series,
    /// CPU time in milliseconds.
    pub(crate) cpu: Series,
    /// The largest process, in MiB.
    pub(crate) peak_mib: Series,
    /// Why there are no figures.
    pub(crate) missing: Option<String>,
}

impl Row {
    /// A row to fill.
    pub(crate) fn new(scenario: &str, engine: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            engine: engine.to_owned(),
            wall: Series::default(),
            cpu: Series::default(),
            peak_mib: Series::default(),
            missing: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let mut series = Series::default();
        assert_eq!(series.median(), None);
        for value in [4.0, 1.0, 3.0, 2.0] {
            series.push(value);
        }
        assert_eq!((series.median(), series.p95()), (Some(2.5), Some(4.0)));
    }
}
