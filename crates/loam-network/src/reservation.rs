//! Host ports, kept from other programs by sockets that are bound and never listen.
//!
//! Packets for a published port are redirected before any socket sees them; the socket is there so that nobody else can
//! bind the port, and so that a port that somebody has is noticed. It is not set to reuse addresses: two such sockets
//! could share a port. Where there is a pool, ports are chosen from it that no attachment has either, see [`pool`].

mod pool;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use loam_cni::Host;
use loam_cni::firewall::{Firewall, Mapping, TransportProtocol};
use loam_model::{ErrorKind, Failure, PortMapping, Protocol, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};

pub(crate) use pool::OpenPorts;

/// How often another free port is tried when the first is free for one family only.
const ATTEMPTS: u32 = 16;

/// Reserves the host ports of mappings; gives the mappings with the ports that were taken, and the sockets.
pub(crate) fn reserve(
    ports: &[PortMapping],
    host: &Host,
    open: &OpenPorts,
) -> Result<(Vec<PortMapping>, Vec<OwnedFd>)> {
    let (mut taken, mut sockets) = (Vec::with_capacity(ports.len()), Vec::new());
    for (index, port) in ports.iter().enumerate() {
        let same = |other: &PortMapping| {
            (other.host_address, other.host_port, other.protocol)
                == (port.host_address, port.host_port, port.protocol)
        };
        if port.host_port != 0 && ports[..index].iter().any(same) {
            return Err(Failure::new(
                ErrorKind::Invalid,
                format!("host port `{}` is published twice", name(port)),
            ));
        }
        let asked = |number: u16| ports.iter().any(|other| other.host_port == number);
        let number = match &open.pool {
            _ if port.host_port != 0 => reserve_number(port, port.host_port, &mut sockets)
                .map_err(|errno| refused(port, errno, host))?,
            Some(pool) => {
                let is_had = |number: u16| open.taken.contains(&number) || asked(number);
                pool::reserve_of(pool, is_had, port, host, &mut sockets)?
            }
            None => reserve_any(port, &mut sockets)?,
        };
        let container_port = if port.container_port == 0 { number } else { port.container_port };
        taken.push(PortMapping { host_port: number, container_port, ..*port });
    }
    Ok((taken, sockets))
}

/// A host port as people name it.
pub(crate) fn name(port: &PortMapping) -> String {
    match port.host_address {
        Some(address) => format!("{}/{}", SocketAddr::new(address, port.host_port), port.protocol.as_str()),
        None => format!("{}/{}", port.host_port, port.protocol.as_str()),
    }
}

/// The addresses to bind to.
fn addresses(port: &PortMapping) -> Vec<IpAddr> {
    match port.host_address {
        Some(address) => vec![address],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    }
}

fn reserve_any(port: &PortMapping, sockets: &mut Vec<OwnedFd>) -> Result<u16> {
    let none = |errno: Errno| {
        let message = format!("no free host port for container port `{}`", port.container_port);
        Failure::new(ErrorKind::Exhausted, message).caused_by(std::io::Error::from(errno))
    };
    for _ in 0..ATTEMPTS {
        let first = addresses(port)[0];
        let socket = open(first, port.protocol, 0).map_err(none)?;
        let number = getsockname(&socket)
            .map_err(none)
            .and_then(|address| SocketAddr::try_from(address).map(|address| address.port()).map_err(none))?;
        // Bound again with its number, and to the other family; between the two somebody may take it.
        drop(socket);
        if reserve_number(port, number, sockets).is_ok() {
            return Ok(number);
        }
    }
    Err(none(Errno::ADDRINUSE))
}

fn reserve_number(
    port: &PortMapping,
    number: u16,
    sockets: &mut Vec<OwnedFd>,
) -> std::result::Result<u16, Errno> {
    let mut bound = Vec::new();
    for address in addresses(port) {
        match open(address, port.protocol, number) {
            Ok(socket) => bound.push(socket),
            // A host without IPv6 has nobody there to keep the port from.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
                if port.host_address.is_none() && address.is_ipv6() => {}
            Err(errno) => return Err(errno),
        }
    }
    sockets.append(&mut bound);
    Ok(number)
}

fn open(address: IpAddr, protocol: Protocol, number: u16) -> std::result::Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let attempt = |reuse: bool| {
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        if reuse {
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        bind(&socket, &SocketAddr::new(address, number))?;
        if reuse {
            sockopt::set_socket_reuseaddr(&socket, false)?;
        }
        Ok(socket)
    };
    match attempt(false) {
        // What is in the way may be no program but connections of one that has ended, which the kernel remembers for a
        // minute. Reuse passes those, and neither a program that listens nor another reservation.
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp && number != 0 => attempt(true),
        result => result,
    }
}

fn refused(port: &PortMapping, errno: Errno, host: &Host) -> Failure {
    let cause = std::io::Error::from(errno);
    match errno {
        Errno::ADDRINUSE => {
            let failure = |who: &str| {
                Failure::new(
                    ErrorKind::AlreadyExists,
                    format!("host port `{}` is taken by {who}", name(port)),
                )
                .hint("choose another host port, or leave it out to get a free one")
            };
            match owner(port, host) {
                Some(owner) => failure(&format!("container `{owner}`")),
                None => failure("another program"),
            }
        }
        Errno::ADDRNOTAVAIL => {
            let address = port.host_address.map(|address| address.to_string()).unwrap_or_default();
            let message = format!(
                "host port `{}` can't be published: `{address}` is no address of this host",
                name(port)
            );
            Failure::new(ErrorKind::Invalid, message)
        }
        Errno::ACCESS | Errno::PERM => {
            Failure::new(ErrorKind::Denied, format!("host port `{}` can't be bound", name(port)))
                .caused_by(cause)
        }
        _ => Failure::new(ErrorKind::Internal, format!("host port `{}` can't be bound", name(port)))
            .caused_by(cause),
    }
}

/// A port that another container has in the kernel's table, told as one that another program has.
pub(crate) fn name_owner(failure: Failure, ports: &[PortMapping], host: &Host) -> Failure {
    if failure.kind() != ErrorKind::AlreadyExists {
        return failure;
    }
    let taken = ports.iter().find_map(|port| owner(port, host).map(|owner| (port, owner)));
    match taken {
        Some((port, owner)) => {
            let text = format!("host port `{}` is taken by container `{owner}`", name(port));
            Failure::new(ErrorKind::AlreadyExists, text).caused_by(failure)
        }
        None => failure,
    }
}

/// The container that has a host port, if it is one of ours: also one that has it on all addresses.
pub(crate) fn owner(port: &PortMapping, host: &Host) -> Option<String> {
    let mut firewall = Firewall::open(host).ok()?;
    let specific = port.host_address.filter(|address| !address.is_unspecified());
    for address in addresses(port) {
        for host_address in [specific, None] {
            let mapping = Mapping {
                host_address,
                host_port: port.host_port,
                protocol: match port.protocol {
                    Protocol::Tcp => TransportProtocol::Tcp,
                    Protocol::Udp => TransportProtocol::Udp,
                },
                target: address,
                target_port: port.container_port,
            };
            if let Some(owner) = firewall.owner_of(&mapping).ok()? {
                return Some(owner.split(' ').next().unwrap_or_default().chars().take(12).collect());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(address: Option<&str>, number: u16, protocol: Protocol) -> PortMapping {
        PortMapping {
            host_address: address.map(|address| address.parse().expect("valid")),
            host_port: number,
            container_port: 80,
            protocol,
        }
    }

    #[test]
    fn a_reserved_port_can_t_be_had_by_others() {
        let host = Host::default();
        let loopback = Some("127.0.0.1");
        let (taken, sockets) =
            reserve(&[port(loopback, 0, Protocol::Tcp)], &host, &OpenPorts::default()).expect("a free port");
        let number = taken[0].host_port;
        assert!(number > 0 && sockets.len() == 1);
        std::net::TcpListener::bind(("127.0.0.1", number)).expect_err("the port is reserved");
        let failure = reserve(&[port(loopback, number, Protocol::Tcp)], &host, &OpenPorts::default())
            .expect_err("it is reserved");
        assert_eq!(failure.kind(), ErrorKind::AlreadyExists);
        let expected = format!("host port `127.0.0.1:{number}/tcp` is taken by another program");
        assert_eq!(failure.to_string(), expected);
        reserve(&[port(loopback, number, Protocol::Udp)], &host, &OpenPorts::default())
            .expect("UDP is another matter");
        drop(sockets);
        reserve(&[port(loopback, number, Protocol::Tcp)], &host, &OpenPorts::default())
            .expect("it is free again");
    }

    #[test]
    fn a_port_of_a_listening_program_is_refused_and_one_of_its_past_is_not() {
        let host = Host::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let number = listener.local_addr().expect("bound").port();
        let wanted = [port(Some("127.0.0.1"), number, Protocol::Tcp)];
        assert_eq!(
            reserve(&wanted, &host, &OpenPorts::default()).expect_err("taken").kind(),
            ErrorKind::AlreadyExists
        );
        let client = std::net::TcpStream::connect(("127.0.0.1", number)).expect("it listens");
        let (server, _) = listener.accept().expect("connected");
        // The side that closes first keeps the connection in TIME_WAIT.
        drop(server);
        drop(client);
        drop(listener);
        reserve(&wanted, &host, &OpenPorts::default()).expect("only a memory is left");
    }

    #[test]
    fn contradictory_requests_are_refused() {
        let host = Host::default();
        let twice = [port(None, 4711, Protocol::Tcp), port(None, 4711, Protocol::Tcp)];
        assert_eq!(
            reserve(&twice, &host, &OpenPorts::default()).expect_err("twice").kind(),
            ErrorKind::Invalid
        );
        let foreign = [port(Some("192.0.2.77"), 4711, Protocol::Tcp)];
        assert_eq!(
            reserve(&foreign, &host, &OpenPorts::default()).expect_err("not ours").kind(),
            ErrorKind::Invalid
        );
    }
}
