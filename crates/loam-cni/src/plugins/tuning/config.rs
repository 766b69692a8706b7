//! The configuration of `tuning`: settings from the configuration, and from what a runtime or a person adds to it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::interface::wanted_mac;
use crate::netlink::Setting;
use crate::protocol::{CniError, Context};

/// What is to be set. What is `None` is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// Kernel settings below `net`.
    pub(super) sysctl: BTreeMap<String, String>,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) promiscuous: bool,
    pub(super) mtu: Option<u32>,
    pub(super) queue_length: Option<u32>,
    pub(super) all_multicast: Option<bool>,
}

impl Config {
    /// Reads the configuration. `args.cni` goes before everything, then the runtime's, then `CNI_ARGS`.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let mut sysctl: BTreeMap<String, String> = context.config.get(&["sysctl"])?.unwrap_or_default();
        let more: Option<BTreeMap<String, String>> = context.config.get(&["args", "cni", "sysctl"])?;
        sysctl.extend(more.unwrap_or_default());
        Ok(Self {
            sysctl,
            mac: wanted_mac(context, &[&["args", "cni", "mac"], &["runtimeConfig", "mac"], &[], &["mac"]])?,
            promiscuous: either(context, "promisc")?.unwrap_or_default(),
            mtu: either(context, "mtu")?.filter(|mtu| *mtu != 0),
            queue_length: either(context, "txQLen")?,
            all_multicast: either(context, "allmulti")?,
        })
    }

    /// The settings of the link, each with the name of its key.
    pub(super) fn settings(&self) -> Vec<(&'static str, Setting)> {
        let mut settings = Vec::new();
        settings.extend(self.mac.map(|mac| ("mac", Setting::Mac(mac))));
        settings.extend(self.promiscuous.then_some(("promisc", Setting::Promiscuous(true))));
        settings.extend(self.mtu.map(|mtu| ("mtu", Setting::Mtu(mtu))));
        settings.extend(self.all_multicast.map(|on| ("allmulti", Setting::AllMulticast(on))));
        settings.extend(self.queue_length.map(|length| ("txQLen", Setting::QueueLength(length))));
        settings
    }
}

/// A key of `args.cni`, or else of the configuration.
fn either<T: DeserializeOwned>(context: &Context<'_>, key: &str) -> Result<Option<T>, CniError> {
    Ok(context.config.get(&["args", "cni", key])?.or(context.config.get(&[key])?))
}
