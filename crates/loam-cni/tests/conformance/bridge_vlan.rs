//! `bridge` with virtual networks.

use serde_json::{Value, json};

use super::case::{Case, Step};
use super::lab::Lab;

fn bridge(extra: &Value) -> Value {
    let mut config = json!({
        "type": "bridge", "bridge": "br0",
        "ipam": {
            "type": "host-local", "dataDir": "{DIR}/addresses",
            "ranges": [[{ "subnet": "10.5.0.0/24" }], [{ "subnet": "fd05::/64" }]],
        },
    });
    for (key, value) in extra.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

/// The numbers of each port.
fn numbers(lab: &Lab) -> Vec<String> {
    let text = lab.host_script("bridge -j vlan show");
    let ports: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let mut lines: Vec<String> = ports
        .iter()
        .map(|port| {
            let name = port["ifname"].as_str().expect("a name");
            // Each implementation has names of its own for ports.
            let name = if name.starts_with("br0") { name } else { "port" };
            format!("{name}: {}", port["vlans"])
        })
        .collect();
    lines.sort();
    lines
}

/// Whether the container's gateway answers.
fn gateway_answers(lab: &Lab) -> Vec<String> {
    let mut lines = numbers(lab);
    lab.host.serve_tcp("0.0.0.0:80");
    let answer = lab.container.ask_tcp("10.5.0.1:80".parse().expect("valid"));
    lines.push(format!("the gateway takes the container for {answer:?}"));
    lines
}

fn case(title: &'static str, config: Value) -> Case {
    Case::new(title, config).needs("bridge vlan_filtering 1").observe(numbers).steps(&[
        Step::Add,
        Step::Check,
        Step::Del,
        Step::DelBlind,
    ])
}

/// The cases. The first is the one that the guest runs, so it has the most to look at.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("a gateway", bridge(&json!({ "vlan": 100, "isDefaultGateway": true })))
            .observe(gateway_answers)
            .differs("bridge: the default VLAN of a port", |line| line.starts_with("ADD: port: ")),
        case("one number", bridge(&json!({ "vlan": 100 })))
            .differs("bridge: the default VLAN of a port", |line| line.starts_with("ADD: port: ")),
        case("one number beside the default", bridge(&json!({ "vlan": 100, "preserveDefaultVlan": true })))
            .version("1.1.0"),
        case("a trunk", bridge(&json!({ "vlanTrunk": [{ "minID": 10, "maxID": 12 }, { "id": 20 }] })))
            .version("1.1.0"),
        case(
            "a trunk around the number",
            bridge(&json!({ "vlan": 11, "vlanTrunk": [{ "minID": 10, "maxID": 12 }] })),
        )
        .version("1.1.0"),
        case("an existing bridge that filters nothing", bridge(&json!({ "vlan": 100 })))
            .on_host("ip link add br0 type bridge; ip link set br0 up")
            .version("1.1.0"),
    ]
}
