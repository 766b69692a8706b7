//! Running a configuration list: ADD in order, DEL in reverse (CNI SPEC.md, section 3).

use std::path::{Path, PathBuf};

use loam_cni::delegate::{TIME_LIMIT, execute, find};
use loam_cni::protocol::{PluginConfig, Version};
use loam_cni::{CniError, CniResult, Command, Context, Host, Plugin};
use loam_model::{Failure, Result};
use serde_json::{Map, Value};

use crate::conflist::{NetworkList, has_capability};
use crate::failure::of_plugin;

/// One attachment, as the plugins see it.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) list: &'a NetworkList,
    pub(crate) container: &'a str,
    pub(crate) namespace: Option<&'a Path>,
    pub(crate) interface: &'a str,
    pub(crate) capability_args: &'a Map<String, Value>,
    pub(crate) plugin_dirs: &'a [PathBuf],
    pub(crate) host: &'a Host,
}

impl Call<'_> {
    /// Attaches.
    pub(crate) fn add(&self) -> Result<CniResult> {
        let mut result = None;
        for plugin in &self.list.plugins {
            let added = self.one(Command::Add, plugin, result.as_ref());
            result = added.map_err(|error| self.failed("attaching to", plugin, error))?;
        }
        Ok(result.unwrap_or_default())
    }

    /// Detaches. The first plugin that fails ends it, so that it can be tried again.
    pub(crate) fn del(&self, previous: Option<&CniResult>) -> Result<()> {
        let previous = previous.filter(|_| self.list.version >= Version::V0_4_0);
        for plugin in self.list.plugins.iter().rev() {
            self.one(Command::Del, plugin, previous)
                .map_err(|error| self.failed("detaching from", plugin, error))?;
        }
        Ok(())
    }

    fn failed(&self, doing: &str, plugin: &Map<String, Value>, error: CniError) -> Failure {
        of_plugin(doing, &self.list.name, kind(plugin), error)
    }

    /// Calls one plugin.
    pub(crate) fn one(
        &self,
        command: Command,
        plugin: &Map<String, Value>,
        previous: Option<&CniResult>,
    ) -> std::result::Result<Option<CniResult>, CniError> {
        let version = self.list.version;
        let mut raw = plugin.clone();
        raw.insert("name".into(), self.list.name.clone().into());
        raw.insert("cniVersion".into(), version.as_str().into());
        let chosen: Map<String, Value> = self
            .capability_args
            .iter()
            .filter(|(capability, _)| has_capability(plugin, capability))
            .map(|(capability, value)| (capability.clone(), value.clone()))
            .collect();
        if !chosen.is_empty() {
            raw.insert("runtimeConfig".into(), chosen.into());
        }
        let built_in = Plugin::from_type(kind(plugin));
        if let (None, Some(previous)) = (built_in, previous) {
            raw.insert("prevResult".into(), previous.to_value(version)?);
        }
        let config = PluginConfig {
            version,
            name: self.list.name.clone(),
            kind: kind(plugin).to_owned(),
            previous: previous.cloned(),
            raw,
        };
        let context = Context {
            container_id: self.container.to_owned(),
            namespace: self.namespace.map(Path::to_owned),
            interface: self.interface.to_owned(),
            arguments: Vec::new(),
            plugin_directories: self.plugin_dirs.to_vec(),
            config,
            host: self.host,
        };
        match built_in {
            Some(built_in) => built_in.call(command, &context),
            None => {
                let program = find(kind(plugin), self.plugin_dirs)?;
                let input = serde_json::to_vec(&context.config.raw)
                    .map_err(|cause| CniError::internal("the configuration can't be written", &cause))?;
                execute(&context, &program, command, &input, TIME_LIMIT)
            }
        }
    }
}

/// The type of a plugin's configuration.
pub(crate) fn kind(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}
