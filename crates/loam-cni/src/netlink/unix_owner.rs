//! Whose a Unix socket with an abstract name is (sock_diag(7); unix_diag.h).

use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::attribute::attributes;
use super::socket::{NetlinkError, Socket};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const AF_UNIX: u8 = 1;
const SOCK_STREAM: u8 = 1;
/// The states of sockets that have a name and are no connection, as those of TCP are numbered (tcp_states.h): `TCP_CLOSE` of one
/// that was bound alone, and `TCP_LISTEN`. A connection that its listener has not taken yet has the listener's name, and no owner.
const STATES: u32 = (1 << 7) | (1 << 10);
/// `UDIAG_SHOW_NAME` and `UDIAG_SHOW_UID`.
const SHOW: u32 = 0x1 | 0x40;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_UID: u16 = 7;
/// Bytes of `struct unix_diag_msg`.
const HEADER: usize = 16;

/// The user who made the stream socket that has an abstract name in the network namespace of the calling thread; `None` when none has.
/// Fails where the kernel was built without `CONFIG_UNIX_DIAG`.
pub fn unix_owner(name: &str) -> Result<Option<u32>, NetlinkError> {
    let mut socket = Socket::open(NETLINK_SOCK_DIAG)?;
    let wanted = [b"\0", name.as_bytes()].concat();
    let found = socket.list(request, |message| {
        if message.kind != SOCK_DIAG_BY_FAMILY || message.payload.get(1) != Some(&SOCK_STREAM) {
            return None;
        }
        let of = |wanted: u16| {
            let mut all = attributes(message.payload.get(HEADER..)?);
            all.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
        };
        let owner = u32::from_ne_bytes(of(UNIX_DIAG_UID)?.try_into().ok()?);
        (of(UNIX_DIAG_NAME)? == wanted).then_some(owner)
    })?;
    Ok(found.into_iter().next())
}

/// A request for all such sockets (`struct unix_diag_req`): the kernel looks none up by name.
fn request(sequence: u32) -> Vec<u8> {
    let mut payload = vec![AF_UNIX, 0, 0, 0];
    for number in [STATES, 0, SHOW, 0, 0] {
        payload.extend_from_slice(&number.to_ne_bytes());
    }
    let mut bytes = Vec::with_capacity(64);
    crate::nftables::message(&mut bytes, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, sequence, &payload);
    bytes
}
