//! What of an ADD is the kernel's: a pair alone, made and configured by three netlink requests.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ipnet::Ipv4Net;
use loam_cni::CniResult;
use loam_cni::netlink::{AddressOptions, Batch, NetlinkError, Refusal, RouteSocket, Veth};
use loam_cni::protocol::Route;

use crate::chain::INTERFACE;
use crate::container::Container;

/// The end on the host.
const HOST_NAME: &str = "bare0";
/// The hardware addresses of both ends, local ones (RFC 7042, section 2.1).
const HOST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
/// Of a subnet for documentation, which nobody has (RFC 5737).
const ADDRESS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 2), 24);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The index of the bridge that a result names, if it names one.
pub(super) fn bridge_of(result: &CniResult) -> Option<u32> {
    let mut socket = RouteSocket::open().ok()?;
    let on_host = result.interfaces.iter().filter(|interface| interface.sandbox.is_empty());
    let links = on_host.filter_map(|interface| socket.link(&interface.name).ok()?);
    links.filter(|link| link.kind == "bridge").map(|link| link.index).next()
}

/// Makes a pair from the container to a port of the bridge, gives it an address and the default route, and removes it; gives
/// the milliseconds until it was ready for use.
pub(super) fn time_pair(bridge: u32, container: &Container) -> Result<f64, String> {
    let namespace = container.namespace()?;
    let mut socket = RouteSocket::open().map_err(described)?;
    let veth = Veth {
        host_name: HOST_NAME,
        host_mac: HOST_MAC,
        bridge: Some(bridge),
        namespace: &namespace,
        name: INTERFACE,
        mac: MAC,
        mtu: None,
    };
    let begun = Instant::now();
    let made = make(&mut socket, &veth);
    let configured = made.and_then(|()| namespace.run(configure).map_err(|error| error.to_string())?);
    let took = begun.elapsed();
    let mut batch = Batch::new();
    batch.delete_link(HOST_NAME);
    let removed = run(&mut socket, batch);
    configured.and(removed).map(|()| took.as_secs_f64() * 1e3)
}

fn make(socket: &mut RouteSocket, veth: &Veth<'_>) -> Result<(), String> {
    let mut batch = Batch::new();
    batch.add_veth(veth).make_no_address(HOST_NAME).link_up_by_name(HOST_NAME);
    let verdicts = socket.run(batch).map_err(described)?.into_iter().enumerate();
    // A kernel without IPv6 makes no address anyway.
    all(verdicts.filter(|(request, _)| *request != 1).map(|(_, verdict)| verdict))
}

fn configure() -> Result<(), String> {
    let mut socket = RouteSocket::open().map_err(described)?;
    let link = socket.link(INTERFACE).map_err(described)?.ok_or("the bare pair vanished")?;
    let everywhere = Route::new(Ipv4Net::default().into(), Some(IpAddr::V4(GATEWAY)));
    let mut batch = Batch::new();
    batch.add_address(link.index, ADDRESS.into(), AddressOptions::default());
    batch.link_up(link.index).add_route(link.index, &everywhere, None);
    run(&mut socket, batch)
}

fn run(socket: &mut RouteSocket, batch: Batch) -> Result<(), String> {
    all(socket.run(batch).map_err(described)?.into_iter())
}

fn all(mut verdicts: impl Iterator<Item = Result<(), Refusal>>) -> Result<(), String> {
    verdicts.try_for_each(|verdict| verdict).map_err(|refusal| described(NetlinkError::Refused(refusal)))
}

fn described(error: NetlinkError) -> String {
    format!("a pair by bare requests: {error}")
}
