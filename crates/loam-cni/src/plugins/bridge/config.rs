//! The configuration of `bridge`, with the reference plugin's keys.

use serde::Deserialize;
use serde_json::Value;

use super::vlan::{read_trunk, read_vlan};
use crate::interface::{Setup, wanted_mac};
use crate::masquerade::Backend;
use crate::protocol::{CniError, Context, Dns, check_interface_name, check_plugin_type};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Keys {
    bridge: String,
    is_gateway: bool,
    is_default_gateway: bool,
    force_address: bool,
    ip_masq: bool,
    ip_masq_backend: Option<String>,
    mtu: u32,
    hairpin_mode: bool,
    promisc_mode: bool,
    vlan: i64,
    vlan_trunk: Vec<Value>,
    #[serde(rename = "preserveDefaultVlan")]
    preserve_default_vlan: bool,
    macspoofchk: bool,
    enabledad: bool,
    disable_container_interface: bool,
    port_isolation: bool,
    ipam: Option<Ipam>,
    dns: Option<Dns>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ipam {
    #[serde(rename = "type")]
    kind: String,
}

/// The configuration, checked.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) bridge: String,
    pub(super) is_gateway: bool,
    pub(super) is_default_gateway: bool,
    pub(super) force_address: bool,
    /// Who masquerades, if it is done.
    pub(super) masquerade: Option<Backend>,
    pub(super) mtu: Option<u32>,
    pub(super) hairpin: bool,
    pub(super) promiscuous: bool,
    pub(super) isolated: bool,
    pub(super) probe_addresses: bool,
    pub(super) keep_down: bool,
    /// The number of frames without a tag.
    pub(super) vlan: Option<u16>,
    /// The numbers of frames with a tag.
    pub(super) trunk: Vec<(u16, u16)>,
    /// Whether the port keeps the numbers that it has by default.
    pub(super) preserve_default_vlan: bool,
    /// Whether the container may send from its own hardware address only.
    pub(super) check_senders: bool,
    pub(super) ipam_type: Option<String>,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) dns: Dns,
}

impl Config {
    /// Reads and checks the configuration.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let keys: Keys = context.config.decode()?;
        Backend::parse(keys.ip_masq_backend.as_deref())?;
        let mut config = Self::from_keys(keys)?;
        config.mac = wanted_mac(context, &[&["runtimeConfig", "mac"], &["args", "cni", "mac"], &[]])?;
        Ok(config)
    }

    /// Reads what DEL and GC need.
    pub(super) fn read_for_removal(context: &Context<'_>) -> Result<Self, CniError> {
        Self::from_keys(context.config.decode()?)
    }

    /// Whether the bridge tells virtual networks apart.
    pub(super) fn filters_vlans(&self) -> bool {
        self.vlan.is_some() || !self.trunk.is_empty()
    }

    /// How the container's end is set up. Neighbours are told of addresses when the hardware address does not follow
    /// from them.
    pub(super) fn setup(&self, announce: bool) -> Setup {
        Setup { probe: self.probe_addresses, announce, keep_down: self.keep_down, ..Setup::HOST_ONLY }
    }

    fn from_keys(keys: Keys) -> Result<Self, CniError> {
        let bridge = if keys.bridge.is_empty() { "cni0".to_owned() } else { keys.bridge };
        check_interface_name(&bridge).map_err(|error| CniError::invalid_config(error.message))?;
        if keys.hairpin_mode && keys.promisc_mode {
            return Err(CniError::invalid_config(
                "cannot set hairpin mode and promiscuous mode at the same time",
            ));
        }
        // What is unknown is refused by ADD, and nothing for DEL to undo.
        let backend = || Backend::parse(keys.ip_masq_backend.as_deref()).unwrap_or_default();
        let masquerade = keys.ip_masq.then(backend);
        let ipam_type = keys.ipam.map(|ipam| ipam.kind).filter(|kind| !kind.is_empty());
        if let Some(kind) = &ipam_type {
            check_plugin_type(kind)?;
            if keys.disable_container_interface {
                return Err(CniError::invalid_config(
                    "cannot use IPAM when disabling the container interface",
                ));
            }
        }
        Ok(Self {
            bridge,
            is_gateway: keys.is_gateway || keys.is_default_gateway,
            is_default_gateway: keys.is_default_gateway,
            force_address: keys.force_address,
            masquerade,
            mtu: (keys.mtu > 0).then_some(keys.mtu),
            hairpin: keys.hairpin_mode,
            promiscuous: keys.promisc_mode,
            isolated: keys.port_isolation,
            probe_addresses: keys.enabledad,
            keep_down: keys.disable_container_interface,
            vlan: read_vlan(keys.vlan)?,
            trunk: read_trunk(&keys.vlan_trunk)?,
            preserve_default_vlan: keys.preserve_default_vlan,
            check_senders: keys.macspoofchk,
            ipam_type,
            mac: None,
            dns: keys.dns.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_and_unknown_forms_are_refused() {
        let keys = |text: &str| serde_json::from_str::<Keys>(text).expect("valid JSON");
        for bad in [
            r#"{"bridge":"a/b"}"#,
            r#"{"hairpinMode":true,"promiscMode":true}"#,
            r#"{"disableContainerInterface":true,"ipam":{"type":"host-local"}}"#,
            r#"{"ipam":{"type":"../x"}}"#,
            r#"{"vlan":4095}"#,
            r#"{"vlanTrunk":[{"minID":7}]}"#,
        ] {
            assert!(Config::from_keys(keys(bad)).is_err(), "{bad}");
        }
        let vlans = keys(r#"{"vlan":7,"vlanTrunk":[{"id":9}],"macspoofchk":true}"#);
        let config = Config::from_keys(vlans).expect("valid");
        assert_eq!(
            (config.vlan, config.trunk.as_slice(), config.check_senders),
            (Some(7), &[(9, 9)][..], true)
        );
        let config = Config::from_keys(keys(r#"{"isDefaultGateway":true}"#)).expect("valid");
        assert!(config.is_gateway);
        assert_eq!((config.bridge.as_str(), config.mtu, config.ipam_type), ("cni0", None, None));
    }
}
