//! Looking after attachments: CHECK, garbage collection, and the firewall.

use std::collections::BTreeSet;

use loam_cni::firewall::{Firewall, Watch};
use loam_cni::protocol::Version;
use loam_model::{Collected, DetachRequest, ErrorKind, Failure, KnownAttachment, NetworkName, Result};
use serde_json::{Map, Value, json};

use crate::attachments::Intent;
use crate::cache::{Entry, Key};
use crate::chain::Call;
use crate::conflist::{self, NetworkList};
use crate::failure::of_files;
use crate::network::{CniNetwork, unknown};

impl CniNetwork {
    /// [`loam_model::Network::check`].
    pub(crate) fn check_container(&self, request: &DetachRequest<'_>) -> Result<()> {
        let Some(mut file) = self.open(request.container, false)? else { return Ok(()) };
        let intents = file.read().map_err(|error| of_files("reading the attachment failed", error))?;
        let Some(intents) = intents else {
            let message = format!("the attachment of container `{}` is not whole", request.container.short());
            return Err(Failure::new(ErrorKind::Conflict, message));
        };
        let check = |intent: &Intent| self.check_one(request, intent).err();
        let mut failures: Vec<Failure> = intents.iter().filter_map(check).collect();
        failures.extend(self.check_rules(request.container).err());
        Failure::join(failures).map_or(Ok(()), Err)
    }

    fn check_one(&self, request: &DetachRequest<'_>, intent: &Intent) -> Result<()> {
        let _lock = self.locks.shared(&intent.network)?;
        let container = request.container.as_str();
        let key = Key { network: &intent.network, container, interface: &intent.interface };
        let cached = self.cache.read(key).ok_or_else(|| {
            let message = format!(
                "the result of attaching `{}` to network `{}` is missing",
                intent.interface, intent.network
            );
            Failure::new(ErrorKind::NotFound, message)
        })?;
        let list = NetworkList::parse(cached.config.unwrap_or_else(|| intent.config.clone()))
            .map_err(|error| of_files("the attachment's own configuration can't be read", error))?;
        if list.networker.is_some() {
            return match &request.namespace {
                Some(namespace) => self.networker_check(&intent.network, namespace, &cached.result),
                None => Ok(()),
            };
        }
        let call = Call { namespace: request.namespace.as_deref(), ..self.call(intent, &list, container) };
        Ok(call.check(&cached.result)?)
    }

    /// The attachments to a network that files tell of.
    pub(crate) fn known_attachments(&self, network: &str) -> Result<Vec<KnownAttachment>> {
        let all = self.attachments.all().map_err(|error| of_files("listing attachments failed", error))?;
        let known = all.into_iter().flat_map(|(container, intents)| {
            let ours = intents.into_iter().filter(|intent| intent.network == network);
            ours.map(move |intent| KnownAttachment {
                container: container.clone(),
                interface: intent.interface,
            })
        });
        Ok(known.collect())
    }

    /// [`loam_model::Network::collect`].
    pub(crate) fn collect_garbage(&self, name: Option<&NetworkName>) -> Result<Collected> {
        let lists = conflist::all(&self.config.conf_dir)
            .map_err(|error| of_files("reading the networks failed", error))?;
        let entries =
            self.cache.entries().map_err(|error| of_files("listing cached results failed", error))?;
        let mut names: BTreeSet<&str> = lists.iter().map(|list| list.name.as_str()).collect();
        names.extend(entries.iter().map(|entry| entry.network.as_str()));
        if let Some(name) = name {
            if !name.is_default() && !names.contains(name.as_str()) {
                return Err(unknown(name));
            }
            names.retain(|known| *known == name.as_str());
        }
        let (mut collected, mut failures) = (Collected::default(), Vec::new());
        failures.extend(self.settle_all_ports().err());
        for name in names {
            let list = lists.iter().find(|list| list.name == name);
            match self.collect_network(name, list, &mut collected) {
                Ok(found) => failures.extend(found),
                Err(failure) => failures.push(failure),
            }
        }
        let swept = Firewall::open(&self.host).and_then(|mut wall| wall.sweep_restrictions());
        failures.extend(swept.err().map(|error| of_files("sweeping the firewall failed", error)));
        Failure::join(failures).map_or(Ok(collected), Err)
    }

    /// Collects the garbage of one network, which nobody changes meanwhile; gives what went wrong.
    fn collect_network(
        &self,
        name: &str,
        list: Option<&NetworkList>,
        collected: &mut Collected,
    ) -> Result<Vec<Failure>> {
        if list.is_some_and(|list| list.disable_gc) {
            return Ok(Vec::new());
        }
        let _lock = self.locks.alone(name)?;
        let valid = self.known_attachments(name)?;
        let is_valid = |entry: &Entry| {
            valid.iter().any(|known| {
                known.container.as_str() == entry.container && known.interface == entry.interface
            })
        };
        let entries =
            self.cache.entries().map_err(|error| of_files("listing cached results failed", error))?;
        let mut failures = Vec::new();
        for entry in entries.iter().filter(|entry| entry.network == name && !is_valid(entry)) {
            match self.del_orphan(entry, list) {
                Ok(()) => collected.attachments.extend(
                    entry
                        .container
                        .parse()
                        .ok()
                        .map(|container| KnownAttachment { container, interface: entry.interface.clone() }),
                ),
                Err(failure) => failures.push(failure),
            }
        }
        // No action of networkers collects.
        if let Some(list) = list.filter(|list| list.version >= Version::V1_1_0 && list.networker.is_none()) {
            let known = |known: &KnownAttachment| json!({ "containerID": known.container.as_str(), "ifname": known.interface });
            let valid: Value = valid.iter().map(known).collect();
            // Of a pattern nothing is made, but of the lists that are made from it.
            let own = if list.pool.is_some() { self.own_lists(name)? } else { Vec::new() };
            let lists = if list.pool.is_some() { own.iter().collect() } else { vec![list] };
            for list in lists {
                failures
                    .extend(self.call_for_all(list, &Map::new()).gc(&valid).into_iter().map(Failure::from));
            }
            collected.networks.extend(name.parse().ok());
        }
        Ok(failures)
    }

    /// Undoes an attachment of which there is a result and nothing else. Its namespace may be somebody else's by now.
    fn del_orphan(&self, entry: &Entry, list: Option<&NetworkList>) -> Result<()> {
        let intent = Intent {
            network: entry.network.clone(),
            interface: entry.interface.clone(),
            // What the cache has goes before it.
            config: list.map(|list| list.text.clone()).unwrap_or_default(),
            capability_args: Map::new(),
            arguments: Vec::new(),
        };
        self.del(&intent, entry.key().container, None)
    }

    /// [`loam_model::Network::reload`].
    pub(crate) fn restore_firewall(&self) -> Result<()> {
        let failed = |error| of_files("restoring the firewall failed", error);
        Firewall::open(&self.host).map_err(failed)?.restore().map_err(failed)
    }

    /// [`loam_model::Network::watch`].
    pub(crate) fn watch_firewall(&self, restored: &mut dyn FnMut()) -> Result<()> {
        let failed = |error| of_files("watching over the firewall failed", error);
        let mut watch = Watch::begin(&self.host).map_err(failed)?;
        loop {
            if watch.restored(None).map_err(failed)? {
                restored();
            }
        }
    }
}
