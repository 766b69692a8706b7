//! More ports for a container that is attached already: the plugins that publish ports are called again with all of them.

use std::path::Path;

use loam_cni::{Command, Plugin};
use loam_model::{ContainerId, ErrorKind, Failure, PortMapping, Result};
use serde_json::Value;

use crate::attachments::Intent;
use crate::cache::{Key, Made};
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
        // What a program of the host has is refused, and none can take it until the plugins have it.
        let open = self.open_ports(ports)?;
        let (ports, _reserved) = reserve(ports, &self.host, &open)?;
        let intents = file.read().map_err(|error| of_files("reading the attachment failed", error))?;
        let before = intents.ok_or_else(|| unattached(container))?;
        let (index, list) = publisher(&before)?;
        let mut intents = before.clone();
        let args =
            intents[index].capability_args.entry(PORT_MAPPINGS).or_insert_with(|| Value::Array(vec![]));
        if let Value::Array(published) = args {
            published.extend(ports.iter().map(port_value));
        }
        let intent = &intents[index];
        let key =
            Key { network: &intent.network, container: container.as_str(), interface: &intent.interface };
        let cached = self.cache.read(key).ok_or_else(|| unattached(container))?;
        let written = |error| of_files("writing the attachment failed", error);
        file.replace(&intents).map_err(written)?;
        drop(open);
        let _lock = self.locks.shared(&intent.network)?;
        let call = Call { namespace: Some(namespace), ..self.call(intent, &list, container.as_str()) };
        for plugin in list.plugins.iter().filter(|plugin| has_capability(plugin, PORT_MAPPINGS)) {
            if let Err(error) = call.one(Command::Add, plugin, Some(&cached.result)) {
                file.replace(&before).map_err(written)?;
                let failure = of_plugin("publishing ports on", &list.name, kind(plugin), error);
                return Err(name_owner(failure, &ports, &self.host));
            }
        }
        let value = cached.result.to_value(list.version);
        let value = value.map_err(|error| of_files("the network's result can't be kept", error))?;
        let config = cached.config.as_deref().unwrap_or(&intent.config);
        let (capability_args, arguments) = (&intent.capability_args, intent.arguments.as_slice());
        self.cache
            .keep(key, Made { namespace, config, capability_args, arguments }, value)
            .map_err(|error| of_files("keeping the network's result failed", error))?;
        Ok(ports)
    }
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
