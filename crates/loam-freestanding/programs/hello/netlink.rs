//! Reading messages of the kernel's routing socket (rtnetlink(7), netlink(7)). Pure functions over bytes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The end of a dump.
pub const NLMSG_DONE: u16 = 3;
/// An error, which also ends a dump.
pub const NLMSG_ERROR: u16 = 2;
pub const RTM_NEWLINK: u16 = 16;
pub const RTM_GETLINK: u16 = 18;
pub const RTM_NEWADDR: u16 = 20;
pub const RTM_GETADDR: u16 = 22;
pub const RTM_NEWROUTE: u16 = 24;
pub const RTM_GETROUTE: u16 = 26;

const HEADER: usize = 16;
/// A request's length: header, and a body that is long enough for every kind.
const REQUEST: u32 = 32;

/// A request to list all things of a kind: header, and a body whose first byte, the address family, is "any".
pub fn dump_request(kind: u16) -> [u8; REQUEST as usize] {
    const NLM_F_REQUEST_DUMP: u16 = 0x301;
    let mut request = [0; REQUEST as usize];
    request[..4].copy_from_slice(&REQUEST.to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    request
}

/// The messages in what was received: type and body.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    pieces(bytes, HEADER, |bytes| (word(bytes, 0).unwrap_or(0) as usize, half(bytes, 4).unwrap_or(0)))
}

/// The attributes in a message's tail: type and value.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const NESTED_AND_ORDER: u16 = 0xc000;
    pieces(bytes, 4, |bytes| {
        (usize::from(half(bytes, 0).unwrap_or(0)), half(bytes, 2).unwrap_or(0) & !NESTED_AND_ORDER)
    })
}

/// Cuts bytes into pieces that begin with a header which says their length and type, each padded to four bytes.
fn pieces(
    mut bytes: &[u8],
    header: usize,
    read: impl Fn(&[u8]) -> (usize, u16),
) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let (length, kind) = read(bytes);
        if length < header || length > bytes.len() {
            return None;
        }
        let body = &bytes[header..length];
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// An interface: its index and name.
pub fn link(body: &[u8]) -> Option<(u32, &[u8])> {
    const IFLA_IFNAME: u16 = 3;
    let index = word(body, 4)?;
    let (_, name) = attributes(body.get(16..)?).find(|(kind, _)| *kind == IFLA_IFNAME)?;
    Some((index, name.strip_suffix(b"\0").unwrap_or(name)))
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface's index.
    pub link: u32,
    /// The address.
    pub address: IpAddr,
    /// The length of the network's prefix.
    pub prefix: u8,
}

/// Reads an address. `IFA_LOCAL` is the interface's own where the link has another end.
pub fn address(body: &[u8]) -> Option<Address> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    let tail = body.get(8..)?;
    let find = |wanted| attributes(tail).find(|(kind, _)| *kind == wanted).and_then(|(_, value)| ip(value));
    Some(Address {
        link: word(body, 4)?,
        address: find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))?,
        prefix: body[1],
    })
}

/// A route of the main table to other machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to; the default route has none.
    pub destination: Option<IpAddr>,
    /// The length of the destination's prefix.
    pub prefix: u8,
    /// The next machine on the way.
    pub gateway: Option<IpAddr>,
    /// The interface's index.
    pub link: Option<u32>,
}

/// Reads a route; `None` for those of other tables and types.
pub fn route(body: &[u8]) -> Option<Route> {
    const RT_TABLE_MAIN: u8 = 254;
    const RTN_UNICAST: u8 = 1;
    const RTA_DST: u16 = 1;
    const RTA_OIF: u16 = 4;
    const RTA_GATEWAY: u16 = 5;
    let (head, tail) = body.split_at_checked(12)?;
    if head[4] != RT_TABLE_MAIN || head[7] != RTN_UNICAST {
        return None;
    }
    let mut route = Route { destination: None, prefix: head[1], gateway: None, link: None };
    for (kind, value) in attributes(tail) {
        match kind {
            RTA_DST => route.destination = ip(value),
            RTA_GATEWAY => route.gateway = ip(value),
            RTA_OIF => route.link = word(value, 0),
            _ => {}
        }
    }
    Some(route)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short");
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_link_is_its_index_and_name() {
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&7u32.to_ne_bytes());
        body.extend(attribute(3, b"eth0\0"));
        assert_eq!(link(&body), Some((7, &b"eth0"[..])));
    }

    #[test]
    fn an_address_is_the_local_end() {
        let mut body = vec![2, 24, 0, 0, 3, 0, 0, 0];
        body[4..8].copy_from_slice(&3u32.to_ne_bytes());
        body.extend(attribute(1, &[10, 0, 0, 1]));
        body.extend(attribute(2, &[10, 0, 0, 2]));
        let expected = Address { link: 3, address: [10, 0, 0, 2].into(), prefix: 24 };
        assert_eq!(address(&body), Some(expected));
    }

    #[test]
    fn only_routes_of_the_main_table_count() {
        let mut body = vec![2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        body.extend(attribute(5, &[10, 0, 0, 1]));
        let expected =
            Route { destination: None, prefix: 0, gateway: Some([10, 0, 0, 1].into()), link: None };
        assert_eq!(route(&body), Some(expected));
        body[4] = 255;
        assert_eq!(route(&body), None);
    }

    #[test]
    fn lying_lengths_end_the_list() {
        assert_eq!(messages(&[255; 40]).count(), 0);
        assert_eq!(messages(&[]).count(), 0);
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(address(&[2, 24]), None);
    }
}
