//! Traffic control: how fast a link sends, and what comes in over it (pkt_sched.h, pkt_cls.h, tc_mirred.h).

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::attribute::{Attributes, attributes, text};
use super::batch::Batch;
use super::link_request::{by_name, set_up};
use super::route_socket::{Answer, RouteSocket};
use super::socket::NetlinkError;

/// Where a link's own discipline hangs (`TC_H_ROOT`).
const ROOT: u32 = 0xffff_ffff;
/// Where the discipline of incoming packets hangs (`TC_H_INGRESS`).
const INGRESS: u32 = 0xffff_fff1;
/// The handle of the discipline of incoming packets, `ffff:`.
const INGRESS_HANDLE: u32 = 0xffff_0000;
/// The handle of a link's own discipline, `1:`.
const OWN_HANDLE: u32 = 0x0001_0000;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;

/// A token bucket filter (`tbf`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// Bytes a second.
    pub rate: u64,
    /// The bytes that may wait.
    pub limit: u32,
    /// The size of the bucket as the time that it takes to fill, in the scheduler's ticks.
    pub buffer: u32,
}

/// A queueing discipline as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discipline {
    /// Its kind, such as `tbf`.
    pub kind: String,
    /// Its numbers, for a `tbf`.
    pub bucket: Option<TokenBucket>,
}

fn message(index: u32, parent: u32, handle: u32, kind: &str, options: Option<&Attributes>) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.header.parent = TcHandle::from(parent);
    message.header.handle = TcHandle::from(handle);
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    let nested = |options: &Attributes| DefaultNla::new(TCA_OPTIONS, options.as_bytes().to_vec());
    message.attributes.extend(options.map(|options| TcAttribute::Other(nested(options))));
    message
}

impl Batch {
    /// Makes a link whose only use is that packets are sent through it (`ifb`): up, and with no queue of its own.
    pub fn add_ifb(&mut self, name: &str, mtu: u32) -> &mut Self {
        let mut message = by_name(name);
        set_up(&mut message);
        message.attributes.push(LinkAttribute::Mtu(mtu));
        message.attributes.push(LinkAttribute::TxQueueLen(0));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]));
        self.create_link(message);
        self
    }

    /// Limits what a link sends. A discipline that somebody set is in the way.
    pub fn limit_rate(&mut self, index: u32, bucket: TokenBucket) -> &mut Self {
        let mut options = Attributes::default();
        options.bytes(TCA_TBF_PARMS, &bucket.to_bytes());
        if u32::try_from(bucket.rate).is_err() {
            options.bytes(TCA_TBF_RATE64, &bucket.rate.to_ne_bytes());
        }
        let message = message(index, ROOT, OWN_HANDLE, "tbf", Some(&options));
        self.push(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL);
        self
    }

    /// Takes a limit off a link.
    pub fn remove_limit(&mut self, index: u32) -> &mut Self {
        let message = message(index, ROOT, OWN_HANDLE, "tbf", None);
        self.push(RouteNetlinkMessage::DelQueueDiscipline(message), 0);
        self
    }

    /// Makes the place where filters see what comes in over a link.
    pub fn add_ingress(&mut self, index: u32) -> &mut Self {
        let message = message(index, INGRESS, INGRESS_HANDLE, "ingress", None);
        self.push(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL);
        self
    }

    /// Removes that place with its filters.
    pub fn remove_ingress(&mut self, index: u32) -> &mut Self {
        let message = message(index, INGRESS, INGRESS_HANDLE, "ingress", None);
        self.push(RouteNetlinkMessage::DelQueueDiscipline(message), 0);
        self
    }

    /// Has everything that comes in over a link sent through another.
    pub fn redirect_ingress(&mut self, index: u32, to: u32) -> &mut Self {
        const TCA_U32_CLASSID: u16 = 1;
        const TCA_U32_SEL: u16 = 5;
        const TCA_U32_ACT: u16 = 7;
        const TCA_ACT_KIND: u16 = 1;
        const TCA_ACT_OPTIONS: u16 = 2;
        const TCA_MIRRED_PARMS: u16 = 2;
        const CLASS: u32 = 0x0001_0001;
        /// Priority 1, all protocols (`ETH_P_ALL`).
        const INFO: u32 = (1 << 16) | 3u16.to_be() as u32;
        let mut options = Attributes::default();
        options.bytes(TCA_U32_CLASSID, &CLASS.to_ne_bytes());
        options.bytes(TCA_U32_SEL, &match_all());
        options.nested(TCA_U32_ACT, |list| {
            list.nested(1, |action| {
                action.text(TCA_ACT_KIND, "mirred").nested(TCA_ACT_OPTIONS, |inner| {
                    inner.bytes(TCA_MIRRED_PARMS, &redirection(to));
                });
            });
        });
        let mut message = message(index, INGRESS_HANDLE, 0, "u32", Some(&options));
        message.header.info = INFO;
        self.push(RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_CREATE | NLM_F_EXCL);
        self
    }
}

/// A selector with one key that any packet matches (`struct tc_u32_sel`).
fn match_all() -> [u8; 32] {
    const TC_U32_TERMINAL: u8 = 1;
    let mut selector = [0; 32];
    selector[0] = TC_U32_TERMINAL;
    selector[2] = 1;
    selector
}

/// An action that takes the packet and sends it out of another link (`struct tc_mirred`).
fn redirection(to: u32) -> [u8; 28] {
    const TC_ACT_STOLEN: u32 = 4;
    const TCA_EGRESS_REDIR: u32 = 1;
    let mut action = [0; 28];
    action[8..12].copy_from_slice(&TC_ACT_STOLEN.to_ne_bytes());
    action[20..24].copy_from_slice(&TCA_EGRESS_REDIR.to_ne_bytes());
    action[24..].copy_from_slice(&to.to_ne_bytes());
    action
}

impl TokenBucket {
    /// Where the numbers are in `struct tc_tbf_qopt`: after a rate (`struct tc_ratespec`) of twelve bytes, which ends
    /// with the number, and another.
    const RATE: std::ops::Range<usize> = 8..12;
    const LIMIT: std::ops::Range<usize> = 24..28;
    const BUFFER: std::ops::Range<usize> = 28..32;

    fn to_bytes(self) -> [u8; 36] {
        let mut bytes = [0; 36];
        let rate = u32::try_from(self.rate).unwrap_or(u32::MAX);
        bytes[Self::RATE].copy_from_slice(&rate.to_ne_bytes());
        bytes[Self::LIMIT].copy_from_slice(&self.limit.to_ne_bytes());
        bytes[Self::BUFFER].copy_from_slice(&self.buffer.to_ne_bytes());
        bytes
    }

    fn read(options: &[u8]) -> Option<Self> {
        let find =
            |wanted: u16| attributes(options).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let parameters = find(TCA_TBF_PARMS)?;
        let number =
            |range: std::ops::Range<usize>| Some(u32::from_ne_bytes(parameters.get(range)?.try_into().ok()?));
        let large = find(TCA_TBF_RATE64).and_then(|value| value.get(..8)?.try_into().ok());
        Some(Self {
            rate: large.map_or(u64::from(number(Self::RATE)?), u64::from_ne_bytes),
            limit: number(Self::LIMIT)?,
            buffer: number(Self::BUFFER)?,
        })
    }
}

impl RouteSocket {
    /// Lists the queueing disciplines of a link.
    pub fn disciplines(&mut self, index: u32) -> Result<Vec<Discipline>, NetlinkError> {
        let mut request = TcMessage::default();
        request.header.index = index.cast_signed();
        let found = self.list(&RouteNetlinkMessage::GetQueueDiscipline(request))?;
        // Kernels before 5.0 list those of all links.
        Ok(found
            .iter()
            .filter_map(read_discipline)
            .filter(|(of, _)| *of == index)
            .map(|(_, one)| one)
            .collect())
    }
}

/// Reads a discipline, and the index of its link.
fn read_discipline(answer: &Answer) -> Option<(u32, Discipline)> {
    const RTM_NEWQDISC: u16 = 36;
    const HEADER: usize = 20;
    let header = answer.payload.get(..HEADER).filter(|_| answer.kind == RTM_NEWQDISC)?;
    let index = u32::from_ne_bytes(header.get(4..8)?.try_into().ok()?);
    let (mut kind, mut options) = (String::new(), None);
    for (found, value) in attributes(&answer.payload[HEADER..]) {
        match found {
            1 => kind = text(value),
            TCA_OPTIONS => options = Some(value),
            _ => {}
        }
    }
    let bucket = options.filter(|_| kind == "tbf").and_then(TokenBucket::read);
    Some((index, Discipline { kind, bucket }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_read_as_it_was_written() {
        for rate in [1_000_000, u64::from(u32::MAX) + 5] {
            let bucket = TokenBucket { rate, limit: 1_025_000, buffer: 15_625_000 };
            let mut options = Attributes::default();
            options.bytes(TCA_TBF_PARMS, &bucket.to_bytes());
            if rate > 1 << 32 {
                options.bytes(TCA_TBF_RATE64, &rate.to_ne_bytes());
            }
            assert_eq!(TokenBucket::read(options.as_bytes()), Some(bucket));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(payload: Vec<u8>) {
            let _discipline = read_discipline(&Answer { kind: 36, payload });
        }
    }
}
