//! Host ports from a pool, for requests that leave them open.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use loam_cni::Host;
use loam_model::{ErrorKind, Failure, PortMapping, Result};
use rustix::io::Errno;
use serde_json::Value;

use super::{owner, refused, reserve_number};
use crate::failure::of_files;
use crate::lock::NetworkLock;
use crate::network::CniNetwork;
use crate::plan::PORT_MAPPINGS;

/// The lock of those who choose ports of a pool. No network is called so.
const LOCK: &str = "@host-ports";

/// Which host ports are for requests that leave them open.
#[derive(Debug, Default)]
pub(crate) struct OpenPorts {
    /// Where they are from; anywhere when absent.
    pub(super) pool: Option<RangeInclusive<u16>>,
    /// Those that attachments have.
    pub(super) taken: HashSet<u16>,
    /// Held until the choice is written down, so that nobody else makes the same one.
    _lock: Option<NetworkLock>,
}

impl CniNetwork {
    /// What host ports can be chosen from, for ports that are asked for. Where there is a pool and something to choose, choices
    /// exclude each other as long as this is held: programs that end at once hold no sockets for their containers, and
    /// what attachments have is then only in their files. Whoever has this lock takes none but that of subnets.
    pub(crate) fn open_ports(&self, ports: &[PortMapping]) -> Result<OpenPorts> {
        let Some(pool) = self.config.port_pool.clone() else { return Ok(OpenPorts::default()) };
        if ports.iter().all(|port| port.host_port != 0) {
            return Ok(OpenPorts::default());
        }
        let lock = self.locks.alone(LOCK)?;
        let all = self.attachments.all().map_err(|error| of_files("listing attachments failed", error))?;
        let published = all
            .iter()
            .flat_map(|(_, intents)| intents)
            .filter_map(|intent| intent.capability_args.get(PORT_MAPPINGS)?.as_array())
            .flatten();
        let number = |mapping: &Value| mapping.get("hostPort").and_then(Value::as_u64)?.try_into().ok();
        Ok(OpenPorts { pool: Some(pool), taken: published.filter_map(number).collect(), _lock: Some(lock) })
    }
}

/// The first port of a pool that nobody has: no attachment, no container of the kernel's table, and no program.
pub(super) fn reserve_of(
    pool: &RangeInclusive<u16>,
    is_had: impl Fn(u16) -> bool,
    port: &PortMapping,
    host: &Host,
    sockets: &mut Vec<OwnedFd>,
) -> Result<u16> {
    for number in pool.clone().filter(|number| *number > 0 && !is_had(*number)) {
        let candidate = PortMapping { host_port: number, ..*port };
        if owner(&candidate, host).is_some() {
            continue;
        }
        match reserve_number(port, number, sockets) {
            Err(Errno::ADDRINUSE) => {}
            reserved => return reserved.map_err(|errno| refused(&candidate, errno, host)),
        }
    }
    let message = format!("port pool is exhausted: ports {} to {} are all taken", pool.start(), pool.end());
    Err(Failure::new(ErrorKind::Exhausted, message))
}

#[cfg(test)]
mod tests {
    use loam_model::Protocol;

    use super::super::reserve;
    use super::*;

    #[test]
    fn ports_of_a_pool_are_given_that_nobody_has() {
        let host = Host::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let first = listener.local_addr().expect("bound").port();
        let last = first.saturating_add(40);
        let open = |taken: &[u16]| OpenPorts {
            pool: Some(first..=last),
            taken: taken.iter().copied().collect(),
            _lock: None,
        };
        let any = PortMapping {
            host_address: "127.0.0.1".parse().ok(),
            host_port: 0,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let like = PortMapping { container_port: 0, ..any };
        let (given, sockets) = reserve(&[any, like], &host, &open(&[first + 1])).expect("some are free");
        let numbers: Vec<u16> = given.iter().map(|port| port.host_port).collect();
        assert!(first + 1 < numbers[0] && numbers[0] < numbers[1] && numbers[1] <= last, "{numbers:?}");
        assert_eq!((given[0].container_port, given[1].container_port), (80, numbers[1]));
        drop(sockets);
        let asked = PortMapping { host_port: numbers[0], ..any };
        let (given, _sockets) = reserve(&[any, asked], &host, &open(&[first + 1])).expect("some are free");
        assert_ne!(given[0].host_port, numbers[0], "what is asked for is not given away");
        let all: Vec<u16> = (first..=last).collect();
        let failure = reserve(&[any], &host, &open(&all)).expect_err("none is left");
        assert_eq!(failure.kind(), ErrorKind::Exhausted);
        let said = format!("port pool is exhausted: ports {first} to {last} are all taken");
        assert_eq!(failure.to_string(), said);
    }
}
