//! The table's definition: its sets, the part that is always there, and the part that comes with the first rules on what
//! containers may reach (decision 33).

mod rules;

use super::egress::ruleset as egress;
use crate::nftables::{Batch, Chain, Expression, Hook, SetDefinition, SetKind, Verdict};
use rules::RULES;
pub(super) use rules::{DESTINATION_PORT, DESTINATION4, DESTINATION6, INET4, INET6, Rule, SOURCE4, SOURCE6};

pub(super) const TABLE: &str = "loam";

pub(super) const SOURCES4: &str = "sources4";
pub(super) const SOURCES6: &str = "sources6";
pub(super) const HAIRPIN4: &str = "hairpin4";
pub(super) const HAIRPIN6: &str = "hairpin6";
pub(super) const BRIDGES: &str = "bridges";
pub(super) const PORTS4: &str = "ports4";
pub(super) const PORTS6: &str = "ports6";
pub(super) const ADDRESSED4: &str = "addressed4";
pub(super) const ADDRESSED6: &str = "addressed6";
pub(super) const EVERYONE4: &str = "everyone4";
pub(super) const EVERYONE6: &str = "everyone6";
pub(super) const ADMITTED4: &str = "admitted4";
pub(super) const ADMITTED6: &str = "admitted6";
pub(super) const GUARDED: &str = "guarded";
pub(super) const WITHIN: &str = "within";

/// The chain whose rules are the administrator's: it is made, but never emptied.
const ADMIN: &str = "admin";

use SetKind::{Ipv4, Ipv6, LinkName, Port, Protocol};

const SETS: [SetDefinition; 15] = [
    SetDefinition { name: SOURCES4, key: &[Ipv4], value: &[], interval: true },
    SetDefinition { name: SOURCES6, key: &[Ipv6], value: &[], interval: true },
    SetDefinition { name: HAIRPIN4, key: &[Ipv4], value: &[], interval: true },
    SetDefinition { name: HAIRPIN6, key: &[Ipv6], value: &[], interval: true },
    SetDefinition { name: BRIDGES, key: &[LinkName], value: &[], interval: false },
    SetDefinition { name: PORTS4, key: &[Protocol, Port], value: &[Ipv4, Port], interval: false },
    SetDefinition { name: PORTS6, key: &[Protocol, Port], value: &[Ipv6, Port], interval: false },
    SetDefinition { name: ADDRESSED4, key: &[Ipv4, Protocol, Port], value: &[Ipv4, Port], interval: false },
    SetDefinition { name: ADDRESSED6, key: &[Ipv6, Protocol, Port], value: &[Ipv6, Port], interval: false },
    SetDefinition { name: EVERYONE4, key: &[Ipv4], value: &[], interval: false },
    SetDefinition { name: EVERYONE6, key: &[Ipv6], value: &[], interval: false },
    SetDefinition { name: ADMITTED4, key: &[Ipv4], value: &[], interval: false },
    SetDefinition { name: ADMITTED6, key: &[Ipv6], value: &[], interval: false },
    SetDefinition { name: GUARDED, key: &[LinkName], value: &[], interval: false },
    SetDefinition { name: WITHIN, key: &[LinkName, LinkName], value: &[], interval: false },
];

const CHAINS: [Chain; 8] = [
    Chain { name: "guard", hook: Some(("filter", Hook::Prerouting, -300)) },
    Chain { name: "published", hook: None },
    Chain { name: "prerouting", hook: Some(("nat", Hook::Prerouting, -100)) },
    Chain { name: "output", hook: Some(("nat", Hook::Output, -100)) },
    Chain { name: ADMIN, hook: None },
    Chain { name: "forward", hook: Some(("filter", Hook::Forward, 0)) },
    Chain { name: "redirected", hook: None },
    Chain { name: "postrouting", hook: Some(("nat", Hook::Postrouting, 100)) },
];

/// Chains and rules that are there together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    chains: &'static [Chain],
    rules: &'static [Rule],
}

/// What is there always.
const ALWAYS: Part = Part { chains: &CHAINS, rules: &RULES };
/// What looks at what containers send: a packet passes its chains only where some container has rules.
const EGRESS: Part = Part { chains: &egress::CHAINS, rules: &egress::RULES };

/// Fills a batch with all that makes the table, the part for egress if it is needed, whatever of it exists already; elements
/// stay.
pub(super) fn define(batch: &mut Batch, with_egress: bool) {
    batch.add_table();
    for set in SETS.iter().chain(&egress::SETS) {
        batch.add_set(set);
    }
    ALWAYS.define(batch);
    if with_egress {
        EGRESS.define(batch);
    }
}

/// Whether a table with these chains, each with how often it is used, is whole. Without need the part for egress may be
/// missing, but not be there by halves.
pub(super) fn is_whole(found: &[(String, u32)], needs_egress: bool) -> bool {
    ALWAYS.is_whole(found) && (EGRESS.is_whole(found) || !(needs_egress || defines_egress(found)))
}

/// Whether something of the part for egress is there.
pub(super) fn defines_egress(found: &[(String, u32)]) -> bool {
    EGRESS.chains.iter().any(|chain| found.iter().any(|(name, _)| name == chain.name))
}

impl Part {
    fn define(self, batch: &mut Batch) {
        for chain in self.chains {
            batch.add_chain(chain);
            if chain.name != ADMIN {
                batch.flush_chain(chain.name);
            }
        }
        for (chain, rule) in self.rules {
            batch.add_rule(chain, rule);
        }
    }

    fn is_whole(self, found: &[(String, u32)]) -> bool {
        self.uses().all(|wanted| found.iter().any(|(name, uses)| (name.as_str(), *uses) == wanted))
    }

    /// How often each chain is used when all is there: by its rules, and by those that lead to it. The administrator's
    /// own has any number of rules.
    fn uses(self) -> impl Iterator<Item = (&'static str, u32)> {
        let chains = self.chains.iter().filter(|chain| chain.name != ADMIN);
        chains.map(move |chain| {
            let leads = |(_, rule): &&Rule| {
                rule.iter()
                    .any(|one| matches!(one, Expression::Verdict(Verdict::Jump(to)) if *to == chain.name))
            };
            let own = self.rules.iter().filter(|(name, _)| *name == chain.name).count();
            (chain.name, u32::try_from(own + self.rules.iter().filter(leads).count()).unwrap_or(u32::MAX))
        })
    }
}
