//! What is asked of links: bridges, veth pairs, ports.

use std::os::fd::AsRawFd;

use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};

use super::batch::Batch;
use crate::namespace::Namespace;

/// What a veth pair between a bridge and a namespace is made from.
#[derive(Debug)]
pub struct Veth<'a> {
    /// The name of the end on the host.
    pub host_name: &'a str,
    /// The hardware address of the end on the host.
    pub host_mac: [u8; 6],
    /// The bridge that the end on the host becomes a port of, if it does.
    pub bridge: Option<u32>,
    /// The namespace of the other end.
    pub namespace: &'a Namespace,
    /// The name of the end in the namespace.
    pub name: &'a str,
    /// The hardware address of the end in the namespace.
    pub mac: [u8; 6],
    /// The MTU of both ends.
    pub mtu: Option<u32>,
}

/// What a bridge's port shall do; what is `None` is left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortSettings {
    /// Whether frames may go back out of the port that they came in by.
    pub hairpin: Option<bool>,
    /// Whether the port can't reach other isolated ports.
    pub isolated: Option<bool>,
}

pub(super) fn by_index(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

pub(super) fn by_name(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

/// One queue each way: a pair has no use for more as long as its ends pass packets on at once, and by itself the kernel
/// makes one for each possible processor, each with its entries in sysfs (veth.c, `veth_get_num_queues`).
fn with_one_queue(message: &mut LinkMessage) {
    message.attributes.extend([LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)]);
}

pub(super) fn set_up(message: &mut LinkMessage) {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
}

impl Batch {
    /// Makes a bridge that is up; its hardware address is kept even when ports come and go. With `filter_vlans` it tells
    /// virtual networks apart.
    pub fn add_bridge(
        &mut self,
        name: &str,
        mac: [u8; 6],
        mtu: Option<u32>,
        filter_vlans: bool,
    ) -> &mut Self {
        let mut message = by_name(name);
        set_up(&mut message);
        message.attributes.push(LinkAttribute::Address(mac.to_vec()));
        message.attributes.extend(mtu.map(LinkAttribute::Mtu));
        // Nobody on it asks who wants which group, without which multicast goes to all ports anyway; and a new port has the
        // kernel look at all others.
        let mut settings = vec![InfoBridge::MulticastSnooping(false)];
        if filter_vlans {
            settings.push(InfoBridge::VlanFiltering(true));
        }
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(settings)),
        ]));
        self.create_link(message);
        self
    }

    /// Makes a veth pair, both ends down: the host's is on the bridge, the other is made in the namespace, not moved there
    /// (moving waits for the kernel's grace periods; making does not).
    pub fn add_veth(&mut self, veth: &Veth<'_>) -> &mut Self {
        let mut peer = by_name(veth.name);
        peer.attributes.push(LinkAttribute::Address(veth.mac.to_vec()));
        peer.attributes.extend(veth.mtu.map(LinkAttribute::Mtu));
        with_one_queue(&mut peer);
        peer.attributes.push(LinkAttribute::NetNsFd(veth.namespace.as_raw_fd()));
        let mut message = by_name(veth.host_name);
        message.attributes.push(LinkAttribute::Address(veth.host_mac.to_vec()));
        message.attributes.extend(veth.mtu.map(LinkAttribute::Mtu));
        with_one_queue(&mut message);
        message.attributes.extend(veth.bridge.map(LinkAttribute::Controller));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.create_link(message);
        self
    }

    /// Changes what a bridge's port does, by the port's name, and its alias, if one is given.
    pub fn set_port(&mut self, name: &str, settings: PortSettings, alias: Option<&str>) -> &mut Self {
        let mut data = Vec::new();
        data.extend(settings.hairpin.map(InfoBridgePort::HairpinMode));
        data.extend(settings.isolated.map(InfoBridgePort::Isolated));
        let mut message = by_name(name);
        message.attributes.extend(alias.map(|alias| LinkAttribute::IfAlias(alias.to_owned())));
        if !data.is_empty() {
            message.attributes.push(LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(data)),
            ]));
        }
        self.change_link(message);
        self
    }

    /// Gives a link an alias, by name.
    pub fn set_alias(&mut self, name: &str, alias: &str) -> &mut Self {
        let mut message = by_name(name);
        message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        self.change_link(message);
        self
    }

    /// Brings a link up.
    pub fn link_up(&mut self, index: u32) -> &mut Self {
        let mut message = by_index(index);
        set_up(&mut message);
        self.change_link(message);
        self
    }

    /// Brings a link up, by name.
    pub fn link_up_by_name(&mut self, name: &str) -> &mut Self {
        let mut message = by_name(name);
        set_up(&mut message);
        self.change_link(message);
        self
    }

    /// Takes a link down.
    pub fn link_down(&mut self, index: u32) -> &mut Self {
        let mut message = by_index(index);
        message.header.change_mask = LinkFlags::Up;
        self.change_link(message);
        self
    }

    /// Gives a link that is down another name, and takes it off its bridge.
    pub fn rename_off_bridge(&mut self, index: u32, name: &str) -> &mut Self {
        let mut message = by_index(index);
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::Controller(0));
        self.change_link(message);
        self
    }

    /// Makes a link promiscuous.
    pub fn link_promiscuous(&mut self, index: u32) -> &mut Self {
        let mut message = by_index(index);
        message.header.flags = LinkFlags::Promisc;
        message.header.change_mask = LinkFlags::Promisc;
        self.change_link(message);
        self
    }

    /// Removes a link by name. The kernel waits for its grace periods before it answers.
    pub fn delete_link(&mut self, name: &str) -> &mut Self {
        self.remove_link(by_name(name));
        self
    }

    /// Removes a link by index, which stays the same when somebody renames it.
    pub fn delete_link_by_index(&mut self, index: u32) -> &mut Self {
        self.remove_link(by_index(index));
        self
    }
}
