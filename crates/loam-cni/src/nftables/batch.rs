//! A batch: changes that happen together or not at all.

use super::expression::Expression;
use super::set::{Element, MeterDefinition, SetDefinition, comment};
use super::{FAMILY_INET, SUBSYSTEM, header};
use crate::netlink::Attributes;

pub(super) const NFT_MSG_NEWTABLE: u8 = 0;
pub(super) const NFT_MSG_DELTABLE: u8 = 2;
pub(super) const NFT_MSG_NEWCHAIN: u8 = 3;
pub(super) const NFT_MSG_GETCHAIN: u8 = 4;
pub(super) const NFT_MSG_DELCHAIN: u8 = 5;
pub(super) const NFT_MSG_NEWRULE: u8 = 6;
pub(super) const NFT_MSG_GETRULE: u8 = 7;
pub(super) const NFT_MSG_DELRULE: u8 = 8;
pub(super) const NFT_MSG_NEWSET: u8 = 9;
pub(super) const NFT_MSG_DELSET: u8 = 11;
pub(super) const NFT_MSG_NEWSETELEM: u8 = 12;
pub(super) const NFT_MSG_GETSETELEM: u8 = 13;
pub(super) const NFT_MSG_DELSETELEM: u8 = 14;
pub(super) const NFT_MSG_GETGEN: u8 = 16;

pub(super) const NLM_F_REQUEST: u16 = 1;
pub(super) const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
/// The attribute of a batch's begin that says which state of the tables it is for (nfnetlink.h).
const NFNL_BATCH_GENID: u16 = 1;

/// Where a chain is hung into the kernel's packet path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Packets that came in, before routing.
    Prerouting,
    /// Packets for this host.
    Input,
    /// Packets that this host passes on.
    Forward,
    /// Packets of this host's own, before routing.
    Output,
    /// Packets that go out, after routing.
    Postrouting,
}

/// A chain of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// Where it is hung in, with its type and priority; a chain without is jumped to.
    pub hook: Option<(&'static str, Hook, i32)>,
}

/// Changes to one table.
#[derive(Debug)]
pub struct Batch {
    family: u8,
    table: &'static str,
    messages: Vec<(u16, u16, Attributes)>,
    sets: u32,
    /// The generation of the tables that it is for; any when absent.
    generation: Option<u32>,
}

impl Batch {
    /// An empty batch of changes to a table of the family `inet`.
    pub fn new(table: &'static str) -> Self {
        Self::of_family(FAMILY_INET, table)
    }

    /// An empty batch of changes to a table of another family.
    pub fn of_family(family: u8, table: &'static str) -> Self {
        Self { family, table, messages: Vec::new(), sets: 0, generation: None }
    }

    /// Has the batch fail as [`NftablesError::Changed`](super::NftablesError::Changed) unless the tables are just as they were
    /// when this was their generation.
    pub fn only_at(&mut self, generation: u32) -> &mut Self {
        self.generation = Some(generation);
        self
    }

    /// Forgets all changes.
    pub fn clear(&mut self) -> &mut Self {
        self.messages.clear();
        self
    }

    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn push(&mut self, message: u8, flags: u16, fill: impl FnOnce(&mut Attributes)) {
        let mut attributes = Attributes::after(&header(self.family, 0));
        attributes.text(1, self.table);
        fill(&mut attributes);
        self.messages.push(((SUBSYSTEM << 8) | u16::from(message), flags, attributes));
    }

    /// Makes the table unless it exists.
    pub fn add_table(&mut self) -> &mut Self {
        self.push(NFT_MSG_NEWTABLE, NLM_F_CREATE, |table| {
            table.be32(2, 0);
        });
        self
    }

    /// Removes the table with all that is in it.
    pub fn delete_table(&mut self) -> &mut Self {
        self.push(NFT_MSG_DELTABLE, 0, |_| {});
        self
    }

    /// Makes a set or map unless it exists.
    pub fn add_set(&mut self, set: &SetDefinition) -> &mut Self {
        self.sets += 1;
        let id = self.sets;
        self.push(NFT_MSG_NEWSET, NLM_F_CREATE, |attributes| set.write(id, attributes));
        self
    }

    /// Makes a set that packets fill, unless it exists.
    pub fn add_meter(&mut self, meter: &MeterDefinition<'_>) -> &mut Self {
        self.sets += 1;
        let id = self.sets;
        self.push(NFT_MSG_NEWSET, NLM_F_CREATE, |attributes| meter.write(id, attributes));
        self
    }

    /// Removes a set; one that a rule uses fails the batch.
    pub fn delete_set(&mut self, name: &str) -> &mut Self {
        self.push(NFT_MSG_DELSET, 0, |attributes| {
            attributes.text(2, name);
        });
        self
    }

    /// Makes a chain unless it exists.
    pub fn add_chain(&mut self, chain: &Chain) -> &mut Self {
        self.push(NFT_MSG_NEWCHAIN, NLM_F_CREATE, |attributes| {
            attributes.text(3, chain.name);
            let Some((kind, hook, priority)) = chain.hook else { return };
            let number = match hook {
                Hook::Prerouting => 0,
                Hook::Input => 1,
                Hook::Forward => 2,
                Hook::Output => 3,
                Hook::Postrouting => 4,
            };
            attributes.text(7, kind).nested(4, |inner| {
                inner.be32(1, number).bytes(2, &priority.to_be_bytes());
            });
        });
        self
    }

    /// Makes a chain that is jumped to, unless it exists.
    pub fn add_inner_chain(&mut self, name: &str) -> &mut Self {
        self.push(NFT_MSG_NEWCHAIN, NLM_F_CREATE, |attributes| {
            attributes.text(3, name);
        });
        self
    }

    /// Removes a chain with its rules; one that something jumps to fails the batch.
    pub fn delete_chain(&mut self, name: &str) -> &mut Self {
        self.push(NFT_MSG_DELCHAIN, 0, |attributes| {
            attributes.text(3, name);
        });
        self
    }

    /// Removes the rules of a chain.
    pub fn flush_chain(&mut self, chain: &str) -> &mut Self {
        self.push(NFT_MSG_DELRULE, 0, |attributes| {
            attributes.text(2, chain);
        });
        self
    }

    /// Adds a rule at the end of a chain.
    pub fn add_rule(&mut self, chain: &str, rule: &[Expression<'_>]) -> &mut Self {
        self.add_commented_rule(chain, rule, None)
    }

    /// Adds a rule at the end of a chain, with words for people.
    pub fn add_commented_rule(
        &mut self,
        chain: &str,
        rule: &[Expression<'_>],
        words: Option<&str>,
    ) -> &mut Self {
        self.push(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |attributes| {
            attributes.text(2, chain).nested(4, |list| {
                for expression in rule {
                    expression.write(list);
                }
            });
            if let Some(words) = words {
                attributes.bytes(7, &comment(words));
            }
        });
        self
    }

    /// Adds elements; with `exclusive`, one whose key is taken fails the batch.
    pub fn add_elements(&mut self, set: &str, elements: &[Element], exclusive: bool) -> &mut Self {
        let flags = if exclusive { NLM_F_CREATE | NLM_F_EXCL } else { NLM_F_CREATE };
        self.elements(NFT_MSG_NEWSETELEM, flags, set, elements)
    }

    /// Removes elements by key; one that is not there fails the batch.
    pub fn delete_elements(&mut self, set: &str, elements: &[Element]) -> &mut Self {
        self.elements(NFT_MSG_DELSETELEM, 0, set, elements)
    }

    fn elements(&mut self, message: u8, flags: u16, set: &str, elements: &[Element]) -> &mut Self {
        // An attribute holds less than 64 KiB; an element with everything is less than 256 bytes.
        for some in elements.chunks(200) {
            self.push(message, flags, |attributes| {
                attributes.text(2, set).nested(3, |list| some.iter().for_each(|element| element.write(list)));
            });
        }
        self
    }

    /// How many sequence numbers the batch takes.
    pub(super) fn sequences(&self) -> u32 {
        u32::try_from(self.messages.len() + 2).expect("a batch has less than 2^32 messages")
    }

    /// Writes the batch with its begin and end. The last change asks for an answer.
    pub(super) fn to_bytes(&self, first: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024);
        let frame = header(0, SUBSYSTEM);
        let mut begin = Attributes::after(&frame);
        if let Some(generation) = self.generation {
            begin.be32(NFNL_BATCH_GENID, generation);
        }
        message(&mut bytes, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, first, begin.as_bytes());
        let mut sequence = first;
        for (index, (kind, flags, attributes)) in self.messages.iter().enumerate() {
            sequence = sequence.wrapping_add(1);
            let last = if index + 1 == self.messages.len() { NLM_F_ACK } else { 0 };
            message(&mut bytes, *kind, NLM_F_REQUEST | last | flags, sequence, attributes.as_bytes());
        }
        message(&mut bytes, NFNL_MSG_BATCH_END, NLM_F_REQUEST, sequence.wrapping_add(1), &frame);
        bytes
    }
}

/// Writes one netlink message.
pub(crate) fn message(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len() + 16).expect("a message is shorter than 4 GiB");
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
