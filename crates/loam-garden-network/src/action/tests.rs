//! The actions over a network that only takes note.

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, Mutex};

use loam_model::{
    AttachedInterface, Collected, ConnectRequest, ContainerId, DisconnectRequest, EgressPolicy, ErrorKind,
    Failure, KnownAttachment, Network, NetworkDescription, NetworkListing, NetworkName, NetworkSource,
    PortMapping, Result,
};
use serde_json::{Value, json};

use super::*;
use crate::{ExitCode, NetworkOptions};

/// What was asked of the network, in order; and what it shall refuse.
#[derive(Clone, Debug, Default)]
struct Notes {
    calls: Arc<Mutex<Vec<String>>>,
    refuse: Arc<Mutex<Option<&'static str>>>,
    /// The host port that was chosen last.
    chosen: Arc<Mutex<u16>>,
}

impl Notes {
    fn note(&self, call: &str, what: String) -> Result<()> {
        self.calls.lock().expect("no test failed before").push(format!("{call} {what}"));
        match *self.refuse.lock().expect("no test failed before") {
            Some(refused) if refused == call => {
                Err(Failure::new(ErrorKind::Internal, format!("no {call} today")))
            }
            _ => Ok(()),
        }
    }
}

impl Notes {
    /// As the network does: what is left open is chosen, here one after another.
    fn publishes(&self, ports: &[PortMapping]) -> Vec<PortMapping> {
        let mut chosen = self.chosen.lock().expect("no test failed before");
        let choose = |port: &PortMapping| {
            let host_port = match port.host_port {
                0 => {
                    *chosen = (*chosen).max(61_000) + 1;
                    *chosen
                }
                given => given,
            };
            let container_port = if port.container_port == 0 { host_port } else { port.container_port };
            PortMapping { host_port, container_port, ..*port }
        };
        ports.iter().map(choose).collect()
    }
}

impl Network for Notes {
    fn attach(&self, request: &AttachRequest<'_>) -> Result<Attachment> {
        let ports: Vec<String> =
            request.ports.iter().map(|port| format!("{}:{}", port.host_port, port.container_port)).collect();
        let told = request.extras.metadata.expect("the door tells what Garden knows");
        assert_eq!(told.handle.as_deref(), Some(request.name));
        assert_eq!((&told.properties["app_id"], told.rules.len()), (&json!("x"), 1));
        self.note("attach", format!("{} {} {}", request.name, request.networks[0].name, ports.join(" ")))?;
        Ok(Attachment {
            ports: self.publishes(request.ports),
            interfaces: vec![AttachedInterface {
                network: request.networks[0].name.clone(),
                name: "eth0".into(),
                mac: None,
                addresses: vec![
                    "10.254.0.2/22".parse().expect("valid"),
                    "fd00::2/64".parse().expect("valid"),
                ],
                gateways: vec!["10.254.0.1".parse().expect("valid")],
            }],
            ..Attachment::default()
        })
    }

    fn detach(&self, request: &DetachRequest<'_>) -> Result<()> {
        self.note("detach", request.namespace.is_some().to_string())
    }

    fn connect(&self, _request: &ConnectRequest<'_>) -> Result<Attachment> {
        unreachable!("the door attaches to one network")
    }

    fn disconnect(&self, _request: &DisconnectRequest<'_>) -> Result<()> {
        unreachable!("the door detaches as a whole")
    }

    fn check(&self, _request: &DetachRequest<'_>) -> Result<()> {
        Ok(())
    }

    fn attached(&self) -> Result<Vec<ContainerId>> {
        Ok(Vec::new())
    }

    fn exists(&self, _name: &NetworkName) -> Result<bool> {
        Ok(true)
    }

    fn networks(&self) -> Result<NetworkListing> {
        Ok(NetworkListing::default())
    }

    fn network(&self, name: &NetworkName) -> Result<NetworkDescription> {
        unreachable!("the door does not ask what `{name}` is")
    }

    fn attachments(&self, _name: &NetworkName) -> Result<Vec<KnownAttachment>> {
        Ok(Vec::new())
    }

    fn status(&self, _name: &NetworkName) -> Result<()> {
        Ok(())
    }

    fn create_network(&self, _source: &NetworkSource) -> Result<NetworkDescription> {
        unreachable!("the door leaves that to its machine")
    }

    fn remove_network(&self, _name: &NetworkName) -> Result<()> {
        unreachable!("the door removes no network")
    }

    fn collect(&self, _name: Option<&NetworkName>) -> Result<Collected> {
        Ok(Collected::default())
    }

    fn reload(&self) -> Result<()> {
        Ok(())
    }

    fn watch(&self, _restored: &mut dyn FnMut()) -> Result<()> {
        Ok(())
    }
}

impl NetworkRules for Notes {
    fn restrict(&self, _container: &ContainerId, policy: &EgressPolicy) -> Result<()> {
        self.note("restrict", policy.to_others.rules.len().to_string())
    }

    fn publish(
        &self,
        _container: &ContainerId,
        _namespace: &Path,
        ports: &[PortMapping],
    ) -> Result<Vec<PortMapping>> {
        self.note("publish", format!("{}:{}", ports[0].host_port, ports[0].container_port))?;
        Ok(self.publishes(ports))
    }
}

impl Host for Notes {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn network(&self, options: &NetworkOptions) -> Result<Box<dyn NetworkRules>> {
        assert_eq!(options.port_pool(), 61_001..=61_002);
        Ok(Box::new(self.clone()))
    }
}

struct Door {
    directory: tempfile::TempDir,
    notes: Notes,
    said: RefCell<String>,
}

impl Door {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { directory, notes: Notes::default(), said: RefCell::default() }
    }

    fn call(&self, action: &str, handle: &str, input: &Value) -> (ExitCode, Value) {
        let root = self.directory.path().to_str().expect("text");
        let pool = ["--port-pool-start", "61001", "--port-pool-size", "2", "--external-ip", "127.0.0.1"];
        let words = [&["--root", root], &pool[..], &["--action", action, "--handle", handle]].concat();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let input = input.to_string();
        let words = words.into_iter().map(Into::into);
        let exit = crate::run(words, &self.notes, &mut input.as_bytes(), &mut output, &mut errors);
        *self.said.borrow_mut() = String::from_utf8(errors).expect("text").trim_end().to_owned();
        (exit, serde_json::from_slice(&output).unwrap_or(Value::Null))
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.calls.lock().expect("no test failed before"))
    }

    fn refuse(&self, call: Option<&'static str>) {
        *self.notes.refuse.lock().expect("no test failed before") = call;
    }

    fn handles(&self) -> usize {
        let handles = self.directory.path().join("garden-network/handles");
        std::fs::read_dir(handles).map(Iterator::count).unwrap_or(0)
    }
}

fn up() -> Value {
    let pid = std::process::id();
    json!({ "Pid": pid, "Properties": {"app_id": "x"}, "netin": [{"host_port": 0, "container_port": 8080}],
            "netout_rules": [{"protocol": 1}] })
}

#[test]
fn a_container_goes_up_and_down() {
    let door = Door::new();
    let (exit, given) = door.call("up", "some-handle", &up());
    assert_eq!((exit, door.said.borrow().as_str()), (0, ""));
    assert_eq!(
        given,
        json!({ "properties": {
            "garden.network.container-ip": "10.254.0.2",
            "garden.network.container-ipv6": "fd00::2",
            "garden.network.host-ip": "10.254.0.1",
            "garden.network.interface": "eth0",
            "garden.network.mapped-ports": "[{\"HostPort\":61001,\"ContainerPort\":8080}]",
        }})
    );
    assert_eq!(door.calls(), ["attach some-handle garden 0:8080", "restrict 1"]);
    assert_eq!(door.call("up", "some-handle", &up()).0, 1);
    assert_eq!(*door.said.borrow(), "container `some-handle` is up already");
    assert_eq!(door.call("down", "some-handle", &Value::Null), (0, Value::Null));
    assert_eq!(door.calls(), ["detach true"]);
    assert_eq!((door.call("down", "some-handle", &Value::Null).0, door.handles()), (0, 0), "idempotent");
    assert!(door.calls().is_empty());
}

#[test]
fn rules_and_ports_are_added_to_what_is_there() {
    let door = Door::new();
    door.call("up", "h", &up());
    assert_eq!(door.call("net-out", "h", &json!({"container_ip": "x", "netout_rule": {}})).0, 0);
    let more = json!({"container_ip": "x", "netout_rules": [{}, {"protocol": 2}]});
    assert_eq!(door.call("bulk-net-out", "h", &more).0, 0);
    let port = json!({"HostIP": "x", "HostPort": 0, "ContainerIP": "x", "ContainerPort": 0});
    assert_eq!(door.call("net-in", "h", &port), (0, json!({"host_port": 61002, "container_port": 61002})));
    assert_eq!(door.calls()[2..], ["restrict 2", "restrict 4", "publish 0:0"]);
    let asked = json!({"HostPort": 7, "ContainerPort": 8});
    assert_eq!(door.call("net-in", "h", &asked).1, json!({"host_port": 7, "container_port": 8}));
    for action in ["net-in", "net-out", "bulk-net-out"] {
        assert_eq!(door.call(action, "other", &json!({})).0, 1, "{action}");
        assert_eq!(*door.said.borrow(), "cannot find container [other]");
    }
}

#[test]
fn what_fails_leaves_nothing() {
    let door = Door::new();
    door.refuse(Some("attach"));
    assert_eq!((door.call("up", "h", &up()).0, door.handles()), (1, 0));
    assert_eq!(*door.said.borrow(), "no attach today");
    door.refuse(Some("restrict"));
    assert_eq!((door.call("up", "h", &up()).0, door.handles()), (1, 0));
    assert_eq!(door.calls()[2..], ["attach h garden 0:8080", "restrict 1", "detach true"]);
    door.refuse(Some("detach"));
    assert_eq!((door.call("down", "h", &Value::Null).0, door.handles()), (0, 0), "it is not up");
    door.refuse(None);
    door.call("up", "h", &up());
    door.refuse(Some("publish"));
    let port = json!({"HostPort": 0, "ContainerPort": 1});
    assert_eq!(door.call("net-in", "h", &port).0, 1);
    assert_eq!(*door.said.borrow(), "no publish today");
}

#[test]
fn bad_input_is_one_sentence() {
    let door = Door::new();
    for (action, handle, input, said) in [
        ("up", "../x", up(), "`../x` is no handle"),
        (
            "up",
            "h",
            json!({}),
            "the input of action `up` is not as it must be: missing field `Pid` at line 1 column 2",
        ),
        (
            "up",
            "h",
            json!({"Pid": 1, "netout_rules": [{"protocol": 7}]}),
            "rule 1 can't be used: invalid protocol: 7",
        ),
        (
            "fly",
            "h",
            json!({}),
            "invalid value 'fly' for '--action <ACTION>' [possible values: up, down, net-in, net-out, bulk-net-out]",
        ),
    ] {
        assert_eq!(door.call(action, handle, &input).0, 1, "{action} {handle}");
        assert_eq!(*door.said.borrow(), said);
    }
    assert_eq!((door.handles(), door.calls()), (0, vec![]));
}

#[test]
fn a_pool_has_its_bounds() {
    let pool = |start: u16, size: u16| {
        let words = ["--action", "up", "--handle", "h"].map(String::from);
        let more = [format!("--port-pool-start={start}"), format!("--port-pool-size={size}")];
        let words = words.into_iter().chain(more).map(Into::into);
        Arguments::read(words)
            .map(|read| read.expect("no help").network.port_pool())
            .map_err(|error| error.to_string())
    };
    assert_eq!(pool(61_001, 2), Ok(61_001..=61_002));
    assert_eq!(pool(65_000, 9_999), Ok(65_000..=65_535));
    assert!(pool(7, 0).expect_err("a pool of nothing").contains("'0' for '--port-pool-size <NUMBER>'"));
}

#[test]
fn a_namespace_that_is_not_there_is_told_from_one_that_cannot_be_looked_at() {
    assert!(identity(&namespace_of(std::process::id())).expect("it is ours").is_some());
    assert_eq!(identity(&namespace_of(4_194_304)).expect("more than any process id"), None);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = identity(&file.path().join("ns/net")).expect_err("a file is no directory");
    assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    let error =
        NetworkerError::Process { handle: "h".into(), pid: 1, source: io::Error::from_raw_os_error(13) };
    let sentence = "container `h` has no network: the network namespace of process 1 can't be looked at: Permission denied";
    assert_eq!(error.chain(), sentence);
}
