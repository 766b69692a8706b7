//! Subnets: which there are, and which are free.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use loam_cni::netlink::{NetlinkError, RouteSocket};
use serde_json::Value;

/// Subnets that the default network tries in turn: private, and the first choice of no other engine.
const LARGE: [&str; 12] = [
    "10.90.0.0/16",
    "10.91.0.0/16",
    "10.92.0.0/16",
    "10.93.0.0/16",
    "10.94.0.0/16",
    "10.95.0.0/16",
    "10.97.0.0/16",
    "10.98.0.0/16",
    "172.29.0.0/16",
    "172.30.0.0/16",
    "192.168.230.0/24",
    "192.168.231.0/24",
];

/// The first subnet for the default network that nothing touches.
pub(crate) fn free_large(used: &[IpNet]) -> Option<Ipv4Net> {
    LARGE.iter().filter_map(|text| text.parse().ok()).find(|candidate| is_free(*candidate, used))
}

/// The first subnet for a network more that nothing touches: of 10.99.0.0/16, then of 10.100.0.0/16.
pub(crate) fn free_small(used: &[IpNet]) -> Option<Ipv4Net> {
    let candidates = (0..=u16::from(u8::MAX) * 2 + 1).map(|number| {
        let [high, low] = number.to_be_bytes();
        Ipv4Net::new_assert(Ipv4Addr::new(10, 99 + high, low, 0), 24)
    });
    candidates.into_iter().find(|candidate| is_free(*candidate, used))
}

fn is_free(candidate: Ipv4Net, used: &[IpNet]) -> bool {
    overlapping(IpNet::V4(candidate), used).is_none()
}

/// The first of some subnets that has an address in common with another.
pub(crate) fn overlapping(subnet: IpNet, used: &[IpNet]) -> Option<IpNet> {
    used.iter().copied().find(|net| net.contains(&subnet) || subnet.contains(net))
}

/// The destinations of the host's routes, but for those to everywhere.
pub(crate) fn of_routes(socket: &mut RouteSocket) -> Result<Vec<IpNet>, NetlinkError> {
    let routes = socket.routes()?.into_iter().map(|route| route.destination);
    Ok(routes.filter(|net| net.prefix_len() > 0).collect())
}

/// Every value of a key `subnet`, at any depth.
pub(crate) fn collect<'a>(values: impl Iterator<Item = &'a Value>, into: &mut Vec<IpNet>) {
    for value in values {
        match value {
            Value::Array(values) => collect(values.iter(), into),
            Value::Object(object) => {
                let subnet = object.get("subnet").and_then(Value::as_str);
                into.extend(subnet.and_then(|text| text.parse::<IpNet>().ok()));
                collect(object.values(), into);
            }
            _ => {}
        }
    }
}

/// Whether the host has IPv6.
pub(crate) fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// A subnet of a random prefix of our own (RFC 4193, section 3.2.2).
pub(crate) fn unique_local() -> io::Result<Ipv6Net> {
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    File::open("/dev/urandom")?.read_exact(&mut bytes[1..6])?;
    Ok(Ipv6Net::new_assert(Ipv6Addr::from(bytes), 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect("valid")).collect()
    }

    #[test]
    fn the_first_subnet_that_no_route_touches_is_taken() {
        assert_eq!(free_large(&[]), "10.90.0.0/16".parse().ok());
        assert_eq!(
            free_large(&nets(&["10.90.7.0/24", "10.91.0.0/16", "fd00::/8"])),
            "10.92.0.0/16".parse().ok()
        );
        assert_eq!(free_large(&nets(&["10.0.0.0/8"])), "172.29.0.0/16".parse().ok());
        assert_eq!(free_large(&nets(&["0.0.0.0/1", "128.0.0.0/1"])), None);
        assert_eq!(free_small(&nets(&["10.99.0.0/24"])), "10.99.1.0/24".parse().ok());
        assert_eq!(free_small(&nets(&["10.99.0.0/16"])), "10.100.0.0/24".parse().ok());
        assert_eq!(free_small(&nets(&["10.99.0.0/16", "10.100.0.0/16"])), None);
    }

    #[test]
    fn subnets_are_found_at_any_depth() {
        let value =
            serde_json::json!({"a": [{"subnet": "10.0.0.0/8"}, [[{"subnet": "fd00::/64"}]]], "subnet": "x"});
        let mut found = Vec::new();
        collect([value].iter(), &mut found);
        assert_eq!(found, nets(&["10.0.0.0/8", "fd00::/64"]));
        assert!(unique_local().expect("random bytes").to_string().starts_with("fd"));
    }
}
