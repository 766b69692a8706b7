//! Running a configuration list: ADD and CHECK in order, DEL in reverse (CNI SPEC.md, section 3).

use std::path::{Path, PathBuf};
use std::time::Duration;

use loam_cni::delegate::{execute, find};
use loam_cni::plugins::portmap;
use loam_cni::protocol::{PluginConfig, Version};
use loam_cni::{CniError, CniResult, Command, Context, Host, Plugin};
use serde_json::{Map, Value};

use crate::cloud_foundry;
use crate::conflist::{NetworkList, PluginObject, has_capability, kind};

/// Which attachments a GC keeps, under the name that the specification has and the one that libcni sends, too.
const VALID_ATTACHMENTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// One attachment, or a network, as the plugins see it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The network.
    pub list: &'a NetworkList,
    /// The container's id. Empty for STATUS and GC.
    pub container: &'a str,
    /// The container's network namespace, while there is one.
    pub namespace: Option<&'a Path>,
    /// The interface's name in the container. Empty for STATUS and GC.
    pub interface: &'a str,
    /// What the runtime tells plugins that have the capability for it.
    pub capability_args: &'a Map<String, Value>,
    /// `CNI_ARGS`.
    pub arguments: &'a [(String, String)],
    /// Where the plugins' programs are.
    pub plugin_dirs: &'a [PathBuf],
    /// Whether the plugins that we have are called as functions; else all of them are programs.
    pub in_process: bool,
    /// How long a program may take.
    pub time_limit: Duration,
    /// What functions are told of us.
    pub host: &'a Host,
}

/// What a plugin says when a call fails.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{verb} failed in `{plugin}`: {error}", verb = command.as_str())]
pub struct CallError {
    /// The verb.
    pub command: Command,
    /// The network's name.
    pub network: String,
    /// The plugin's type.
    pub plugin: String,
    /// The plugin's error.
    pub error: CniError,
}

impl Call<'_> {
    /// Attaches; gives the last plugin's result.
    pub fn add(&self) -> Result<CniResult, CallError> {
        let mut result = None;
        for plugin in &self.list.plugins {
            result = self.tell(Command::Add, plugin, result.as_ref())?;
        }
        Ok(result.unwrap_or_default())
    }

    /// Detaches; `previous` is what ADD gave, unless that is lost. The first plugin that fails ends it, so that it can be
    /// tried again.
    pub fn del(&self, previous: Option<&CniResult>) -> Result<(), CallError> {
        let previous = previous.filter(|_| self.list.version >= Version::V0_4_0);
        let _removed_together = self.host.removals.hold();
        self.list
            .plugins
            .iter()
            .rev()
            .try_for_each(|plugin| self.tell(Command::Del, plugin, previous).map(drop))
    }

    /// Verifies an attachment. Lists before version 0.4.0 can't, and those that switch it off are not asked.
    pub fn check(&self, previous: &CniResult) -> Result<(), CallError> {
        if self.list.disable_check || self.list.version < Version::V0_4_0 {
            return Ok(());
        }
        self.list
            .plugins
            .iter()
            .try_for_each(|plugin| self.tell(Command::Check, plugin, Some(previous)).map(drop))
    }

    /// Asks whether an ADD would be served. Lists before version 1.1.0 can't say no.
    pub fn status(&self) -> Result<(), CallError> {
        if self.list.version < Version::V1_1_0 {
            return Ok(());
        }
        self.list.plugins.iter().try_for_each(|plugin| self.tell(Command::Status, plugin, None).map(drop))
    }

    /// Has every plugin remove what belongs to none of the valid attachments, which are a list of `containerID` and
    /// `ifname`. Whatever one says, all are asked.
    pub fn gc(&self, valid: &Value) -> Vec<CallError> {
        if self.list.disable_gc || self.list.version < Version::V1_1_0 {
            return Vec::new();
        }
        let ask = |plugin: &PluginObject| {
            let mut plugin = plugin.clone();
            plugin.extend(VALID_ATTACHMENTS.map(|key| (key.to_owned(), valid.clone())));
            self.tell(Command::Gc, &plugin, None).err()
        };
        self.list.plugins.iter().filter_map(ask).collect()
    }

    fn tell(
        &self,
        command: Command,
        plugin: &PluginObject,
        previous: Option<&CniResult>,
    ) -> Result<Option<CniResult>, CallError> {
        self.one(command, plugin, previous).map_err(|error| CallError {
            command,
            network: self.list.name.clone(),
            plugin: kind(plugin).to_owned(),
            error,
        })
    }

    /// Calls one plugin.
    pub(crate) fn one(
        &self,
        command: Command,
        plugin: &PluginObject,
        previous: Option<&CniResult>,
    ) -> Result<Option<CniResult>, CniError> {
        let built_in = Plugin::from_type(kind(plugin)).filter(|_| self.in_process);
        // Ours take the result as it is.
        let written = previous.filter(|_| built_in.is_none());
        let context = self.context(plugin, previous, written)?;
        match built_in {
            Some(built_in) => built_in.call(command, &context),
            None => {
                let program = find(kind(plugin), self.plugin_dirs)?;
                let input = serde_json::to_vec(&context.config.raw)
                    .map_err(|cause| CniError::internal("the configuration can't be written", &cause))?;
                execute(&context, &program, command, &input, self.time_limit)
            }
        }
    }

    /// Has our plugin for ports take back what was published beyond the capability arguments.
    pub(crate) fn narrow_ports(&self, plugin: &PluginObject, previous: &CniResult) -> Result<(), CniError> {
        portmap::narrow(&self.context(plugin, Some(previous), None)?)
    }

    fn context(
        &self,
        plugin: &PluginObject,
        previous: Option<&CniResult>,
        written: Option<&CniResult>,
    ) -> Result<Context<'_>, CniError> {
        Ok(Context {
            container_id: self.container.to_owned(),
            namespace: self.namespace.map(Path::to_owned),
            interface: self.interface.to_owned(),
            arguments: self.arguments.to_vec(),
            plugin_directories: self.plugin_dirs.to_vec(),
            config: PluginConfig {
                version: self.list.version,
                name: self.list.name.clone(),
                kind: kind(plugin).to_owned(),
                previous: previous.cloned(),
                raw: self.raw(plugin, written)?,
            },
            host: self.host,
        })
    }

    /// The configuration that a plugin gets: its own keys, the list's, and what it can be told of the runtime's.
    fn raw(&self, plugin: &PluginObject, previous: Option<&CniResult>) -> Result<PluginObject, CniError> {
        let mut raw = plugin.clone();
        raw.insert("name".into(), self.list.name.clone().into());
        raw.insert("cniVersion".into(), self.list.version.as_str().into());
        let chosen: Map<String, Value> = self
            .capability_args
            .iter()
            .filter(|(capability, value)| has_capability(plugin, capability) && !value.is_null())
            .map(|(capability, value)| (capability.clone(), value.clone()))
            .collect();
        if !chosen.is_empty() {
            raw.insert("runtimeConfig".into(), chosen.into());
        }
        // What is about no attachment is about nobody's metadata.
        if self.list.cloud_foundry && !self.container.is_empty() {
            cloud_foundry::add(&mut raw, plugin, self.capability_args);
        }
        if let Some(previous) = previous {
            raw.insert("prevResult".into(), previous.to_value(self.list.version)?);
        }
        Ok(raw)
    }
}
