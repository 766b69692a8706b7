//! Links: bridges, veth pairs, and what is asked of them.

use std::os::fd::AsRawFd;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use rustix::io::Errno;

use super::attribute::{attributes, text};
use super::batch::Batch;
use super::socket::{Answer, NetlinkError, RouteSocket};
use crate::namespace::Namespace;

/// A link as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind, such as `bridge` or `veth`; empty for hardware.
    pub kind: String,
    /// Its hardware address.
    pub mac: Vec<u8>,
    /// Its MTU.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// Whether it is promiscuous because somebody said so.
    pub promiscuous: bool,
    /// The index of the bridge that it is a port of.
    pub controller: Option<u32>,
    /// The index of the other end of a veth pair, or of the link that this one is made over. It may be in another
    /// namespace.
    pub peer: Option<u32>,
    /// Whether it takes all multicast packets because somebody said so.
    pub all_multicast: bool,
    /// How many packets may wait to be sent.
    pub queue_length: u32,
    /// Its alias, a text for people; empty when it has none.
    pub alias: String,
    /// What its kind knows of itself (`IFLA_INFO_DATA`).
    data: Vec<u8>,
}

impl Link {
    /// The hardware address as text.
    pub fn mac_text(&self) -> String {
        mac_text(&self.mac)
    }

    /// The routing table of a VRF (if_link.h, `IFLA_VRF_TABLE`).
    pub fn vrf_table(&self) -> Option<u32> {
        self.mode().filter(|_| self.kind == "vrf")
    }

    /// The mode of a macvlan or ipvlan, or the number of a vlan: each is the first attribute of its kind.
    pub fn mode(&self) -> Option<u32> {
        let (_, value) = attributes(&self.data).find(|(kind, _)| *kind == 1)?;
        match value {
            [a, b] => Some(u16::from_ne_bytes([*a, *b]).into()),
            [a, b, c, d] => Some(u32::from_ne_bytes([*a, *b, *c, *d])),
            _ => None,
        }
    }
}

/// A hardware address as text.
pub(crate) fn mac_text(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

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
        let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
        if filter_vlans {
            info.push(LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)])));
        }
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.create_link(message);
        self
    }

    /// Makes a veth pair: the host's end is up and on the bridge, the other is made in the namespace, not moved there
    /// (moving waits for the kernel's grace periods; making does not).
    pub fn add_veth(&mut self, veth: &Veth<'_>) -> &mut Self {
        let mut peer = by_name(veth.name);
        peer.attributes.push(LinkAttribute::Address(veth.mac.to_vec()));
        peer.attributes.extend(veth.mtu.map(LinkAttribute::Mtu));
        peer.attributes.push(LinkAttribute::NetNsFd(veth.namespace.as_raw_fd()));
        let mut message = by_name(veth.host_name);
        set_up(&mut message);
        message.attributes.push(LinkAttribute::Address(veth.host_mac.to_vec()));
        message.attributes.extend(veth.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(veth.bridge.map(LinkAttribute::Controller));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.create_link(message);
        self
    }

    /// Changes what a bridge's port does, by the port's name.
    pub fn set_port(&mut self, name: &str, settings: PortSettings) -> &mut Self {
        let mut data = Vec::new();
        data.extend(settings.hairpin.map(InfoBridgePort::HairpinMode));
        data.extend(settings.isolated.map(InfoBridgePort::Isolated));
        let mut message = by_name(name);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(data)),
        ]));
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
}

impl Batch {
    /// Removes a link by index, which stays the same when somebody renames it.
    pub fn delete_link_by_index(&mut self, index: u32) -> &mut Self {
        self.remove_link(by_index(index));
        self
    }
}

impl RouteSocket {
    /// Looks a link up by name.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        self.get_link(by_name(name))
    }

    /// Looks a link up by index.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, NetlinkError> {
        self.get_link(by_index(index))
    }

    fn get_link(&mut self, mut message: LinkMessage) -> Result<Option<Link>, NetlinkError> {
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        match self.get(RouteNetlinkMessage::GetLink(message)) {
            Ok(answer) => read_link(&answer).map(Some).ok_or(NetlinkError::Malformed),
            Err(error) if error.errno() == Some(Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists all links.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let found = self.list(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(found.iter().filter_map(read_link).collect())
    }
}

/// Reads the few attributes that are asked for (if_link.h). The decoder that writes the requests reads all of them, and
/// prepares a message for each that could be wrong: half a millisecond a link.
fn read_link(answer: &Answer) -> Option<Link> {
    const RTM_NEWLINK: u16 = 16;
    const IFF_UP: u32 = 1;
    const IFF_PROMISC: u32 = 0x100;
    const IFF_ALLMULTI: u32 = 0x200;
    let header = answer.payload.get(..16).filter(|_| answer.kind == RTM_NEWLINK)?;
    let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?));
    let flags = number(&header[8..])?;
    let mut link = Link {
        index: number(&header[4..])?,
        up: flags & IFF_UP != 0,
        promiscuous: flags & IFF_PROMISC != 0,
        all_multicast: flags & IFF_ALLMULTI != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(&answer.payload[16..]) {
        match kind {
            1 => link.mac = value.to_vec(),
            3 => link.name = text(value),
            4 => link.mtu = number(value)?,
            5 => link.peer = number(value),
            10 => link.controller = number(value),
            13 => link.queue_length = number(value)?,
            18 => {
                for (kind, value) in attributes(value) {
                    match kind {
                        1 => link.kind = text(value),
                        2 => link.data = value.to_vec(),
                        _ => {}
                    }
                }
            }
            20 => link.alias = text(value),
            _ => {}
        }
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(payload: Vec<u8>) {
            let _link = read_link(&Answer { kind: 16, payload });
        }
    }
}
