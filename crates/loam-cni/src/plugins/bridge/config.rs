//! The configuration of `bridge`, with the reference plugin's keys.

use serde::Deserialize;
use serde_json::Value;

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
    pub(super) ipam_type: Option<String>,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) dns: Dns,
}

impl Config {
    /// Reads and checks the configuration.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let keys: Keys = context.config.decode()?;
        refuse_unsupported(&keys)?;
        let mut config = Self::from_keys(keys)?;
        config.mac = mac(context)?;
        Ok(config)
    }

    /// Reads what DEL and GC need.
    pub(super) fn read_for_removal(context: &Context<'_>) -> Result<Self, CniError> {
        Self::from_keys(context.config.decode()?)
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
            ipam_type,
            mac: None,
            dns: keys.dns.unwrap_or_default(),
        })
    }
}

/// Refuses what would otherwise be left out silently (SPEC.md, error code 2).
fn refuse_unsupported(keys: &Keys) -> Result<(), CniError> {
    if keys.vlan != 0 {
        return Err(CniError::unsupported_field("vlan", keys.vlan));
    }
    if !keys.vlan_trunk.is_empty() {
        return Err(CniError::unsupported_field("vlanTrunk", Value::from(keys.vlan_trunk.clone())));
    }
    if keys.preserve_default_vlan {
        return Err(CniError::unsupported_field("preserveDefaultVlan", true));
    }
    if keys.macspoofchk {
        return Err(CniError::unsupported_field("macspoofchk", true));
    }
    Backend::parse(keys.ip_masq_backend.as_deref()).map(drop)
}

/// The hardware address that is asked for: of the runtime, else of `args`, else of `CNI_ARGS`.
fn mac(context: &Context<'_>) -> Result<Option<[u8; 6]>, CniError> {
    let mut wanted: Option<String> = None;
    for path in [&["runtimeConfig", "mac"][..], &["args", "cni", "mac"]] {
        wanted = wanted.or(context.config.get(path)?).filter(|text: &String| !text.is_empty());
    }
    let wanted = wanted.or_else(|| context.argument("MAC").map(str::to_owned));
    wanted.map(|text| parse_mac(&text)).transpose()
}

fn parse_mac(text: &str) -> Result<[u8; 6], CniError> {
    let invalid =
        || CniError::invalid_config(format!("`{}` is not a hardware address", text.escape_default()));
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let two_digits = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let part = parts.next().filter(two_digits).ok_or_else(invalid)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
    }
    if parts.next().is_some() || mac[0] & 1 == 1 {
        return Err(invalid());
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_read() {
        assert_eq!(parse_mac("c2:11:22:33:44:5f").expect("valid"), [0xc2, 0x11, 0x22, 0x33, 0x44, 0x5f]);
        for bad in
            ["", "c2:11:22:33:44", "c2:11:22:33:44:55:66", "+2:11:22:33:44:55", "01:00:5e:00:00:01", "zz"]
        {
            assert!(parse_mac(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn contradictions_and_unknown_forms_are_refused() {
        let keys = |text: &str| serde_json::from_str::<Keys>(text).expect("valid JSON");
        for bad in [
            r#"{"bridge":"a/b"}"#,
            r#"{"hairpinMode":true,"promiscMode":true}"#,
            r#"{"disableContainerInterface":true,"ipam":{"type":"host-local"}}"#,
            r#"{"ipam":{"type":"../x"}}"#,
        ] {
            assert!(Config::from_keys(keys(bad)).is_err(), "{bad}");
        }
        for bad in [r#"{"vlan":7}"#, r#"{"macspoofchk":true}"#, r#"{"ipMasqBackend":"ebtables"}"#] {
            assert_eq!(refuse_unsupported(&keys(bad)).expect_err("refused").code, 2, "{bad}");
        }
        let config = Config::from_keys(keys(r#"{"isDefaultGateway":true}"#)).expect("valid");
        assert!(config.is_gateway);
        assert_eq!((config.bridge.as_str(), config.mtu, config.ipam_type), ("cni0", None, None));
    }
}
