//! A container's row, as the engine's other modules see it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use loam_model::{
    AttachedInterface, Attachment, CgroupPlace, ContainerId, ContainerName, ContainerSpec, Digest,
    ExitRecord, IdMapping, ImageConfig, NetworkMode, PortMapping,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ContainerState;
use crate::config::{EngineConfig, IDS_PER_CONTAINER};

/// What an attachment gave a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkFacts {
    /// The interfaces, the one with the default route first.
    pub interfaces: Vec<AttachedInterface>,
    /// The published ports, with the host ports that were taken.
    pub ports: Vec<PortMapping>,
    /// Name servers that the networks gave.
    pub name_servers: Vec<IpAddr>,
    /// Search domains that the networks gave.
    pub search_domains: Vec<String>,
    /// What an external networker said of the container, by Garden's names of properties.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

impl From<&Attachment> for NetworkFacts {
    fn from(attachment: &Attachment) -> Self {
        Self {
            interfaces: attachment.interfaces.clone(),
            ports: attachment.ports.clone(),
            name_servers: attachment.name_servers.clone(),
            search_domains: attachment.search_domains.clone(),
            properties: attachment.properties.clone(),
        }
    }
}

/// The main process as the kernel names it for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MainProcess {
    /// Its process id on the host.
    pub(crate) pid: i32,
    /// When it was started, in clock ticks since boot; 0 when that could not be read.
    pub(crate) start_time: u64,
    /// The process id of its shim.
    pub(crate) parent: i32,
}

/// The row of a container.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: ContainerId,
    pub(crate) name: ContainerName,
    pub(crate) state: ContainerState,
    pub(crate) spec: ContainerSpec,
    pub(crate) image: Digest,
    pub(crate) image_config: ImageConfig,
    /// Which range of the id pool it has, when it has a user namespace.
    pub(crate) slot: Option<u32>,
    /// Its cgroup.
    pub(crate) cgroup: CgroupPlace,
    pub(crate) process: Option<MainProcess>,
    /// Times are RFC 3339, UTC.
    pub(crate) created: String,
    pub(crate) started: Option<String>,
    pub(crate) finished: Option<String>,
    pub(crate) network: NetworkFacts,
    pub(crate) exit: Option<ExitRecord>,
    pub(crate) warnings: Vec<String>,
    /// Why the last start failed, or what else went wrong without anybody there to be told.
    pub(crate) failure: Option<String>,
}

impl Record {
    /// Its ids on the host, when it has a user namespace.
    pub(crate) fn mapping(&self, config: &EngineConfig) -> Option<IdMapping> {
        let host = config.id_pool.0 + self.slot? * IDS_PER_CONTAINER;
        Some(IdMapping::contiguous(host, IDS_PER_CONTAINER))
    }

    /// Its host name.
    pub(crate) fn hostname(&self) -> &str {
        self.spec.hostname.as_deref().unwrap_or_else(|| self.id.short())
    }

    /// Whether its start attaches it to networks.
    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.spec.network, NetworkMode::Networks(_))
    }

    /// What plugins may want to know of it (CNI CONVENTIONS.md).
    pub(crate) fn capabilities(&self) -> Map<String, Value> {
        Map::from_iter([("cgroupPath".to_owned(), self.cgroup.path().into())])
    }

    /// The program and arguments of its main process, as spec and image give them (image specification,
    /// conversion.md, "Annotation Fields" and "Parsed Fields").
    pub(crate) fn command(&self) -> Vec<String> {
        command(&self.spec, &self.image_config)
    }
}

/// The program and arguments that a spec and an image give.
pub(crate) fn command(spec: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    let (mut words, default) = match &spec.entrypoint {
        Some(entrypoint) => (entrypoint.clone(), &[][..]),
        None => (image.entrypoint.clone(), &image.command[..]),
    };
    words.extend_from_slice(spec.command.as_deref().unwrap_or(default));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_entrypoint_drops_the_image_command() {
        let image =
            ImageConfig { entrypoint: words(&["/e"]), command: words(&["c"]), ..ImageConfig::default() };
        let spec = |entrypoint: Option<&[&str]>, command: Option<&[&str]>| ContainerSpec {
            entrypoint: entrypoint.map(words),
            command: command.map(words),
            ..ContainerSpec::default()
        };
        for (entrypoint, given, expected) in [
            (None, None, &["/e", "c"][..]),
            (None, Some(&["x", "y"][..]), &["/e", "x", "y"]),
            (Some(&["/o"][..]), None, &["/o"]),
            (Some(&["/o"][..]), Some(&["x"][..]), &["/o", "x"]),
            (Some(&[][..]), Some(&["x"][..]), &["x"]),
        ] {
            assert_eq!(command(&spec(entrypoint, given), &image), words(expected));
        }
    }
}
