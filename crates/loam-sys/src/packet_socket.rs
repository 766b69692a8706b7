//! Packet sockets (packet(7)): what a link carries to one port of UDP, be it before the link has an address.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// IPv4 in frames (if_ether.h, `ETH_P_IP`).
const ETH_P_IP: u16 = 0x0800;

const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
const LOAD_HALF_INDEXED: u16 = 0x48; // BPF_LD | BPF_H | BPF_IND
const LOAD_HEADER_LENGTH: u16 = 0xb1; // BPF_LDX | BPF_B | BPF_MSH
const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_IF_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Where fields of IPv4 are (RFC 791, section 3.1), and a port of UDP after it.
const PROTOCOL: u32 = 9;
const FRAGMENT: u32 = 6;
const DESTINATION_PORT: u32 = 2;
const UDP: u32 = 17;
/// More fragments, or not the first one.
const IS_FRAGMENT: u32 = 0x3fff;

const fn step(code: u16, yes: u8, no: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: yes, jf: no, k: value }
}

/// Whole datagrams of UDP to a port; nothing else that passes wakes anybody up.
fn filter(port: u16) -> [libc::sock_filter; 9] {
    [
        step(LOAD_BYTE, 0, 0, PROTOCOL),
        step(JUMP_IF_EQUAL, 0, 6, UDP),
        step(LOAD_HALF, 0, 0, FRAGMENT),
        step(JUMP_IF_SET, 4, 0, IS_FRAGMENT),
        step(LOAD_HEADER_LENGTH, 0, 0, 0),
        step(LOAD_HALF_INDEXED, 0, 0, DESTINATION_PORT),
        step(JUMP_IF_EQUAL, 0, 1, port.into()),
        step(RETURN, 0, 0, u32::MAX),
        step(RETURN, 0, 0, 0),
    ]
}

/// A packet socket on one link that hears IPv4 packets with whole datagrams of UDP to one port. Packets are without the link's own header.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    link: i32,
}

impl PacketSocket {
    /// Opens a socket (close-on-exec, non-blocking) on a link of the calling thread's network namespace, for a port of UDP.
    pub fn open(link: u32, port: u16) -> io::Result<Self> {
        let link = i32::try_from(link).map_err(io::Error::other)?;
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Of no protocol at first, so that nothing is heard before the filter is there.
        // SAFETY: takes integers only.
        let raw = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: socket has just given us this descriptor, nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        let mut filter = filter(port);
        let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
        let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
        // SAFETY: SO_ATTACH_FILTER reads a `sock_fprog`, whose pointer leads to `len` instructions that live on.
        let attached = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size::<libc::sock_fprog>(),
            )
        };
        if attached != 0 {
            return Err(io::Error::last_os_error());
        }
        let address = address(link, [0; 6]);
        // SAFETY: the address is a `sockaddr_ll` of the length that is told.
        let bound = unsafe {
            libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size::<libc::sockaddr_ll>())
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { socket, link })
    }

    /// Sends an IPv4 packet to a hardware address.
    pub fn send(&self, packet: &[u8], to: [u8; 6]) -> io::Result<()> {
        let address = address(self.link, to);
        // SAFETY: the packet is read only, for its length; the address is a `sockaddr_ll` of the length that is told.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                size::<libc::sockaddr_ll>(),
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes the next IPv4 packet: its length, which may be more than there was room for, and the hardware address that it
    /// came from. `None` when none waits.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, [u8; 6])>> {
        let mut address = address(0, [0; 6]);
        let mut length = size::<libc::sockaddr_ll>();
        // SAFETY: the buffer is written up to its length, and the address up to that of a `sockaddr_ll`, as told.
        let received = unsafe {
            libc::recvfrom(
                self.socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_TRUNC,
                (&raw mut address).cast(),
                &raw mut length,
            )
        };
        match usize::try_from(received) {
            Ok(received) => {
                let [a, b, c, d, e, f, ..] = address.sll_addr;
                Ok(Some((received, [a, b, c, d, e, f])))
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error),
            },
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn address(link: i32, hardware: [u8; 6]) -> libc::sockaddr_ll {
    let [a, b, c, d, e, f] = hardware;
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.unsigned_abs().try_into().unwrap_or_default(),
        sll_protocol: ETH_P_IP.to_be(),
        sll_ifindex: link,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [a, b, c, d, e, f, 0, 0],
    }
}

fn size<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}
