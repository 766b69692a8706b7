//! Neighbours: what a link knows of the hardware addresses beyond it.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};

use super::batch::Batch;

impl Batch {
    /// Forgets what a link knows of an address, which may have had another owner before.
    pub fn forget_neighbour(&mut self, index: u32, address: IpAddr) -> &mut Self {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = index;
        let (family, destination) = match address {
            IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
            IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
        };
        message.header.family = family;
        message.attributes.push(NeighbourAttribute::Destination(destination));
        self.drop_neighbour(message);
        self
    }
}
