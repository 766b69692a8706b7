//! What a server grants: address, gateway, routes and times of an acknowledgement (RFC 2132; RFC 3442).

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::option;

/// The lease time when the server names none.
const DEFAULT_LEASE: Duration = Duration::from_secs(3600);
/// The shortest lease time that is kept to: a server that grants less would be asked all the time.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);
/// The lease time that never ends (RFC 2131, section 3.3).
const FOREVER: u32 = u32::MAX;

/// Why an acknowledgement can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TermsError {
    #[error("DHCP option Subnet Mask not found in DHCPACK")]
    NoMask,
    #[error("the subnet mask that the DHCP server gave is none")]
    Mask,
    #[error("`{0}`, which the DHCP server gave, can't be an address of an interface")]
    Address(Ipv4Addr),
    #[error("the DHCP server did not say who it is")]
    NoServer,
}

/// The shortest prefix of an interface's subnet: that of the largest networks there ever were (RFC 791, section 3.2).
const SHORTEST_PREFIX: u8 = 8;

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub destination: Ipv4Net,
    /// By way of; `None` when it is on the link itself.
    pub gateway: Option<Ipv4Addr>,
}

/// When a lease must be renewed, and ends, counted from when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) renew: Duration,
    pub(crate) rebind: Duration,
    pub(crate) end: Duration,
}

/// What a server grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) address: Ipv4Net,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) routes: Vec<Route>,
    pub(crate) server: Ipv4Addr,
    /// `None` when it lasts for ever.
    pub(crate) times: Option<Times>,
}

impl Terms {
    /// Reads an acknowledgement.
    pub(crate) fn read(acknowledgement: &Message) -> Result<Self, TermsError> {
        let address = acknowledgement.yours;
        if !is_host(address) {
            return Err(TermsError::Address(address));
        }
        if !acknowledgement.options.contains_key(&option::SUBNET_MASK) {
            return Err(TermsError::NoMask);
        }
        let mask = acknowledgement.address(option::SUBNET_MASK).ok_or(TermsError::Mask)?;
        let address = Ipv4Net::with_netmask(address, mask).map_err(|_| TermsError::Mask)?;
        if address.prefix_len() < SHORTEST_PREFIX {
            return Err(TermsError::Mask);
        }
        let gateway = addresses(acknowledgement, option::ROUTERS).next();
        Ok(Self {
            address,
            gateway,
            routes: routes(acknowledgement, gateway),
            server: acknowledgement.address(option::SERVER).ok_or(TermsError::NoServer)?,
            times: times(acknowledgement),
        })
    }
}

/// Whether an address can be that of an interface.
pub(crate) fn is_host(address: Ipv4Addr) -> bool {
    let reserved = address.octets()[0] == 0 || address.octets()[0] >= 240;
    !reserved && !address.is_multicast() && !address.is_loopback()
}

fn times(acknowledgement: &Message) -> Option<Times> {
    let seconds = |code: u8| acknowledgement.number(code);
    let end = match seconds(option::LEASE_TIME) {
        Some(FOREVER) => return None,
        Some(lease) => Duration::from_secs(lease.into()).max(SHORTEST_LEASE),
        None => DEFAULT_LEASE,
    };
    let rebind = end * 85 / 100;
    let sensible = |code: u8, limit: Duration| {
        let time = Duration::from_secs(seconds(code)?.into());
        (time >= SHORTEST_LEASE / 2 && time <= limit).then_some(time)
    };
    let rebind = sensible(option::REBINDING_TIME, end).unwrap_or(rebind);
    let renew = sensible(option::RENEWAL_TIME, rebind).unwrap_or((end / 2).min(rebind));
    Some(Times { renew, rebind, end })
}

fn addresses(message: &Message, code: u8) -> impl Iterator<Item = Ipv4Addr> {
    let bytes = message.options.get(&code).map(Vec::as_slice).unwrap_or_default();
    bytes.chunks_exact(4).map(|part| Ipv4Addr::new(part[0], part[1], part[2], part[3]))
}

/// Classless routes stand for all others (RFC 3442, "DHCP Client Behavior").
fn routes(message: &Message, gateway: Option<Ipv4Addr>) -> Vec<Route> {
    let classless = message.options.get(&option::CLASSLESS_ROUTES);
    if let Some(routes) = classless.and_then(|bytes| classless_routes(bytes)).filter(|list| !list.is_empty())
    {
        return routes;
    }
    let pairs: Vec<Ipv4Addr> = addresses(message, option::STATIC_ROUTES).collect();
    let classful = pairs.chunks_exact(2).filter_map(|pair| {
        let destination = Ipv4Net::new(pair[0], class(pair[0])?).ok()?.trunc();
        Some(Route { destination, gateway: Some(pair[1]) })
    });
    let default = gateway.map(|_| Route { destination: Ipv4Net::default(), gateway });
    classful.chain(default).collect()
}

/// The prefix length of a classful network; multicast and beyond have none.
fn class(destination: Ipv4Addr) -> Option<u8> {
    match destination.octets()[0] {
        0..128 => Some(8),
        128..192 => Some(16),
        192..224 => Some(24),
        _ => None,
    }
}

/// Destinations without the octets that mean nothing, each with its router; 0.0.0.0 stands for the link itself. `None` when
/// the option is broken.
fn classless_routes(mut bytes: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let Some((&length, rest)) = bytes.split_first() {
        let (significant, rest) = rest.split_at_checked(usize::from(length).div_ceil(8))?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        let mut destination = [0; 4];
        destination.get_mut(..significant.len())?.copy_from_slice(significant);
        let destination = Ipv4Net::new(destination.into(), length).ok()?.trunc();
        let router = Ipv4Addr::from(*router);
        routes.push(Route { destination, gateway: (!router.is_unspecified()).then_some(router) });
        bytes = rest;
    }
    Some(routes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Sender, kind};

    fn acknowledgement(options: &[(u8, &[u8])]) -> Message {
        let mut message = Message::of_client(kind::ACK, 1, [2; 6]);
        message.sender = Sender::Server;
        message.yours = Ipv4Addr::new(10, 5, 0, 9);
        message.options.insert(option::SUBNET_MASK, vec![255, 255, 255, 0]);
        message.options.insert(option::SERVER, vec![10, 5, 0, 1]);
        for (code, value) in options {
            message.options.insert(*code, value.to_vec());
        }
        message
    }

    fn routes_of(options: &[(u8, &[u8])]) -> Vec<(String, Option<String>)> {
        let terms = Terms::read(&acknowledgement(options)).expect("usable");
        let shown =
            |route: &Route| (route.destination.to_string(), route.gateway.map(|gateway| gateway.to_string()));
        terms.routes.iter().map(shown).collect()
    }

    #[test]
    fn the_first_router_is_the_gateway_and_the_default_route() {
        let options: [(u8, &[u8]); 1] = [(3, &[10, 5, 0, 1, 10, 5, 0, 2])];
        let terms = Terms::read(&acknowledgement(&options)).expect("usable");
        assert_eq!(terms.address.to_string(), "10.5.0.9/24");
        assert_eq!(terms.gateway, Some(Ipv4Addr::new(10, 5, 0, 1)));
        assert_eq!(routes_of(&options), [("0.0.0.0/0".into(), Some("10.5.0.1".into()))]);
        assert_eq!(routes_of(&[]), []);
    }

    #[test]
    fn classful_routes_come_before_the_default_route() {
        let static_routes: &[u8] =
            &[10, 1, 2, 3, 10, 5, 0, 3, 192, 168, 7, 9, 10, 5, 0, 4, 172, 16, 3, 0, 10, 5, 0, 6, 1, 2];
        assert_eq!(
            routes_of(&[(33, static_routes), (3, &[10, 5, 0, 1])]),
            [
                ("10.0.0.0/8".into(), Some("10.5.0.3".into())),
                ("192.168.7.0/24".into(), Some("10.5.0.4".into())),
                ("172.16.0.0/16".into(), Some("10.5.0.6".into())),
                ("0.0.0.0/0".into(), Some("10.5.0.1".into())),
            ]
        );
    }

    #[test]
    fn classless_routes_stand_for_all_others() {
        let classless: &[u8] = &[0, 10, 5, 0, 5, 12, 172, 31, 10, 5, 0, 6, 32, 192, 0, 2, 7, 0, 0, 0, 0];
        let all: [(u8, &[u8]); 3] =
            [(121, classless), (33, &[10, 1, 2, 3, 10, 5, 0, 3]), (3, &[10, 5, 0, 1])];
        assert_eq!(
            routes_of(&all),
            [
                ("0.0.0.0/0".into(), Some("10.5.0.5".into())),
                ("172.16.0.0/12".into(), Some("10.5.0.6".into())),
                ("192.0.2.7/32".into(), None),
            ]
        );
        // A broken option counts as none.
        for broken in [&[33, 1, 2, 3, 4, 5, 1, 1, 1, 1][..], &[24, 10, 5], &[0, 10, 5, 0], &[255; 40], &[]] {
            assert_eq!(
                routes_of(&[(121, broken), (3, &[10, 5, 0, 1])]),
                [("0.0.0.0/0".into(), Some("10.5.0.1".into()))]
            );
        }
    }

    #[test]
    fn times_are_sensible_whatever_the_server_says() {
        let seconds = |lease: Option<u32>, renew: Option<u32>, rebind: Option<u32>| {
            let mut message = acknowledgement(&[]);
            for (code, value) in [(51, lease), (58, renew), (59, rebind)] {
                message.options.extend(value.map(|value| (code, value.to_be_bytes().to_vec())));
            }
            let times = Terms::read(&message).expect("usable").times?;
            Some((times.renew.as_millis(), times.rebind.as_millis(), times.end.as_millis()))
        };
        assert_eq!(seconds(Some(100), None, None), Some((50_000, 85_000, 100_000)));
        assert_eq!(seconds(Some(100), Some(10), Some(20)), Some((10_000, 20_000, 100_000)));
        assert_eq!(seconds(None, None, None), Some((1_800_000, 3_060_000, 3_600_000)));
        assert_eq!(seconds(Some(0), Some(0), Some(0)), Some((1000, 1700, 2000)));
        assert_eq!(seconds(Some(100), Some(90), Some(80)), Some((50_000, 80_000, 100_000)));
        assert_eq!(seconds(Some(100), Some(500), Some(400)), Some((50_000, 85_000, 100_000)));
        assert_eq!(seconds(Some(100), None, Some(30)), Some((30_000, 30_000, 100_000)));
        assert_eq!(seconds(Some(u32::MAX), Some(5), None), None);
    }

    #[test]
    fn what_no_interface_can_have_is_refused() {
        assert_eq!(
            Terms::read(&acknowledgement(&[(option::SUBNET_MASK, &[255, 0, 255, 0])])),
            Err(TermsError::Mask)
        );
        assert_eq!(Terms::read(&acknowledgement(&[(option::SUBNET_MASK, &[255])])), Err(TermsError::Mask));
        for wide in [[0, 0, 0, 0], [128, 0, 0, 0], [254, 0, 0, 0]] {
            assert_eq!(
                Terms::read(&acknowledgement(&[(option::SUBNET_MASK, &wide)])),
                Err(TermsError::Mask),
                "half of all addresses are no subnet"
            );
        }
        assert_eq!(Terms::read(&acknowledgement(&[(option::SERVER, &[])])), Err(TermsError::NoServer));
        let mut message = acknowledgement(&[]);
        for wrong in [[0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255], [127, 0, 0, 1]] {
            message.yours = wrong.into();
            assert_eq!(Terms::read(&message), Err(TermsError::Address(wrong.into())));
        }
        message.yours = [10, 5, 0, 9].into();
        message.options.remove(&option::SUBNET_MASK);
        assert_eq!(Terms::read(&message), Err(TermsError::NoMask));
    }
}
