//! Conversion of results between versions (SPEC.md, "Version considerations"; the tables of the reference library).

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::{CniError, code};
use super::result::{CniResult, Dns, IpConfig, Route};
use super::version::Version;

/// The result of versions 0.1.0 and 0.2.0.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct OldResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<OldIp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<OldIp>,
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: Dns,
}

#[derive(Serialize, Deserialize)]
struct OldIp {
    ip: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<OldRoute>,
}

#[derive(Serialize, Deserialize)]
struct OldRoute {
    dst: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
}

fn undecodable(cause: &serde_json::Error) -> CniError {
    CniError::new(code::DECODE, "the result can't be decoded").because(cause)
}

/// Reads a result of a version.
pub(super) fn read(value: &Value, version: Version) -> Result<CniResult, CniError> {
    if version >= Version::V0_3_0 {
        return CniResult::deserialize(value).map_err(|cause| undecodable(&cause));
    }
    let old = OldResult::deserialize(value).map_err(|cause| undecodable(&cause))?;
    let mut result = CniResult { dns: old.dns, ..CniResult::default() };
    for ip in [old.ip4, old.ip6].into_iter().flatten() {
        result.ips.push(IpConfig { address: ip.ip, gateway: ip.gateway, interface: None });
        result.routes.extend(ip.routes.into_iter().map(|route| Route::new(route.dst, route.gw)));
    }
    Ok(result)
}

/// Writes a result in a version.
pub(super) fn write(result: &CniResult, version: Version) -> Result<Value, CniError> {
    let mut value = if version < Version::V0_3_0 {
        serde_json::to_value(to_old(result)?)
    } else {
        serde_json::to_value(result)
    }
    .map_err(|cause| undecodable(&cause))?;
    let Some(object) = value.as_object_mut() else { return Ok(value) };
    object.insert("cniVersion".into(), json!(version.as_str()));
    if version < Version::V0_3_0 {
        return Ok(value);
    }
    if version < Version::V1_0_0 {
        for ip in members(object, "ips") {
            let four =
                ip.get("address").and_then(Value::as_str).is_some_and(|address| !address.contains(':'));
            ip.insert("version".into(), json!(if four { "4" } else { "6" }));
        }
    }
    if version < Version::V1_1_0 {
        for interface in members(object, "interfaces") {
            interface.retain(|key, _| !matches!(key.as_str(), "mtu" | "socketPath" | "pciID"));
        }
    }
    Ok(value)
}

fn members<'a>(
    object: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn to_old(result: &CniResult) -> Result<OldResult, CniError> {
    let of_family = |four: bool| {
        let ip = result.ips.iter().find(|ip| ip.address.addr().is_ipv4() == four)?;
        let routes = result.routes.iter().filter(|route| route.dst.addr().is_ipv4() == four);
        let routes = routes.map(|route| OldRoute { dst: route.dst, gw: route.gw }).collect();
        Some(OldIp { ip: ip.address, gateway: ip.gateway, routes })
    };
    let old = OldResult { ip4: of_family(true), ip6: of_family(false), dns: result.dns.clone() };
    if old.ip4.is_none() && old.ip6.is_none() {
        return Err(CniError::new(
            code::INTERNAL,
            "a result without addresses can't be converted to this CNI version",
        ));
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::super::result::Interface;
    use super::*;

    fn sample() -> CniResult {
        CniResult {
            interfaces: vec![Interface {
                name: "eth0".into(),
                mac: "02:00:00:00:00:01".into(),
                mtu: Some(1500),
                sandbox: "/proc/1/ns/net".into(),
                ..Interface::default()
            }],
            ips: vec![
                IpConfig {
                    address: "10.1.0.2/16".parse().expect("valid"),
                    gateway: Some("10.1.0.1".parse().expect("valid")),
                    interface: Some(0),
                },
                IpConfig { address: "fd00::2/64".parse().expect("valid"), gateway: None, interface: Some(0) },
            ],
            routes: vec![
                Route::new("0.0.0.0/0".parse().expect("valid"), None),
                Route::new("::/0".parse().expect("valid"), Some("fd00::1".parse().expect("valid"))),
            ],
            dns: Dns { nameservers: vec!["10.1.0.1".into()], ..Dns::default() },
        }
    }

    #[test]
    fn the_newest_form_is_as_the_specification_has_it() {
        let value = sample().to_value(Version::V1_1_0).expect("convertible");
        let expected = json!({
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1500, "sandbox": "/proc/1/ns/net"}],
            "ips": [{"address": "10.1.0.2/16", "gateway": "10.1.0.1", "interface": 0},
                    {"address": "fd00::2/64", "interface": 0}],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::1"}],
            "dns": {"nameservers": ["10.1.0.1"]},
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn older_forms_lose_and_gain_the_fields_of_their_version() {
        let value = sample().to_value(Version::V0_4_0).expect("convertible");
        assert_eq!(value["ips"][0]["version"], "4");
        assert_eq!(value["ips"][1]["version"], "6");
        assert!(value["interfaces"][0].get("mtu").is_none());
        let value = sample().to_value(Version::V1_0_0).expect("convertible");
        assert!(value["ips"][0].get("version").is_none());
        let value = sample().to_value(Version::V0_2_0).expect("convertible");
        let expected = json!({
            "cniVersion": "0.2.0",
            "ip4": {"ip": "10.1.0.2/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
            "ip6": {"ip": "fd00::2/64", "routes": [{"dst": "::/0", "gw": "fd00::1"}]},
            "dns": {"nameservers": ["10.1.0.1"]},
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn every_version_reads_what_it_wrote() {
        for version in Version::ALL {
            let value = sample().to_value(version).expect("convertible");
            let back = CniResult::parse(&value, Version::NEWEST).expect("readable");
            assert_eq!(back.ips.len(), 2, "{version}");
            assert_eq!(back.routes, sample().routes, "{version}");
            assert_eq!(back.dns, sample().dns, "{version}");
            assert_eq!(back.interfaces.is_empty(), version < Version::V0_3_0, "{version}");
        }
    }

    #[test]
    fn odd_results_of_others_are_read_or_refused() {
        let empty = CniResult::parse(&Value::Null, Version::NEWEST).expect("null is empty");
        assert_eq!(empty, CniResult::default());
        assert!(empty.to_value(Version::V0_1_0).is_err(), "old forms need an address");
        let odd = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/8", "interface": -1}]});
        assert_eq!(CniResult::parse(&odd, Version::NEWEST).expect("readable").ips[0].interface_index(), None);
        for bad in
            [json!([]), json!({"cniVersion": "9.9.9"}), json!({"ips": [{"address": "x"}]}), json!({"ips": 1})]
        {
            assert!(CniResult::parse(&bad, Version::NEWEST).is_err(), "{bad}");
        }
    }
}
