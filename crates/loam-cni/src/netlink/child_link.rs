//! Links over others, and links that hang on nothing, made in place in a namespace.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::DefaultNla;
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVlan, LinkAttribute, LinkInfo,
};

use super::batch::Batch;
use super::link_request::{by_index, by_name};
use crate::namespace::Namespace;

/// What a link over another, or one that hangs on nothing, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A second hardware address on the parent's network: mode (`MACVLAN_MODE_…`) and the length of its queue for
    /// broadcasts.
    MacVlan(u32, Option<u32>),
    /// More addresses behind the parent's hardware address: mode (`IPVLAN_MODE_…`).
    IpVlan(u16),
    /// A tagged part of the parent's network (IEEE 802.1Q): its number.
    Vlan(u16),
    /// A link that leads nowhere.
    Dummy,
}

impl LinkKind {
    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            LinkKind::MacVlan(..) => "macvlan",
            LinkKind::IpVlan(_) => "ipvlan",
            LinkKind::Vlan(_) => "vlan",
            LinkKind::Dummy => "dummy",
        }
    }

    fn info(self) -> Vec<LinkInfo> {
        match self {
            LinkKind::MacVlan(mode, queue) => {
                let mut data = vec![InfoMacVlan::Mode(mode.into())];
                data.extend(queue.map(InfoMacVlan::BcQueueLen));
                vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(InfoData::MacVlan(data))]
            }
            LinkKind::IpVlan(mode) => {
                let data = vec![InfoIpVlan::Mode(mode.into())];
                vec![LinkInfo::Kind(InfoKind::IpVlan), LinkInfo::Data(InfoData::IpVlan(data))]
            }
            LinkKind::Vlan(id) => {
                let data = vec![InfoVlan::Id(id)];
                vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(InfoData::Vlan(data))]
            }
            LinkKind::Dummy => vec![LinkInfo::Kind(InfoKind::Dummy)],
        }
    }
}

/// A link to be made in one message.
#[derive(Debug)]
pub struct ChildLink<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub kind: LinkKind,
    /// The index of its parent, in the socket's namespace.
    pub parent: Option<u32>,
    /// The namespace that it is made in, if another than the socket's.
    pub namespace: Option<&'a Namespace>,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
}

impl Batch {
    /// Makes a link in its namespace under its name; it is down. Kernels before 6.14 refuse a name that is taken in the
    /// socket's namespace too.
    pub fn add_child(&mut self, link: &ChildLink<'_>) -> &mut Self {
        let mut message = by_name(link.name);
        message.attributes.extend(link.parent.map(LinkAttribute::Link));
        message.attributes.extend(link.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(link.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        message
            .attributes
            .extend(link.namespace.map(|namespace| LinkAttribute::NetNsFd(namespace.as_raw_fd())));
        message.attributes.push(LinkAttribute::LinkInfo(link.kind.info()));
        self.create_link(message);
        self
    }

    /// Gives a link that is down another name.
    pub fn rename_link(&mut self, index: u32, name: &str) -> &mut Self {
        let mut message = by_index(index);
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.change_link(message);
        self
    }
}

/// What a link gets after it was made; what is `None` is left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkSettings {
    /// Its MTU.
    pub mtu: Option<u32>,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// The index of the bridge that it becomes a port of.
    pub controller: Option<u32>,
}

impl Batch {
    /// Changes a link, by name.
    pub fn set_link_settings(&mut self, name: &str, settings: LinkSettings) -> &mut Self {
        let mut message = by_name(name);
        message.attributes.extend(settings.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(settings.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        message.attributes.extend(settings.controller.map(LinkAttribute::Controller));
        self.change_link(message);
        self
    }

    /// Moves a link to another namespace, where it gets a name and an alias; an empty alias removes the one that it has.
    /// It is down there. All in one message: the kernel does it, or fails at a step of which nothing is left but the move.
    pub fn move_link(&mut self, index: u32, namespace: BorrowedFd<'_>, name: &str, alias: &str) -> &mut Self {
        const IFLA_IFALIAS: u16 = 20;
        let mut message = by_index(index);
        message.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message
            .attributes
            .push(LinkAttribute::Other(DefaultNla::new(IFLA_IFALIAS, alias.as_bytes().to_vec())));
        self.set_link(message);
        self
    }
}
