//! Calling the plugins of a list in order, for one attachment (CNI SPEC.md, section 3).

use std::path::{Path, PathBuf};
use std::time::Duration;

use loam_cni::delegate::{execute, find};
use loam_cni::protocol::{PluginConfig, Version, code};
use loam_cni::{CniError, CniResult, Command, Context, Host, Plugin};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::list::{NetworkList, kind};

/// The interface in every container.
pub(crate) const INTERFACE: &str = "eth0";
/// The port in the container that is published when a plugin of the chain can publish ports.
pub(crate) const CONTAINER_PORT: u16 = 8080;
/// The host's port for the first attachment; each later one has the next.
const FIRST_HOST_PORT: u16 = 20_000;

/// How plugins are called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// As functions.
    InProcess,
    /// As programs of a directory.
    Programs(PathBuf),
}

impl Way {
    /// Whether there is a plugin of a type.
    fn has(&self, kind: &str) -> bool {
        match self {
            Way::InProcess => Plugin::from_type(kind).is_some(),
            Way::Programs(directory) => directory.join(kind).is_file(),
        }
    }

    /// What in-process plugins are told of their caller: what Loam's own runtime tells them.
    fn host(&self) -> Host {
        let in_process = *self == Way::InProcess;
        Host { with_loopback: in_process, ..Host::default() }
    }
}

/// An attachment, as the plugins see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The container's id.
    pub(crate) id: String,
    /// Its network namespace; `None` when that is gone.
    pub(crate) namespace: Option<PathBuf>,
    /// Which attachment of its network it is, which the host's port follows from.
    pub(crate) number: u16,
}

impl Endpoint {
    /// The host's port that leads to it.
    pub(crate) fn host_port(&self) -> u16 {
        FIRST_HOST_PORT + self.number
    }

    /// The same without its namespace.
    pub(crate) fn gone(&self) -> Self {
        Self { namespace: None, ..self.clone() }
    }
}

/// What a plugin says when a call fails.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{verb} failed in `{plugin}`: {error}", verb = command.as_str())]
pub(crate) struct CallError {
    command: Command,
    plugin: String,
    /// The plugin's error.
    pub(crate) error: CniError,
}

/// The plugins of a list that a contender has, and how they are called.
#[derive(Debug)]
pub(crate) struct Chain {
    list: NetworkList,
    /// The version that they are called with.
    pub(crate) version: Version,
    /// The types of the list that the contender lacks.
    pub(crate) lacks: Vec<String>,
    way: Way,
    host: Host,
    time_limit: Duration,
}

impl Chain {
    /// The chain of a list; `Err` says what is missing when not even the first plugin is there.
    pub(crate) fn new(
        list: &NetworkList,
        way: Way,
        version: Version,
        time_limit: Duration,
    ) -> Result<Self, String> {
        let mut list = list.clone();
        let mut lacks = Vec::new();
        for plugin in &list.plugins {
            let ipam = plugin.get("ipam").map(|ipam| ipam["type"].as_str().unwrap_or_default());
            let needed = [Some(kind(plugin)), ipam.filter(|ipam| !ipam.is_empty())];
            lacks.extend(needed.into_iter().flatten().filter(|needed| !way.has(needed)).map(str::to_owned));
        }
        let first = list.plugins.first();
        let ipam = first.and_then(|plugin| plugin.get("ipam")?.get("type")?.as_str());
        let needed = [first.map(kind), ipam];
        if let Some(missing) =
            needed.into_iter().flatten().find(|needed| lacks.iter().any(|lack| lack == needed))
        {
            return Err(format!("there is no plugin `{missing}`"));
        }
        list.plugins.retain(|plugin| way.has(kind(plugin)));
        let host = way.host();
        Ok(Self { list, version, lacks, way, host, time_limit })
    }

    /// The same chain for another process.
    pub(crate) fn parts(&self) -> (NetworkList, Way, &'static str, Duration) {
        (self.list.clone(), self.way.clone(), self.version.as_str(), self.time_limit)
    }

    /// Whether ports are published.
    pub(crate) fn publishes(&self) -> bool {
        self.list.plugins.iter().any(|plugin| has_capability(plugin, "portMappings"))
    }

    /// Attaches; gives the last plugin's result.
    pub(crate) fn add(&self, endpoint: &Endpoint) -> Result<CniResult, CallError> {
        let mut result = None;
        for plugin in &self.list.plugins {
            let context = self.context(plugin, Some(endpoint), result.as_ref());
            result = self.call(Command::Add, plugin, context)?;
        }
        Ok(result.unwrap_or_default())
    }

    /// Verifies the attachment.
    pub(crate) fn check(&self, endpoint: &Endpoint, result: &CniResult) -> Result<(), CallError> {
        for plugin in &self.list.plugins {
            let context = self.context(plugin, Some(endpoint), Some(result));
            self.call(Command::Check, plugin, context)?;
        }
        Ok(())
    }

    /// Detaches; `result` is what ADD gave, unless that is lost.
    pub(crate) fn del(&self, endpoint: &Endpoint, result: Option<&CniResult>) -> Result<(), CallError> {
        let result = result.filter(|_| self.version >= Version::V0_4_0);
        for plugin in self.list.plugins.iter().rev() {
            let context = self.context(plugin, Some(endpoint), result);
            self.call(Command::Del, plugin, context)?;
        }
        Ok(())
    }

    /// Whether the version has GC.
    pub(crate) fn has_gc(&self) -> bool {
        self.version >= Version::V1_1_0
    }

    /// Removes whatever belongs to no valid attachment.
    pub(crate) fn gc(&self, valid: &[&Endpoint]) -> Result<(), CallError> {
        let valid: Vec<Value> =
            valid.iter().map(|one| json!({ "containerID": one.id, "ifname": INTERFACE })).collect();
        for plugin in &self.list.plugins {
            let mut plugin = plugin.clone();
            plugin.insert("cni.dev/valid-attachments".into(), valid.clone().into());
            let context = self.context(&plugin, None, None);
            self.call(Command::Gc, &plugin, context)?;
        }
        Ok(())
    }

    fn context(
        &self,
        plugin: &Map<String, Value>,
        endpoint: Option<&Endpoint>,
        previous: Option<&CniResult>,
    ) -> Context<'_> {
        let mut raw = plugin.clone();
        raw.insert("name".into(), self.list.name.clone().into());
        raw.insert("cniVersion".into(), self.version.as_str().into());
        if let (Some(endpoint), true) = (endpoint, has_capability(plugin, "portMappings")) {
            let (host, container) = (endpoint.host_port(), CONTAINER_PORT);
            let mapping = json!({ "hostPort": host, "containerPort": container, "protocol": "tcp" });
            raw.insert("runtimeConfig".into(), json!({ "portMappings": [mapping] }));
        }
        Context {
            container_id: endpoint.map(|endpoint| endpoint.id.clone()).unwrap_or_default(),
            namespace: endpoint.and_then(|endpoint| endpoint.namespace.clone()),
            interface: endpoint.map(|_| INTERFACE.to_owned()).unwrap_or_default(),
            arguments: Vec::new(),
            plugin_directories: match &self.way {
                Way::InProcess => Vec::new(),
                Way::Programs(directory) => vec![directory.clone()],
            },
            config: PluginConfig {
                version: self.version,
                name: self.list.name.clone(),
                kind: kind(plugin).to_owned(),
                previous: previous.cloned(),
                raw,
            },
            host: &self.host,
        }
    }

    fn call(
        &self,
        command: Command,
        plugin: &Map<String, Value>,
        mut context: Context<'_>,
    ) -> Result<Option<CniResult>, CallError> {
        let kind = kind(plugin);
        let called = match (&self.way, Plugin::from_type(kind)) {
            (Way::InProcess, Some(built_in)) => built_in.call(command, &context),
            (Way::InProcess, None) => Err(CniError::new(code::INTERNAL, "there is no such plugin")),
            (Way::Programs(directory), _) => self.execute(command, directory, &mut context),
        };
        called.map_err(|error| CallError { command, plugin: kind.to_owned(), error })
    }

    fn execute(
        &self,
        command: Command,
        directory: &Path,
        context: &mut Context<'_>,
    ) -> Result<Option<CniResult>, CniError> {
        if let Some(previous) = &context.config.previous {
            context.config.raw.insert("prevResult".into(), previous.to_value(self.version)?);
        }
        let program = find(&context.config.kind, &[directory.to_owned()])?;
        let input = serde_json::to_vec(&context.config.raw)
            .map_err(|cause| CniError::internal("the configuration can't be written", &cause))?;
        execute(context, &program, command, &input, self.time_limit)
    }
}

/// Whether a plugin has a capability.
fn has_capability(plugin: &Map<String, Value>, capability: &str) -> bool {
    plugin.get("capabilities").and_then(|all| all.get(capability)).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(list: &NetworkList) -> Result<Chain, String> {
        Chain::new(list, Way::InProcess, Version::NEWEST, Duration::from_secs(1))
    }

    #[test]
    fn what_is_lacking_is_named_and_left_out() {
        let text = r#"{"name":"n","cniVersion":"1.0.0","plugins":[
            {"type":"bridge","ipam":{"type":"host-local"}},{"type":"no-such-plugin"}]}"#;
        let chain = chain(&NetworkList::parse(text).expect("valid")).expect("the first is there");
        assert_eq!(chain.lacks, ["no-such-plugin"]);
        assert_eq!(chain.list.kinds(), ["bridge"]);
    }

    #[test]
    fn a_list_whose_first_plugin_is_lacking_can_not_be_measured() {
        for (plugin, missing) in [
            (r#"{"type":"no-such"}"#, "no-such"),
            (r#"{"type":"bridge","ipam":{"type":"no-ipam"}}"#, "no-ipam"),
        ] {
            let text = format!(r#"{{"name":"n","cniVersion":"1.0.0","plugins":[{plugin}]}}"#);
            let error = chain(&NetworkList::parse(&text).expect("valid")).expect_err("it lacks");
            assert_eq!(error, format!("there is no plugin `{missing}`"));
        }
    }

    #[test]
    fn each_attachment_has_a_port_of_its_own() {
        let lists = NetworkList::defaults();
        let chain = chain(&lists[1]).expect("built in");
        assert!(chain.publishes());
        let endpoint = Endpoint { id: "a".into(), namespace: None, number: 7 };
        let context = chain.context(&lists[1].plugins[1], Some(&endpoint), None);
        assert_eq!(context.config.raw["runtimeConfig"]["portMappings"][0]["hostPort"], 20_007);
    }
}
