//! A veth pair into a bridge, by netlink messages.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

const BRIDGE: &str = "floor0";

/// The bridge on the host.
pub(crate) struct Bridge {
    index: u32,
}

impl Bridge {
    /// Finds it, or makes it with an address.
    pub(crate) fn open() -> Result<Self> {
        if let Some(index) = index_of(BRIDGE) {
            return Ok(Self { index });
        }
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes.push(LinkAttribute::IfName(BRIDGE.to_owned()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        let socket = socket()?;
        ask(&socket, RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)?;
        let index = index_of(BRIDGE).context("the bridge was made")?;
        ask(&socket, address(index, Ipv4Addr::new(10, 84, 0, 1)), NLM_F_CREATE | NLM_F_EXCL)?;
        Ok(Self { index })
    }

    /// Makes the pair: one end on the bridge and up, the other as `eth0` in the process's namespace.
    pub(crate) fn attach(&self, pid: i32) -> Result<()> {
        let namespace: OwnedFd = std::fs::File::open(format!("/proc/{pid}/ns/net"))?.into();
        let mut peer = LinkMessage::default();
        peer.attributes.push(LinkAttribute::IfName("eth0".to_owned()));
        peer.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes.push(LinkAttribute::IfName(format!("floor{pid}")));
        link.attributes.push(LinkAttribute::Controller(self.index));
        let data = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), data]));
        ask(&socket()?, RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }
}

/// Gives the container's end an address and a default route.
pub(crate) fn configure_inside() -> Result<()> {
    let socket = socket()?;
    let index = index_of("eth0").context("eth0 was made")?;
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    ask(&socket, RouteNetlinkMessage::SetLink(link), 0)?;
    let last = u8::try_from(std::process::id() % 200)?;
    ask(&socket, address(index, Ipv4Addr::new(10, 84, 1, last + 2)), NLM_F_CREATE | NLM_F_EXCL)?;
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.protocol = RouteProtocol::Boot;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Unicast;
    route.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(Ipv4Addr::new(10, 84, 0, 1))));
    route.attributes.push(RouteAttribute::Oif(index));
    ask(&socket, RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL)
}

fn address(index: u32, address: Ipv4Addr) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 16;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address.into()));
    message.attributes.push(AddressAttribute::Address(address.into()));
    RouteNetlinkMessage::NewAddress(message)
}

fn index_of(name: &str) -> Option<u32> {
    // Without sysfs of the namespace at hand, the kernel's list in /proc has names but no numbers; netlink has both.
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let socket = socket().ok()?;
    match exchange(&socket, RouteNetlinkMessage::GetLink(link), 0).ok()? {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Some(link.header.index),
        _ => None,
    }
}

fn socket() -> Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Sends a request and waits for the acknowledgement.
fn ask(socket: &Socket, message: RouteNetlinkMessage, flags: u16) -> Result<()> {
    match exchange(socket, message, flags | NLM_F_ACK)? {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(error.to_io().into()),
        _ => bail!("the kernel answers something else"),
    }
}

fn exchange(
    socket: &Socket,
    message: RouteNetlinkMessage,
    flags: u16,
) -> Result<NetlinkPayload<RouteNetlinkMessage>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    Ok(NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?.payload)
}
