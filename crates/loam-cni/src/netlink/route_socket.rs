//! The socket for links, addresses, routes and neighbours (rtnetlink(7)).

use std::os::fd::AsFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use super::batch::Batch;
use super::message::Refusal;
use super::socket::{NetlinkError, Socket};

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
