//! Addresses of links.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::batch::Batch;
use super::route_socket::RouteSocket;
use super::socket::NetlinkError;

/// An address of a link as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub index: u32,
    /// The address with its prefix length.
    pub net: IpNet,
    /// Whether it is valid beyond the link.
    pub global: bool,
    /// Whether the kernel still makes sure that nobody else has it.
    pub tentative: bool,
    /// Whether the kernel found out that somebody else has it.
    pub duplicate: bool,
}

/// What the kernel does with an address beside setting it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressOptions {
    /// Whether it probes for duplicates of an IPv6 address, during which the address can't be used.
    pub probe: bool,
    /// Whether it makes no route to the subnet.
    pub without_route: bool,
}

fn message(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = net.prefix_len();
    message.header.family = if net.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.scope = AddressScope::Universe;
    message.attributes.push(AddressAttribute::Address(net.addr()));
    message.attributes.push(AddressAttribute::Local(net.addr()));
    message
}

impl Batch {
    /// Gives a link an address.
    pub fn add_address(&mut self, index: u32, net: IpNet, options: AddressOptions) -> &mut Self {
        let mut message = message(index, net);
        let mut flags = AddressFlags::empty();
        match net {
            IpNet::V4(net) if net.prefix_len() < 31 => {
                message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
            }
            IpNet::V6(_) if !options.probe => {
                message.header.flags = AddressHeaderFlags::Nodad;
                flags |= AddressFlags::Nodad;
            }
            _ => {}
        }
        if options.without_route {
            flags |= AddressFlags::Noprefixroute;
        }
        if !flags.is_empty() {
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        self.create_address(message);
        self
    }

    /// Takes an address from a link.
    pub fn delete_address(&mut self, index: u32, net: IpNet) -> &mut Self {
        self.remove_address(message(index, net));
        self
    }
}

impl RouteSocket {
    /// Lists the addresses of a link, or of all links.
    pub fn addresses(&mut self, index: Option<u32>) -> Result<Vec<Address>, NetlinkError> {
        let mut request = AddressMessage::default();
        request.header.index = index.unwrap_or_default();
        let found = self.list(&RouteNetlinkMessage::GetAddress(request))?;
        let addresses = found.iter().filter_map(|answer| match answer.decode()? {
            RouteNetlinkMessage::NewAddress(message) => read_address(&message),
            _ => None,
        });
        Ok(addresses.filter(|address| index.is_none_or(|index| index == address.index)).collect())
    }
}

fn read_address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut address) = (None, None);
    let mut tentative = message.header.flags.contains(AddressHeaderFlags::Tentative);
    let mut duplicate = message.header.flags.contains(AddressHeaderFlags::Dadfailed);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(found) => local = Some(*found),
            AddressAttribute::Address(found) => address = Some(*found),
            AddressAttribute::Flags(flags) => {
                tentative |= flags.contains(AddressFlags::Tentative);
                duplicate |= flags.contains(AddressFlags::Dadfailed);
            }
            _ => {}
        }
    }
    let ip: IpAddr = local.or(address)?;
    let net = IpNet::new(ip, message.header.prefix_len).ok()?;
    let global = message.header.scope == AddressScope::Universe;
    Some(Address { index: message.header.index, net, global, tentative, duplicate })
}
