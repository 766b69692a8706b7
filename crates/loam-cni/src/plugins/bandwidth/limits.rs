//! The configuration of `bandwidth`, and the numbers that the kernel gets.

use std::fs;

use crate::netlink::TokenBucket;
use crate::protocol::{CniError, Context};

/// How long a packet may wait, in microseconds.
const LATENCY: u128 = 25_000;
const MICROSECONDS: u128 = 1_000_000;
const KEYS: [&str; 4] = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"];

/// A rate in bits a second, and a burst in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    rate: u64,
    burst: u32,
}

/// What is limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// What goes into the container.
    pub(super) ingress: Option<Limit>,
    /// What comes out of the container.
    pub(super) egress: Option<Limit>,
}

impl Limits {
    /// Reads the limits: those of the configuration, and when it has none of the keys those of the runtime.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let config = &context.config;
        let configured = KEYS.iter().any(|key| config.raw.get(*key).is_some_and(|value| !value.is_null()));
        let number = |key: &str| {
            let path = ["runtimeConfig", "bandwidth", key];
            let path = if configured { &path[2..] } else { &path[..] };
            Ok::<u64, CniError>(config.get(path)?.unwrap_or_default())
        };
        let [ingress_rate, ingress_burst, egress_rate, egress_burst] = KEYS;
        Ok(Self {
            ingress: Limit::new("ingress", number(ingress_rate)?, number(ingress_burst)?)?,
            egress: Limit::new("egress", number(egress_rate)?, number(egress_burst)?)?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Limit {
    /// Checks a rate and a burst, which are set together or not at all.
    fn new(way: &str, rate: u64, burst: u64) -> Result<Option<Self>, CniError> {
        let invalid = |what: &str| CniError::invalid_config(format!("`{way}Rate` and `{way}Burst`: {what}"));
        match (rate, burst) {
            (0, 0) => return Ok(None),
            (_, 0) => return Err(invalid("if rate is set, burst must also be set")),
            (0, _) => return Err(invalid("if burst is set, rate must also be set")),
            _ => {}
        }
        let burst = u32::try_from(burst / 8).ok().filter(|bytes| *bytes < u32::MAX);
        let burst = burst.ok_or_else(|| invalid("burst cannot be more than 4GB"))?;
        if rate < 8 || burst == 0 {
            return Err(invalid("less than a byte"));
        }
        Ok(Some(Self { rate: rate / 8, burst }))
    }

    /// The numbers for the kernel, with the ticks of its scheduler in a microsecond as a fraction.
    pub(super) fn bucket(self, (ticks, in_microseconds): (u64, u64)) -> TokenBucket {
        let rate = u128::from(self.rate);
        let fill = u32::try_from(u128::from(self.burst) * MICROSECONDS / rate).unwrap_or(u32::MAX);
        let buffer = u128::from(fill) * u128::from(ticks) / u128::from(in_microseconds.max(1));
        let limit = rate * LATENCY / MICROSECONDS + u128::from(self.burst);
        TokenBucket {
            rate: self.rate,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            buffer: u32::try_from(buffer).unwrap_or(u32::MAX),
        }
    }
}

/// How many ticks of the scheduler there are in how many microseconds, as `/proc/net/psched` has it.
pub(super) fn ticks() -> Result<(u64, u64), CniError> {
    const PATH: &str = "/proc/net/psched";
    let text =
        fs::read_to_string(PATH).map_err(|cause| CniError::io(format!("reading `{PATH}` failed"), &cause))?;
    parse_ticks(&text).ok_or_else(|| {
        CniError::new(crate::protocol::code::INTERNAL, format!("`{PATH}` can't be understood"))
    })
}

/// Four hexadecimal numbers: ticks and nanoseconds that correspond, the clock's steps a second, timers a second.
fn parse_ticks(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map(|word| u64::from_str_radix(word, 16).ok());
    let (mut ticks, nanoseconds, steps) = (numbers.next()??, numbers.next()??, numbers.next()??);
    // What iproute2 does for a clock of nanoseconds.
    if steps == 1_000_000_000 {
        ticks = nanoseconds;
    }
    Some((ticks.checked_mul(steps)?, nanoseconds.checked_mul(1_000_000).filter(|number| *number > 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_reference_s() {
        let ticks = parse_ticks("000003e8 00000040 000f4240 3b9aca00").expect("valid");
        let limit = Limit::new("ingress", 8_000_000, 8_000_000).expect("valid").expect("set");
        // As `tc` shows them: rate 8Mbit burst 1000000b lat 25ms.
        let expected = TokenBucket { rate: 1_000_000, limit: 1_025_000, buffer: 15_625_000 };
        assert_eq!(limit.bucket(ticks), expected);
        let slow = Limit::new("ingress", 8, 34_000_000_000).expect("valid").expect("set");
        assert_eq!(slow.bucket(ticks).buffer, u32::MAX);
        assert_eq!(parse_ticks("1 0 1 1"), None);
        assert_eq!(parse_ticks("x"), None);
    }

    #[test]
    fn rate_and_burst_belong_together() {
        assert_eq!(Limit::new("egress", 0, 0).expect("valid"), None);
        for (rate, burst) in [(1, 0), (0, 1), (7, 80), (80, 7), (80, u64::MAX)] {
            assert!(Limit::new("egress", rate, burst).is_err(), "{rate} {burst}");
        }
        assert!(Limit::new("egress", u64::MAX, u64::from(u32::MAX)).is_ok());
    }
}
