//! The text of a new network's configuration list.

use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use loam_cni::protocol::{check_interface_name, check_plugin_type};
use loam_model::{AddressDriver, ErrorKind, Failure, NetworkName, NetworkSpec, Result, SubnetSpec};
use serde_json::{Map, Value, json};

use super::{is_host_of, networker, own_subnets};
use crate::conflist::OWN_KEY;
use crate::container_subnets::PATTERN;

/// How many bridge names are tried.
pub(crate) const BRIDGES: u32 = 1000;

/// Drivers whose interfaces stand on one of the host's.
const ON_PARENT: [&str; 4] = ["macvlan", "ipvlan", "vlan", "host-device"];

/// Drivers whose interfaces can be given a hardware address.
const WITH_MAC: [&str; 3] = ["bridge", "macvlan", "tap"];

/// Drivers whose interfaces keep the MTU that they have. Of other programs it is not known.
const WITHOUT_MTU: [&str; 2] = ["dummy", "host-device"];

/// The driver, by its plugin's name.
pub(super) fn driver(spec: &NetworkSpec) -> &str {
    spec.driver.as_deref().unwrap_or("bridge")
}

/// Whether the network is a part of one outside that a link of the host leads to.
pub(super) fn stands_on_parent(spec: &NetworkSpec) -> bool {
    ON_PARENT.contains(&driver(spec))
}

/// Who gives addresses.
fn addresses(spec: &NetworkSpec) -> AddressDriver {
    let otherwise = match stands_on_parent(spec) && spec.subnets.is_empty() {
        true => AddressDriver::Dhcp,
        false => AddressDriver::HostLocal,
    };
    spec.addresses.unwrap_or(otherwise)
}

/// Whether subnets are chosen where none are given.
pub(super) fn chooses_subnets(spec: &NetworkSpec) -> bool {
    !stands_on_parent(spec) && !networker::is_wanted(spec) && addresses(spec) == AddressDriver::HostLocal
}

fn invalid(message: String) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}

/// Refuses what makes no sense, whatever else there is.
pub(super) fn check(name: &NetworkName, spec: &NetworkSpec) -> Result<()> {
    if networker::is_wanted(spec) {
        return networker::check(name, spec);
    }
    own_subnets::check(spec)?;
    let driver = driver(spec);
    let wrong = |error: loam_cni::CniError| invalid(error.to_string());
    check_plugin_type(driver).map_err(wrong)?;
    match &spec.parent {
        Some(parent) => {
            check_interface_name(parent).map_err(wrong)?;
            if !stands_on_parent(spec) {
                return Err(invalid(format!("a network of driver `{driver}` has no parent interface")));
            }
        }
        None if stands_on_parent(spec) => {
            return Err(invalid(format!("network `{name}` needs a parent interface for driver `{driver}`"))
                .hint("name it with `--parent`"));
        }
        None => {}
    }
    if !spec.subnets.is_empty() && addresses(spec) != AddressDriver::HostLocal {
        return Err(invalid("subnets are for addresses that this host gives".to_owned()));
    }
    if spec.isolate && driver != "bridge" {
        return Err(invalid(format!("driver `{driver}` can't keep containers from each other")));
    }
    if spec.internal && driver == "ptp" {
        let message = "a network of driver `ptp` can't be internal: its containers reach this host";
        return Err(invalid(message.to_owned()));
    }
    if spec.internal && driver != "bridge" {
        return Err(invalid(format!("a network of driver `{driver}` can't be internal")));
    }
    if spec.mtu.is_some() && WITHOUT_MTU.contains(&driver) {
        return Err(invalid(format!("driver `{driver}` sets no MTU")));
    }
    for key in spec.options.keys() {
        let known = match key.as_str() {
            "bridge" | "vlan" | "promisc" => driver == "bridge",
            "mode" => matches!(driver, "macvlan" | "ipvlan"),
            "vlanId" => driver == "vlan",
            _ => false,
        };
        if !known {
            return Err(invalid(format!("driver `{driver}` has no option `{}`", loam_model::shown(key))));
        }
    }
    if let Some(bridge) = spec.options.get("bridge") {
        check_interface_name(bridge).map_err(wrong)?;
    }
    if spec.ipv6 == Some(false)
        && let Some(six) = spec.subnets.iter().find(|one| one.subnet.addr().is_ipv6())
    {
        return Err(invalid(format!("subnet `{}` is one of IPv6, which is switched off", six.subnet)));
    }
    spec.subnets.iter().try_for_each(check_subnet)
}

fn check_subnet(spec: &SubnetSpec) -> Result<()> {
    let subnet = spec.subnet;
    if subnet != subnet.trunc() {
        return Err(invalid(format!("`{subnet}` is not a subnet")).hint(format!("`{}` is", subnet.trunc())));
    }
    if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
        return Err(invalid(format!("subnet `{subnet}` is too small for a gateway and a container")));
    }
    if let Some(gateway) = spec.gateway.filter(|gateway| !is_host_of(subnet, *gateway)) {
        return Err(invalid(format!("gateway `{gateway}` is no address in subnet `{subnet}`")));
    }
    match spec.range.filter(|range| !subnet.contains(range)) {
        Some(range) => Err(invalid(format!("range `{range}` is no part of subnet `{subnet}`"))),
        None => Ok(()),
    }
}

/// Writes the list.
pub(super) fn text(
    name: &NetworkName,
    spec: &NetworkSpec,
    bridge: Option<&str>,
    data_dir: &Path,
) -> Result<String> {
    if networker::is_wanted(spec) {
        return Ok(networker::text(name, spec));
    }
    let mut first = Map::from_iter([("type".to_owned(), driver(spec).into())]);
    // Where a DHCP server gives addresses, the way out is the router's that it names, and none of this host's.
    let is_gateway = !spec.internal && addresses(spec) != AddressDriver::Dhcp;
    let mut set = |key: &str, value: Value| first.insert(key.to_owned(), value);
    match bridge {
        _ if spec.subnet_per_container => {
            set("isDefaultGateway", (!spec.internal).into());
            set("ipMasq", (!spec.internal).into());
            set("hairpinMode", true.into());
        }
        Some(bridge) => {
            set("bridge", bridge.into());
            set("isDefaultGateway", is_gateway.into());
            set("ipMasq", is_gateway.into());
            set("hairpinMode", true.into());
            if spec.isolate {
                set("portIsolation", true.into());
            }
        }
        None if driver(spec) == "ptp" => drop(set("ipMasq", true.into())),
        None => {}
    }
    if let Some(parent) = &spec.parent {
        set(if driver(spec) == "host-device" { "device" } else { "master" }, parent.as_str().into());
    }
    if let Some(mtu) = spec.mtu {
        set("mtu", mtu.into());
    }
    for (key, value) in spec.options.iter().filter(|(key, _)| *key != "bridge") {
        set(if key == "promisc" { "promiscMode" } else { key }, number_or_text(value));
    }
    if !spec.name_servers.is_empty() {
        set("dns", json!({ "nameservers": spec.name_servers }));
    }
    let ipam = ipam(spec, data_dir);
    let able = [
        ("ips", addresses(spec) == AddressDriver::HostLocal && !spec.subnet_per_container),
        ("mac", WITH_MAC.contains(&driver(spec))),
    ];
    let able: Map<String, Value> = able
        .into_iter()
        .filter(|(_, able)| *able)
        .map(|(name, able)| (name.to_owned(), able.into()))
        .collect();
    if !able.is_empty() {
        set("capabilities", able.into());
    }
    if let Some(ipam) = ipam {
        set("ipam", ipam);
    }
    let mut plugins = vec![Value::Object(first)];
    if matches!(driver(spec), "bridge" | "ptp") && !spec.internal {
        plugins.push(json!({ "type": "portmap", "capabilities": { "portMappings": true } }));
    }
    let mut list = json!({
        "cniVersion": "1.1.0",
        "name": name.as_str(),
        OWN_KEY: { "internal": spec.internal, "labels": spec.labels },
        "plugins": plugins,
    });
    if spec.subnet_per_container {
        list[OWN_KEY][PATTERN] = true.into();
    }
    Ok(format!("{list:#}\n"))
}

fn number_or_text(text: &str) -> Value {
    match text {
        "true" | "false" => (text == "true").into(),
        _ => text.parse::<u32>().map_or_else(|_| text.into(), Value::from),
    }
}

fn ipam(spec: &NetworkSpec, data_dir: &Path) -> Option<Value> {
    match addresses(spec) {
        AddressDriver::None => None,
        AddressDriver::Dhcp => Some(json!({ "type": "dhcp" })),
        AddressDriver::HostLocal => {
            let ranges: Vec<Value> = spec.subnets.iter().map(|one| json!([range(one)])).collect();
            let mut ipam = json!({ "type": "host-local", "dataDir": data_dir, "ranges": ranges });
            // `bridge` makes default routes itself, others need to be told.
            if driver(spec) != "bridge" && !spec.internal {
                let has = |six: bool| spec.subnets.iter().any(|one| one.subnet.addr().is_ipv6() == six);
                let routes = [(false, "0.0.0.0/0"), (true, "::/0")].into_iter().filter(|(six, _)| has(*six));
                ipam["routes"] = routes.map(|(_, everywhere)| json!({ "dst": everywhere })).collect();
            }
            Some(ipam)
        }
    }
}

fn range(spec: &SubnetSpec) -> Value {
    let mut range = json!({ "subnet": spec.subnet });
    if let Some(gateway) = spec.gateway {
        range["gateway"] = gateway.to_string().into();
    }
    if let Some(part) = spec.range {
        let (first, last) = usable(spec.subnet, part);
        range["rangeStart"] = first.into();
        range["rangeEnd"] = last.into();
    }
    range
}

/// The first and the last address of a part of a subnet that a container can have.
fn usable(subnet: IpNet, part: IpNet) -> (String, String) {
    let mut ends = (part.network(), part.broadcast());
    if ends.0 == subnet.network() {
        ends.0 = part.hosts().next().unwrap_or(ends.0);
    }
    if ends.1 == subnet.broadcast() && subnet.addr().is_ipv4() {
        ends.1 = part.hosts().last().unwrap_or(ends.1);
    }
    (ends.0.to_string(), ends.1.to_string())
}

/// What the default network is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefaultBridge<'a> {
    pub(crate) bridge: &'a str,
    pub(crate) four: Ipv4Net,
    pub(crate) six: Option<Ipv6Net>,
}

/// The text of the default network.
pub(crate) fn default_text(parts: DefaultBridge<'_>, data_dir: &Path) -> Result<String> {
    let subnets = [Some(IpNet::V4(parts.four)), parts.six.map(IpNet::V6)].into_iter().flatten();
    let subnets = subnets.map(|subnet| SubnetSpec { subnet, gateway: None, range: None }).collect();
    let spec = NetworkSpec { subnets, ..NetworkSpec::default() };
    text(&NetworkName::default_network(), &spec, Some(parts.bridge), data_dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflist::NetworkList;

    fn subnet(text: &str) -> SubnetSpec {
        SubnetSpec { subnet: text.parse().expect("valid"), gateway: None, range: None }
    }

    fn composed(spec: &NetworkSpec, bridge: Option<&str>) -> Value {
        let name = "n".parse().expect("valid");
        check(&name, spec).expect("sensible");
        let list = NetworkList::parse(text(&name, spec, bridge, Path::new("/d")).expect("text"));
        list.expect("a list that we can read").value()
    }

    #[test]
    fn a_bridge_has_what_was_asked_for() {
        let mut four = subnet("10.1.0.0/24");
        (four.gateway, four.range) = ("10.1.0.254".parse().ok(), "10.1.0.0/25".parse().ok());
        let spec = NetworkSpec {
            subnets: vec![four, subnet("fd01::/64")],
            mtu: Some(1400),
            isolate: true,
            name_servers: vec!["10.1.0.53".parse().expect("valid")],
            labels: [("a".to_owned(), "b".to_owned())].into(),
            ..NetworkSpec::default()
        };
        let list = composed(&spec, Some("loam3"));
        let first = &list["plugins"][0];
        assert_eq!((&first["bridge"], &first["mtu"]), (&json!("loam3"), &json!(1400)));
        assert_eq!((&first["portIsolation"], &first["isDefaultGateway"]), (&json!(true), &json!(true)));
        assert_eq!(first["dns"], json!({"nameservers": ["10.1.0.53"]}));
        assert_eq!(
            first["ipam"]["ranges"],
            json!([[{"subnet": "10.1.0.0/24", "gateway": "10.1.0.254", "rangeStart": "10.1.0.1",
                     "rangeEnd": "10.1.0.127"}], [{"subnet": "fd01::/64"}]])
        );
        assert_eq!(list["plugins"][1]["type"], "portmap");
        assert_eq!(list[OWN_KEY]["labels"], json!({"a": "b"}));
    }

    #[test]
    fn an_internal_one_leads_nowhere_and_macvlan_stands_on_its_parent() {
        let internal =
            NetworkSpec { internal: true, subnets: vec![subnet("10.1.0.0/24")], ..NetworkSpec::default() };
        let list = composed(&internal, Some("loam1"));
        assert_eq!(
            (&list["plugins"][0]["ipMasq"], list["plugins"].as_array().map(Vec::len)),
            (&json!(false), Some(1))
        );
        let spec = NetworkSpec {
            driver: Some("macvlan".to_owned()),
            parent: Some("eth9".to_owned()),
            options: [("mode".to_owned(), "bridge".to_owned())].into(),
            ..NetworkSpec::default()
        };
        let first = composed(&spec, None)["plugins"][0].clone();
        assert_eq!((&first["master"], &first["mode"]), (&json!("eth9"), &json!("bridge")));
        assert_eq!(first["ipam"], json!({"type": "dhcp"}));
        let over_bridge = NetworkSpec { addresses: Some(AddressDriver::Dhcp), ..NetworkSpec::default() };
        let first = composed(&over_bridge, Some("loam1"))["plugins"][0].clone();
        assert_eq!((&first["isDefaultGateway"], &first["ipMasq"]), (&json!(false), &json!(false)));
        let with_subnet = NetworkSpec { subnets: vec![subnet("192.0.2.0/24")], ..spec };
        let first = composed(&with_subnet, None)["plugins"][0].clone();
        assert_eq!(first["ipam"]["routes"], json!([{"dst": "0.0.0.0/0"}]));
    }

    #[test]
    fn a_network_claims_what_its_driver_does() {
        let capabilities = |driver: &str, parent: Option<&str>, subnets: Vec<SubnetSpec>| {
            let spec = NetworkSpec {
                driver: Some(driver.to_owned()),
                parent: parent.map(str::to_owned),
                subnets,
                ..NetworkSpec::default()
            };
            composed(&spec, (driver == "bridge").then_some("loam1"))["plugins"][0]["capabilities"].clone()
        };
        let four = || vec![subnet("10.1.0.0/24")];
        for driver in ["bridge", "tap"] {
            assert_eq!(capabilities(driver, None, four()), json!({"ips": true, "mac": true}), "{driver}");
        }
        for driver in ["ptp", "dummy"] {
            assert_eq!(capabilities(driver, None, four()), json!({"ips": true}), "{driver}");
        }
        assert_eq!(capabilities("macvlan", Some("eth9"), vec![]), json!({"mac": true}));
        for driver in ["ipvlan", "vlan", "host-device"] {
            assert_eq!(capabilities(driver, Some("eth9"), vec![]), Value::Null, "{driver}");
        }
    }

    #[test]
    fn what_a_driver_can_t_do_is_refused_by_name() {
        let of = |driver: &str| NetworkSpec { driver: Some(driver.to_owned()), ..NetworkSpec::default() };
        let lent = || NetworkSpec { parent: Some("eth9".to_owned()), ..of("host-device") };
        for (spec, text) in [
            (NetworkSpec { mtu: Some(1400), ..of("dummy") }, "driver `dummy` sets no MTU"),
            (NetworkSpec { mtu: Some(1400), ..lent() }, "driver `host-device` sets no MTU"),
            (
                NetworkSpec { internal: true, ..of("ptp") },
                "a network of driver `ptp` can't be internal: its containers reach this host",
            ),
            (NetworkSpec { internal: true, ..of("dummy") }, "a network of driver `dummy` can't be internal"),
        ] {
            let failure = check(&"n".parse().expect("valid"), &spec).expect_err(text);
            assert_eq!(failure.to_string(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let plain = NetworkSpec::default;
        let mut far = subnet("10.1.0.0/24");
        far.gateway = "10.2.0.1".parse().ok();
        let mut wide = subnet("10.1.0.0/24");
        wide.range = "10.1.0.0/16".parse().ok();
        let options = [("speed".to_owned(), "9".to_owned())].into();
        let (vlan, parent) = (Some("macvlan".to_owned()), Some("eth0".to_owned()));
        for (spec, thing) in [
            (
                NetworkSpec { subnets: vec![subnet("10.1.0.7/24")], ..plain() },
                "`10.1.0.7/24` is not a subnet",
            ),
            (NetworkSpec { subnets: vec![subnet("10.1.0.0/31")], ..plain() }, "too small"),
            (NetworkSpec { subnets: vec![far], ..plain() }, "gateway `10.2.0.1`"),
            (NetworkSpec { subnets: vec![wide], ..plain() }, "range `10.1.0.0/16`"),
            (NetworkSpec { subnets: vec![subnet("fd00::/64")], ipv6: Some(false), ..plain() }, "`fd00::/64`"),
            (NetworkSpec { options, ..plain() }, "`speed`"),
            (NetworkSpec { driver: vlan.clone(), ..plain() }, "needs a parent"),
            (NetworkSpec { parent: parent.clone(), ..plain() }, "has no parent"),
            (NetworkSpec { driver: vlan, parent, internal: true, ..plain() }, "can't be internal"),
            (NetworkSpec { driver: Some("../sh".to_owned()), ..plain() }, "../sh"),
        ] {
            let failure = check(&"n".parse().expect("valid"), &spec).expect_err(thing);
            assert!(failure.to_string().contains(thing), "{thing}: {failure}");
        }
    }
}
