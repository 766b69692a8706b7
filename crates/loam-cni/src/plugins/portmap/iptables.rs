//! iptables: chains and rules as the reference plugin makes them.

use std::net::IpAddr;

use super::backend::Options;
use crate::firewall::{ChainRecord, Mapping, TransportProtocol};
use crate::iptables::{Change, Family, Iptables, Rule, Table, chain_name};
use crate::masquerade::remove_chain;
use crate::protocol::{CniError, Context, IpConfig, ValidAttachments};
use crate::records::{RecordError, Records};

const TABLE: &str = "nat";
const PORTS: &str = "CNI-HOSTPORT-DNAT";
const SET_MARK: &str = "CNI-HOSTPORT-SETMARK";
const MASQUERADE: &str = "CNI-HOSTPORT-MASQ";
/// How many ports one rule looks for (`XT_MULTI_PORTS`).
const PORTS_PER_RULE: usize = 15;
type Record = ChainRecord<false>;

/// What is published.
pub(super) struct Publication<'a> {
    pub(super) options: &'a Options,
    pub(super) mappings: &'a [Mapping],
    pub(super) addresses: &'a [&'a IpConfig],
    /// Whether clients are masqueraded: the container's own subnet and the host itself, or all.
    pub(super) masquerade: bool,
    pub(super) masquerade_all: bool,
}

fn chain(network: &str, container: &str) -> String {
    chain_name("DN-", network, container)
}

fn records(context: &Context<'_>) -> Records {
    Records::new(context.host.state_directory.clone())
}

fn unrecorded(cause: RecordError) -> CniError {
    CniError::internal("publishing ports failed", &cause)
}

impl Publication<'_> {
    fn mappings(&self, family: Family) -> Vec<&Mapping> {
        self.mappings.iter().filter(|mapping| Family::of(mapping.target) == family).collect()
    }

    /// Publishes, for each family all or nothing. When it fails for one, everything is as it was.
    pub(super) fn publish(&self, context: &Context<'_>) -> Result<(), CniError> {
        let known = has_published(context)?;
        let record = Record { network: context.config.name.clone() };
        records(context).keep(&context.owner(), &record).map_err(unrecorded)?;
        let mut iptables = Iptables::open(context.host)?;
        let mut changed = Vec::new();
        for family in Family::ALL.into_iter().filter(|family| !self.mappings(*family).is_empty()) {
            match iptables.change(family, TABLE, |table, change| self.fill(context, family, table, change)) {
                Ok(before) => changed.push((family, before)),
                Err(error) => {
                    // The error that is told is the one that led here.
                    drop(put_back(context, &mut iptables, &changed, known));
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Makes the container's chains hold what is published here and nothing else.
    pub(super) fn narrow(&self, context: &Context<'_>) -> Result<(), CniError> {
        if self.mappings.is_empty() {
            return withdraw(context);
        }
        let mut iptables = Iptables::open(context.host)?;
        for family in Family::ALL {
            iptables.change(family, TABLE, |table, change| {
                if self.mappings(family).is_empty() {
                    change.remove_chain(table, &chain(&context.config.name, &context.container_id));
                } else {
                    self.fill(context, family, table, change);
                }
            })?;
        }
        Ok(())
    }

    fn fill(&self, context: &Context<'_>, family: Family, table: &Table, change: &mut Change) {
        if self.masquerade && self.options.mark_chain.is_none() {
            self.fill_marks(table, change);
        }
        change.ensure_chain(table, PORTS);
        for from in ["PREROUTING", "OUTPUT"] {
            if !table.leads(from, PORTS) {
                change.append(from, &Rule::new(&["-m", "addrtype", "--dst-type", "LOCAL", "-j", PORTS]));
            }
        }
        let chain = chain(&context.config.name, &context.container_id);
        for rule in table.leading_to(&chain) {
            change.remove(rule);
        }
        change.fresh_chain(&chain);
        for rule in self.rules(family) {
            change.append(&chain, &rule);
        }
        for rule in self.entries(context, family, &chain) {
            change.append(PORTS, &rule);
        }
    }

    /// The chains that mark packets, and masquerade marked packets.
    fn fill_marks(&self, table: &Table, change: &mut Change) {
        let mark = 1u32 << self.options.mark_bit;
        let mark = format!("{mark:#x}/{mark:#x}");
        let comment = ["-m", "comment", "--comment", "CNI portfwd masquerade mark"];
        let set = Rule::new(&comment).and(["-j", "MARK", "--set-xmark", &mark]);
        let masquerade = Rule::new(&["-m", "mark", "--mark", &mark, "-j", "MASQUERADE"]);
        for (chain, rule) in [(SET_MARK, set), (MASQUERADE, masquerade)] {
            change.ensure_chain(table, chain);
            if !table.has(chain, &rule) {
                change.append(chain, &rule);
            }
        }
        if !table.leads("POSTROUTING", MASQUERADE) {
            let comment = ["-m", "comment", "--comment", "CNI portfwd requiring masquerade"];
            change.prepend("POSTROUTING", &Rule::new(&comment).and(["-j", MASQUERADE]));
        }
    }

    /// The rules of the container's chain.
    fn rules(&self, family: Family) -> Vec<Rule> {
        let mark = self.options.mark_chain.as_deref().unwrap_or(SET_MARK);
        let own = self.addresses.iter().find(|ip| Family::of(ip.address.addr()) == family);
        let mut sources: Vec<String> = Vec::new();
        match (self.masquerade, self.masquerade_all, family) {
            (false, ..) => {}
            (true, true, Family::Four) => sources.push("0.0.0.0/0".into()),
            (true, true, Family::Six) => sources.push("::/0".into()),
            (true, false, _) => {
                sources.extend(own.map(|ip| ip.address.trunc().to_string()));
                sources.extend((family == Family::Four).then(|| "127.0.0.1".to_owned()));
            }
        }
        let mut rules = Vec::new();
        for mapping in self.mappings(family) {
            let port = mapping.host_port.to_string();
            let mut base = Rule::new(&["-p", mapping.protocol.as_str(), "--dport", &port]);
            if let Some(address) = mapping.host_address {
                base = base.and(["-d", &address.to_string()]);
            }
            for source in &sources {
                rules.push(base.clone().and(["-s", source, "-j", mark]));
            }
            rules.push(base.and(["-j", "DNAT", "--to-destination", &destination(mapping)]));
        }
        rules
    }

    /// The rules that lead to the container's chain.
    fn entries(&self, context: &Context<'_>, family: Family, chain: &str) -> Vec<Rule> {
        let (network, container) = (&context.config.name, &context.container_id);
        let comment = format!("dnat name: \"{network}\" id: \"{container}\"");
        let comment: String = comment.chars().take(255).collect();
        let conditions = match family {
            Family::Four => &self.options.conditions4,
            Family::Six => &self.options.conditions6,
        };
        let mut rules = Vec::new();
        for protocol in [TransportProtocol::Sctp, TransportProtocol::Tcp, TransportProtocol::Udp] {
            let of_protocol =
                self.mappings(family).into_iter().filter(|mapping| mapping.protocol == protocol);
            let mut ports: Vec<u16> = of_protocol.map(|mapping| mapping.host_port).collect();
            ports.sort_unstable();
            ports.dedup();
            for some in ports.chunks(PORTS_PER_RULE) {
                let list: Vec<String> = some.iter().map(u16::to_string).collect();
                let rule = Rule::new(&["-m", "comment", "--comment", &comment, "-m", "multiport", "-p"])
                    .and([protocol.as_str(), "--destination-ports", &list.join(",")]);
                rules.push(rule.and(conditions.iter().map(String::as_str)).and(["-j", chain]));
            }
        }
        rules
    }

    /// Whether everything is published.
    pub(super) fn is_published(&self, context: &Context<'_>) -> Result<bool, CniError> {
        let chain = chain(&context.config.name, &context.container_id);
        let iptables = Iptables::open(context.host)?;
        for family in Family::ALL {
            let mappings = self.mappings(family);
            if mappings.is_empty() {
                continue;
            }
            let table = iptables.table(family, TABLE)?;
            let reached = ["PREROUTING", "OUTPUT"].into_iter().all(|from| table.leads(from, PORTS))
                && table.leads(PORTS, &chain);
            let complete = table.rules(&chain).count() == self.rules(family).len();
            let redirected = mappings.into_iter().all(|mapping| {
                let wanted = [
                    format!("--dport {} ", mapping.host_port),
                    format!("--to-destination {}", destination(mapping)),
                ];
                let has = |rule: &str| rule.contains(&wanted[0]) && rule.ends_with(&wanted[1]);
                table.rules(&chain).any(has)
            });
            if !(reached && complete && redirected) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn destination(mapping: &Mapping) -> String {
    match mapping.target {
        IpAddr::V4(address) => format!("{address}:{}", mapping.target_port),
        IpAddr::V6(address) => format!("[{address}]:{}", mapping.target_port),
    }
}

/// Whether ports were published for the attachment.
pub(super) fn has_published(context: &Context<'_>) -> Result<bool, CniError> {
    Ok(records(context).get::<Record>(&context.owner()).map_err(unrecorded)?.is_some())
}

/// Makes the container's chains what they were.
fn put_back(
    context: &Context<'_>,
    iptables: &mut Iptables,
    changed: &[(Family, Table)],
    known: bool,
) -> Result<(), CniError> {
    let chain = chain(&context.config.name, &context.container_id);
    for (family, before) in changed {
        iptables.change(*family, TABLE, |table, change| {
            change.put_back(table, before, &chain);
        })?;
    }
    if known { Ok(()) } else { records(context).forget::<Record>(&context.owner()).map_err(unrecorded) }
}

/// Withdraws what was published for a container; success when there is nothing.
pub(super) fn withdraw(context: &Context<'_>) -> Result<(), CniError> {
    remove_chain(context, TABLE, &chain(&context.config.name, &context.container_id))?;
    records(context).forget::<Record>(&context.owner()).map_err(unrecorded)
}

/// Withdraws what was published for attachments of the network that are not valid.
pub(super) fn collect(context: &Context<'_>, valid: &ValidAttachments) -> Result<(), CniError> {
    let network = &context.config.name;
    for known in records(context).owners::<Record>(network).map_err(unrecorded)? {
        if !valid.contains(&known.owner()) {
            remove_chain(context, TABLE, &chain(network, &known.container_id))?;
            records(context).forget::<Record>(&known.owner()).map_err(unrecorded)?;
        }
    }
    Ok(())
}
