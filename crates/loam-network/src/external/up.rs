//! Attaching a container by a networker, and detaching it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use ipnet::IpNet;
use loam_cni::CniResult;
use loam_cni::namespace::Namespace;
use loam_cni::netlink::RouteSocket;
use loam_cni::protocol::{Dns, Interface, IpConfig, check_interface_name};
use loam_garden_wire::property::{CONTAINER_IP, CONTAINER_IPV6, HOST_IP, INTERFACE};
use loam_garden_wire::{MappedPort, NetIn, UpAnswer, UpInputs};
use loam_model::{
    AttachedInterface, Attachment, ContainerId, ErrorKind, Failure, NetworkName, PortMapping, Result,
};
use serde_json::{Value, json};

use super::Networker;
use super::answer;
use super::call::Caller;
use super::error::NetworkerError;
use crate::attachments::Intent;
use crate::failure::of_files;
use crate::garden::{HANDLE, METADATA, NET_OUT_RULES};
use crate::network::CniNetwork;
use crate::plan::PORT_MAPPINGS;
use crate::result::add_name_service;

/// What `garden.network.host-ip` is where there is no such address any more.
const NO_HOST: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

/// Who is called for an attachment.
pub(super) fn caller<'a>(intent: &'a Intent, container: &'a str) -> Caller<'a> {
    let handle = intent.capability_args.get(HANDLE).and_then(Value::as_str).unwrap_or(container);
    Caller { container, interface: &intent.interface, handle }
}

/// The process whose network namespace a path of procfs names.
fn pid(namespace: &Path) -> std::result::Result<u32, NetworkerError> {
    let inside = namespace.to_str().and_then(|text| text.strip_prefix("/proc/")?.strip_suffix("/ns/net"));
    let pid = inside.and_then(|pid| pid.parse().ok());
    pid.ok_or_else(|| NetworkerError::NoProcess(namespace.to_owned()))
}

/// What `up` gets.
fn inputs(intent: &Intent, pid: u32) -> Value {
    let args = &intent.capability_args;
    let rules: Vec<Value> = args.get(NET_OUT_RULES).and_then(Value::as_array).cloned().unwrap_or_default();
    let properties = args.get(METADATA).and_then(Value::as_object).cloned().unwrap_or_default();
    let netin = NetIn::of_mappings(args.get(PORT_MAPPINGS));
    json!(UpInputs { pid, properties, netout_rules: rules, netin })
}

/// The ports with the host ports that they got. One that was asked for by number has it, whether that is said or not.
fn published(
    asked: &[PortMapping],
    said: &UpAnswer,
) -> std::result::Result<Vec<PortMapping>, NetworkerError> {
    let mut mapped = said.mapped_ports().map_err(answer::form("up"))?;
    let one = |port: &PortMapping| {
        let is_it = |found: &MappedPort| {
            found.container_port == port.container_port
                && found.host_port > 0
                && (port.host_port == 0 || found.host_port == port.host_port)
        };
        match mapped.iter().position(is_it) {
            Some(index) => Ok(PortMapping { host_port: mapped.remove(index).host_port, ..*port }),
            None if port.host_port > 0 => Ok(*port),
            None => {
                let what = format!("it does not say which host port leads to port {}", port.container_port);
                Err(NetworkerError::Form { action: "up", what })
            }
        }
    };
    asked.iter().map(one).collect()
}

impl CniNetwork {
    /// Attaches a container; the attachment gets what the networker gave.
    pub(crate) fn networker_up(
        &self,
        networker: &Networker,
        intent: &Intent,
        (container, namespace): (&ContainerId, &Path),
        attachment: &mut Attachment,
    ) -> Result<CniResult> {
        let up = || {
            let inputs = inputs(intent, pid(namespace)?);
            let answer = self.calls.call(networker, caller(intent, container.as_str()), "up", &inputs)?;
            let said = answer::up(answer.as_ref())?;
            let ports = published(&attachment.ports, &said)?;
            let address = |key: &str| said.address(key).map_err(answer::form("up"));
            let addresses = [address(CONTAINER_IP)?, address(CONTAINER_IPV6)?];
            let gateway = address(HOST_IP)?.filter(|address| *address != NO_HOST);
            Ok((said, ports, addresses, gateway))
        };
        let (answer, ports, addresses, gateway) =
            up().map_err(|error: NetworkerError| error.on("attaching to", &intent.network, networker))?;
        let mut result = CniResult {
            dns: Dns {
                nameservers: answer.dns_servers.iter().map(IpAddr::to_string).collect(),
                search: answer.search_domains.clone(),
                ..Dns::default()
            },
            ..CniResult::default()
        };
        for address in addresses.into_iter().flatten() {
            let (address, interface) = find(namespace, address)?;
            let index = interface.map(|found| place(&mut result.interfaces, found));
            let gateway = gateway.filter(|gateway| gateway.is_ipv4() == address.addr().is_ipv4());
            result.ips.push(IpConfig { address, gateway, interface: index });
        }
        add_name_service(&result, attachment);
        attachment.ports = ports;
        attachment.properties.extend(answer.properties);
        Ok(result)
    }

    /// Detaches a container, whether it was ever attached or not.
    pub(crate) fn networker_down(
        &self,
        networker: &Networker,
        intent: &Intent,
        container: &str,
    ) -> Result<()> {
        let down = self.calls.call(networker, caller(intent, container), "down", &Value::Null);
        down.map(drop).map_err(|error| error.on("detaching from", &intent.network, networker))
    }

    /// Verifies that the addresses that were there are there.
    pub(crate) fn networker_check(&self, network: &str, namespace: &Path, result: &CniResult) -> Result<()> {
        for ip in result.ips.iter().filter(|ip| ip.interface.is_some()) {
            if find(namespace, ip.address.addr())?.1.is_none() {
                let message = format!("address `{}` of network `{network}` is gone", ip.address.addr());
                return Err(Failure::new(ErrorKind::Conflict, message));
            }
        }
        Ok(())
    }
}

/// The index of an interface in a result, which gets it when it has it not.
fn place(interfaces: &mut Vec<Interface>, found: Interface) -> i64 {
    let index = interfaces.iter().position(|known| known.name == found.name);
    let index = index.unwrap_or_else(|| {
        interfaces.push(found);
        interfaces.len() - 1
    });
    i64::try_from(index).unwrap_or_default()
}

/// Looks for an address inside of a namespace: with its prefix length, and the interface that has it. A networker may
/// give one that is translated on the way, and is nowhere in there.
fn find(namespace: &Path, address: IpAddr) -> Result<(IpNet, Option<Interface>)> {
    let doing = "looking into the container's network namespace failed";
    let opened = Namespace::open(namespace).map_err(|error| of_files(doing, error))?;
    let look = || {
        let mut socket = RouteSocket::open()?;
        let found = socket.addresses(None)?.into_iter().find(|one| one.net.addr() == address);
        let Some(found) = found else { return Ok(None) };
        Ok(socket.link_by_index(found.index)?.map(|link| (found.net, link)))
    };
    let looked = opened.run(look).map_err(|error| of_files(doing, error))?;
    let looked = looked.map_err(|error: loam_cni::netlink::NetlinkError| of_files(doing, error))?;
    Ok(match looked {
        Some((net, link)) => {
            let sandbox = namespace.display().to_string();
            let mac = link.mac_text();
            (
                net,
                Some(Interface {
                    name: link.name,
                    mac,
                    mtu: Some(link.mtu),
                    sandbox,
                    ..Interface::default()
                }),
            )
        }
        None => (address.into(), None),
    })
}

/// The interface of an attachment as the seam tells of it: the one that has the container's address, else the one that
/// the networker names, else none that is known.
pub(crate) fn attached(
    network: &NetworkName,
    intent: &Intent,
    result: &CniResult,
    attachment: &Attachment,
) -> AttachedInterface {
    let first = result.interfaces.first();
    let named = attachment.properties.get(INTERFACE).filter(|name| check_interface_name(name).is_ok());
    AttachedInterface {
        network: network.clone(),
        name: first.map(|found| &found.name).or(named).unwrap_or(&intent.interface).clone(),
        mac: first.map(|found| found.mac.clone()).filter(|mac| !mac.is_empty()),
        addresses: result.ips.iter().map(|ip| ip.address).collect(),
        gateways: result.ips.iter().filter_map(|ip| ip.gateway).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loam_model::Protocol;

    fn intent(args: Value) -> Intent {
        Intent {
            network: "n".into(),
            interface: "eth0".into(),
            config: String::new(),
            capability_args: args.as_object().cloned().expect("an object"),
            arguments: Vec::new(),
        }
    }

    #[test]
    fn up_is_told_what_guardian_tells() {
        assert_eq!(inputs(&intent(json!({})), 7), json!({"Pid": 7, "Properties": {}}));
        let args = json!({"handle": "h", "metadata": {"app_id": "x"}, "netOutRules": [{"protocol": 1}],
            "portMappings": [{"hostPort": 0, "containerPort": 80, "protocol": "tcp"}]});
        let told = json!({"Pid": 7, "Properties": {"app_id": "x"}, "netout_rules": [{"protocol": 1}],
            "netin": [{"host_port": 0, "container_port": 80}]});
        assert_eq!(inputs(&intent(args.clone()), 7), told);
        assert_eq!(caller(&intent(args), "id").handle, "h");
        assert_eq!(caller(&intent(json!({})), "id").handle, "id");
    }

    #[test]
    fn a_namespace_is_told_by_its_process() {
        assert_eq!(pid(Path::new("/proc/17/ns/net")).expect("one"), 17);
        for bad in ["/run/netns/x", "/proc/self/ns/net", "/proc/17/ns/pid", "/proc/1/2/ns/net"] {
            let said = pid(Path::new(bad)).expect_err(bad).to_string();
            assert_eq!(said, format!("`{bad}` is not the network namespace of a process"));
        }
    }

    #[test]
    fn host_ports_are_those_that_were_asked_for_or_given() {
        let port = |host_port, container_port| PortMapping {
            host_address: None,
            host_port,
            container_port,
            protocol: Protocol::Tcp,
        };
        let answer = |text: &str| UpAnswer {
            properties: [(loam_garden_wire::property::MAPPED_PORTS.to_owned(), text.to_owned())].into(),
            ..UpAnswer::default()
        };
        let two = answer(r#"[{"HostPort":61001,"ContainerPort":80},{"HostPort":61002,"ContainerPort":80}]"#);
        let given = published(&[port(0, 80), port(0, 80)], &two).expect("both");
        assert_eq!(given, [port(61001, 80), port(61002, 80)]);
        assert_eq!(published(&[port(7, 80)], &UpAnswer::default()).expect("as asked"), [port(7, 80)]);
        let error = published(&[port(0, 81)], &two).expect_err("not told");
        let said = "what action `up` gave can't be used: it does not say which host port leads to port 81";
        assert_eq!(error.to_string(), said);
    }
}
