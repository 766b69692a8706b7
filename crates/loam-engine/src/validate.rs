//! Refusing specs that make no sense, before anything is made.
//!
//! Who refuses what: the engine refuses what only it knows, or what needs another seam than the bundler: names,
//! networks, published ports, the disk limit, the signal that stops a container, the program that is process 1. Everything that becomes
//! a part of `config.json` (program, environment, working directory, host name, mounts, limits, security) is refused by
//! [`Bundler::bundle`](loam_model::Bundler::bundle), which a creation asks for a bundle before it makes anything but the
//! row, and a start before it launches anything. No fact is checked by both.

use std::collections::HashSet;

use loam_model::{
    ContainerSpec, ErrorKind, Failure, Limits, Network, NetworkChoice, NetworkMode, PortMapping, Result,
    shown,
};

use crate::signals::signal_number;

/// Checks what the bundler does not.
pub(crate) fn check(spec: &ContainerSpec, network: &dyn Network) -> Result<()> {
    check_stop_signal(spec)?;
    check_disk(&spec.limits)?;
    check_network(spec, network)?;
    check_ports(&spec.ports)
}

fn invalid(message: String) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}

fn check_stop_signal(spec: &ContainerSpec) -> Result<()> {
    match spec.stop_signal.as_ref().filter(|signal| signal_number(signal).is_none()) {
        Some(signal) => Err(invalid(format!("no signal is called `{}`", shown(signal)))),
        None => Ok(()),
    }
}

/// Checks a disk limit.
pub(crate) fn check_disk(limits: &Limits) -> Result<()> {
    match limits.disk {
        Some(bytes) if bytes < Limits::LEAST_DISK => {
            let least = Limits::LEAST_DISK;
            Err(invalid(format!("a disk limit of {bytes} bytes is too small: the least is {least}")))
        }
        // The database has signed numbers.
        Some(bytes) if i64::try_from(bytes).is_err() => {
            Err(invalid(format!("a disk limit of {bytes} bytes is too large")))
        }
        _ => Ok(()),
    }
}

fn check_network(spec: &ContainerSpec, network: &dyn Network) -> Result<()> {
    let without_ports = |mode: &str| match spec.ports.is_empty() {
        true => Ok(()),
        false => Err(invalid(format!("ports can't be published with the network `{mode}`"))
            .hint("leave out the ports, or choose another network")),
    };
    match &spec.network {
        NetworkMode::Host => without_ports("host"),
        NetworkMode::None => without_ports("none"),
        NetworkMode::Networks(choices) if choices.is_empty() => {
            Err(invalid("no network is named".to_owned()).hint("`none` is a network without interfaces"))
        }
        NetworkMode::Networks(choices) => check_networks(choices, network),
    }
}

/// Checks the networks that a container is to be on.
pub(crate) fn check_networks(choices: &[NetworkChoice], network: &dyn Network) -> Result<()> {
    let mut seen = HashSet::new();
    for NetworkChoice { name, options } in choices {
        if !seen.insert(name) {
            return Err(invalid(format!("the network `{name}` is named twice")));
        }
        if !network.exists(name)? {
            return Err(Failure::new(ErrorKind::NotFound, format!("no network `{name}`")));
        }
        if let Some(alias) = options.aliases.iter().find(|alias| !is_host_name(alias)) {
            return Err(invalid(format!("`{}` is no name that a host can have", shown(alias))));
        }
        if name.is_default() && !options.aliases.is_empty() {
            return Err(invalid(format!("containers on the default network `{name}` have no aliases"))
                .hint("make a network with `loam network create`"));
        }
    }
    Ok(())
}

/// Whether a text is a name for `/etc/hosts` (hosts(5); RFC 1123, section 2.1; underscores as others allow them).
fn is_host_name(text: &str) -> bool {
    let part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&part.len()) && !part.starts_with('-') && part.bytes().all(allowed)
    };
    text.len() <= 253 && text.split('.').all(part)
}

fn check_ports(ports: &[PortMapping]) -> Result<()> {
    for (index, port) in ports.iter().enumerate() {
        if port.container_port == 0 {
            return Err(invalid("a container's port is 1 to 65535".to_owned()));
        }
        let clashes = |other: &PortMapping| {
            let addresses = (other.host_address, port.host_address);
            let meet = match addresses {
                (Some(one), Some(two)) => one == two,
                _ => true,
            };
            other.host_port == port.host_port && other.protocol == port.protocol && meet
        };
        if port.host_port != 0 && ports[..index].iter().any(clashes) {
            return Err(invalid(format!(
                "host port {}/{} is published twice",
                port.host_port,
                port.protocol.as_str()
            )));
        }
    }
    Ok(())
}
