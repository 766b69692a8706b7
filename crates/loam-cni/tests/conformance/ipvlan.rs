//! `ipvlan`: a link that shares another's hardware address.

use serde_json::{Value, json};

use super::case::{Case, Step};

const UPLINK: &str = "ip link add up0 type veth peer name far0; ip link set up0 up; ip link set far0 up; \
                      ip addr add 192.0.2.1/24 dev up0";

fn ipvlan(extra: &Value) -> Value {
    let mut config = json!({
        "type": "ipvlan", "master": "up0",
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
    Case::new(title, config).needs("ipvlan").on_host(UPLINK).steps(&[
        Step::Add,
        Step::Check,
        Step::Del,
        Step::Del,
        Step::DelBlind,
    ])
}

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("l2", ipvlan(&json!({}))),
        case("a second ADD", ipvlan(&json!({})))
            .steps(&[Step::Add, Step::Add, Step::Check, Step::Del])
            .differs("an ADD that fails leaves no link", |line| line.contains("link veth ipvlan")),
        case("an ADD that was killed", ipvlan(&json!({}))).killed(),
        case("l3", ipvlan(&json!({ "mode": "l3", "mtu": 1400 }))),
        case("l3s", ipvlan(&json!({ "mode": "l3s" }))),
        case("the default route's link", ipvlan(&json!({ "master": "" })))
            .on_host("ip route add default via 192.0.2.254")
            .differs("ipvlan: CHECK on the default route's link", |line| line.starts_with("CHECK: ")),
        case("no default route at DEL", ipvlan(&json!({ "master": "" })))
            .on_host("ip route add default via 192.0.2.254")
            .steps(&[Step::Add, Step::Host("ip route del default"), Step::DelWithoutResult])
            .differs("ipvlan: DEL without a default route", |line| line.starts_with("DEL without result: ")),
    ]
}
