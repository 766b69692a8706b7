//! What a link was before it was tuned, so that DEL can make it so again:
//!
//! ```text
//! DATADIR/CONTAINER_IFNAME.json   {"network","mac","promisc","mtu","allmulti","txQLen"}, mode 0600
//! ```
//!
//! The names and keys are the reference plugin's, `network` excepted, which GC goes by. A file that a crash left tells
//! the truth about the link still: an ADD that finds one adds to it and changes nothing.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::Config;
use crate::interface::parse_hardware_address;
use crate::netlink::{Link, Setting};
use crate::protocol::{CniError, Context};

/// Where the files are when the configuration does not say.
const DIRECTORY: &str = "/run/cni/tuning";

/// What a link was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Saved {
    #[serde(skip_serializing_if = "String::is_empty")]
    network: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    promisc: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allmulti: Option<bool>,
    #[serde(rename = "txQLen", skip_serializing_if = "Option::is_none")]
    queue_length: Option<u32>,
}

impl Saved {
    /// What a link is now, as far as a configuration changes it.
    pub(super) fn of(link: &Link, config: &Config, network: &str) -> Self {
        Self {
            network: network.to_owned(),
            mac: config.mac.map(|_| link.mac_text()).unwrap_or_default(),
            promisc: config.promiscuous.then_some(link.promiscuous),
            mtu: config.mtu.map(|_| link.mtu),
            allmulti: config.all_multicast.map(|_| link.all_multicast),
            queue_length: config.queue_length.map(|_| link.queue_length),
        }
    }

    /// Adds what an older one lacks.
    fn or(self, newer: Self) -> Self {
        Self {
            network: newer.network,
            mac: if self.mac.is_empty() { newer.mac } else { self.mac },
            promisc: self.promisc.or(newer.promisc),
            mtu: self.mtu.or(newer.mtu),
            allmulti: self.allmulti.or(newer.allmulti),
            queue_length: self.queue_length.or(newer.queue_length),
        }
    }

    /// The settings that make the link so again, in the reference plugin's order.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        settings.extend(self.mtu.filter(|mtu| *mtu != 0).map(Setting::Mtu));
        let mac = parse_hardware_address(&self.mac).and_then(|mac| mac.try_into().ok());
        settings.extend(mac.map(Setting::Mac));
        settings.extend(self.promisc.map(Setting::Promiscuous));
        settings.extend(self.allmulti.map(Setting::AllMulticast));
        settings.extend(self.queue_length.map(Setting::QueueLength));
        settings
    }
}

/// The directory of a configuration's files.
fn directory(context: &Context<'_>) -> Result<PathBuf, CniError> {
    let configured: Option<PathBuf> = context.config.get(&["dataDir"])?;
    Ok(configured.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| DIRECTORY.into()))
}

fn file_name(container: &str, interface: &str) -> String {
    format!("{container}_{interface}.json")
}

/// The path of an attachment's file.
pub(super) fn path(context: &Context<'_>) -> Result<PathBuf, CniError> {
    Ok(directory(context)?.join(file_name(&context.container_id, &context.interface)))
}

/// Keeps what a link was.
pub(super) fn keep(path: &Path, saved: Saved) -> Result<(), CniError> {
    let failed = |cause: io::Error| CniError::io(format!("writing `{}` failed", path.display()), &cause);
    let saved = load(path)?.unwrap_or_default().or(saved);
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    loam_state_file::replace_json(path, &saved).map_err(failed)
}

/// Reads what a link was; `None` when nothing was kept, or nothing that can be understood.
pub(super) fn load(path: &Path) -> Result<Option<Saved>, CniError> {
    loam_state_file::read_json(path)
        .map_err(|cause| CniError::io(format!("reading `{}` failed", path.display()), &cause))
}

/// Forgets what a link was.
pub(super) fn forget(path: &Path) -> Result<(), CniError> {
    loam_state_file::remove(path)
        .map_err(|cause| CniError::io(format!("removing `{}` failed", path.display()), &cause))
}

/// Forgets what belongs to no valid attachment of the network.
pub(super) fn sweep(context: &Context<'_>) -> Result<(), CniError> {
    let valid = context.config.valid_attachments()?;
    let valid: Vec<String> =
        valid.owners().map(|known| file_name(known.container, known.interface)).collect();
    let directory = directory(context)?;
    let failed = |cause: io::Error| CniError::io(format!("reading `{}` failed", directory.display()), &cause);
    for name in
        loam_state_file::names(&directory).map_err(failed)?.iter().filter(|name| !valid.contains(name))
    {
        let path = directory.join(name);
        let saved = load(&path).ok().flatten();
        if saved.is_some_and(|saved| saved.network == context.config.name) {
            forget(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_first_is_kept_and_restored() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("deep/er/a_eth0.json");
        assert_eq!(load(&path).expect("readable"), None);
        let first = Saved { mtu: Some(1500), network: "n".into(), ..Saved::default() };
        keep(&path, first).expect("writable");
        let second = Saved {
            mtu: Some(1400),
            promisc: Some(false),
            mac: "02:00:00:00:00:01".into(),
            ..Saved::default()
        };
        keep(&path, second).expect("writable");
        let settings = load(&path).expect("readable").expect("kept").settings();
        let mac = Setting::Mac([2, 0, 0, 0, 0, 1]);
        assert_eq!(settings, [Setting::Mtu(1500), mac, Setting::Promiscuous(false)]);
        forget(&path).expect("removable");
        forget(&path).expect("idempotent");
        fs::write(&path, "{").expect("writable");
        assert_eq!(load(&path).expect("readable"), None);
    }
}
