//! Routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::batch::Batch;
use super::route_socket::RouteSocket;
use super::socket::NetlinkError;
use crate::protocol::Route;

/// A route as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// Where to.
    pub destination: IpNet,
    /// By way of.
    pub gateway: Option<IpAddr>,
    /// Out of which link.
    pub link: Option<u32>,
    /// The routing table.
    pub table: u32,
    /// Its metric; of several routes the one with the lowest is taken.
    pub metric: u32,
    /// Whether it leads to another host or network, rather than to this host itself.
    pub unicast: bool,
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

impl Batch {
    /// Adds a route out of a link; `gateway` is taken when the route names none.
    pub fn add_route(&mut self, index: u32, route: &Route, gateway: Option<IpAddr>) -> &mut Self {
        self.add_route_from(index, route, gateway, None)
    }

    /// Adds a route as [`Self::add_route`] does; what goes over it has the source address unless it has one.
    pub fn add_route_from(
        &mut self,
        index: u32,
        route: &Route,
        gateway: Option<IpAddr>,
        source: Option<IpAddr>,
    ) -> &mut Self {
        // The unspecified address says that there is none, and that the gateway of the family shall not be taken.
        let gateway = route.gw.or(gateway).filter(|gateway| !gateway.is_unspecified());
        let mut message = RouteMessage::default();
        message.header.address_family = family(route.dst.addr());
        message.header.destination_prefix_length = route.dst.prefix_len();
        message.header.protocol = RouteProtocol::Boot;
        message.header.kind = RouteType::Unicast;
        message.header.scope = match route.scope {
            Some(scope) => RouteScope::from(scope),
            None if gateway.is_some() || route.dst.addr().is_ipv6() => RouteScope::Universe,
            None => RouteScope::Link,
        };
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        if let Some(table) = route.table {
            message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
            message.attributes.push(RouteAttribute::Table(table));
        }
        if route.dst.prefix_len() > 0 {
            message.attributes.push(RouteAttribute::Destination(route.dst.network().into()));
        }
        message.attributes.extend(gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
        message.attributes.push(RouteAttribute::Oif(index));
        message.attributes.extend(source.map(|source| RouteAttribute::PrefSource(source.into())));
        message.attributes.extend(route.priority.map(RouteAttribute::Priority));
        let mut metrics = Vec::new();
        metrics.extend(route.mtu.map(RouteMetric::Mtu));
        metrics.extend(route.advmss.map(RouteMetric::Advmss));
        if !metrics.is_empty() {
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        self.append_route(message);
        self
    }
}

impl RouteSocket {
    /// Lists all routes of both families and all tables.
    pub fn routes(&mut self) -> Result<Vec<RouteEntry>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let found = match self.list(&RouteNetlinkMessage::GetRoute(request)) {
                // A kernel without IPv6 has no routes of it.
                Err(error) if error.errno() == Some(rustix::io::Errno::OPNOTSUPP) => continue,
                found => found?,
            };
            routes.extend(found.iter().filter_map(|answer| match answer.decode()? {
                RouteNetlinkMessage::NewRoute(message) => read_route(&message),
                _ => None,
            }));
        }
        Ok(routes)
    }

    /// Asks which link leads to an address.
    pub fn link_towards(&mut self, address: IpAddr) -> Result<Option<u32>, NetlinkError> {
        let mut request = RouteMessage::default();
        request.header.address_family = family(address);
        request.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        request.attributes.push(RouteAttribute::Destination(address.into()));
        match self.get(RouteNetlinkMessage::GetRoute(request))?.decode().ok_or(NetlinkError::Malformed)? {
            RouteNetlinkMessage::NewRoute(message) => Ok(read_route(&message).and_then(|route| route.link)),
            _ => Err(NetlinkError::Malformed),
        }
    }
}

fn read_route(message: &RouteMessage) -> Option<RouteEntry> {
    let address = |address: &RouteAddress| match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    };
    let mut destination: IpAddr = match message.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let (mut gateway, mut link, mut metric) = (None, None, 0);
    let mut table = u32::from(message.header.table);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(found) => destination = address(found)?,
            RouteAttribute::Gateway(found) => gateway = address(found),
            RouteAttribute::Oif(found) => link = Some(*found),
            RouteAttribute::Table(found) => table = *found,
            RouteAttribute::Priority(found) => metric = *found,
            _ => {}
        }
    }
    let destination = IpNet::new(destination, message.header.destination_prefix_length).ok()?;
    let unicast = message.header.kind == RouteType::Unicast;
    Some(RouteEntry { destination, gateway, link, table, metric, unicast })
}
