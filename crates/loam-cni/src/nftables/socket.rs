//! The socket to nf_tables.

use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use super::batch::{
    Batch, NFT_MSG_GETCHAIN, NFT_MSG_GETGEN, NFT_MSG_GETRULE, NFT_MSG_GETSETELEM, NLM_F_REQUEST, message,
};
use super::set::Element;
use super::{FAMILY_INET, SUBSYSTEM, header};
use crate::netlink::{Attributes, NetlinkError, Refusal, Socket, attributes, be32, text};

const NLM_F_DUMP: u16 = 0x300;

/// Why a batch or a question failed.
#[derive(Debug, thiserror::Error)]
pub enum NftablesError {
    /// The table, chain, set or element is not there.
    #[error("the table or a part of it is missing")]
    Missing,
    /// An element with this key is there already.
    #[error("the key is taken")]
    Taken,
    /// Somebody has changed the tables since the batch's generation.
    #[error("the tables have been changed meanwhile")]
    Changed,
    /// The kernel has no nf_tables, or lacks a part of it.
    #[error("this kernel has no nf_tables or lacks a part of it: {0}")]
    Unsupported(Refusal),
    /// The kernel refused for another reason.
    #[error("the kernel refused the rules: {0}")]
    Refused(Refusal),
    /// Talking to the kernel failed.
    #[error("talking to nf_tables failed")]
    Netlink(#[source] NetlinkError),
}

impl NftablesError {
    /// Whether a definition was refused because something of its name is there and defined otherwise (nf_tables_api.c): a set of other
    /// keys, a chain of another hook, a chain with a hook where rules lead to, keys that don't fit a rule, rules that lead in a circle.
    pub(crate) fn is_other_definition(&self) -> bool {
        match self {
            NftablesError::Taken => true,
            NftablesError::Unsupported(refusal) => refusal.errno == Errno::OPNOTSUPP,
            NftablesError::Refused(refusal) => {
                matches!(refusal.errno, Errno::INVAL | Errno::RANGE | Errno::LOOP)
            }
            _ => false,
        }
    }

    /// Whether elements were refused because others are there that they contradict: the same key with another value, a range that
    /// overlaps (nft_set_rbtree.c).
    pub(crate) fn is_contradiction(&self) -> bool {
        match self {
            NftablesError::Taken => true,
            NftablesError::Refused(refusal) => matches!(refusal.errno, Errno::NOTEMPTY | Errno::INVAL),
            _ => false,
        }
    }
}

impl From<Refusal> for NftablesError {
    fn from(refusal: Refusal) -> Self {
        match refusal.errno {
            Errno::NOENT => NftablesError::Missing,
            Errno::EXIST | Errno::BUSY => NftablesError::Taken,
            Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => {
                NftablesError::Unsupported(refusal)
            }
            // Only a batch for another generation is refused so (nfnetlink.c).
            Errno::RESTART => NftablesError::Changed,
            _ => NftablesError::Refused(refusal),
        }
    }
}

impl From<NetlinkError> for NftablesError {
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError::Refused(refusal) => refusal.into(),
            other => NftablesError::Netlink(other),
        }
    }
}

/// A socket to the nf_tables of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct NftablesSocket {
    socket: Socket,
}

impl NftablesSocket {
    /// Opens a socket.
    pub fn open() -> Result<Self, NftablesError> {
        Ok(Self { socket: Socket::open(NETLINK_NETFILTER)? })
    }

    /// The bare socket, which reaches the other subsystems of netfilter too.
    pub(crate) fn bare(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Makes all changes of a batch, or none.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), NftablesError> {
        if batch.is_empty() {
            return Ok(());
        }
        let count = batch.sequences();
        let first = self.socket.take_sequences(count);
        self.socket.send(&batch.to_bytes(first))?;
        let mut failure: Option<Refusal> = None;
        self.socket.receive(|message| {
            let offset = message.sequence.wrapping_sub(first);
            let Some(verdict) = message.verdict().filter(|_| offset < count) else { return false };
            if let Err(refusal) = verdict {
                failure.get_or_insert(refusal);
            }
            // Answers come in order. The last change is answered in any case; an answer to the batch's begin is the
            // only one of a batch that failed as a whole.
            offset == count - 2 || offset == 0
        })?;
        failure.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// The generation of all tables, which changes with each batch, whoever commits it.
    pub fn generation(&mut self) -> Result<u32, NftablesError> {
        let sequence = self.ask(NFT_MSG_GETGEN, &Attributes::after(&header(0, 0)))?;
        let mut answer = Err(NftablesError::Missing);
        self.socket.receive(|message| {
            if message.sequence != sequence {
                return false;
            }
            let mut parts = attributes(message.payload.get(4..).unwrap_or_default());
            answer = match message.verdict() {
                Some(Err(refusal)) => Err(NftablesError::from(refusal)),
                _ => parts
                    .find_map(|(kind, value)| be32(value).filter(|_| kind == 1))
                    .ok_or(NftablesError::Missing),
            };
            true
        })?;
        answer
    }

    /// How many rules a chain of a table has; none when there is no such chain.
    pub fn count_rules(&mut self, table: &str, chain: &str) -> Result<usize, NftablesError> {
        self.count_rules_of(FAMILY_INET, table, chain)
    }

    /// How many rules a chain of a table of another family has.
    pub fn count_rules_of(&mut self, family: u8, table: &str, chain: &str) -> Result<usize, NftablesError> {
        let mut request = Attributes::after(&header(family, 0));
        request.text(1, table).text(2, chain);
        let rules = self.list(NFT_MSG_GETRULE, &request)?;
        // A kernel that does not know the filter lists all rules.
        let is_of = |rule: &[u8], wanted: u16, name: &str| {
            attributes(rule).any(|(kind, value)| kind == wanted && text(value) == name)
        };
        Ok(rules.iter().filter(|rule| is_of(rule, 1, table) && is_of(rule, 2, chain)).count())
    }

    /// Whether what a base chain has no rule for is dropped; in a table of whatever family.
    pub fn drops_by_policy(&mut self, table: &str, chain: &str) -> Result<bool, NftablesError> {
        const NF_DROP: u32 = 0;
        let request = Attributes::after(&header(0, 0));
        let drops = |found: &Vec<u8>| {
            let of =
                |wanted: u16| attributes(found).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
            of(1).map(text).as_deref() == Some(table)
                && of(3).map(text).as_deref() == Some(chain)
                && of(5).and_then(be32) == Some(NF_DROP)
        };
        Ok(self.list(NFT_MSG_GETCHAIN, &request)?.iter().any(drops))
    }

    /// Whether a table has a chain.
    pub fn has_chain(&mut self, table: &str, chain: &str) -> Result<bool, NftablesError> {
        self.has_chain_of(FAMILY_INET, table, chain)
    }

    /// Whether a table of another family has a chain.
    pub fn has_chain_of(&mut self, family: u8, table: &str, chain: &str) -> Result<bool, NftablesError> {
        let mut request = Attributes::after(&header(family, 0));
        request.text(1, table).text(3, chain);
        let sequence = self.ask(NFT_MSG_GETCHAIN, &request)?;
        let mut answer = Ok(false);
        self.socket.receive(|message| {
            if message.sequence != sequence {
                return false;
            }
            answer = match message.verdict() {
                Some(Err(refusal)) if refusal.errno == Errno::NOENT => Ok(false),
                Some(Err(refusal)) => Err(NftablesError::from(refusal)),
                Some(Ok(())) => Ok(false),
                None => Ok(true),
            };
            true
        })?;
        answer
    }

    /// The chains of a table, and how often each is used: by its rules, and by what leads to it.
    pub fn chains(&mut self, table: &str) -> Result<Vec<(String, u32)>, NftablesError> {
        let mut request = Attributes::after(&header(FAMILY_INET, 0));
        request.text(1, table);
        let chains = self.list(NFT_MSG_GETCHAIN, &request)?;
        let read = |chain: &Vec<u8>| {
            let of =
                |wanted: u16| attributes(chain).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
            // The kernel lists the chains of all tables.
            (of(1).map(text).as_deref() == Some(table)).then_some(())?;
            Some((text(of(3)?), be32(of(6)?)?))
        };
        Ok(chains.iter().filter_map(read).collect())
    }

    /// Lists the elements of a set or map.
    pub fn elements(&mut self, table: &str, set: &str) -> Result<Vec<Element>, NftablesError> {
        let mut request = Attributes::after(&header(FAMILY_INET, 0));
        request.text(1, table).text(2, set);
        let messages = self.list(NFT_MSG_GETSETELEM, &request)?;
        Ok(messages.iter().flat_map(|message| Element::read_all(message)).collect())
    }

    /// Looks one element up by key; `None` when the set or map does not hold it, or does not exist.
    pub fn element(&mut self, table: &str, set: &str, key: &[u8]) -> Result<Option<Element>, NftablesError> {
        let mut request = Attributes::after(&header(FAMILY_INET, 0));
        let wanted = Element { key: key.to_vec(), ..Element::default() };
        request.text(1, table).text(2, set).nested(3, |list| wanted.write(list));
        let sequence = self.ask(NFT_MSG_GETSETELEM, &request)?;
        let mut answer = Ok(None);
        self.socket.receive(|message| {
            if message.sequence != sequence {
                return false;
            }
            answer = match message.verdict() {
                Some(Err(refusal)) if refusal.errno == Errno::NOENT => Ok(None),
                Some(Err(refusal)) => Err(NftablesError::from(refusal)),
                Some(Ok(())) => Ok(None),
                None => Ok(Element::read_all(message.payload.get(4..).unwrap_or_default()).pop()),
            };
            true
        })?;
        answer
    }

    fn ask(&mut self, kind: u8, request: &Attributes) -> Result<u32, NftablesError> {
        let sequence = self.socket.take_sequences(1);
        self.socket.send(&question(kind, NLM_F_REQUEST, sequence, request))?;
        Ok(sequence)
    }

    /// Lists something: the messages without their fixed headers.
    fn list(&mut self, kind: u8, request: &Attributes) -> Result<Vec<Vec<u8>>, NftablesError> {
        Ok(self.socket.list(
            |sequence| question(kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, request),
            |message| Some(message.payload.get(4..).unwrap_or_default().to_vec()),
        )?)
    }
}

fn question(kind: u8, flags: u16, sequence: u32, request: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    message(&mut bytes, (SUBSYSTEM << 8) | u16::from(kind), flags, sequence, request.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno) -> NftablesError {
        Refusal { errno, explanation: None }.into()
    }

    #[test]
    fn only_what_another_definition_leads_to_is_taken_for_one() {
        for errno in [Errno::EXIST, Errno::BUSY, Errno::INVAL, Errno::OPNOTSUPP, Errno::RANGE, Errno::LOOP] {
            assert!(of(errno).is_other_definition(), "{errno}");
        }
        for errno in [Errno::NOMEM, Errno::NOBUFS, Errno::INTR, Errno::PERM, Errno::NOENT, Errno::RESTART] {
            assert!(!of(errno).is_other_definition() && !of(errno).is_contradiction(), "{errno}");
        }
        for errno in [Errno::EXIST, Errno::NOTEMPTY] {
            assert!(of(errno).is_contradiction(), "{errno}");
        }
    }
}
