//! One message in one packet, with descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message that travels in the packet itself; well under the kernel's default socket buffer.
const MAX_INLINE: usize = 48 * 1024;

/// The longest message at all.
const MAX_LENGTH: usize = 16 * 1024 * 1024;

/// The most descriptors of a message: the kernel's limit (`SCM_MAX_FD`, 253) less the one for a long message.
pub const MAX_DESCRIPTORS: usize = 252;

/// The packet of a message that travels in a file.
const IN_A_FILE: &[u8] = b"file";

/// Why a packet could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The peer is gone.
    #[error("the other side has closed the connection")]
    Closed,
    /// No packet waits (only on sockets that do not wait).
    #[error("no packet has come")]
    NothingYet,
    /// The message or its descriptors are more than can be.
    #[error("the message is too long")]
    TooLong,
    /// The bytes are not a message.
    #[error("the message is not understood")]
    Malformed(#[source] serde_json::Error),
    /// The kernel refuses.
    #[error("the socket failed")]
    Socket(#[from] Errno),
}

/// Two ends of a connection.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends one message.
pub fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), PacketError> {
    let text = serde_json::to_vec(message).map_err(PacketError::Malformed)?;
    if descriptors.len() > MAX_DESCRIPTORS || text.len() > MAX_LENGTH {
        return Err(PacketError::TooLong);
    }
    if text.len() <= MAX_INLINE {
        return send_packet(socket, &text, descriptors);
    }
    let file = sealed_file(&text)?;
    let mut all = vec![file.as_fd()];
    all.extend_from_slice(descriptors);
    send_packet(socket, IN_A_FILE, &all)
}

fn send_packet(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), PacketError> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS + 1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(PacketError::TooLong);
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => return Err(PacketError::Closed),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn sealed_file(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let file = rustix::fs::memfd_create("message", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = &rest[written..];
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file)
}

/// Receives one message.
pub fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<(T, Vec<OwnedFd>), PacketError> {
    // Longer than the longest packet, so that a longer one shows as cut off.
    let mut buffer = vec![0_u8; MAX_INLINE + 1];
    let (length, mut descriptors) = receive_packet(socket, &mut buffer)?;
    if length == 0 {
        return Err(PacketError::Closed);
    }
    let bytes = &buffer[..length];
    if bytes != IN_A_FILE {
        let message = serde_json::from_slice(bytes).map_err(PacketError::Malformed)?;
        return Ok((message, descriptors));
    }
    if descriptors.is_empty() {
        return Err(PacketError::TooLong);
    }
    let text = read_sealed(&descriptors.remove(0))?;
    let message = serde_json::from_slice(&text).map_err(PacketError::Malformed)?;
    Ok((message, descriptors))
}

fn receive_packet(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), PacketError> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut slices = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received,
            // A peer that went away without reading everything is told of first, once; what it said comes after.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(Errno::AGAIN) => return Err(PacketError::NothingYet),
            Err(errno) => return Err(errno.into()),
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(PacketError::TooLong);
    }
    Ok((received.bytes, descriptors))
}

fn read_sealed(file: &OwnedFd) -> Result<Vec<u8>, PacketError> {
    let seals = rustix::fs::fcntl_get_seals(file)?;
    let length = usize::try_from(rustix::fs::fstat(file)?.st_size).map_err(|_| PacketError::TooLong)?;
    // Without the seals the other side could change what is read while it is read, or make reading wait.
    if !seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE) || length > MAX_LENGTH {
        return Err(PacketError::TooLong);
    }
    let mut text = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let count = rustix::io::pread(file, &mut text[filled..], filled as u64)?;
        if count == 0 {
            return Err(PacketError::TooLong);
        }
        filled += count;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_messages_arrive_with_their_descriptors() {
        for length in [1, MAX_INLINE - 2, MAX_INLINE, 3_000_000] {
            let (left, right) = pair().unwrap();
            let (read, write) = rustix::pipe::pipe().unwrap();
            let sent = "x".repeat(length);
            send(left.as_fd(), &sent, &[read.as_fd(), write.as_fd()]).unwrap();
            let (received, descriptors) = receive::<String>(right.as_fd()).unwrap();
            assert!(received == sent && descriptors.len() == 2, "{length}");
            rustix::io::write(&descriptors[1], b"y").unwrap();
            assert_eq!(rustix::io::read(&descriptors[0], &mut [0; 8]).unwrap(), 1);
        }
    }

    #[test]
    fn a_closed_connection_is_told_apart_from_nonsense() {
        let (left, right) = pair().unwrap();
        rustix::net::send(&left, b"{nonsense", SendFlags::NOSIGNAL).unwrap();
        assert!(matches!(receive::<String>(right.as_fd()), Err(PacketError::Malformed(_))));
        drop(left);
        assert!(matches!(receive::<String>(right.as_fd()), Err(PacketError::Closed)));
        assert!(matches!(send(right.as_fd(), &"x", &[]), Err(PacketError::Closed)));
    }

    #[test]
    fn packets_and_files_that_break_the_rules_are_refused() {
        let (left, right) = pair().unwrap();
        rustix::net::send(&left, &vec![b' '; MAX_INLINE + 2], SendFlags::NOSIGNAL).unwrap();
        assert!(matches!(receive::<String>(right.as_fd()), Err(PacketError::TooLong)));
        let unsealed =
            rustix::fs::memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        send_packet(left.as_fd(), IN_A_FILE, &[unsealed.as_fd()]).unwrap();
        assert!(matches!(receive::<String>(right.as_fd()), Err(PacketError::TooLong)));
        send_packet(left.as_fd(), IN_A_FILE, &[]).unwrap();
        assert!(matches!(receive::<String>(right.as_fd()), Err(PacketError::TooLong)));
    }
}
