//! Links as the kernel shows them.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rustix::io::Errno;

use super::attribute::{attributes, text};
use super::link_request::{by_index, by_name};
use super::route_socket::{Answer, RouteSocket};
use super::socket::NetlinkError;

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
    /// The hardware address that hardware was built with, which nobody can change; empty for what has none.
    pub permanent_mac: Vec<u8>,
    /// The device on its bus that the link is of, such as `0000:3b:02.1`; empty for what is not hardware.
    pub device: String,
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
            54 => link.permanent_mac = value.to_vec(),
            56 => link.device = text(value),
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
