//! The listening socket, and the addresses of those who come.

use core::net::{IpAddr, Ipv6Addr};

use crate::ground::socket::{self, AF_INET, AF_INET6, SOCK_STREAM};
use crate::ground::{Result, call};

const SOL_SOCKET: usize = 1;
const SO_REUSEADDR: usize = 2;
const IPPROTO_IPV6: usize = 41;
const IPV6_V6ONLY: usize = 26;
const BACKLOG: usize = 128;

/// Listens at every address, of both families where the kernel has IPv6, else of IPv4 alone.
pub fn listen(port: u16) -> Result<i32> {
    listen_at(AF_INET6, port).or_else(|_| listen_at(AF_INET, port))
}

fn listen_at(family: usize, port: u16) -> Result<i32> {
    let socket = socket::socket(family, SOCK_STREAM, true)?;
    let result = (|| {
        socket::set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1)?;
        if family == AF_INET6 {
            socket::set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, 0)?;
        }
        // `struct sockaddr_in6` and `sockaddr_in`: family, port, then zeros, which is "any address" in both.
        let mut address = [0; 28];
        address[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        address[2..4].copy_from_slice(&port.to_be_bytes());
        socket::bind(socket, &address[..if family == AF_INET6 { 28 } else { 16 }])?;
        socket::listen(socket, BACKLOG)
    })();
    match result {
        Ok(()) => Ok(socket),
        Err(error) => {
            call::close(socket);
            Err(error)
        }
    }
}

/// The address in a `sockaddr`; an IPv4 one also when it is wrapped in IPv6.
pub fn peer(address: &[u8; 28]) -> Option<IpAddr> {
    match usize::from(u16::from_ne_bytes([address[0], address[1]])) {
        AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(&address[4..8]).ok()?)),
        AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(&address[8..24]).ok()?).to_canonical()),
        _ => None,
    }
}
