//! VLAN numbers of a bridge's port (if_bridge.h, `IFLA_BRIDGE_VLAN_INFO`).

use netlink_packet_core::DefaultNla;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::attribute::Attributes;
use super::batch::Batch;
use super::link_request::by_index;

/// Numbers from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanRange {
    /// The first number.
    pub first: u16,
    /// The last number.
    pub last: u16,
    /// Whether frames without a tag belong to it, and leave without one. For one number only.
    pub untagged: bool,
}

const IFLA_AF_SPEC: u16 = 26;
const NESTED: u16 = 0x8000;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const PVID: u16 = 1 << 1;
const UNTAGGED: u16 = 1 << 2;
const RANGE_BEGIN: u16 = 1 << 3;
const RANGE_END: u16 = 1 << 4;

fn message(index: u32, range: VlanRange) -> LinkMessage {
    let mut list = Attributes::default();
    let flags = if range.untagged { PVID | UNTAGGED } else { 0 };
    let mut write = |number: u16, more: u16| {
        let [a, b] = (flags | more).to_ne_bytes();
        let [c, d] = number.to_ne_bytes();
        list.bytes(IFLA_BRIDGE_VLAN_INFO, &[a, b, c, d]);
    };
    if range.first == range.last {
        write(range.first, 0);
    } else {
        write(range.first, RANGE_BEGIN);
        write(range.last, RANGE_END);
    }
    let mut message = by_index(index);
    message.header.interface_family = AddressFamily::Bridge;
    let list = DefaultNla::new(IFLA_AF_SPEC | NESTED, list.as_bytes().to_vec());
    message.attributes.push(LinkAttribute::Other(list));
    message
}

impl Batch {
    /// Gives a bridge's port numbers.
    pub fn add_vlans(&mut self, index: u32, range: VlanRange) -> &mut Self {
        self.set_link(message(index, range));
        self
    }

    /// Takes all numbers from a bridge's port.
    pub fn remove_all_vlans(&mut self, index: u32) -> &mut Self {
        self.remove_link(message(index, VlanRange { first: 1, last: 4094, untagged: false }));
        self
    }
}
