//! Routing rules by source address, and routes that are moved from one table to another.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::attribute::attributes;
use super::batch::Batch;
use super::route_socket::{Answer, RouteSocket};
use super::socket::NetlinkError;

/// A rule: where routes for packets are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The address that packets come from, when the rule is about one whole address.
    pub source: Option<IpAddr>,
    /// The routing table.
    pub table: u32,
    /// Its place among the rules.
    pub priority: u32,
}

/// A route with everything that the kernel says of it, so that it can be put into another table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoute {
    message: RouteMessage,
}

fn short(table: u32) -> u8 {
    u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC)
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn rule_message(source: IpAddr, table: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(source);
    message.header.src_len = if source.is_ipv4() { 32 } else { 128 };
    message.header.table = short(table);
    message.header.action = RuleAction::ToTable;
    message.attributes.push(RuleAttribute::Source(source));
    message.attributes.push(RuleAttribute::Table(table));
    message
}

impl Batch {
    /// Has routes for packets from an address looked up in a table.
    pub fn add_rule(&mut self, source: IpAddr, table: u32) -> &mut Self {
        let message = rule_message(source, table);
        self.push(RouteNetlinkMessage::NewRule(message), NLM_F_CREATE | NLM_F_EXCL);
        self
    }

    /// Removes such a rule.
    pub fn delete_rule(&mut self, source: IpAddr, table: u32) -> &mut Self {
        self.push(RouteNetlinkMessage::DelRule(rule_message(source, table)), 0);
        self
    }

    /// Adds a route; one to the same destination in the same table is replaced.
    pub fn replace_route(&mut self, route: &StoredRoute) -> &mut Self {
        let message = RouteNetlinkMessage::NewRoute(route.message.clone());
        self.push(message, NLM_F_CREATE | NLM_F_REPLACE);
        self
    }

    /// Adds a route to an address's subnet out of a link; packets that have no source address yet get this one. A route
    /// to the same destination in the same table is replaced.
    pub fn hint_route(&mut self, index: u32, net: IpNet, table: u32, scope: u8) -> &mut Self {
        let mut message = RouteMessage::default();
        message.header.address_family = family(net.addr());
        message.header.destination_prefix_length = net.prefix_len();
        message.header.protocol = RouteProtocol::Boot;
        message.header.kind = RouteType::Unicast;
        message.header.scope = RouteScope::from(scope);
        message.header.table = short(table);
        message.attributes.push(RouteAttribute::Table(table));
        message.attributes.push(RouteAttribute::Destination(net.network().into()));
        message.attributes.push(RouteAttribute::PrefSource(net.addr().into()));
        message.attributes.push(RouteAttribute::Oif(index));
        self.replace_route(&StoredRoute { message })
    }

    /// Removes a route.
    pub fn delete_route(&mut self, route: &StoredRoute) -> &mut Self {
        self.push(RouteNetlinkMessage::DelRoute(route.message.clone()), 0);
        self
    }
}

impl StoredRoute {
    /// The routing table.
    pub fn table(&self) -> u32 {
        let of = |attribute: &RouteAttribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        };
        self.message.attributes.iter().find_map(of).unwrap_or(self.message.header.table.into())
    }

    fn address(&self, of: impl Fn(&RouteAttribute) -> Option<&RouteAddress>) -> Option<IpAddr> {
        match self.message.attributes.iter().find_map(of)? {
            RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
            RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
            _ => None,
        }
    }

    /// By way of.
    pub fn gateway(&self) -> Option<IpAddr> {
        self.address(|attribute| match attribute {
            RouteAttribute::Gateway(address) => Some(address),
            _ => None,
        })
    }

    /// The address that packets get which have none yet.
    pub fn preferred_source(&self) -> Option<IpAddr> {
        self.address(|attribute| match attribute {
            RouteAttribute::PrefSource(address) => Some(address),
            _ => None,
        })
    }

    /// Whether it leads to what is on the link itself.
    pub fn is_on_link(&self) -> bool {
        self.message.header.scope == RouteScope::Link
    }

    /// Whether the kernel made it, for an address.
    pub fn is_of_the_kernel(&self) -> bool {
        self.message.header.protocol == RouteProtocol::Kernel
    }

    fn link(&self) -> Option<u32> {
        self.message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(link) => Some(*link),
            _ => None,
        })
    }

    /// The same in another table, as it is to be added: without what the kernel only tells. That its gateway is on the link,
    /// whatever the other routes say, is not only told.
    #[must_use]
    pub fn in_table(&self, table: u32) -> Self {
        let mut message = self.message.clone();
        message.header.table = short(table);
        message.header.flags &= RouteFlags::Onlink;
        message.attributes.retain(|attribute| {
            !matches!(attribute, RouteAttribute::Table(_) | RouteAttribute::CacheInfo(_))
        });
        message.attributes.push(RouteAttribute::Table(table));
        Self { message }
    }
}

const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// A listing of a family that the kernel does not have is empty.
fn or_none(found: Result<Vec<Answer>, NetlinkError>) -> Result<Vec<Answer>, NetlinkError> {
    match found {
        Err(error) if matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT)) => Ok(Vec::new()),
        found => found,
    }
}

impl RouteSocket {
    /// Lists the rules of both families.
    pub fn rules(&mut self) -> Result<Vec<Rule>, NetlinkError> {
        let mut rules = Vec::new();
        for family in FAMILIES {
            let mut request = RuleMessage::default();
            request.header.family = family;
            let found = or_none(self.list(&RouteNetlinkMessage::GetRule(request)))?;
            rules.extend(found.iter().filter_map(read_rule));
        }
        Ok(rules)
    }

    /// Lists the routes out of a link that are in the main table, of both families.
    pub fn stored_routes(&mut self, index: u32) -> Result<Vec<StoredRoute>, NetlinkError> {
        let mut routes = Vec::new();
        for family in FAMILIES {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let found = or_none(self.list(&RouteNetlinkMessage::GetRoute(request)))?;
            routes.extend(found.iter().filter_map(|answer| match answer.decode()? {
                RouteNetlinkMessage::NewRoute(message) => Some(StoredRoute { message }),
                _ => None,
            }));
        }
        let main = u32::from(RouteHeader::RT_TABLE_MAIN);
        routes.retain(|route| {
            let cloned = route.message.header.flags.contains(RouteFlags::Cloned);
            route.link() == Some(index) && route.table() == main && !cloned
        });
        Ok(routes)
    }
}

/// Reads what is asked for of a rule (fib_rules.h).
fn read_rule(answer: &Answer) -> Option<Rule> {
    const RTM_NEWRULE: u16 = 32;
    const HEADER: usize = 12;
    const FRA_SRC: u16 = 2;
    const FRA_PRIORITY: u16 = 6;
    const FRA_TABLE: u16 = 15;
    let header = answer.payload.get(..HEADER).filter(|_| answer.kind == RTM_NEWRULE)?;
    let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?));
    let mut rule = Rule { source: None, table: header[4].into(), priority: 0 };
    for (kind, value) in attributes(&answer.payload[HEADER..]) {
        match kind {
            FRA_SRC if header[2] == 32 => {
                rule.source = <[u8; 4]>::try_from(value).ok().map(IpAddr::from);
            }
            FRA_SRC if header[2] == 128 => {
                rule.source = <[u8; 16]>::try_from(value).ok().map(IpAddr::from);
            }
            FRA_PRIORITY => rule.priority = number(value)?,
            FRA_TABLE => rule.table = number(value)?,
            _ => {}
        }
    }
    Some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(payload: Vec<u8>) {
            let _rule = read_rule(&Answer { kind: 32, payload });
        }
    }
}
