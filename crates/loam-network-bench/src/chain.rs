//! Calling the plugins of a list for one attachment, as functions or as programs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use loam_cni::protocol::Version;
use loam_cni::{CniResult, Host, Plugin};
use loam_network::{Call, CallError, NetworkList, kind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::list::MeasuredList;

/// The interface in every container.
pub(crate) const INTERFACE: &str = "eth0";
/// The port in the container that is published when a plugin of the chain can publish ports.
pub(crate) const CONTAINER_PORT: u16 = 8080;
/// The capability of plugins that publish ports.
const PORT_MAPPINGS: &str = "portMappings";
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

    /// Where the programs are.
    fn directory(&self) -> Option<&Path> {
        match self {
            Way::InProcess => None,
            Way::Programs(directory) => Some(directory),
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
    directories: Vec<PathBuf>,
    time_limit: Duration,
}

impl Chain {
    /// The chain of a list; `Err` says what is missing when not even the first plugin is there.
    pub(crate) fn new(
        list: &MeasuredList,
        way: Way,
        version: Version,
        time_limit: Duration,
    ) -> Result<Self, String> {
        let mut list = list.0.clone();
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
        list.version = version;
        let directories = way.directory().into_iter().map(Path::to_owned).collect();
        let host = way.host();
        Ok(Self { list, version, lacks, way, host, directories, time_limit })
    }

    /// The same chain for another process.
    pub(crate) fn parts(&self) -> (MeasuredList, Way, &'static str, Duration) {
        (MeasuredList(self.list.clone()), self.way.clone(), self.version.as_str(), self.time_limit)
    }

    /// Whether ports are published.
    pub(crate) fn publishes(&self) -> bool {
        self.list.has_capability(PORT_MAPPINGS)
    }

    /// Whether our own plugins are called as functions.
    pub(crate) fn is_in_process(&self) -> bool {
        self.way == Way::InProcess
    }

    /// Attaches; gives the last plugin's result.
    pub(crate) fn add(&self, endpoint: &Endpoint) -> Result<CniResult, CallError> {
        self.call(endpoint, |call| call.add())
    }

    /// Verifies the attachment.
    pub(crate) fn check(&self, endpoint: &Endpoint, result: &CniResult) -> Result<(), CallError> {
        self.call(endpoint, |call| call.check(result))
    }

    /// Detaches; `result` is what ADD gave, unless that is lost.
    pub(crate) fn del(&self, endpoint: &Endpoint, result: Option<&CniResult>) -> Result<(), CallError> {
        self.call(endpoint, |call| call.del(result))
    }

    /// Whether the version has GC.
    pub(crate) fn has_gc(&self) -> bool {
        self.version >= Version::V1_1_0
    }

    /// Removes whatever belongs to no valid attachment.
    pub(crate) fn gc(&self, valid: &[&Endpoint]) -> Result<(), CallError> {
        let valid: Vec<Value> =
            valid.iter().map(|one| json!({ "containerID": one.id, "ifname": INTERFACE })).collect();
        let nothing = Map::new();
        let call = Call { container: "", interface: "", namespace: None, ..self.prepared("", &nothing) };
        call.gc(&valid.into()).into_iter().next().map_or(Ok(()), Err)
    }

    fn call<T>(&self, endpoint: &Endpoint, verb: impl FnOnce(&Call<'_>) -> T) -> T {
        let args = capability_args(endpoint);
        verb(&Call { namespace: endpoint.namespace.as_deref(), ..self.prepared(&endpoint.id, &args) })
    }

    fn prepared<'a>(&'a self, container: &'a str, args: &'a Map<String, Value>) -> Call<'a> {
        Call {
            list: &self.list,
            container,
            namespace: None,
            interface: INTERFACE,
            capability_args: args,
            arguments: &[],
            plugin_dirs: &self.directories,
            in_process: self.is_in_process(),
            time_limit: self.time_limit,
            host: &self.host,
        }
    }
}

/// What a runtime says to plugins that publish ports.
fn capability_args(endpoint: &Endpoint) -> Map<String, Value> {
    let (host, container) = (endpoint.host_port(), CONTAINER_PORT);
    let mapping = json!({ "hostPort": host, "containerPort": container, "protocol": "tcp" });
    Map::from_iter([(PORT_MAPPINGS.to_owned(), json!([mapping]))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(list: &MeasuredList) -> Result<Chain, String> {
        Chain::new(list, Way::InProcess, Version::NEWEST, Duration::from_secs(1))
    }

    #[test]
    fn what_is_lacking_is_named_and_left_out() {
        let text = r#"{"name":"n","cniVersion":"1.0.0","plugins":[
            {"type":"bridge","ipam":{"type":"host-local"}},{"type":"no-such-plugin"}]}"#;
        let chain = chain(&MeasuredList::parse(text).expect("valid")).expect("the first is there");
        assert_eq!(chain.lacks, ["no-such-plugin"]);
        assert_eq!(chain.list.plugins.len(), 1);
    }

    #[test]
    fn a_list_whose_first_plugin_is_lacking_can_not_be_measured() {
        for (plugin, missing) in [
            (r#"{"type":"no-such"}"#, "no-such"),
            (r#"{"type":"bridge","ipam":{"type":"no-ipam"}}"#, "no-ipam"),
        ] {
            let text = format!(r#"{{"name":"n","cniVersion":"1.0.0","plugins":[{plugin}]}}"#);
            let error = chain(&MeasuredList::parse(&text).expect("valid")).expect_err("it lacks");
            assert_eq!(error, format!("there is no plugin `{missing}`"));
        }
    }

    #[test]
    fn each_attachment_has_a_port_of_its_own() {
        let lists = MeasuredList::defaults();
        let chain = chain(&lists[1]).expect("built in");
        assert!(chain.publishes());
        let endpoint = Endpoint { id: "a".into(), namespace: None, number: 7 };
        assert_eq!(capability_args(&endpoint)[PORT_MAPPINGS][0]["hostPort"], 20_007);
    }
}
