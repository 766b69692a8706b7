//! Host ports for those who ask for any.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use loam_garden_wire::NetIn;
use loam_model::PortMapping;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::arguments::PortOptions;
use crate::error::NetworkerError;

/// Chooses the numbers that are left open. `taken` are the host ports of all containers; those that programs have,
/// `is_busy` tells.
pub(crate) fn choose(
    wanted: &[NetIn],
    taken: &HashSet<u16>,
    options: &PortOptions,
    is_busy: impl Fn(u16) -> bool,
) -> Result<Vec<NetIn>, NetworkerError> {
    let mut used = taken.clone();
    for port in wanted.iter().filter(|port| port.host_port != 0) {
        // One that another container has is for the network to refuse, which can name the container.
        if !used.insert(port.host_port) && !taken.contains(&port.host_port) {
            return Err(NetworkerError::PortTwice(port.host_port));
        }
    }
    let pool = u32::from(options.port_pool_start)
        ..(u32::from(options.port_pool_start) + u32::from(options.port_pool_size)).min(1 << 16);
    let last = pool.end.saturating_sub(1);
    let mut free = pool
        .filter_map(|port| u16::try_from(port).ok())
        .filter(|port| !used.contains(port) && !is_busy(*port));
    wanted
        .iter()
        .map(|port| {
            let exhausted = NetworkerError::PortsExhausted { first: options.port_pool_start, last };
            let host_port = if port.host_port == 0 { free.next().ok_or(exhausted)? } else { port.host_port };
            let container_port = if port.container_port == 0 { host_port } else { port.container_port };
            Ok(NetIn { host_port, container_port })
        })
        .collect()
}

/// Whether a program of the host has a TCP port, at the address at which ports are published. It may have one a moment
/// later: the network tells.
pub(crate) fn is_busy(port: u16, options: &PortOptions) -> bool {
    let all = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let addresses = options.external_ip.as_ref().map_or(&all[..], std::slice::from_ref);
    addresses.iter().any(|address| binds(SocketAddr::new(*address, port)) == Err(Errno::ADDRINUSE))
}

/// Binds and lets go. Reuse passes connections of the past, and neither programs that listen nor sockets that reserve.
fn binds(address: SocketAddr) -> Result<(), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)
}

/// The ports as the network seam's. Garden publishes TCP.
pub(crate) fn mappings(ports: &[NetIn], options: &PortOptions) -> Vec<PortMapping> {
    ports.iter().map(|port| port.to_mapping(options.external_ip)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: PortOptions = PortOptions { port_pool_start: 100, port_pool_size: 3, external_ip: None };

    fn nobody(_port: u16) -> bool {
        false
    }

    fn port(host_port: u16, container_port: u16) -> NetIn {
        NetIn { host_port, container_port }
    }

    #[test]
    fn open_numbers_come_from_the_pool() {
        let chosen =
            choose(&[port(0, 8080), port(7, 0), port(0, 0)], &HashSet::from([100]), &OPTIONS, nobody);
        assert_eq!(chosen.expect("enough"), [port(101, 8080), port(7, 7), port(102, 102)]);
        let chosen = choose(&[port(101, 1), port(0, 1)], &HashSet::new(), &OPTIONS, nobody);
        assert_eq!(
            chosen.expect("enough"),
            [port(101, 1), port(100, 1)],
            "what is asked for is not given away"
        );
    }

    #[test]
    fn an_empty_pool_and_a_number_twice_are_told() {
        let taken = HashSet::from([100, 101, 102]);
        let error = choose(&[port(0, 1)], &taken, &OPTIONS, nobody).expect_err("none left");
        assert_eq!(error.to_string(), "port pool is exhausted: ports 100 to 102 are all taken");
        let error = choose(&[port(7, 1), port(7, 2)], &HashSet::new(), &OPTIONS, nobody).expect_err("twice");
        assert_eq!(error.to_string(), "host port 7 is asked for twice");
    }

    #[test]
    fn what_a_program_has_is_not_given_away() {
        let chosen = choose(&[port(0, 1)], &HashSet::new(), &OPTIONS, |port| port == 100);
        assert_eq!(chosen.expect("enough"), [port(101, 1)]);
        let asked = choose(&[port(100, 1)], &HashSet::new(), &OPTIONS, |_| true);
        assert_eq!(asked.expect("the network will tell"), [port(100, 1)]);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let number = listener.local_addr().expect("bound").port();
        let here = PortOptions { external_ip: Some(Ipv4Addr::LOCALHOST.into()), ..OPTIONS };
        assert!(is_busy(number, &here) && is_busy(number, &OPTIONS));
        drop(listener);
        assert!(!is_busy(number, &here));
    }
}
