//! A logarithmic axis.

/// From values to places on the sheet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that holds all values, from one place to another; at least a factor of two long.
    pub(super) fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0 && value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if high <= 0.0 {
            return None;
        }
        // A little room at both ends, so that nothing is drawn on the edge.
        let (low, high) = (low / 1.15, (high * 1.15).max(low * 2.0));
        Some(Self { low, high, from, to })
    }

    /// Where a value is.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + share * (self.to - self.from)
    }

    /// Round values along the axis that are at least so far apart on the sheet: tens where the axis is long, and
    /// twos and fives between them where it is short.
    pub(super) fn ticks(&self, apart: f64) -> Vec<f64> {
        let mut ticks: Vec<f64> = Vec::new();
        for steps in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
            ticks.clear();
            let mut decade = 10.0_f64.powf(self.low.log10().floor());
            while decade <= self.high {
                let values = steps.iter().map(|step| step * decade);
                ticks.extend(values.filter(|value| (self.low..=self.high).contains(value)));
                decade *= 10.0;
            }
            let near = ticks.windows(2).any(|two| (self.place(two[1]) - self.place(two[0])).abs() < apart);
            if !near {
                break;
            }
        }
        ticks
    }
}

/// A tick's value without useless digits.
pub(super) fn label(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_order_and_within_the_axis() {
        let axis = Axis::over([1.0, 100.0].into_iter(), 0.0, 200.0).expect("values");
        assert!(axis.place(1.0) > 0.0 && axis.place(100.0) < 200.0);
        assert!((axis.place(10.0) - 100.0).abs() < 1.0);
        assert!(Axis::over([0.0, f64::NAN].into_iter(), 0.0, 1.0).is_none());
    }

    #[test]
    fn ticks_are_round_and_never_too_near() {
        let axis = Axis::over([1.0, 1000.0].into_iter(), 0.0, 300.0).expect("values");
        assert_eq!(axis.ticks(60.0), [1.0, 10.0, 100.0, 1000.0]);
        let short = Axis::over([1.0, 3.0].into_iter(), 0.0, 300.0).expect("values");
        assert_eq!(short.ticks(40.0), [1.0, 2.0]);
        let one = Axis::over([7.0].into_iter(), 0.0, 300.0).expect("a value");
        assert!(!one.ticks(40.0).is_empty());
        assert_eq!([label(0.05), label(10.0), label(2.0)], ["0.05", "10", "2"]);
    }
}
