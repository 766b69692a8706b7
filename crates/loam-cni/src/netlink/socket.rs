//! The socket: one request, or a row of them, and the kernel's answers.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::attribute::{attributes, text};
use super::batch::Batch;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
/// What fits into a socket's buffer on any kernel, with what the kernel adds.
const SMALL: usize = 64 << 10;
/// The text of an extended answer (`NLMSGERR_ATTR_MSG`).
const ATTRIBUTE_MESSAGE: u16 = 1;
/// How often a listing is begun again when the kernel says that it changed underneath.
const DUMP_ATTEMPTS: u32 = 5;

/// The kernel's refusal of one request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{errno}{}", explanation.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The kernel's explanation, if it gave one.
    pub explanation: Option<String>,
}

/// Why talking to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket can't be opened.
    #[error("opening a netlink socket failed")]
    Open(#[source] io::Error),
    /// Sending failed.
    #[error("sending a netlink request failed")]
    Send(#[source] io::Error),
    /// Receiving failed.
    #[error("receiving a netlink answer failed")]
    Receive(#[source] io::Error),
    /// The kernel refused a request.
    #[error("{0}")]
    Refused(#[source] Refusal),
    /// The answer is not what the request asked for.
    #[error("the kernel's answer can't be read")]
    Malformed,
    /// A listing changed each time that it was read.
    #[error("the listing kept changing while it was read")]
    Unsteady,
}

impl NetlinkError {
    /// The error number of a refusal.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            NetlinkError::Refused(refusal) => Some(refusal.errno),
            _ => None,
        }
    }
}

/// One message from the kernel.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

impl Message<'_> {
    /// What the message says about the success of its request; `None` when it is no such answer.
    pub(crate) fn verdict(&self) -> Option<Result<(), Refusal>> {
        if self.kind != NLMSG_ERROR && self.kind != NLMSG_DONE {
            return None;
        }
        let code = self.payload.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
        if code == 0 {
            return Some(Ok(()));
        }
        let explanation = (self.flags & NLM_F_ACK_TLVS != 0).then(|| self.explanation()).flatten();
        Some(Err(Refusal { errno: Errno::from_raw_os_error(code.saturating_neg()), explanation }))
    }

    fn explanation(&self) -> Option<String> {
        let skipped = match self.kind {
            NLMSG_DONE => 4,
            _ if self.flags & NLM_F_CAPPED != 0 => 4 + 16,
            _ => {
                let request = u32::from_ne_bytes(self.payload.get(4..8)?.try_into().ok()?);
                4 + usize::try_from(request).ok()?.next_multiple_of(4)
            }
        };
        let found = attributes(self.payload.get(skipped..)?).find(|(kind, _)| *kind == ATTRIBUTE_MESSAGE);
        found.map(|(_, value)| text(value))
    }
}

fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
        let word = |range: std::ops::Range<usize>| {
            rest.get(range).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes)
        };
        let sequence = u32::from_ne_bytes(rest.get(8..12)?.try_into().ok()?);
        let message =
            Message { kind: word(4..6)?, flags: word(6..8)?, sequence, payload: rest.get(16..length)? };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// A netlink socket of any protocol.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(crate) fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let mut inner = netlink_sys::Socket::new(protocol).map_err(NetlinkError::Open)?;
        inner.bind_auto().map_err(NetlinkError::Open)?;
        inner.set_ext_ack(true).map_err(NetlinkError::Open)?;
        Ok(Self { inner, sequence: 0, buffer: vec![0; 64 << 10] })
    }

    /// Takes the next `count` sequence numbers and gives the first.
    pub(crate) fn take_sequences(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        if bytes.len() > SMALL {
            // The kernel takes no message that is longer than the buffer.
            let room = bytes.len() + SMALL;
            let forced = sockopt::set_socket_send_buffer_size_force(&self.inner, room);
            forced
                .or_else(|_| sockopt::set_socket_send_buffer_size(&self.inner, room))
                .map_err(|errno| NetlinkError::Send(errno.into()))?;
        }
        loop {
            match self.inner.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(NetlinkError::Send(cause)),
            }
        }
    }

    /// Receives messages and hands each over until the function says that it was the last.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(&Message<'_>) -> bool) -> Result<(), NetlinkError> {
        loop {
            let mut slice = self.buffer.as_mut_slice();
            let length = match self.inner.recv(&mut slice, 0) {
                Ok(length) => length,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(NetlinkError::Receive(cause)),
            };
            let received = self.buffer.get(..length).ok_or(NetlinkError::Malformed)?;
            for message in messages(received) {
                if each(&message) {
                    return Ok(());
                }
            }
        }
    }

    /// Hears the notifications of a group from now on.
    pub(crate) fn join(&mut self, group: u32) -> Result<(), NetlinkError> {
        self.inner.add_membership(group).map_err(NetlinkError::Open)
    }

    /// Waits for notifications. `None` when the time is up before there are any; `Some(false)` when some were lost.
    pub(crate) fn wait(
        &mut self,
        limit: Option<Duration>,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<Option<bool>, NetlinkError> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let time = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            match poll(&mut [PollFd::new(&self.inner, PollFlags::IN)], time.as_ref()) {
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(NetlinkError::Receive(errno.into())),
                Ok(0) => return Ok(None),
                Ok(_) => {}
            }
            let mut slice = self.buffer.as_mut_slice();
            match self.inner.recv(&mut slice, 0) {
                Ok(length) => {
                    messages(self.buffer.get(..length).ok_or(NetlinkError::Malformed)?)
                        .for_each(|one| each(&one));
                    return Ok(Some(true));
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) if cause.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    return Ok(Some(false));
                }
                Err(cause) => return Err(NetlinkError::Receive(cause)),
            }
        }
    }

    /// Asks for a listing, by a request made for a sequence number, and gives what `read` takes out of the messages. The
    /// listing is begun again when the kernel says that it changed underneath.
    pub(crate) fn list<T>(
        &mut self,
        request: impl Fn(u32) -> Vec<u8>,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.take_sequences(1);
            self.send(&request(sequence))?;
            let (mut found, mut steady, mut verdict) = (Vec::new(), true, Ok(()));
            self.receive(|message| {
                if message.sequence != sequence {
                    return false;
                }
                steady &= message.flags & NLM_F_DUMP_INTR == 0;
                if let Some(end) = message.verdict() {
                    verdict = end;
                    return true;
                }
                found.extend(read(message));
                false
            })?;
            match verdict {
                // How nf_tables says that something changed.
                Err(refusal) if refusal.errno == Errno::INTR => continue,
                other => other.map_err(NetlinkError::Refused)?,
            }
            if steady {
                return Ok(found);
            }
        }
        Err(NetlinkError::Unsteady)
    }
}

/// A socket for links, addresses, routes and neighbours.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Socket,
}

impl RouteSocket {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open() -> Result<Self, NetlinkError> {
        let socket = Socket::open(NETLINK_ROUTE)?;
        // Listings are filtered by the kernel where it can; kernels before 4.20 can't and list more.
        if let Err(cause) = socket.inner.set_netlink_get_strict_chk(true)
            && cause.raw_os_error() != Some(Errno::NOPROTOOPT.raw_os_error())
        {
            return Err(NetlinkError::Open(cause));
        }
        Ok(Self { socket })
    }

    /// Sends all requests of a batch at once and gives the answer to each.
    pub fn run(&mut self, batch: Batch) -> Result<Vec<Result<(), Refusal>>, NetlinkError> {
        let count = u32::try_from(batch.requests.len()).map_err(|_| NetlinkError::Malformed)?;
        let first = self.socket.take_sequences(count);
        let mut bytes = Vec::with_capacity(512);
        for (sequence, (message, flags)) in (first..).zip(batch.requests) {
            emit(message, NLM_F_REQUEST | NLM_F_ACK | flags, sequence, &mut bytes);
        }
        let mut verdicts = Vec::with_capacity(count as usize);
        if count == 0 {
            return Ok(verdicts);
        }
        self.socket.send(&bytes)?;
        self.socket.receive(|message| {
            let ours = message.sequence.wrapping_sub(first) < count;
            if let (true, Some(verdict)) = (ours, message.verdict()) {
                verdicts.push(verdict);
            }
            verdicts.len() == count as usize
        })?;
        Ok(verdicts)
    }

    /// Has all requests of a batch sent by a process that nobody waits for: they are carried out soon, and what the
    /// kernel says to them is not told.
    pub fn run_detached(&mut self, batch: Batch) -> Result<(), NetlinkError> {
        let mut bytes = Vec::with_capacity(128);
        for (message, flags) in batch.requests {
            let sequence = self.socket.take_sequences(1);
            emit(message, NLM_F_REQUEST | flags, sequence, &mut bytes);
        }
        loam_sys::send_detached(self.socket.inner.as_fd(), &bytes).map_err(NetlinkError::Send)
    }

    /// Sends one request and gives the kernel's answer, undecoded.
    pub(super) fn get(&mut self, message: RouteNetlinkMessage) -> Result<Answer, NetlinkError> {
        let mut bytes = Vec::with_capacity(128);
        let sequence = self.socket.take_sequences(1);
        emit(message, NLM_F_REQUEST, sequence, &mut bytes);
        self.socket.send(&bytes)?;
        let mut answer = Err(NetlinkError::Malformed);
        self.socket.receive(|message| {
            if message.sequence != sequence {
                return false;
            }
            answer = match message.verdict() {
                Some(Err(refusal)) => Err(NetlinkError::Refused(refusal)),
                Some(Ok(())) => Err(NetlinkError::Malformed),
                None => Ok(Answer { kind: message.kind, payload: message.payload.to_vec() }),
            };
            true
        })?;
        answer
    }

    /// Sends a listing's request and gives what the kernel listed.
    pub(super) fn list(&mut self, message: &RouteNetlinkMessage) -> Result<Vec<Answer>, NetlinkError> {
        let request = |sequence| {
            let mut bytes = Vec::with_capacity(128);
            emit(message.clone(), NLM_F_REQUEST | NLM_F_DUMP, sequence, &mut bytes);
            bytes
        };
        self.socket
            .list(request, |message| Some(Answer { kind: message.kind, payload: message.payload.to_vec() }))
    }
}

/// A message that answers a request.
pub(super) struct Answer {
    pub(super) kind: u16,
    pub(super) payload: Vec<u8>,
}

impl Answer {
    /// Decodes the message; `None` for what this version of the decoder does not know, which is nothing that we made.
    pub(super) fn decode(&self) -> Option<RouteNetlinkMessage> {
        let mut header = NetlinkHeader::default();
        header.message_type = self.kind;
        RouteNetlinkMessage::deserialize(&header, &self.payload).ok()
    }
}

fn emit(message: RouteNetlinkMessage, flags: u16, sequence: u32, bytes: &mut Vec<u8>) {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len(), 0);
    message.serialize(&mut bytes[start..]);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_refusal_is_read() {
        // NLMSG_ERROR, -EEXIST, capped, with the text "nope".
        let mut bytes = vec![0u8; 16];
        bytes[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_CAPPED | NLM_F_ACK_TLVS).to_ne_bytes());
        bytes[8..12].copy_from_slice(&7u32.to_ne_bytes());
        bytes.extend_from_slice(&(-17i32).to_ne_bytes());
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&[9, 0, 1, 0, b'n', b'o', b'p', b'e', 0, 0, 0, 0]);
        let length = u32::try_from(bytes.len()).expect("short");
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        let read: Vec<_> = messages(&bytes).map(|message| (message.sequence, message.verdict())).collect();
        let refusal = Refusal { errno: Errno::EXIST, explanation: Some("nope".into()) };
        assert_eq!(read, [(7, Some(Err(refusal)))]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                let _verdict = message.verdict();
            }
        }
    }
}
