//! Ranges of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::Deserialize;

use crate::protocol::CniError;

/// A range as it is configured.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RangeConfig {
    subnet: IpNet,
    #[serde(default, rename = "rangeStart")]
    start: Option<IpAddr>,
    #[serde(default, rename = "rangeEnd")]
    end: Option<IpAddr>,
    #[serde(default)]
    gateway: Option<IpAddr>,
}

/// A range of addresses of one subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The subnet.
    pub subnet: IpNet,
    /// The gateway, which is never given out.
    pub gateway: IpAddr,
    start: u128,
    end: u128,
}

/// Ranges of one family, of which an attachment gets one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<Range>,
}

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address(number: u128, like: &IpNet) -> IpAddr {
    match (like, u32::try_from(number)) {
        (IpNet::V4(_), Ok(number)) => Ipv4Addr::from(number).into(),
        _ => Ipv6Addr::from(number).into(),
    }
}

impl Range {
    pub(super) fn new(config: &RangeConfig) -> Result<Self, CniError> {
        let invalid = |what: String| Err(CniError::invalid_config(format!("invalid range: {what}")));
        let subnet = config.subnet;
        if subnet.addr() != subnet.network() {
            return invalid(format!("subnet `{subnet}` has host bits set"));
        }
        if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
            return invalid(format!("subnet `{subnet}` is too small to allocate from"));
        }
        let first = number(subnet.network()) + 1;
        let last = number(subnet.broadcast()) - u128::from(subnet.addr().is_ipv4());
        let inside = |what: &str, wanted: Option<IpAddr>, default: u128| match wanted {
            None => Ok(default),
            Some(wanted) if subnet.contains(&wanted) => Ok(number(wanted)),
            Some(wanted) => Err(CniError::invalid_config(format!(
                "invalid range: {what} `{wanted}` is not in `{subnet}`"
            ))),
        };
        let start = inside("start", config.start, first)?;
        let end = inside("end", config.end, last)?;
        if start > end {
            return invalid(format!("it ends before it starts in `{subnet}`"));
        }
        let gateway = config.gateway.unwrap_or_else(|| address(first, &subnet));
        if gateway.is_ipv4() != subnet.addr().is_ipv4() {
            return invalid(format!("gateway `{gateway}` is not of the family of `{subnet}`"));
        }
        Ok(Self { subnet, gateway, start, end })
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.subnet.contains(&address) && (self.start..=self.end).contains(&number(address))
    }

    fn is_gateway(&self, candidate: u128) -> bool {
        number(self.gateway) == candidate
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.subnet.addr().is_ipv4() == other.subnet.addr().is_ipv4()
            && self.start <= other.end
            && other.start <= self.end
    }
}

impl RangeSet {
    pub(super) fn new(configs: &[RangeConfig]) -> Result<Self, CniError> {
        let ranges = configs.iter().map(Range::new).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = ranges.first() else {
            return Err(CniError::invalid_config("empty range set"));
        };
        for (index, range) in ranges.iter().enumerate() {
            if range.subnet.addr().is_ipv4() != first.subnet.addr().is_ipv4() {
                return Err(CniError::invalid_config("mixed address families in one range set"));
            }
            if let Some(other) = ranges[..index].iter().find(|other| range.overlaps(other)) {
                let message = format!("ranges of `{}` and `{}` overlap", other.subnet, range.subnet);
                return Err(CniError::invalid_config(message));
            }
        }
        Ok(Self { ranges })
    }

    /// Whether two sets share addresses.
    pub(super) fn overlaps(&self, other: &RangeSet) -> bool {
        self.ranges.iter().any(|one| other.ranges.iter().any(|two| one.overlaps(two)))
    }

    /// Whether its addresses are IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.ranges[0].subnet.addr().is_ipv4()
    }

    /// The subnets of its ranges.
    pub fn subnets(&self) -> impl Iterator<Item = IpNet> {
        self.ranges.iter().map(|range| range.subnet)
    }

    /// Whether an address is in one of the ranges.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// The range that an address is in.
    pub fn range_of(&self, address: IpAddr) -> Option<&Range> {
        self.ranges.iter().find(|range| range.contains(address))
    }

    /// Whether an address is a gateway of one of the ranges.
    pub fn is_gateway(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.gateway == address)
    }

    /// All addresses that may be given out, each once, beginning after `last` and going round.
    pub fn addresses_after(&self, last: Option<IpAddr>) -> impl Iterator<Item = (IpAddr, &Range)> {
        let found = last.and_then(|last| {
            let index = self.ranges.iter().position(|range| range.contains(last))?;
            Some((index, number(last)))
        });
        let (index, after) = found.map_or((0, None), |(index, last)| (index, Some(last)));
        let begun = &self.ranges[index];
        // The rest of the range that `last` is in, the other ranges, and that range up to `last`.
        let head = after.map_or(begun.start, |last| last + 1)..=begun.end;
        let tail = after.map(|last| begun.start..=last);
        let others = (1..self.ranges.len()).map(move |step| &self.ranges[(index + step) % self.ranges.len()]);
        std::iter::once((begun, head))
            .chain(others.map(|range| (range, range.start..=range.end)))
            .chain(tail.map(|tail| (begun, tail)))
            .flat_map(|(range, numbers)| numbers.map(move |number| (number, range)))
            .filter(|(number, range)| !range.is_gateway(*number))
            .map(|(number, range)| (address(number, &range.subnet), range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<RangeSet, CniError> {
        let configs: Vec<RangeConfig> = serde_json::from_str(text).expect("valid JSON");
        RangeSet::new(&configs)
    }

    #[test]
    fn wrong_ranges_are_refused() {
        for bad in [
            r#"[]"#,
            r#"[{"subnet":"10.0.0.1/24"}]"#,
            r#"[{"subnet":"10.0.0.0/31"}]"#,
            r#"[{"subnet":"fd00::/127"}]"#,
            r#"[{"subnet":"10.0.0.0/24","rangeStart":"10.0.1.1"}]"#,
            r#"[{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.9","rangeEnd":"10.0.0.8"}]"#,
            r#"[{"subnet":"10.0.0.0/24"},{"subnet":"10.0.0.0/25"}]"#,
            r#"[{"subnet":"10.0.0.0/24"},{"subnet":"fd00::/64"}]"#,
            r#"[{"subnet":"10.0.0.0/24","gateway":"fd00::1"}]"#,
        ] {
            assert!(set(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_go_round_and_skip_gateways() {
        let set = set(r#"[{"subnet":"10.0.0.0/29"},{"subnet":"10.1.0.0/30"}]"#).expect("valid");
        let all = |last: Option<&str>| -> Vec<String> {
            let last = last.map(|last| last.parse().expect("valid"));
            set.addresses_after(last).map(|(address, _)| address.to_string()).collect()
        };
        assert_eq!(all(None), ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.1.0.2"]);
        assert_eq!(
            all(Some("10.0.0.4")),
            ["10.0.0.5", "10.0.0.6", "10.1.0.2", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
        );
        assert_eq!(all(Some("10.1.0.2"))[0], "10.0.0.2");
        assert_eq!(all(Some("192.0.2.1")), all(None));
    }

    #[test]
    fn the_last_address_of_ipv6_is_given_out() {
        let set = set(r#"[{"subnet":"fd00::/126"}]"#).expect("valid");
        let all: Vec<String> = set.addresses_after(None).map(|(address, _)| address.to_string()).collect();
        assert_eq!(all, ["fd00::2", "fd00::3"]);
    }

    proptest::proptest! {
        #[test]
        fn every_address_comes_exactly_once(start in 1u32..250, length in 0u32..200, last in 0u32..255) {
            let end = (start + length).min(254);
            let text = format!(
                r#"[{{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.{start}","rangeEnd":"10.0.0.{end}"}}]"#
            );
            let set = set(&text).expect("valid");
            let last = IpAddr::from([10, 0, 0, u8::try_from(last).expect("small")]);
            let mut all: Vec<IpAddr> = set.addresses_after(Some(last)).map(|(address, _)| address).collect();
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count);
            let gateways = u32::from(start <= 1);
            assert_eq!(u32::try_from(count).expect("small"), end - start + 1 - gateways);
            assert!(all.iter().all(|address| set.contains(*address) && !set.is_gateway(*address)));
        }
    }
}
