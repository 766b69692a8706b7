//! Settings of a link that exists already.

use netlink_packet_route::link::{InfoData, InfoKind, InfoVrf, LinkAttribute, LinkFlags, LinkInfo};

use super::batch::Batch;
use super::link_request::{by_index, by_name, set_up};

/// One setting of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Its hardware address.
    Mac([u8; 6]),
    /// Whether it is promiscuous.
    Promiscuous(bool),
    /// Its MTU.
    Mtu(u32),
    /// Whether it takes all multicast packets.
    AllMulticast(bool),
    /// How many packets may wait to be sent.
    QueueLength(u32),
    /// The link that it belongs to, by index; 0 for none.
    Controller(u32),
}

impl Batch {
    /// Changes one setting of a link.
    pub fn set(&mut self, index: u32, setting: Setting) -> &mut Self {
        let mut message = by_index(index);
        let mut flag = |flag: LinkFlags, on: bool| {
            message.header.change_mask = flag;
            message.header.flags = if on { flag } else { LinkFlags::empty() };
            None
        };
        let attribute = match setting {
            Setting::Mac(mac) => Some(LinkAttribute::Address(mac.to_vec())),
            Setting::Mtu(mtu) => Some(LinkAttribute::Mtu(mtu)),
            Setting::QueueLength(length) => Some(LinkAttribute::TxQueueLen(length)),
            Setting::Controller(controller) => Some(LinkAttribute::Controller(controller)),
            Setting::Promiscuous(on) => flag(LinkFlags::Promisc, on),
            Setting::AllMulticast(on) => flag(LinkFlags::Allmulti, on),
        };
        message.attributes.extend(attribute);
        self.change_link(message);
        self
    }

    /// Makes a link that gives its members a routing table of their own (`vrf`); it is up.
    pub fn add_vrf(&mut self, name: &str, table: u32) -> &mut Self {
        let mut message = by_name(name);
        set_up(&mut message);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vrf),
            LinkInfo::Data(InfoData::Vrf(vec![InfoVrf::TableId(table)])),
        ]));
        self.create_link(message);
        self
    }
}
