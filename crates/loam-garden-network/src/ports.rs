//! Host ports for those who ask for any.

use std::collections::HashSet;

use loam_model::{PortMapping, Protocol};

use crate::arguments::PortOptions;
use crate::error::NetworkerError;
use crate::messages::NetIn;

/// Chooses the numbers that are left open. `taken` are the host ports of all containers.
pub(crate) fn choose(
    wanted: &[NetIn],
    taken: &HashSet<u16>,
    options: &PortOptions,
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
    let mut free = pool.filter_map(|port| u16::try_from(port).ok()).filter(|port| !used.contains(port));
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

/// The ports as the network seam's. Garden publishes TCP.
pub(crate) fn mappings(ports: &[NetIn], options: &PortOptions) -> Vec<PortMapping> {
    let mapping = |port: &NetIn| PortMapping {
        host_address: options.external_ip,
        host_port: port.host_port,
        container_port: port.container_port,
        protocol: Protocol::Tcp,
    };
    ports.iter().map(mapping).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: PortOptions = PortOptions { port_pool_start: 100, port_pool_size: 3, external_ip: None };

    fn port(host_port: u16, container_port: u16) -> NetIn {
        NetIn { host_port, container_port }
    }

    #[test]
    fn open_numbers_come_from_the_pool() {
        let chosen = choose(&[port(0, 8080), port(7, 0), port(0, 0)], &HashSet::from([100]), &OPTIONS);
        assert_eq!(chosen.expect("enough"), [port(101, 8080), port(7, 7), port(102, 102)]);
        let chosen = choose(&[port(101, 1), port(0, 1)], &HashSet::new(), &OPTIONS);
        assert_eq!(
            chosen.expect("enough"),
            [port(101, 1), port(100, 1)],
            "what is asked for is not given away"
        );
    }

    #[test]
    fn an_empty_pool_and_a_number_twice_are_told() {
        let taken = HashSet::from([100, 101, 102]);
        let error = choose(&[port(0, 1)], &taken, &OPTIONS).expect_err("none left");
        assert_eq!(error.to_string(), "port pool is exhausted: ports 100 to 102 are all taken");
        let error = choose(&[port(7, 1), port(7, 2)], &HashSet::new(), &OPTIONS).expect_err("twice");
        assert_eq!(error.to_string(), "host port 7 is asked for twice");
    }
}
