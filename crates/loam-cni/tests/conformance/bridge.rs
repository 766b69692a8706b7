//! `bridge`: a veth pair between a container and a bridge of the host.

use serde_json::{Value, json};

use crate::case::{Case, Step};
use crate::run_three_ways;

/// A configuration with addresses of both families, and more keys.
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

/// Twice each, then as when everything is lost; no address is left.
const LIFE: [Step; 8] = [
    Step::Add,
    Step::Add,
    Step::Check,
    Step::Del,
    Step::Check,
    Step::Del,
    Step::DelBlind,
    Step::Host("ls {DIR}/addresses/net | grep -v -e lock -e last_reserved || true"),
];

#[test]
fn ways_of_being_a_gateway() {
    run_three_ways(
        "bridge::ways_of_being_a_gateway",
        &[
            Case::new("no gateway", bridge(&json!({}))).steps(&LIFE),
            Case::new("gateway", bridge(&json!({ "isGateway": true }))).steps(&LIFE),
            Case::new("default gateway", bridge(&json!({ "isDefaultGateway": true }))).steps(&LIFE),
            Case::new(
                "promiscuous, name service",
                bridge(&json!({
                    "isGateway": true, "promiscMode": true, "dns": { "nameservers": ["10.5.0.1"] },
                })),
            )
            .steps(&LIFE),
            Case::new(
                "MTU, hairpin, masquerade",
                bridge(
                    &json!({ "isDefaultGateway": true, "mtu": 1400, "hairpinMode": true, "ipMasq": true }),
                ),
            )
            .steps(&LIFE),
        ],
    );
}

#[test]
fn old_versions() {
    let life = [Step::Add, Step::Add, Step::Del, Step::Del, Step::DelBlind];
    run_three_ways(
        "bridge::old_versions",
        &["0.4.0", "0.3.1", "0.3.0", "0.2.0", "0.1.0"].map(|version| {
            Case::new(version, bridge(&json!({ "isDefaultGateway": true }))).version(version).steps(&life)
        }),
    );
}

#[test]
fn hardware_addresses_that_are_asked_for() {
    let mac = "0e:00:00:00:00:07";
    run_three_ways(
        "bridge::hardware_addresses_that_are_asked_for",
        &[
            Case::new("of the runtime", bridge(&json!({ "runtimeConfig": { "mac": mac } }))),
            Case::new("of the arguments", bridge(&json!({ "args": { "cni": { "mac": mac } } }))),
            Case::new("of CNI_ARGS", bridge(&json!({}))).arguments("IgnoreUnknown=1;MAC=0e:00:00:00:00:07"),
        ],
    );
}

#[test]
fn without_addresses() {
    run_three_ways(
        "bridge::without_addresses",
        &[Case::new("link only", json!({ "type": "bridge", "bridge": "br0" }))
            .differs("bridge without addresses: CHECK", |line| line.starts_with("CHECK: "))],
    );
}

#[test]
fn collection_of_what_is_left() {
    run_three_ways(
        "bridge::collection_of_what_is_left",
        &[
            Case::new("GC and STATUS", bridge(&json!({ "isGateway": true }))).version("1.1.0").steps(&[
                Step::Status,
                Step::Add,
                Step::Gc(&["one"]),
                Step::Check,
                Step::Gc(&[]),
                Step::Check,
                Step::Host("ls {DIR}/addresses/net | grep -v -e lock -e last_reserved || true"),
            ]),
            Case::new("an ADD that was killed", bridge(&json!({ "isGateway": true }))).killed(),
        ],
    );
}
