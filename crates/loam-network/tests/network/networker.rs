//! External networkers: scripts that stand for programs that were made for Guardian.

mod contract;
mod failing;
mod killed;

use loam_model::{
    AttachExtras, AttachRequest, Attachment, ContainerMetadata, EgressList, EgressPolicy, EgressProtocol,
    EgressRule, Failure, Network, NetworkChoice, PortMapping, PortRange,
};
use loam_testkit::lab::Sandbox;
use serde_json::{Value, json};

use crate::bench::{Engine, id};

/// Finds out what a networker is asked, and notes it.
pub(crate) const ASKED: &str = r#"for word; do case $last in --action) action=$word;; --handle) handle=$word;; esac; last=$word; done
cat > $HERE/stdin-$action; echo "$*" > $HERE/args-$action"#;

/// Attaches by a veth pair, with an address of a made up network.
const WELL: &str = r#"case $action in
    up) pid=$(sed 's/.*"Pid":\([0-9]*\).*/\1/' $HERE/stdin-up)
        ip link add nw0 type veth peer name eth7 netns $pid || exit 1
        nsenter --net=/proc/$pid/ns/net ip addr add 10.7.0.2/24 dev eth7
        echo '{"properties":{"garden.network.container-ip":"10.7.0.2","garden.network.host-ip":"10.7.0.1","policy":"p",
            "garden.network.mapped-ports":"[{\"HostPort\":8080,\"ContainerPort\":80},{\"HostPort\":61001,\"ContainerPort\":81}]"},
            "dns_servers":["10.7.0.53"],"search_domains":["inside"]}';;
    down) ip link del nw0 2> /dev/null; exit 0;;
    net-in) echo '{"host_port":8081,"container_port":80}';;
    esac"#;

fn networker(engine: &Engine, script: &str) {
    engine.plugin("theirs", &format!("{ASKED}\n{script}"));
}

pub(crate) fn configure(engine: &Engine, program: &str) {
    let program = engine.directory.path().join("plugins").join(program);
    let list = json!({"cniVersion": "1.1.0", "name": "cf", "plugins": [{"type": "external-networker",
        "program": program, "arguments": ["--config", "/c d"], "externalAddress": "192.0.2.1"}]});
    engine.configure("cf.conflist", &list.to_string());
}

fn engine(script: &str) -> Engine {
    let engine = Engine::new();
    configure(&engine, "theirs");
    networker(&engine, script);
    engine
}

fn stdin(engine: &Engine, action: &str) -> Value {
    serde_json::from_str(&engine.said(&format!("stdin-{action}"))).expect("JSON")
}

fn tcp(first: u16) -> EgressRule {
    EgressRule {
        protocol: EgressProtocol::Tcp(vec![PortRange { first, last: first }]),
        ..EgressRule::default()
    }
}

fn policy(rules: Vec<EgressRule>) -> EgressPolicy {
    EgressPolicy { to_others: EgressList { rules, ..EgressList::default() }, ..EgressPolicy::default() }
}

fn attach(engine: &Engine, sandbox: &Sandbox, ports: &[PortMapping]) -> Result<Attachment, Failure> {
    let choices: Vec<NetworkChoice> = vec!["cf".parse().expect("valid")];
    let properties = json!({"app_id": "x"}).as_object().cloned().expect("an object");
    let metadata = ContainerMetadata { handle: Some("some handle".into()), properties, rules: vec![tcp(80)] };
    engine.network.attach(&AttachRequest {
        container: &id(1),
        name: "test",
        namespace: sandbox.path(),
        networks: &choices,
        ports,
        extras: AttachExtras { metadata: Some(&metadata), ..AttachExtras::default() },
    })
}

/// Nothing of an attachment is left in files.
fn assert_nothing_kept(engine: &Engine, when: &str) {
    assert_eq!(engine.network.attached().expect("readable"), [], "{when}");
    let kept = |directory: &str| {
        let entries = std::fs::read_dir(engine.directory.path().join("root/network").join(directory));
        entries.map_or(0, Iterator::count)
    };
    assert_eq!((kept("results"), kept("calls")), (0, 0), "{when}");
}
