//! More ports for a container that is attached already: the plugins that publish ports are called again with all of them.
//!
//! The attachment's file has them first, then the kernel, then the cached result. Where the file has ports that the result has
//! not, a publication has failed or was killed: what is beyond the result is taken back, at the failure itself, and else by the
//! next publication of the container or the next collection of garbage.

use std::path::Path;

use loam_cni::{Command, Plugin};
use loam_model::{ContainerId, ErrorKind, Failure, PortMapping, Result};
use serde_json::Value;

use crate::attachments::{AttachmentFile, Intent};
use crate::cache::{Cached, Key, Made};
use crate::chain::Call;
use crate::conflist::{NetworkList, has_capability, kind};
use crate::failure::{of_files, of_plugin};
use crate::network::{CniNetwork, unattached};
use crate::plan::{PORT_MAPPINGS, port_value};
use crate::reservation::{name_owner, reserve};

impl CniNetwork {
    /// The intents are written before the effect: what undoing it takes back may be more than there is.
    pub(crate) fn publish_more(
        &self,
        container: &ContainerId,
        namespace: &Path,
        ports: &[PortMapping],
    ) -> Result<Vec<PortMapping>> {
        let mut file = self.open(container, false)?.ok_or_else(|| unattached(container))?;
        self.settle_ports(&mut file, container)?;
        // What a program of the host has is refused, and none can take it until the plugins have it.
        let open = self.open_ports(ports)?;
        let (ports, _reserved) = reserve(ports, &self.host, &open)?;
        let intents = file.read().map_err(|error| of_files("reading the attachment failed", error))?;
        let mut intents = intents.ok_or_else(|| unattached(container))?;
        let (index, list) = publisher(&intents)?;
        let args =
            intents[index].capability_args.entry(PORT_MAPPINGS).or_insert_with(|| Value::Array(vec![]));
        if let Value::Array(published) = args {
            published.extend(ports.iter().map(port_value));
        }
        let cached = self.cache.read(key_of(&intents[index], container));
        let cached = cached.ok_or_else(|| unattached(container))?;
        file.replace(&intents).map_err(|error| of_files("writing the attachment failed", error))?;
        drop(open);
        let published = self.publish_recorded(&intents[index], &list, container, namespace, &cached);
        let Err(failure) = published else { return Ok(ports) };
        if let Err(second) = self.settle_ports(&mut file, container) {
            tracing::warn!(container = container.short(), %second, "taking ports back failed");
        }
        Err(name_owner(failure, &ports, &self.host))
    }

    /// Publishes what an intent has, and keeps it.
    fn publish_recorded(
        &self,
        intent: &Intent,
        list: &NetworkList,
        container: &ContainerId,
        namespace: &Path,
        cached: &Cached,
    ) -> Result<()> {
        let _lock = self.locks.shared(&intent.network)?;
        let call = Call { namespace: Some(namespace), ..self.call(intent, list, container.as_str()) };
        for plugin in list.plugins.iter().filter(|plugin| has_capability(plugin, PORT_MAPPINGS)) {
            call.one(Command::Add, plugin, Some(&cached.result))
                .map_err(|error| of_plugin("publishing ports on", &list.name, kind(plugin), error))?;
        }
        let value = cached.result.to_value(list.version);
        let value = value.map_err(|error| of_files("the network's result can't be kept", error))?;
        let config = cached.config.as_deref().unwrap_or(&intent.config);
        let (capability_args, arguments) = (&intent.capability_args, intent.arguments.as_slice());
        self.cache
            .keep(key_of(intent, container), Made { namespace, config, capability_args, arguments }, value)
            .map_err(|error| of_files("keeping the network's result failed", error))
    }

    /// Takes back what publications of a container that failed or were killed have left.
    fn settle_ports(&self, file: &mut AttachmentFile, container: &ContainerId) -> Result<()> {
        let intents = file.read().map_err(|error| of_files("reading the attachment failed", error))?;
        let Some(mut intents) = intents else { return Ok(()) };
        let mut is_settled = true;
        for intent in &mut intents {
            let Some((cached, list)) = self.unsettled(intent, container) else { continue };
            let _lock = self.locks.shared(&intent.network)?;
            match cached.capability_args.get(PORT_MAPPINGS) {
                Some(kept) => drop(intent.capability_args.insert(PORT_MAPPINGS.into(), kept.clone())),
                None => drop(intent.capability_args.remove(PORT_MAPPINGS)),
            }
            let call = self.call(intent, &list, container.as_str());
            for plugin in list.plugins.iter().filter(|plugin| kind(plugin) == "portmap") {
                call.narrow_ports(plugin, &cached.result)
                    .map_err(|error| of_plugin("taking ports back on", &list.name, kind(plugin), error))?;
            }
            is_settled = false;
        }
        if is_settled {
            return Ok(());
        }
        file.replace(&intents).map_err(|error| of_files("writing the attachment failed", error))
    }

    /// The result and the list of an attachment whose ports are not those that were kept; `None` when they are.
    fn unsettled(&self, intent: &Intent, container: &ContainerId) -> Option<(Cached, NetworkList)> {
        let cached = self.cache.read(key_of(intent, container))?;
        if cached.capability_args.get(PORT_MAPPINGS) == intent.capability_args.get(PORT_MAPPINGS) {
            return None;
        }
        let list = NetworkList::parse(cached.config.clone()?).ok()?;
        // Networkers take nothing back, and keep no result of ports that were added.
        list.networker.is_none().then_some((cached, list))
    }

    /// Takes back what publications of all our containers that were killed have left.
    pub(crate) fn settle_all_ports(&self) -> Result<()> {
        let failed = |error| of_files("listing attachments failed", error);
        let ours = self.attachments.containers().map_err(failed)?;
        let all = self.attachments.all().map_err(failed)?;
        let unsettled = all.iter().filter(|(container, intents)| {
            ours.contains(container)
                && intents.iter().any(|intent| self.unsettled(intent, container).is_some())
        });
        let mut failures = Vec::new();
        for (container, _) in unsettled {
            // It may be gone by now, or whoever was just publishing has come to its end.
            if let Some(mut file) = self.open(container, false)? {
                failures.extend(self.settle_ports(&mut file, container).err());
            }
        }
        Failure::join(failures).map_or(Ok(()), Err)
    }
}

fn key_of<'a>(intent: &'a Intent, container: &'a ContainerId) -> Key<'a> {
    Key { network: &intent.network, container: container.as_str(), interface: &intent.interface }
}

/// The first attachment whose network publishes ports. Of other programs it is not known that they may be called again.
fn publisher(intents: &[Intent]) -> Result<(usize, NetworkList)> {
    for (index, intent) in intents.iter().enumerate() {
        let list = NetworkList::parse(intent.config.clone())
            .map_err(|error| of_files("the attachment's own configuration can't be read", error))?;
        let mut able = list.plugins.iter().filter(|plugin| has_capability(plugin, PORT_MAPPINGS)).peekable();
        if able.peek().is_some() && able.all(|plugin| Plugin::from_type(kind(plugin)).is_some()) {
            return Ok((index, list));
        }
    }
    Err(Failure::new(ErrorKind::Unsupported, "no network of the container can publish more ports")
        .hint("add the plugin `portmap` with the capability `portMappings` to the network"))
}
