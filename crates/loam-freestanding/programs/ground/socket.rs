//! Sockets and waiting for them.

use super::call::raw;
use super::{Errno, Result, number};

pub const AF_INET: usize = 2;
pub const AF_INET6: usize = 10;
pub const AF_NETLINK: usize = 16;
pub const SOCK_STREAM: usize = 1;
pub const SOCK_RAW: usize = 3;
pub const POLLIN: i16 = 1;
pub const POLLOUT: i16 = 4;

const SOCK_CLOEXEC: usize = 0o2_000_000;
const SOCK_NONBLOCK: usize = 0o4_000;
const SHUT_WR: usize = 1;

/// Makes a socket.
pub fn socket(family: usize, kind: usize, nonblocking: bool) -> Result<i32> {
    let flags = SOCK_CLOEXEC | if nonblocking { SOCK_NONBLOCK } else { 0 };
    // SAFETY: takes numbers.
    let fd = unsafe { raw(number::SOCKET, [family, kind | flags, 0, 0, 0, 0]) }?;
    Ok(fd as i32)
}

/// Sets an option that is an integer.
pub fn set_option(fd: i32, level: usize, name: usize, value: i32) -> Result<()> {
    let arguments = [fd as usize, level, name, (&raw const value) as usize, 4, 0];
    // SAFETY: the value is four bytes long.
    unsafe { raw(number::SETSOCKOPT, arguments) }.map(|_| ())
}

/// Binds to an address, the bytes of a `sockaddr`.
pub fn bind(fd: i32, address: &[u8]) -> Result<()> {
    // SAFETY: the address is valid for its length.
    unsafe { raw(number::BIND, [fd as usize, address.as_ptr() as usize, address.len(), 0, 0, 0]) }.map(|_| ())
}

/// Listens.
pub fn listen(fd: i32, backlog: usize) -> Result<()> {
    // SAFETY: takes numbers.
    unsafe { raw(number::LISTEN, [fd as usize, backlog, 0, 0, 0, 0]) }.map(|_| ())
}

/// Accepts a connection: its descriptor, non-blocking, and the bytes of the peer's `sockaddr`.
pub fn accept(fd: i32) -> Result<(i32, [u8; 28])> {
    let mut address = [0u8; 28];
    let mut length = 28u32;
    let (address_at, length_at) = (address.as_mut_ptr() as usize, (&raw mut length) as usize);
    let flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    // SAFETY: the address has the length that is said.
    let fd = unsafe { raw(number::ACCEPT4, [fd as usize, address_at, length_at, flags, 0, 0]) }?;
    Ok((fd as i32, address))
}

/// Sends a message on a socket. The peer's end never raises a signal.
pub fn send(fd: i32, bytes: &[u8]) -> Result<usize> {
    const MSG_NOSIGNAL: usize = 0x4000;
    let arguments = [fd as usize, bytes.as_ptr() as usize, bytes.len(), MSG_NOSIGNAL, 0, 0];
    // SAFETY: the bytes are valid for their length; no address is given.
    unsafe { raw(number::SENDTO, arguments) }
}

/// Receives a message.
pub fn receive(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    let arguments = [fd as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0];
    // SAFETY: the buffer is valid for its length; no address is asked for.
    unsafe { raw(number::RECVFROM, arguments) }
}

/// Says that nothing more will be sent.
pub fn end_sending(fd: i32) {
    // SAFETY: takes numbers.
    let _ = unsafe { raw(number::SHUTDOWN, [fd as usize, SHUT_WR, 0, 0, 0, 0]) };
}

/// One descriptor to wait for, as `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Poll {
    pub fd: i32,
    pub events: i16,
    pub happened: i16,
}

/// Waits until something happens to one of them.
pub fn poll(entries: &mut [Poll]) -> Result<()> {
    loop {
        let arguments = [entries.as_mut_ptr() as usize, entries.len(), 0, 0, 0, 0];
        // SAFETY: the entries are valid for their number; neither a limit nor a signal mask is given.
        match unsafe { raw(number::PPOLL, arguments) } {
            Err(Errno::INTR) => {}
            result => return result.map(|_| ()),
        }
    }
}
