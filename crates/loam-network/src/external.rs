//! External networkers: programs that attach containers as Guardian lets them (`--network-plugin`), so that one that was
//! made for Guardian is a network of Loam's.
//!
//! What comes in: a network whose one plugin has the type `external-networker`, with the keys `program` (an absolute path),
//! `arguments` and `externalAddress`. What goes out: `PROGRAM ARGUMENTS… --action ACTION --handle HANDLE`, executed with our
//! environment, working directory and rights, one JSON value on standard input, one or none on standard output
//! (Guardian, `netplugin/external_networker.go`; the tests hold the forms of all five actions):
//!
//! | action | when | gets | gives |
//! |---|---|---|---|
//! | `up` | attaching | `Pid`, `Properties`, `netout_rules`, `netin` | `properties`, `dns_servers`, `search_domains` |
//! | `down` | detaching, as often as it is tried | `null` | |
//! | `net-in` | one port more | `HostIP`, `HostPort`, `ContainerIP`, `ContainerPort` | `host_port`, `container_port` |
//! | `bulk-net-out` | rules more | `container_ip`, `netout_rules` | |
//!
//! `net-out` is `bulk-net-out` with one rule, and not used. Whatever ends with another code than 0, or gives what is no such
//! value, has failed; then `down` follows. Unlike Guardian we end a program that takes too long or says too much.
//!
//! The attachment's file names the network with program and arguments before `up`, so that `down` reaches the program that
//! was asked, whatever the network's configuration says by then. A call that runs is known by
//!
//! ```text
//! CACHE_DIR/calls/CONTAINER-INTERFACE   the program's standard input, flock'ed as long as the program has it open
//! ```
//!
//! When we are killed in the middle of a call, the program lives on and keeps the lock. Whoever calls for the container
//! next waits until it has ended, or until its time is up, so that no `down` is overtaken by the `up` before it. After a
//! call that we have seen the end of, the file is removed, and nobody waits for what the program left running.

mod answer;
mod call;
mod error;
mod more;
mod up;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, PortMapping, Protocol, Result};
use rustix::fs::{Access, access};
use serde_json::{Map, Value};

use crate::conflist::{PluginObject, kind};
pub(crate) use call::Calls;
pub(crate) use up::attached;

/// The type of the one plugin of such a network, and the name of its driver.
pub(crate) const TYPE: &str = "external-networker";

/// A program that attaches containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Networker {
    program: PathBuf,
    arguments: Vec<String>,
    external_address: Option<IpAddr>,
}

impl Networker {
    /// The networker of a list, if it is one's; the error is what is wrong with the list.
    pub(crate) fn of(plugins: &[PluginObject]) -> std::result::Result<Option<Self>, String> {
        let Some(plugin) = plugins.iter().find(|plugin| kind(plugin) == TYPE) else { return Ok(None) };
        if plugins.len() > 1 {
            return Err(format!("`{TYPE}` attaches containers alone, without other plugins"));
        }
        let program = plugin.get("program").and_then(Value::as_str).map(PathBuf::from);
        let program = program.filter(|path| path.is_absolute());
        let program = program.ok_or_else(|| format!("`program` of `{TYPE}` is not an absolute path"))?;
        Ok(Some(Self { program, arguments: arguments(plugin)?, external_address: external_address(plugin)? }))
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Verifies that the program can be executed. No action of the contract asks how it is.
    pub(crate) fn status(&self) -> Result<()> {
        if self.program.is_file() && access(&self.program, Access::EXEC_OK).is_ok() {
            return Ok(());
        }
        let message = format!("the external networker `{}` is no program", self.program.display());
        Err(Failure::new(ErrorKind::NotFound, message))
    }

    /// Refuses ports that the contract has no words for.
    pub(crate) fn check_ports(network: &str, ports: &[PortMapping]) -> Result<()> {
        let refuse = |what: &str| {
            let message = format!("network `{network}` can't publish {what}: it has an external networker");
            Err(Failure::new(ErrorKind::Invalid, message))
        };
        if ports.iter().any(|port| port.protocol != Protocol::Tcp) {
            return refuse("ports of UDP");
        }
        if ports.iter().any(|port| port.host_address.is_some()) {
            return refuse("ports on one of the host's addresses alone");
        }
        match ports.iter().find(|port| port.container_port == 0) {
            Some(_) => Err(Failure::new(ErrorKind::Invalid, "container port 0 can't be published")),
            None => Ok(()),
        }
    }
}

fn arguments(plugin: &Map<String, Value>) -> std::result::Result<Vec<String>, String> {
    let wrong = || format!("`arguments` of `{TYPE}` are no list of texts");
    match plugin.get("arguments") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(all)) => {
            let texts = all.iter().map(|one| one.as_str().filter(|text| !text.contains('\0')));
            texts.map(|text| text.map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn external_address(plugin: &Map<String, Value>) -> std::result::Result<Option<IpAddr>, String> {
    match plugin.get("externalAddress") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let address = value.as_str().and_then(|text| text.parse().ok());
            address.map(Some).ok_or_else(|| format!("`externalAddress` of `{TYPE}` is no address"))
        }
    }
}

/// Reads what `up` gave, as the target of fuzzing does: where the container can be reached, and by which ports.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_up(answer: Option<&Value>) -> std::result::Result<usize, String> {
    let answer = answer::up(answer).map_err(|error| error.to_string())?;
    answer.address(loam_garden_wire::property::CONTAINER_IP)?;
    Ok(answer.mapped_ports()?.len())
}

/// Reads what `net-in` gave.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_net_in(answer: Option<&Value>) -> std::result::Result<u16, String> {
    loam_garden_wire::host_port(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(plugins: Value) -> std::result::Result<Option<Networker>, String> {
        let Value::Array(plugins) = plugins else { panic!("a list") };
        let objects: Vec<PluginObject> =
            plugins.into_iter().map(|one| one.as_object().cloned().expect("an object")).collect();
        Networker::of(&objects)
    }

    #[test]
    fn a_networker_is_read_from_a_list_of_one() {
        let whole = json!([{"type": TYPE, "program": "/p", "arguments": ["--a", "b"], "externalAddress": "192.0.2.1"}]);
        let networker = read(whole).expect("valid").expect("one");
        assert_eq!((networker.program(), networker.arguments.len()), (Path::new("/p"), 2));
        assert_eq!(read(json!([{"type": "bridge"}])), Ok(None));
        for (bad, thing) in [
            (json!([{"type": TYPE, "program": "p"}]), "absolute path"),
            (json!([{"type": TYPE}]), "absolute path"),
            (json!([{"type": TYPE, "program": "/p", "arguments": "x"}]), "list of texts"),
            (json!([{"type": TYPE, "program": "/p", "arguments": [7]}]), "list of texts"),
            (json!([{"type": TYPE, "program": "/p", "externalAddress": "here"}]), "no address"),
            (json!([{"type": TYPE, "program": "/p"}, {"type": "portmap"}]), "without other plugins"),
        ] {
            assert!(read(bad).expect_err(thing).contains(thing), "{thing}");
        }
    }

    #[test]
    fn ports_that_the_contract_can_t_name_are_refused() {
        let port =
            |protocol, host_address| PortMapping { host_address, host_port: 1, container_port: 1, protocol };
        let check = |port| Networker::check_ports("n", &[port]);
        check(port(Protocol::Tcp, None)).expect("it can");
        let said = check(port(Protocol::Udp, None)).expect_err("UDP").to_string();
        assert_eq!(said, "network `n` can't publish ports of UDP: it has an external networker");
        check(port(Protocol::Tcp, "127.0.0.1".parse().ok())).expect_err("an address");
        check(PortMapping { container_port: 0, ..port(Protocol::Tcp, None) }).expect_err("no port");
    }
}
