//! What containers may reach: the seam's rules as those of the firewall.

use std::net::IpAddr;
use std::path::Path;

use loam_cni::firewall::egress::{self, EgressRecord, GuardedLink, RuleList};
use loam_cni::firewall::{Firewall, FirewallError};
use loam_cni::nftables::NftablesError;
use loam_model::{
    AddressRange, ContainerId, EgressAction, EgressList, EgressPolicy, EgressProtocol, EgressRule, ErrorKind,
    Failure, IcmpMessages, NetworkRules, PortMapping, PortRange, Result,
};

use crate::attachments::{AttachmentFile, Intent};
use crate::cache::Key;
use crate::failure::of_files;
use crate::network::{CniNetwork, unattached};

impl NetworkRules for CniNetwork {
    fn restrict(&self, container: &ContainerId, policy: &EgressPolicy) -> Result<()> {
        let invalid = |error: egress::InvalidRules| {
            Failure::new(ErrorKind::Invalid, "the rules can't be used").caused_by(error)
        };
        let (to_others, to_host) = (list(&policy.to_others), list(&policy.to_host));
        to_others.validate().map_err(invalid)?;
        to_host.validate().map_err(invalid)?;
        if let Some(held) = self.by_networker(container)? {
            return self.networker_restrict(held, container, policy);
        }
        let (ends, _held) = self.ends(container)?;
        let guarded = if policy.guarded { ends.links } else { Vec::new() };
        let record = EgressRecord { addresses: ends.addresses, to_others, to_host, guarded };
        let set = Firewall::open(&self.host).and_then(|mut wall| wall.restrict(container.as_str(), &record));
        set.map_err(|error| refused(container, error))
    }

    fn publish(
        &self,
        container: &ContainerId,
        namespace: &Path,
        ports: &[PortMapping],
    ) -> Result<Vec<PortMapping>> {
        match self.by_networker(container)? {
            Some(held) => self.networker_publish(held, container, ports),
            None => self.publish_more(container, namespace, ports),
        }
    }
}

/// An attachment as the host sees it.
struct Ends {
    /// The container's addresses.
    addresses: Vec<IpAddr>,
    /// The links that what it sends comes in by: bridges, or the ends of its own pairs.
    links: Vec<GuardedLink>,
}

impl CniNetwork {
    /// Looks an attachment up; it stays locked as long as the file is held.
    fn ends(&self, container: &ContainerId) -> Result<(Ends, AttachmentFile)> {
        let mut file = self.open(container, false)?.ok_or_else(|| unattached(container))?;
        let intents = file.read().map_err(|error| of_files("reading the attachment failed", error))?;
        let mut ends = Ends { addresses: Vec::new(), links: Vec::new() };
        for intent in intents.ok_or_else(|| unattached(container))? {
            let key =
                Key { network: &intent.network, container: container.as_str(), interface: &intent.interface };
            let Some(cached) = self.cache.read(key) else { continue };
            ends.addresses.extend(cached.result.addresses_of(&intent.interface).map(|ip| ip.address.addr()));
            let mut on_host =
                cached.result.interfaces.iter().filter(|interface| interface.sandbox.is_empty()).peekable();
            // A bridge comes before the port on it (CNI SPEC.md, "Success"); alone it is an end of a pair.
            if let Some(first) = on_host.next() {
                ends.links.push(GuardedLink { name: first.name.clone(), own: on_host.peek().is_none() });
            }
        }
        if ends.addresses.is_empty() { Err(unattached(container)) } else { Ok((ends, file)) }
    }

    /// Lets the rules of a container, if it has any, hold for all addresses and links that it has now.
    pub(crate) fn renew_rules(&self, container: &ContainerId) -> Result<()> {
        if !Firewall::has_restrictions(&self.host, container.as_str()) {
            return Ok(());
        }
        let (ends, _held) = match self.ends(container) {
            Err(failure) if failure.kind() == ErrorKind::NotFound => return self.lift(container),
            ends => ends?,
        };
        let renewed = Firewall::open(&self.host).and_then(|mut wall| {
            let Some(record) = wall.restrictions(container.as_str())? else {
                return wall.settle(container.as_str());
            };
            let guarded = if record.guarded.is_empty() { Vec::new() } else { ends.links };
            wall.restrict(
                container.as_str(),
                &EgressRecord { addresses: ends.addresses, guarded, ..record },
            )?;
            wall.settle(container.as_str())
        });
        renewed.map_err(|error| refused(container, error))
    }

    /// Verifies that the rules of a container, if it has any, are in the kernel.
    pub(crate) fn check_rules(&self, container: &ContainerId) -> Result<()> {
        if !Firewall::has_restrictions(&self.host, container.as_str()) {
            return Ok(());
        }
        let set =
            Firewall::open(&self.host).and_then(|mut wall| match wall.restrictions(container.as_str())? {
                Some(record) => wall.is_restricted(container.as_str(), &record),
                None => Ok(true),
            });
        match set {
            Ok(true) => Ok(()),
            Ok(false) => {
                let message = format!("the rules of container `{}` are not in the kernel", container.short());
                Err(Failure::new(ErrorKind::Conflict, message).hint("`loam network reload` puts them back"))
            }
            Err(error) => Err(refused(container, error)),
        }
    }

    /// Has a container with rules reach nothing, before its addresses become others'.
    pub(crate) fn close(&self, container: &ContainerId) -> Result<()> {
        if !Firewall::has_restrictions(&self.host, container.as_str()) {
            return Ok(());
        }
        let closed = Firewall::open(&self.host).and_then(|mut wall| wall.close(container.as_str()));
        closed.map_err(|error| refused(container, error))
    }

    /// Has a container with rules reach nothing by the addresses of interfaces that are about to go.
    pub(crate) fn close_some(&self, container: &ContainerId, gone: &[Intent]) -> Result<()> {
        if !Firewall::has_restrictions(&self.host, container.as_str()) {
            return Ok(());
        }
        let mut addresses = Vec::new();
        for intent in gone {
            let key =
                Key { network: &intent.network, container: container.as_str(), interface: &intent.interface };
            let cached = self.cache.read(key);
            let of_one = cached.iter().flat_map(|cached| cached.result.addresses_of(&intent.interface));
            addresses.extend(of_one.map(|ip| ip.address.addr()));
        }
        let closed =
            Firewall::open(&self.host).and_then(|mut wall| wall.close_some(container.as_str(), &addresses));
        closed.map_err(|error| refused(container, error))
    }

    /// Frees addresses that a container has just got from the rules of whoever had them before and is not done with leaving. Those of
    /// one that stays it can't have.
    pub(crate) fn claim(&self, container: &ContainerId, addresses: &[IpAddr]) -> Result<()> {
        let any = Firewall::has_any_restrictions(&self.host).map_err(FirewallError::from);
        if !any.map_err(|error| refused(container, error))? {
            return Ok(());
        }
        let claim =
            || Firewall::open(&self.host).and_then(|mut wall| wall.claim(container.as_str(), addresses));
        let claimed = match claim() {
            Err(FirewallError::AddressTaken { owner, .. }) if self.is_forgotten(&owner)? => {
                Firewall::open(&self.host).and_then(|mut wall| wall.unrestrict(&owner)).and_then(|()| claim())
            }
            claimed => claimed,
        };
        claimed.map_err(|error| match error {
            FirewallError::AddressTaken { .. } => {
                let message = format!("container `{}` can't have the address that it got", container.short());
                Failure::new(ErrorKind::AlreadyExists, message)
                    .caused_by(error)
                    .hint("give networks of two state directories subnets of their own with `--subnet`")
            }
            error => refused(container, error),
        })
    }

    /// Whether a container has rules here and no attachment, as when its file was removed by hand.
    fn is_forgotten(&self, container: &str) -> Result<bool> {
        let all = self.attachments.all().map_err(|error| of_files("listing attachments failed", error))?;
        Ok(Firewall::has_restrictions(&self.host, container)
            && !all.iter().any(|(known, _)| known.as_str() == container))
    }

    /// Withdraws what was set for a container, if anything was.
    pub(crate) fn lift(&self, container: &ContainerId) -> Result<()> {
        if !Firewall::has_restrictions(&self.host, container.as_str()) {
            return Ok(());
        }
        let lifted = Firewall::open(&self.host).and_then(|mut wall| wall.unrestrict(container.as_str()));
        lifted.map_err(|error| refused(container, error))
    }
}

fn refused(container: &ContainerId, error: FirewallError) -> Failure {
    let kind = match &error {
        FirewallError::Change(NftablesError::Unsupported(_))
        | FirewallError::Read(NftablesError::Unsupported(_)) => ErrorKind::Unsupported,
        _ => ErrorKind::Internal,
    };
    let message = format!("the rules of container `{}` can't be set", container.short());
    Failure::new(kind, message).caused_by(error)
}

fn list(list: &EgressList) -> RuleList {
    RuleList {
        rules: list.rules.iter().map(rule).collect(),
        otherwise: action(list.otherwise),
        rate: list.rate.map(|rate| egress::ConnectionRate { per_second: rate.per_second, burst: rate.burst }),
        log_prefix: list.log_prefix.clone(),
        logs_per_second: list.logs_per_second,
        log_refused: list.log_refused,
    }
}

fn action(action: EgressAction) -> egress::Action {
    match action {
        EgressAction::Allow => egress::Action::Allow,
        EgressAction::Reject => egress::Action::Reject,
    }
}

fn rule(rule: &EgressRule) -> egress::Rule {
    let ports = |ranges: &[PortRange]| {
        ranges.iter().map(|range| egress::PortRange { first: range.first, last: range.last }).collect()
    };
    let messages =
        |icmp: &Option<IcmpMessages>| icmp.map(|icmp| egress::Icmp { kind: icmp.kind, code: icmp.code });
    let protocol = match &rule.protocol {
        EgressProtocol::All => egress::Protocol::All,
        EgressProtocol::Tcp(ranges) => egress::Protocol::Tcp(ports(ranges)),
        EgressProtocol::Udp(ranges) => egress::Protocol::Udp(ports(ranges)),
        EgressProtocol::Icmp(icmp) => egress::Protocol::Icmp(messages(icmp)),
        EgressProtocol::IcmpV6(icmp) => egress::Protocol::IcmpV6(messages(icmp)),
    };
    let range = |range: &AddressRange| egress::AddressRange { first: range.first, last: range.last };
    egress::Rule {
        action: action(rule.action),
        protocol,
        networks: rule.networks.iter().map(range).collect(),
        log: rule.log,
    }
}
