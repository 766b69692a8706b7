//! Networks as doors show them.

use std::path::{Path, PathBuf};

use loam_model::{LabelMap, NetworkDescription, NetworkListing, NetworkName, Result};
use serde_json::Value;

use crate::conflist::{self, ConflistError, NetworkList, OWN_KEY, kind};
use crate::failure::of_files;
use crate::network::{CniNetwork, unknown};

impl CniNetwork {
    /// [`loam_model::Network::networks`].
    pub(crate) fn describe_all(&self) -> Result<NetworkListing> {
        let loaded = conflist::load(&self.config.conf_dir)
            .map_err(|error| of_files("reading the networks failed", error))?;
        let mut listing = NetworkListing {
            problems: loaded.problems.iter().map(|(path, error)| problem(path, error)).collect(),
            ..NetworkListing::default()
        };
        for (path, list) in &loaded.lists {
            match list.name.parse() {
                Ok(name) => listing.networks.push(description(name, Some(path.clone()), list)),
                Err(error) => listing.problems.push(format!("`{}`: {error}", path.display())),
            }
        }
        if !listing.networks.iter().any(|network| network.name.is_default()) {
            listing.networks.push(unmade());
        }
        listing.networks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listing)
    }

    /// [`loam_model::Network::network`].
    pub(crate) fn describe(&self, name: &NetworkName) -> Result<NetworkDescription> {
        match self.find(name)? {
            Some(found) => Ok(description(name.clone(), Some(found.file), &found.list)),
            None if name.is_default() => Ok(unmade()),
            None => Err(unknown(name)),
        }
    }
}

/// A sentence on a file that can't be used.
fn problem(path: &Path, error: &ConflistError) -> String {
    let mut text = format!("`{}` can't be used: {error}", path.display());
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

pub(crate) fn description(
    name: NetworkName,
    file: Option<PathBuf>,
    list: &NetworkList,
) -> NetworkDescription {
    let configuration = list.value();
    NetworkDescription {
        name,
        driver: list.plugins.first().map(|plugin| kind(plugin).to_owned()).unwrap_or_default(),
        plugins: list.plugins.iter().map(|plugin| kind(plugin).to_owned()).collect(),
        cni_version: list.version.as_str().to_owned(),
        interface: list.host_interface().map(str::to_owned),
        subnets: list.subnets(),
        internal: list.internal,
        capabilities: list.capabilities(),
        labels: labels(&configuration),
        file,
        configuration,
    }
}

/// The labels of a list; whatever is no text is left out.
fn labels(configuration: &Value) -> LabelMap {
    let labels = configuration.get(OWN_KEY).and_then(|own| own.get("labels")).and_then(Value::as_object);
    let texts = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    texts.collect()
}

/// The default network before its first use.
fn unmade() -> NetworkDescription {
    NetworkDescription {
        name: NetworkName::default_network(),
        driver: "bridge".to_owned(),
        plugins: ["bridge", "portmap"].map(str::to_owned).to_vec(),
        cni_version: "1.1.0".to_owned(),
        interface: None,
        subnets: Vec::new(),
        internal: false,
        capabilities: ["ips", "mac", "portMappings"].map(str::to_owned).to_vec(),
        labels: LabelMap::new(),
        file: None,
        configuration: Value::Null,
    }
}
