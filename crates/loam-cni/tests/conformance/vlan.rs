//! `vlan`: a tagged part of another link's network.

use serde_json::{Value, json};

use super::case::{Case, Step};

const UPLINK: &str = "ip link add up0 type veth peer name far0; ip link set up0 up; ip link set far0 up";

fn vlan(extra: &Value) -> Value {
    let mut config = json!({
        "type": "vlan", "master": "up0", "vlanId": 7,
        "ipam": {
            "type": "host-local", "dataDir": "{DIR}/addresses", "ranges": [[{ "subnet": "10.5.0.0/24" }]],
        },
    });
    for (key, value) in extra.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

fn case(title: &'static str, config: Value) -> Case {
    Case::new(title, config).needs("vlan").on_host(UPLINK).steps(&[
        Step::Add,
        Step::Check,
        Step::Del,
        Step::Check,
        Step::Del,
        Step::DelBlind,
    ])
}

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("number 7", vlan(&json!({}))),
        case("a second ADD", vlan(&json!({}))).steps(&[Step::Add, Step::Add, Step::Check, Step::Del]),
        case("an ADD that was killed", vlan(&json!({}))).killed(),
        case("MTU", vlan(&json!({ "mtu": 1400 }))),
        case("number 0", vlan(&json!({ "vlanId": 0 }))),
        case("number 4095", vlan(&json!({ "vlanId": 4095 }))).steps(&[Step::Add]),
        case("no master", vlan(&json!({ "master": "" }))).steps(&[Step::Add]),
        case("no such master", vlan(&json!({ "master": "nowhere" })))
            .differs("DEL without the master", |line| line.starts_with("DEL")),
        case("a master that is gone at DEL", vlan(&json!({})))
            .steps(&[Step::Add, Step::Host("ip link del up0"), Step::Del])
            .differs("DEL without the master", |line| line.starts_with("DEL")),
        case("a master in the container", vlan(&json!({ "linkInContainer": true })))
            .version("1.1.0")
            .in_container("ip link add up0 type veth peer name far0; ip link set up0 up"),
        case("GC and STATUS", vlan(&json!({}))).version("1.1.0").steps(&[
            Step::Status,
            Step::Add,
            Step::Gc(&[]),
            Step::Check,
        ]),
    ]
}
