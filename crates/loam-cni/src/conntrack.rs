//! Connection tracking: flows that the kernel shall forget, because their redirection has changed.
//!
//! Flows are deleted by a filter that the kernel applies itself; where it can't, they are listed and deleted one by one
//! (nfnetlink_conntrack.h, `CTA_FILTER`).

use std::net::IpAddr;

use rustix::io::Errno;

use crate::netlink::{Attributes, NetlinkError, Refusal, Socket, attributes, be16};

const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
/// Bits of `CTA_FILTER_ORIG_FLAGS` and `CTA_FILTER_REPLY_FLAGS`: what of the tuple must match.
const MATCH_SOURCE: u32 = 1 << 0;
const MATCH_PROTOCOL: u32 = 1 << 3;
const MATCH_DESTINATION_PORT: u32 = 1 << 5;

/// Flows to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forget {
    /// Those to a port of any address: protocol number, port, whether of IPv4.
    Port(u8, u16, bool),
    /// Those that an address answers, directly or redirected.
    Target(IpAddr),
    /// Those to a port of any address that an address answers: protocol number, port, address.
    Redirected(u8, u16, IpAddr),
}

impl Forget {
    fn family(self) -> u8 {
        const INET: u8 = 2;
        const INET6: u8 = 10;
        match self {
            Forget::Port(_, _, true)
            | Forget::Target(IpAddr::V4(_))
            | Forget::Redirected(_, _, IpAddr::V4(_)) => INET,
            Forget::Port(_, _, false)
            | Forget::Target(IpAddr::V6(_))
            | Forget::Redirected(_, _, IpAddr::V6(_)) => INET6,
        }
    }

    /// The protocol and port that they went to.
    fn port(self) -> Option<(u8, u16)> {
        match self {
            Forget::Port(protocol, port, _) | Forget::Redirected(protocol, port, _) => Some((protocol, port)),
            Forget::Target(_) => None,
        }
    }

    /// The address that answers.
    fn target(self) -> Option<IpAddr> {
        match self {
            Forget::Target(address) | Forget::Redirected(_, _, address) => Some(address),
            Forget::Port(..) => None,
        }
    }

    /// The request that has the kernel filter.
    fn filtered(self) -> Attributes {
        let mut request = Attributes::after(&[self.family(), 0, 0, 0]);
        let (mut original, mut reply) = (0u32, 0u32);
        if let Some((protocol, port)) = self.port() {
            request.nested(CTA_TUPLE_ORIG, |tuple| {
                tuple.nested(CTA_TUPLE_PROTO, |part| {
                    part.u8(CTA_PROTO_NUM, protocol).be16(CTA_PROTO_DST_PORT, port);
                });
            });
            original = MATCH_PROTOCOL | MATCH_DESTINATION_PORT;
        }
        if let Some(address) = self.target() {
            request.nested(CTA_TUPLE_REPLY, |tuple| {
                tuple.nested(CTA_TUPLE_IP, |part| write_source(part, address));
            });
            reply = MATCH_SOURCE;
        }
        request.nested(CTA_FILTER, |filter| {
            filter.bytes(1, &original.to_ne_bytes()).bytes(2, &reply.to_ne_bytes());
        });
        request
    }

    /// Whether a listed flow is one of these.
    fn matches(self, flow: &[u8]) -> bool {
        let part =
            |tuple: u16, part: u16| nested(nested(flow, tuple).unwrap_or_default(), part).unwrap_or_default();
        let is_to_port = self.port().is_none_or(|(protocol, port)| {
            let original = part(CTA_TUPLE_ORIG, CTA_TUPLE_PROTO);
            nested(original, CTA_PROTO_NUM) == Some(&[protocol])
                && nested(original, CTA_PROTO_DST_PORT).and_then(be16) == Some(port)
        });
        let is_answered = |address| {
            let mut wanted = Attributes::default();
            write_source(&mut wanted, address);
            let source = attributes(wanted.as_bytes()).next();
            attributes(part(CTA_TUPLE_REPLY, CTA_TUPLE_IP)).any(|found| Some(found) == source)
        };
        is_to_port && self.target().is_none_or(is_answered)
    }
}

fn write_source(part: &mut Attributes, address: IpAddr) {
    const CTA_IP_V4_SRC: u16 = 1;
    const CTA_IP_V6_SRC: u16 = 3;
    match address {
        IpAddr::V4(address) => part.bytes(CTA_IP_V4_SRC, &address.octets()),
        IpAddr::V6(address) => part.bytes(CTA_IP_V6_SRC, &address.octets()),
    };
}

fn nested(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Has the kernel forget flows, over a socket of netfilter. A kernel without connection tracking has none to forget.
pub(crate) fn forget(socket: &mut Socket, flows: &[Forget]) -> Result<(), NetlinkError> {
    for flow in flows {
        match delete(socket, &flow.filtered())? {
            Ok(()) => {}
            Err(refusal) if refusal.errno == Errno::NOENT => {}
            Err(_) => forget_one_by_one(socket, *flow)?,
        }
    }
    Ok(())
}

fn forget_one_by_one(socket: &mut Socket, flow: Forget) -> Result<(), NetlinkError> {
    let header = [flow.family(), 0, 0, 0];
    let request = Attributes::after(&header);
    let exact = |listed: &[u8]| {
        const NESTED: u16 = 0x8000;
        let original = nested(listed, CTA_TUPLE_ORIG).filter(|_| flow.matches(listed))?;
        let mut exact = Attributes::after(&header);
        exact.bytes(CTA_TUPLE_ORIG | NESTED, original);
        if let Some(zone) = nested(listed, CTA_ZONE) {
            exact.bytes(CTA_ZONE, zone);
        }
        Some(exact)
    };
    let found = match socket.list(
        |sequence| message(GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, &request),
        |message| exact(message.payload.get(4..).unwrap_or_default()),
    ) {
        // There is no connection tracking.
        Err(NetlinkError::Refused(_)) => return Ok(()),
        found => found?,
    };
    for exact in found {
        match delete(socket, &exact)? {
            // It ended by itself meanwhile.
            Err(refusal) if refusal.errno == Errno::NOENT => {}
            verdict => verdict.map_err(NetlinkError::Refused)?,
        }
    }
    Ok(())
}

fn delete(socket: &mut Socket, request: &Attributes) -> Result<Result<(), Refusal>, NetlinkError> {
    let sequence = socket.take_sequences(1);
    socket.send(&message(DELETE, NLM_F_REQUEST | NLM_F_ACK, sequence, request))?;
    let mut verdict = Ok(());
    socket.receive(|message| {
        if message.sequence != sequence {
            return false;
        }
        verdict = message.verdict().unwrap_or(Ok(()));
        true
    })?;
    Ok(verdict)
}

fn message(kind: u16, flags: u16, sequence: u32, request: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    crate::nftables::message(&mut bytes, (SUBSYSTEM << 8) | kind, flags, sequence, request.as_bytes());
    bytes
}
