//! How long is waited before a message is sent again: the reference's times. Four tries come two seconds apart, later ones
//! after 4 seconds, 8, 16 and so on up to a limit, each a second more or less (RFC 2131, section 4.1).

use std::time::Duration;

const QUICK: Duration = Duration::from_secs(2);
const QUICK_TRIES: u8 = 4;
const FIRST: Duration = Duration::from_secs(4);
/// The span around a delay, in milliseconds.
const SPAN: u64 = 1000;

/// The delays of one exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    quick: u8,
    next: Duration,
    limit: Duration,
}

impl Delays {
    /// Begins; no delay is longer than the limit, but for the random part.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { quick: QUICK_TRIES, next: FIRST, limit }
    }

    /// The next delay.
    pub(crate) fn next(&mut self, random: u32) -> Duration {
        let base = if self.quick > 0 {
            self.quick -= 1;
            QUICK
        } else {
            let delay = self.next.min(self.limit);
            self.next = (self.next * 2).min(self.limit);
            delay
        };
        let shift = Duration::from_millis(u64::from(random) % (2 * SPAN));
        (base + shift).saturating_sub(Duration::from_millis(SPAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_those_of_the_reference() {
        let mut delays = Delays::new(Duration::from_secs(62));
        let seconds: Vec<u64> = (0..10).map(|_| delays.next(1000).as_secs()).collect();
        assert_eq!(seconds, [2, 2, 2, 2, 4, 8, 16, 32, 62, 62]);
        let mut delays = Delays::new(Duration::from_secs(62));
        assert_eq!(delays.next(0), Duration::from_millis(1000));
        assert_eq!(delays.next(1999), Duration::from_millis(2999));
        let mut delays = Delays::new(Duration::ZERO);
        assert!((0..100).all(|number| delays.next(number) < Duration::from_secs(3)));
    }
}
