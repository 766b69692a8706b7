//! The bridge as the gateway of its containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rustix::io::Errno;

use super::config::Config;
use crate::interface::{failed, forward};
use crate::netlink::{AddressOptions, Batch, Link, NetlinkError, Refusal, RouteSocket};
use crate::protocol::{CniError, CniResult, Route, code};

fn first_address(net: &IpNet) -> IpAddr {
    match net {
        IpNet::V4(net) => Ipv4Addr::from(u32::from(net.network()).saturating_add(1)).into(),
        IpNet::V6(net) => Ipv6Addr::from(u128::from(net.network()).saturating_add(1)).into(),
    }
}

/// Fills in gateways and default routes that the address plugin left out.
pub(super) fn complete(config: &Config, result: &mut CniResult) -> Result<(), CniError> {
    if !config.is_gateway {
        return Ok(());
    }
    for ip in &mut result.ips {
        let gateway = *ip.gateway.get_or_insert_with(|| first_address(&ip.address));
        if gateway.is_ipv4() != ip.address.addr().is_ipv4() {
            return Err(CniError::invalid_config(format!(
                "gateway `{gateway}` is not of the family of its address"
            )));
        }
        if !config.is_default_gateway {
            continue;
        }
        let default = if gateway.is_ipv4() {
            IpNet::from(ipnet::Ipv4Net::default())
        } else {
            ipnet::Ipv6Net::default().into()
        };
        if !result.routes.iter().any(|route| route.gw.is_some() && route.dst == default) {
            result.routes.push(Route::new(default, Some(gateway)));
        }
    }
    Ok(())
}

/// Gives the bridge the gateways' addresses and lets the host forward.
pub(super) fn serve(
    socket: &mut RouteSocket,
    bridge: &Link,
    config: &Config,
    result: &CniResult,
) -> Result<(), CniError> {
    let mut nets = Vec::new();
    for ip in &result.ips {
        if let Some(gateway) = ip.gateway {
            let net = IpNet::new(gateway, ip.address.prefix_len())
                .map_err(|cause| CniError::invalid_config("the prefix length is wrong").because(&cause))?;
            if !nets.contains(&net) {
                nets.push(net);
            }
        }
    }
    let mut batch = Batch::new();
    for net in &nets {
        batch.add_address(bridge.index, *net, AddressOptions::default());
    }
    let verdicts = socket.run(batch).map_err(failed("setting the bridge's address"))?;
    let mut added = Vec::new();
    let mut set = |(net, verdict): (&IpNet, Result<(), Refusal>)| match verdict {
        Ok(()) => {
            added.push(*net);
            settle(socket, bridge, config, *net)
        }
        Err(refusal) if refusal.errno == Errno::EXIST => Ok(()),
        Err(refusal) => {
            let what = format!("setting address `{net}` on `{}`", bridge.name);
            Err(failed(what)(NetlinkError::Refused(refusal)))
        }
    };
    let outcomes: Vec<_> = nets.iter().zip(verdicts).map(&mut set).collect();
    if let Err(error) = outcomes.into_iter().collect::<Result<(), _>>() {
        // A bridge that is another network's keeps none of the addresses.
        let mut batch = Batch::new();
        for net in added {
            batch.delete_address(bridge.index, net);
        }
        // What went wrong first is what has to be said.
        drop(socket.run(batch));
        return Err(error);
    }
    let has = |four: bool| nets.iter().any(|net| net.addr().is_ipv4() == four);
    forward(has(true), has(false))
}

/// Sees to it that an address that was just added is the bridge's only one of IPv4, and overlaps with none of IPv6.
fn settle(socket: &mut RouteSocket, bridge: &Link, config: &Config, net: IpNet) -> Result<(), CniError> {
    let found = socket.addresses(Some(bridge.index)).map_err(failed("listing the bridge's addresses"))?;
    let mut others = found.iter().map(|address| address.net).filter(|other| {
        *other != net
            && match (other, &net) {
                (IpNet::V4(_), IpNet::V4(_)) => true,
                (IpNet::V6(_), IpNet::V6(_)) => {
                    other.contains(&net.network()) || net.contains(&other.network())
                }
                _ => false,
            }
    });
    let mut batch = Batch::new();
    if config.force_address {
        for other in others {
            batch.delete_address(bridge.index, other);
        }
        for verdict in socket.run(batch).map_err(failed("replacing the bridge's address"))? {
            verdict.map_err(|refusal| {
                failed("replacing the bridge's address")(NetlinkError::Refused(refusal))
            })?;
        }
        return Ok(());
    }
    let Some(other) = others.next() else { return Ok(()) };
    let message = format!("`{}` already has an IP address different from {net}: {other}", bridge.name);
    Err(CniError::new(code::INTERNAL, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_the_first_address() {
        assert_eq!(first_address(&"10.1.2.3/16".parse().expect("valid")).to_string(), "10.1.0.1");
        assert_eq!(first_address(&"fd00::5/64".parse().expect("valid")).to_string(), "fd00::1");
    }
}
