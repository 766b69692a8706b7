//! A host with plugins, ours or the reference's, and a container on it.

use std::path::{Path, PathBuf};

use loam_testkit::lab::{PluginCall, Sandbox, our_plugins, reference_plugins};
use serde_json::{Value, json};

/// Where the reference plugins are, or a word that they are missing.
pub(crate) fn reference(test: &str) -> Option<PathBuf> {
    let found = reference_plugins();
    if found.is_none() {
        println!("skipped: {test}: needs containernetworking-plugins");
    }
    found
}

/// A host, state of its own, and a container whose interface `eth0` the bridge plugin makes.
pub(crate) struct Machine {
    pub(crate) host: Sandbox,
    pub(crate) container: Sandbox,
    pub(crate) directory: tempfile::TempDir,
    reference: Option<PathBuf>,
}

impl Machine {
    /// With the reference plugins when a directory is given, with ours otherwise.
    pub(crate) fn new(reference: Option<&PathBuf>) -> Self {
        let host = Sandbox::new();
        host.command(&["ip", "link", "set", "lo", "up"]);
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { host, container: Sandbox::new(), directory, reference: reference.cloned() }
    }

    /// Calls a plugin with a configuration as text.
    pub(crate) fn call_text(&self, verb: &str, plugin: &str, config: &str) -> Result<Value, Value> {
        self.call_as(self.reference.as_ref(), &self.container, "one", verb, plugin, config)
    }

    /// Calls a plugin.
    pub(crate) fn call(&self, verb: &str, plugin: &str, config: &Value) -> Result<Value, Value> {
        self.call_text(verb, plugin, &config.to_string())
    }

    /// Calls our plugin, whoever's the others are.
    pub(crate) fn call_ours(&self, verb: &str, plugin: &str, config: &Value) -> Result<Value, Value> {
        self.call_as(None, &self.container, "one", verb, plugin, &config.to_string())
    }

    /// Calls a plugin for another container.
    pub(crate) fn call_in(
        &self,
        container: &Sandbox,
        id: &str,
        verb: &str,
        plugin: &str,
        config: &Value,
    ) -> Result<Value, Value> {
        self.call_as(self.reference.as_ref(), container, id, verb, plugin, &config.to_string())
    }

    /// Whether the plugins are the reference's.
    pub(crate) fn is_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// Calls our plugin behind a program that is given it as arguments.
    pub(crate) fn call_behind(
        &self,
        before: &[&str],
        verb: &str,
        plugin: &str,
        config: &Value,
    ) -> Result<Value, Value> {
        let namespace = self.container.path().display().to_string();
        let container = if verb == "GC" { "" } else { "one" };
        let directory = Path::new("/nowhere");
        let config = config.to_string();
        let call =
            PluginCall { verb, container, namespace: &namespace, arguments: "", directory, config: &config };
        let ours = our_plugins(option_env!("CARGO_BIN_EXE_loam-cni"));
        call.run(&self.host, &[before, &[&ours, plugin]].concat())
    }

    fn call_as(
        &self,
        reference: Option<&PathBuf>,
        container: &Sandbox,
        id: &str,
        verb: &str,
        plugin: &str,
        config: &str,
    ) -> Result<Value, Value> {
        let namespace = container.path().display().to_string();
        let directory = reference.map_or(Path::new("/nowhere"), PathBuf::as_path);
        let call =
            PluginCall { verb, container: id, namespace: &namespace, arguments: "", directory, config };
        match reference {
            Some(directory) => call.run(&self.host, &[&directory.join(plugin).display().to_string()]),
            None => call.run(&self.host, &[&our_plugins(option_env!("CARGO_BIN_EXE_loam-cni")), plugin]),
        }
    }

    /// The bridge's configuration.
    pub(crate) fn bridge(&self) -> Value {
        json!({
            "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "isDefaultGateway": true,
            "ipam": {
                "type": "host-local", "dataDir": self.directory.path().join("addresses"),
                "ranges": [[{ "subnet": "10.5.0.0/24" }], [{ "subnet": "fd05::/64" }]],
            },
        })
    }

    /// Attaches the container to the bridge; gives the result.
    pub(crate) fn attach(&self) -> Value {
        self.call("ADD", "bridge", &self.bridge()).expect("attachable")
    }

    /// The configuration of a chained plugin after a result.
    pub(crate) fn chained(plugin: &str, previous: &Value, keys: &Value) -> Value {
        let mut config =
            json!({ "cniVersion": "1.0.0", "name": "net", "type": plugin, "prevResult": previous });
        for (key, value) in keys.as_object().expect("an object") {
            config[key] = value.clone();
        }
        config
    }
}

/// What a command of iproute2 says in JSON.
pub(crate) fn read(sandbox: &Sandbox, command: &[&str]) -> Vec<Value> {
    let text = sandbox.command(command);
    serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text }).expect("JSON")
}
