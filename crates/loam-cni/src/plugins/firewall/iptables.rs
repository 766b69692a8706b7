//! iptables: chains and rules as the reference plugin makes them.

use std::net::IpAddr;

use super::backend::{Config, Policy};
use crate::iptables::{Change, Family, Iptables, IptablesError, Rule, Table};
use crate::protocol::{CniError, Context};

const TABLE: &str = "filter";
const FORWARD: &str = "FORWARD";
const OURS: &str = "CNI-FORWARD";
const STAGE1: &str = "CNI-ISOLATION-STAGE-1";
const STAGE2: &str = "CNI-ISOLATION-STAGE-2";

fn commented(comment: &str) -> Rule {
    Rule::new(&["-m", "comment", "--comment", comment])
}

/// The rules that begin chains: chain, rule.
fn entries(config: &Config) -> [(&'static str, Rule); 2] {
    let admin = commented("CNI firewall plugin admin overrides").and(["-j", &config.admin_chain]);
    [(FORWARD, commented("CNI firewall plugin rules").and(["-j", OURS])), (OURS, admin)]
}

/// The rules that let an address through.
fn passes(address: IpAddr) -> [Rule; 2] {
    let net = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
    let established = ["-d", &net, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"];
    [Rule::new(&established), Rule::new(&["-s", &net, "-j", "ACCEPT"])]
}

/// The rules that guard a bridge: chain, whether at its start, rule.
fn guards(bridge: &str, isolated: bool) -> Vec<(&'static str, bool, Rule)> {
    let name = if isolated { "isolated" } else { "same-bridge" };
    let policy = commented(&format!("CNI firewall plugin rules (ingressPolicy: {name})"));
    let both = commented("CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)");
    let mut rules = vec![
        (FORWARD, true, both.clone().and(["-j", STAGE1])),
        (STAGE1, true, policy.clone().and(["-i", bridge, "!", "-o", bridge, "-j", STAGE2])),
    ];
    if isolated {
        rules.push((STAGE1, true, policy.and(["-i", bridge, "-o", bridge, "-j", "DROP"])));
    }
    rules.push((STAGE1, false, both.clone().and(["-j", "RETURN"])));
    rules.push((STAGE2, true, both.clone().and(["-o", bridge, "-j", "DROP"])));
    rules.push((STAGE2, false, both.and(["-j", "RETURN"])));
    rules
}

fn of_family(addresses: &[IpAddr], family: Family) -> Vec<IpAddr> {
    addresses.iter().copied().filter(|address| Family::of(*address) == family).collect()
}

/// Lets addresses through, and guards a bridge.
pub(super) fn add(
    context: &Context<'_>,
    config: &Config,
    addresses: &[IpAddr],
    bridge: Option<String>,
) -> Result<(), CniError> {
    let mut iptables = Iptables::open(context.host)?;
    for family in Family::ALL {
        let addresses = of_family(addresses, family);
        if !addresses.is_empty() {
            iptables.change(family, TABLE, |table, change| {
                admit(config, &addresses, table, change);
                if let Some(bridge) = &bridge {
                    guard(bridge, config.policy == Policy::Isolated, table, change);
                }
            })?;
        }
    }
    Ok(())
}

fn admit(config: &Config, addresses: &[IpAddr], table: &Table, change: &mut Change) {
    change.ensure_chain(table, OURS).ensure_chain(table, &config.admin_chain);
    for (chain, rule) in entries(config) {
        if !table.has(chain, &rule) {
            change.prepend(chain, &rule);
        }
    }
    for rule in addresses.iter().flat_map(|address| passes(*address)) {
        if !table.has(OURS, &rule) {
            change.append(OURS, &rule);
        }
    }
}

fn guard(bridge: &str, isolated: bool, table: &Table, change: &mut Change) {
    change.ensure_chain(table, STAGE1).ensure_chain(table, STAGE2);
    for (chain, first, rule) in guards(bridge, isolated) {
        match (table.has(chain, &rule), first) {
            (true, _) => {}
            (false, true) => drop(change.prepend(chain, &rule)),
            (false, false) => drop(change.append(chain, &rule)),
        }
    }
}

/// No longer lets addresses through; a bridge stays guarded, as others may be on it.
pub(super) fn remove(context: &Context<'_>, addresses: &[IpAddr]) -> Result<(), CniError> {
    let mut iptables = Iptables::open(context.host)?;
    for family in Family::ALL {
        let rules: Vec<Rule> = of_family(addresses, family).into_iter().flat_map(passes).collect();
        if !rules.is_empty() {
            iptables.change(family, TABLE, |table, change| {
                for found in rules.iter().filter_map(|rule| table.find(OURS, rule)) {
                    change.remove(found);
                }
            })?;
        }
    }
    Ok(())
}

/// Whether addresses are let through, and a bridge is guarded.
pub(super) fn check(
    context: &Context<'_>,
    config: &Config,
    addresses: &[IpAddr],
    bridge: Option<String>,
) -> Result<bool, CniError> {
    let iptables = Iptables::open(context.host)?;
    for family in Family::ALL {
        let addresses = of_family(addresses, family);
        if addresses.is_empty() {
            continue;
        }
        let table = iptables.table(family, TABLE)?;
        let entries = entries(config).into_iter().all(|(chain, rule)| table.has(chain, &rule));
        let passes = addresses.into_iter().flat_map(passes).all(|rule| table.has(OURS, &rule));
        let guards = bridge.as_ref().map(|bridge| guards(bridge, config.policy == Policy::Isolated));
        let guarded = guards.is_none_or(|rules| rules.iter().all(|(chain, _, rule)| table.has(chain, rule)));
        if !(entries && passes && guarded) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether it can be used.
pub(super) fn probe(context: &Context<'_>) -> Result<(), IptablesError> {
    Iptables::open(context.host)?.table(Family::Four, TABLE).map(drop)
}
