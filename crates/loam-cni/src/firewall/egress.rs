//! What containers may reach: rules for what they send to others and to this host.
//!
//! ```text
//! map to-others4, to-others6   a container's address -> the chain of its rules for what is passed on
//! map to-host4, to-host6       a container's address -> the chain of its rules for this host
//! set ruled                    bridges over which only containers with rules may send anything
//! set own                      ends of pairs over which only their container's addresses may send anything
//! set senders4, senders6       link . address, for those
//! chain senders                drops what comes in by one of `own` from an address that is not in `senders4`, `senders6`
//! chain egress                 base chain: what is passed on
//! chain to-host                base chain: what is for this host
//! chain othersF-HASH, hostF-HASH  rules; one chain for each distinct list and family, shared by all containers with it
//! set rate-CHAIN               counts of new connections, for lists that limit them
//! ```
//!
//! The chains come when the first container gets rules (decision 33).
//!
//! So a container whose list others have already costs one element, and replacing all rules of a container is one
//! batch: there is no moment with half of them. What belongs to a connection that was allowed passes before any list
//! is asked. A chain that nobody uses any more is removed; the kernel itself refuses that while somebody does.
//!
//! Traffic between two ports of one bridge does not pass here: it is not routed. `portIsolation` of the plugin `bridge`
//! is for that.

mod chain;
mod leaving;
mod list;
mod matches;
mod restriction;
pub(super) mod ruleset;
mod sweep;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::elements::{address_bytes, link_bytes};
use crate::nftables::Element;
use chain::{NamedList, RuleChain};
pub use list::{
    Action, AddressRange, ConnectionRate, Icmp, InvalidRules, PortRange, Protocol, Rule, RuleList,
};
pub(super) use ruleset::RULED;
use ruleset::{OWN, SENDERS4, SENDERS6, TO_HOST4, TO_HOST6, TO_OTHERS4, TO_OTHERS6};

/// What one container may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRecord {
    /// The container's addresses.
    pub addresses: Vec<IpAddr>,
    /// The rules for what is passed on to others.
    pub to_others: RuleList,
    /// The rules for this host itself.
    pub to_host: RuleList,
    /// The links over which nothing shall pass that is of no container with rules: one for each network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guarded: Vec<GuardedLink>,
}

/// A link that what containers send comes in by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardedLink {
    /// Its name.
    pub name: String,
    /// Whether it is of this container alone, and goes with it: its end of a pair rather than a bridge.
    pub own: bool,
}

/// The family of what a chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Family::V4)
    }

    /// The maps that lead to its chains: of what is passed on, and of what is for this host.
    fn maps(self) -> [&'static str; 2] {
        match self {
            Family::V4 => [TO_OTHERS4, TO_HOST4],
            Family::V6 => [TO_OTHERS6, TO_HOST6],
        }
    }
}

/// The comment of a container's elements.
fn comment(container: &str) -> String {
    let mut comment = container.to_owned();
    comment.truncate(Element::MAX_COMMENT);
    comment
}

/// The elements and chains of a record.
struct Parts {
    elements: Vec<(&'static str, Element)>,
    /// Of the families that the container has addresses of.
    chains: Vec<RuleChain>,
    /// What guards the links. That of a bridge stays when the container goes.
    guards: Vec<(&'static str, Element)>,
}

impl EgressRecord {
    /// The same container, which reaches nothing.
    fn closed(self) -> Self {
        Self { to_others: RuleList::reject(), to_host: RuleList::reject(), ..self }
    }

    fn is_closed(&self) -> bool {
        self.to_others == RuleList::reject() && self.to_host == RuleList::reject()
    }

    fn parts(&self, container: &str) -> Parts {
        let (to_others, to_host) = (NamedList::new(&self.to_others), NamedList::new(&self.to_host));
        let (mut elements, mut chains) = (Vec::new(), Vec::new());
        for family in [Family::V4, Family::V6] {
            let mut addresses = self.addresses.iter().filter(|address| family.has(**address)).peekable();
            if addresses.peek().is_none() {
                continue;
            }
            let both = [RuleChain::to_others(&to_others, family), RuleChain::to_host(&to_host, family)];
            for address in addresses {
                for (map, chain) in family.maps().into_iter().zip(&both) {
                    elements.push((
                        map,
                        Element {
                            key: address_bytes(*address),
                            chain: Some(chain.name.clone()),
                            comment: Some(comment(container)),
                            ..Element::default()
                        },
                    ));
                }
            }
            chains.extend(both);
        }
        Parts { elements, chains, guards: self.guards() }
    }

    fn guards(&self) -> Vec<(&'static str, Element)> {
        self.guarded.iter().flat_map(|link| self.guards_of(link)).collect()
    }

    fn guards_of(&self, link: &GuardedLink) -> Vec<(&'static str, Element)> {
        let element = |key| Element { key, ..Element::default() };
        let name = link_bytes(&link.name);
        if !link.own {
            return vec![(RULED, element(name))];
        }
        let sender = |address: &IpAddr| {
            let set = if address.is_ipv4() { SENDERS4 } else { SENDERS6 };
            (set, element([name.clone(), address_bytes(*address)].concat()))
        };
        let mut guards: Vec<_> = self.addresses.iter().map(sender).collect();
        guards.push((OWN, element(name.clone())));
        guards
    }
}
