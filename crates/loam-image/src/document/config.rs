//! An image's configuration (image specification, config.md).

use std::collections::BTreeMap;

use loam_model::{Digest, ImageConfig, Result, shown};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::{CONFIG_LIMIT, unsupported};
use crate::error::invalid;
use crate::platform::Platform;

/// What Loam needs of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) platform: Platform,
    pub(crate) created: Option<String>,
    pub(crate) config: ImageConfig,
    pub(crate) diff_ids: Vec<Digest>,
}

/// `null` and absent mean the same everywhere.
#[derive(Deserialize)]
struct Raw {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    created: Option<String>,
    config: Option<RawProcess>,
    rootfs: Option<RawRootfs>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawProcess {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    volumes: Option<BTreeMap<String, IgnoredAny>>,
    exposed_ports: Option<BTreeMap<String, IgnoredAny>>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
}

#[derive(Deserialize)]
struct RawRootfs {
    r#type: Option<String>,
    diff_ids: Option<Vec<Digest>>,
}

impl Config {
    /// Reads a configuration; `name` is what messages call the image.
    pub(crate) fn parse(bytes: &[u8], name: &str) -> Result<Self> {
        let bad = |what: &str| invalid(format!("the configuration of {name} {what}"));
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| bad("is malformed").caused_by(error))?;
        let rootfs = raw.rootfs.ok_or_else(|| bad("names no layers"))?;
        if rootfs.r#type.as_deref().is_some_and(|kind| kind != "layers") {
            return Err(bad("does not describe layers"));
        }
        let process = raw.config.unwrap_or_default();
        let text = |value: Option<String>| value.filter(|text| !text.is_empty());
        let platform = Platform {
            os: text(raw.os).unwrap_or_else(|| "linux".to_owned()),
            architecture: text(raw.architecture).unwrap_or_else(|| Platform::host().architecture),
            variant: text(raw.variant),
        };
        Ok(Self {
            platform: platform.normal(),
            created: text(raw.created),
            config: ImageConfig {
                user: text(process.user),
                environment: process.env.unwrap_or_default(),
                entrypoint: process.entrypoint.unwrap_or_default(),
                command: process.cmd.unwrap_or_default(),
                working_directory: text(process.working_dir),
                volumes: process.volumes.unwrap_or_default().into_keys().collect(),
                exposed_ports: process.exposed_ports.unwrap_or_default().into_keys().collect(),
                labels: process.labels.unwrap_or_default(),
                stop_signal: text(process.stop_signal),
            },
            diff_ids: rootfs.diff_ids.unwrap_or_default(),
        })
    }

    /// Checks that the configuration belongs to a manifest with so many layers, and runs here.
    pub(crate) fn check(&self, layers: usize, wanted: &Platform, name: &str) -> Result<()> {
        if self.diff_ids.len() != layers {
            return Err(invalid(format!(
                "the configuration of {name} names {} layers and its manifest {layers}",
                self.diff_ids.len()
            )));
        }
        if self.platform.distance(wanted).is_none() {
            return Err(unsupported(format!(
                "the image {name} is for the platform `{}`, not `{wanted}`",
                shown(&self.platform.to_string())
            )));
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WrittenProcess<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    env: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    volumes: BTreeMap<&'a str, Empty>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<&'a str, Empty>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<&'a str>,
}

/// The bytes of a configuration for an image that did not come with one.
pub(crate) fn write_config(
    config: &ImageConfig,
    platform: &Platform,
    created: &str,
    diff_id: &Digest,
) -> Result<Vec<u8>> {
    let process = WrittenProcess {
        user: config.user.as_deref(),
        env: &config.environment,
        entrypoint: &config.entrypoint,
        cmd: &config.command,
        working_dir: config.working_directory.as_deref(),
        volumes: config.volumes.iter().map(|key| (key.as_str(), Empty {})).collect(),
        exposed_ports: config.exposed_ports.iter().map(|key| (key.as_str(), Empty {})).collect(),
        labels: &config.labels,
        stop_signal: config.stop_signal.as_deref(),
    };
    let mut document = serde_json::json!({
        "created": created,
        "architecture": platform.architecture,
        "os": platform.os,
        "config": process,
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": created, "created_by": "loam import" }],
    });
    if let Some(variant) = &platform.variant {
        document["variant"] = variant.as_str().into();
    }
    let bytes = document.to_string().into_bytes();
    // What is written must be readable again.
    if bytes.len() as u64 > CONFIG_LIMIT {
        return Err(invalid(format!("the configuration is longer than {CONFIG_LIMIT} bytes")));
    }
    Ok(bytes)
}
