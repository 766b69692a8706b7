//! Planning an attachment: which interface, which capability arguments, who gives the default route.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use loam_cni::protocol::check_interface_name;
use loam_model::{
    AttachExtras, ErrorKind, Failure, NetworkChoice, NetworkOptions, PortMapping, Protocol, Result,
};
use serde_json::{Map, Value, json};

use crate::attachments::Intent;
use crate::conflist::{NetworkList, PluginObject};
use crate::external::Networker;
use crate::failure::of_files;
use crate::{cloud_foundry, container_subnets, garden};

/// The capability of plugins that publish ports.
pub(crate) const PORT_MAPPINGS: &str = "portMappings";
/// The capability of plugins that give the addresses that are asked for.
const IPS: &str = "ips";
/// The capability of plugins that give the hardware address that is asked for.
const MAC: &str = "mac";
/// The capability of plugins that take addresses from ranges that the runtime names.
const IP_RANGES: &str = "ipRanges";

/// A network as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: PathBuf,
    pub(crate) list: NetworkList,
}

/// One interface that is to be.
#[derive(Debug)]
pub(crate) struct Planned<'a> {
    pub(crate) choice: &'a NetworkChoice,
    pub(crate) file: PathBuf,
    /// The list as it is run: without a default route, where another network has that.
    pub(crate) list: NetworkList,
    pub(crate) intent: Intent,
}

/// What all interfaces of a plan have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes<'a> {
    pub(crate) ports: &'a [PortMapping],
    pub(crate) extras: AttachExtras<'a>,
}

/// The index of the network that gives the default route: the one that says so, else the first.
pub(crate) fn default_route(choices: &[NetworkChoice]) -> Result<usize> {
    let mut owners = choices.iter().enumerate().filter(|(_, choice)| choice.options.default_route);
    let first = owners.next();
    if let (Some((_, one)), Some((_, other))) = (first, owners.next()) {
        let message = format!(
            "only one of the networks `{}` and `{}` can give the default route",
            one.name, other.name
        );
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    Ok(first.map_or(0, |(index, _)| index))
}

/// Names the interface of a network: as asked for, else the first free of `eth0`, `eth1`, …
pub(crate) fn interface(options: &NetworkOptions, taken: &mut BTreeSet<String>) -> Result<String> {
    let name = match &options.interface {
        Some(name) => {
            check_interface_name(name)
                .map_err(|error| Failure::new(ErrorKind::Invalid, error.to_string()))?;
            if name == "lo" || taken.contains(name) {
                return Err(Failure::new(ErrorKind::Invalid, format!("interface name `{name}` is taken")));
            }
            name.clone()
        }
        None => {
            (0..).map(|index| format!("eth{index}")).find(|name| !taken.contains(name)).unwrap_or_default()
        }
    };
    taken.insert(name.clone());
    Ok(name)
}

impl<'a> Planned<'a> {
    /// Plans one interface. What is asked of it must be in the network's power.
    pub(crate) fn new(
        found: Found,
        choice: &'a NetworkChoice,
        interface: String,
        has_default_route: bool,
        wishes: Wishes<'_>,
    ) -> Result<Self> {
        let Found { file, mut list } = found;
        refuse_what_networkers_can_t(&list, &choice.options, has_default_route)?;
        if choice.options.subnet.is_some() && list.pool.is_none() {
            return Err(container_subnets::refuse_wish(&list));
        }
        let ports = if has_default_route { wishes.ports } else { &[] };
        let capability_args = capability_args(&list, &choice.options, ports, wishes.extras)?;
        // Each of them is asked, not only the first that has one.
        let gave =
            list.plugins.iter_mut().filter_map(|one| without_default_route(one, has_default_route)).count();
        if gave > 0 {
            list.write_text()
                .map_err(|error| of_files("the network's configuration can't be written", error))?;
        }
        let intent = Intent {
            network: list.name.clone(),
            interface,
            config: list.text.clone(),
            capability_args,
            arguments: wishes.extras.arguments.to_vec(),
        };
        Ok(Self { choice, file, list, intent })
    }
}

/// Refuses ports that a network can't publish, before any of them is reserved.
pub(crate) fn check_ports(list: &NetworkList, ports: &[PortMapping]) -> Result<()> {
    if ports.is_empty() || list.has_capability(PORT_MAPPINGS) {
        return Ok(());
    }
    if list.networker.is_some() {
        return Networker::check_ports(&list.name, ports);
    }
    // Plugins for Cloud Foundry know ports of TCP.
    let all_tcp = ports.iter().all(|port| port.protocol == Protocol::Tcp);
    if list.cloud_foundry && all_tcp && cloud_foundry::publishes(&list.plugins) {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::Invalid, format!("network `{}` can't publish ports", list.name))
        .hint("add the plugin `portmap` with the capability `portMappings` to the network"))
}

/// Refuses what can't be asked of an external networker.
fn refuse_what_networkers_can_t(
    list: &NetworkList,
    options: &NetworkOptions,
    has_default_route: bool,
) -> Result<()> {
    let what = match &options.interface {
        _ if list.networker.is_none() => return Ok(()),
        Some(_) => "be asked for the name of an interface",
        None if !has_default_route => "leave the default route to another network",
        None => return Ok(()),
    };
    let message = format!("network `{}` can't {what}: it has an external networker", list.name);
    Err(Failure::new(ErrorKind::Invalid, message))
}

fn capability_args(
    list: &NetworkList,
    options: &NetworkOptions,
    ports: &[PortMapping],
    extras: AttachExtras<'_>,
) -> Result<Map<String, Value>> {
    // What nobody can take is no part of the intent.
    let given = extras.capabilities.into_iter().flatten();
    let mut args: Map<String, Value> = given
        .filter(|(capability, value)| list.has_capability(capability) && !value.is_null())
        .map(|(capability, value)| (capability.clone(), value.clone()))
        .collect();
    if let Some(metadata) = extras.metadata {
        let told = list.cloud_foundry || list.networker.is_some();
        let all = garden::capability_args(metadata).into_iter();
        args.extend(all.filter(|(capability, _)| told || list.has_capability(capability)));
    }
    if !ports.is_empty() {
        check_ports(list, ports)?;
        args.insert(PORT_MAPPINGS.into(), ports.iter().map(port_value).collect());
    }
    if !options.addresses.is_empty() {
        require(list, IPS, "give an address that is asked for")?;
        let subnets = if args.contains_key(IP_RANGES) { Vec::new() } else { list.subnets() };
        let texts = options.addresses.iter().map(|address| with_prefix(list, &subnets, *address));
        args.insert(IPS.into(), texts.collect::<Result<Vec<_>>>()?.into());
    }
    if let Some(mac) = options.mac {
        require(list, MAC, "give a hardware address that is asked for")?;
        args.insert(MAC.into(), mac.to_string().into());
    }
    if !options.aliases.is_empty() && list.has_capability("aliases") {
        args.insert("aliases".into(), options.aliases.clone().into());
    }
    Ok(args)
}

fn require(list: &NetworkList, capability: &str, what: &str) -> Result<()> {
    if list.has_capability(capability) {
        return Ok(());
    }
    let message = format!("network `{}` can't {what}", list.name);
    let hint = format!("none of its plugins has the capability `{capability}`");
    Err(Failure::new(ErrorKind::Invalid, message).hint(hint))
}

/// An address as plugins want it: with the prefix length of the subnet that it is in.
fn with_prefix(list: &NetworkList, subnets: &[IpNet], address: IpAddr) -> Result<String> {
    if subnets.is_empty() {
        return Ok(address.to_string());
    }
    match subnets.iter().find(|subnet| subnet.contains(&address)) {
        Some(subnet) => Ok(format!("{address}/{}", subnet.prefix_len())),
        None => {
            let subnets: Vec<String> = subnets.iter().map(|subnet| format!("`{subnet}`")).collect();
            let message = format!("address `{address}` is in no subnet of network `{}`", list.name);
            Err(Failure::new(ErrorKind::Invalid, message)
                .hint(format!("its subnets: {}", subnets.join(", "))))
        }
    }
}

pub(crate) fn port_value(port: &PortMapping) -> Value {
    let mut value = json!({
        "hostPort": port.host_port,
        "containerPort": port.container_port,
        "protocol": port.protocol.as_str(),
    });
    if let (Some(address), Some(object)) = (port.host_address, value.as_object_mut()) {
        object.insert("hostIP".into(), address.to_string().into());
    }
    value
}

/// Takes away what gives a default route, unless it shall be there; `None` when there is nothing to do.
fn without_default_route(plugin: &mut PluginObject, keep: bool) -> Option<()> {
    if keep {
        return None;
    }
    let mut changed = false;
    if plugin.get("isDefaultGateway").and_then(Value::as_bool) == Some(true) {
        plugin.insert("isDefaultGateway".into(), false.into());
        plugin.insert("isGateway".into(), true.into());
        changed = true;
    }
    let routes = plugin.get_mut("ipam").and_then(|ipam| ipam.get_mut("routes")).and_then(Value::as_array_mut);
    if let Some(routes) = routes {
        let before = routes.len();
        routes
            .retain(|route| !matches!(route.get("dst").and_then(Value::as_str), Some("0.0.0.0/0" | "::/0")));
        changed |= routes.len() < before;
    }
    changed.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"name":"n","cniVersion":"1.0.0","plugins":[
        {"type":"bridge","isDefaultGateway":true,"capabilities":{"ips":true,"mac":true,"bandwidth":true},
         "ipam":{"type":"host-local","subnet":"10.1.0.0/16","routes":[{"dst":"0.0.0.0/0"},{"dst":"10.9.0.0/16"}]}}]}"#;

    fn plan(list: &str, choice: &NetworkChoice, default: bool, wishes: Wishes<'_>) -> Result<Intent> {
        let list = NetworkList::parse(list.to_owned()).expect("valid");
        let found = Found { file: "/f".into(), list };
        Planned::new(found, choice, "eth0".into(), default, wishes).map(|planned| planned.intent)
    }

    fn choice(change: impl FnOnce(&mut NetworkOptions)) -> NetworkChoice {
        let mut choice: NetworkChoice = "n".parse().expect("valid");
        change(&mut choice.options);
        choice
    }

    #[test]
    fn what_is_asked_for_becomes_capability_arguments() {
        let bandwidth = Map::from_iter([
            ("bandwidth".to_owned(), json!({"ingressRate": 1})),
            ("cgroupPath".to_owned(), json!("/x")),
        ]);
        let arguments = [("K8S_POD_NAME".to_owned(), "p".to_owned())];
        let extras = AttachExtras { capabilities: Some(&bandwidth), arguments: &arguments, metadata: None };
        let wanted = choice(|options| {
            options.addresses = vec!["10.1.2.3".parse().expect("valid")];
            options.mac = "02:00:00:00:00:01".parse().ok();
            options.aliases = vec!["db".to_owned()];
        });
        let intent = plan(LIST, &wanted, true, Wishes { ports: &[], extras }).expect("in its power");
        let expected =
            json!({"bandwidth": {"ingressRate": 1}, "ips": ["10.1.2.3/16"], "mac": "02:00:00:00:00:01"});
        assert_eq!(Value::Object(intent.capability_args), expected);
        assert_eq!((intent.arguments.as_slice(), intent.config.as_str()), (&arguments[..], LIST));
    }

    #[test]
    fn what_a_network_can_t_do_is_refused() {
        let none = Wishes { ports: &[], extras: AttachExtras::default() };
        let plain = LIST.replace("true,\"mac\":true", "false,\"mac\":false");
        let refused = |list: &str, wanted: &NetworkChoice| {
            plan(list, wanted, true, none).expect_err("not in its power").to_string()
        };
        let at = |text: &str| choice(|options| options.addresses = vec![text.parse().expect("valid")]);
        assert_eq!(refused(&plain, &at("10.1.2.3")), "network `n` can't give an address that is asked for");
        assert_eq!(refused(LIST, &at("10.2.2.3")), "address `10.2.2.3` is in no subnet of network `n`");
        let mac = choice(|options| options.mac = "02:00:00:00:00:01".parse().ok());
        assert_eq!(refused(&plain, &mac), "network `n` can't give a hardware address that is asked for");
    }

    #[test]
    fn only_one_network_gives_a_default_route_and_the_configuration_says_so() {
        let none = Wishes { ports: &[], extras: AttachExtras::default() };
        let intent = plan(LIST, &choice(|_| ()), false, none).expect("valid");
        let config: Value = serde_json::from_str(&intent.config).expect("JSON");
        assert_eq!(config["plugins"][0]["isDefaultGateway"], false);
        assert_eq!(config["plugins"][0]["ipam"]["routes"], json!([{"dst": "10.9.0.0/16"}]));
        let (plain, owner) = (choice(|_| ()), choice(|options| options.default_route = true));
        assert_eq!(default_route(&[plain.clone(), plain.clone()]).expect("the first"), 0);
        assert_eq!(default_route(&[plain, owner.clone()]).expect("the second"), 1);
        assert!(default_route(&[owner.clone(), owner]).is_err());
    }

    #[test]
    fn interfaces_have_the_first_free_name() {
        let mut taken = BTreeSet::from(["eth1".to_owned()]);
        let named = |name: &str| NetworkOptions { interface: Some(name.into()), ..NetworkOptions::default() };
        let plain = NetworkOptions::default();
        assert_eq!(interface(&plain, &mut taken).expect("free"), "eth0");
        assert_eq!(interface(&plain, &mut taken).expect("free"), "eth2");
        assert_eq!(interface(&named("db0"), &mut taken).expect("free"), "db0");
        for bad in ["lo", "eth1", "db0", "a/b", "sixteen-letters-"] {
            assert_eq!(interface(&named(bad), &mut taken).expect_err(bad).kind(), ErrorKind::Invalid);
        }
    }
}
