//! Running a configuration list: ADD and CHECK in order, DEL in reverse (CNI SPEC.md, section 3).

use std::path::{Path, PathBuf};
use std::time::Duration;

use loam_cni::delegate::{execute, find};
use loam_cni::protocol::{PluginConfig, Version};
use loam_cni::{CniError, CniResult, Command, Context, Host, Plugin};
use loam_model::{Failure, Result};
use serde_json::{Map, Value};

use crate::cloud_foundry;
use crate::conflist::{NetworkList, PluginObject, has_capability, kind};
use crate::failure::of_plugin;

/// Which attachments a GC keeps, under the name that the specification has and the one that libcni sends, too.
const VALID_ATTACHMENTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// One attachment, or a network, as the plugins see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) list: &'a NetworkList,
    /// Empty for STATUS and GC.
    pub(crate) container: &'a str,
    pub(crate) namespace: Option<&'a Path>,
    /// Empty for STATUS and GC.
    pub(crate) interface: &'a str,
    pub(crate) capability_args: &'a Map<String, Value>,
    pub(crate) arguments: &'a [(String, String)],
    pub(crate) plugin_dirs: &'a [PathBuf],
    pub(crate) time_limit: Duration,
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

    /// Verifies an attachment. Lists before version 0.4.0 can't, and those that switch it off are not asked.
    pub(crate) fn check(&self, previous: &CniResult) -> Result<()> {
        if self.list.disable_check || self.list.version < Version::V0_4_0 {
            return Ok(());
        }
        for plugin in &self.list.plugins {
            self.one(Command::Check, plugin, Some(previous))
                .map_err(|error| self.failed("checking the attachment to", plugin, error))?;
        }
        Ok(())
    }

    /// Asks whether an ADD would be served. Lists before version 1.1.0 can't say no.
    pub(crate) fn status(&self) -> Result<()> {
        if self.list.version < Version::V1_1_0 {
            return Ok(());
        }
        for plugin in &self.list.plugins {
            self.one(Command::Status, plugin, None)
                .map_err(|error| self.failed("the state of", plugin, error))?;
        }
        Ok(())
    }

    /// Has every plugin remove what belongs to none of the valid attachments. Whatever one says, all are asked.
    pub(crate) fn gc(&self, valid: &Value) -> Vec<Failure> {
        if self.list.disable_gc || self.list.version < Version::V1_1_0 {
            return Vec::new();
        }
        let ask = |plugin: &PluginObject| {
            let mut plugin = plugin.clone();
            plugin.extend(VALID_ATTACHMENTS.map(|key| (key.to_owned(), valid.clone())));
            let collected = self.one(Command::Gc, &plugin, None);
            collected.err().map(|error| self.failed("collecting garbage of", &plugin, error))
        };
        self.list.plugins.iter().filter_map(ask).collect()
    }

    fn failed(&self, doing: &str, plugin: &PluginObject, error: CniError) -> Failure {
        of_plugin(doing, &self.list.name, kind(plugin), error)
    }

    /// Calls one plugin.
    pub(crate) fn one(
        &self,
        command: Command,
        plugin: &PluginObject,
        previous: Option<&CniResult>,
    ) -> std::result::Result<Option<CniResult>, CniError> {
        let built_in = Plugin::from_type(kind(plugin));
        // Ours take the result as it is.
        let written = previous.filter(|_| built_in.is_none());
        let context = Context {
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
        };
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

    /// The configuration that a plugin gets: its own keys, the list's, and what it can be told of the runtime's.
    fn raw(
        &self,
        plugin: &PluginObject,
        previous: Option<&CniResult>,
    ) -> std::result::Result<PluginObject, CniError> {
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
