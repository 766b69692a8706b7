//! What of an ADD is the kernel's: the pair alone, by two bare requests.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net};
use loam_cni::CniResult;
use loam_cni::netlink::{AddressOptions, Batch, NetlinkError, RouteSocket, Veth};
use loam_cni::protocol::Route;

use crate::chain::INTERFACE;
use crate::container::Container;

/// The end on the host.
const HOST_NAME: &str = "bare0";
/// The hardware addresses of both ends (RFC 7042, 2.1: local ones).
const HOST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
/// A subnet for documentation, which nobody has (RFC 5737).
const NET: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 0, 2, 2), 24);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The index of the bridge that a result names, if it names one.
pub(super) fn bridge_of(result: &CniResult) -> Result<Option<u32>, NetlinkError> {
    let mut socket = RouteSocket::open()?;
    for interface in result.interfaces.iter().filter(|interface| interface.sandbox.is_empty()) {
        if let Some(link) = socket.link(&interface.name)?.filter(|link| link.kind == "bridge") {
            return Ok(Some(link.index));
        }
    }
    Ok(None)
}

/// Makes a pair from the container to a port of the bridge, gives it an address and the default route, and removes it; gives
/// the milliseconds until it was ready for use.
pub(super) fn attach(bridge: u32, container: &Container) -> Result<f64, String> {
    let namespace = container.namespace()?;
    let mut socket = RouteSocket::open().map_err(said)?;
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
    let mut batch = Batch::new();
    batch.add_veth(&veth).make_no_address(HOST_NAME).bring_up(HOST_NAME);
    run(&mut socket, batch)?;
    let configured = namespace.run(configure).map_err(|error| error.to_string());
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let mut batch = Batch::new();
    batch.delete_link(HOST_NAME);
    run(&mut socket, batch)?;
    configured?.map(|()| took)
}

fn configure() -> Result<(), String> {
    let mut socket = RouteSocket::open().map_err(said)?;
    let link = socket.link(INTERFACE).map_err(said)?.ok_or("the bare pair vanished")?;
    let net = Ipv4Net::new_assert(NET.0, NET.1);
    let everywhere = Route::new(Ipv4Net::default().into(), Some(IpAddr::V4(GATEWAY)));
    let mut batch = Batch::new();
    batch.add_address(link.index, IpNet::V4(net), AddressOptions::default());
    batch.link_up(link.index).add_route(link.index, &everywhere, None);
    run(&mut socket, batch)
}

fn run(socket: &mut RouteSocket, batch: Batch) -> Result<(), String> {
    let verdicts = socket.run(batch).map_err(said)?;
    verdicts.into_iter().collect::<Result<(), _>>().map_err(|refusal| said(NetlinkError::Refused(refusal)))
}

fn said(error: NetlinkError) -> String {
    format!("a pair by bare requests: {error}")
}
