//! `macvlan`: a link with a hardware address of its own on another's network.

use serde_json::{Value, json};

use crate::case::{Case, Step};
use crate::run_three_ways;

/// A link towards the outside, with a default route.
const UPLINK: &str = "ip link add up0 type veth peer name far0; ip link set up0 up; ip link set far0 up; \
                      ip addr add 192.0.2.1/24 dev up0; ip route add default via 192.0.2.254";

fn macvlan(extra: &Value) -> Value {
    let mut config = json!({
        "type": "macvlan", "master": "up0",
        "ipam": {
            "type": "host-local", "dataDir": "{DIR}/addresses",
            "ranges": [[{ "subnet": "10.5.0.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }],
        },
    });
    for (key, value) in extra.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

fn case(title: &'static str, config: Value) -> Case {
    Case::new(title, config).needs("macvlan").on_host(UPLINK).steps(&[
        Step::Add,
        Step::Add,
        Step::Check,
        Step::Del,
        Step::Check,
        Step::Del,
        Step::DelBlind,
    ])
}

#[test]
fn lives() {
    run_three_ways(
        "macvlan::lives",
        &[
            case("bridge mode", macvlan(&json!({}))),
            case("private mode, MTU", macvlan(&json!({ "mode": "private", "mtu": 1400 }))),
            case("vepa mode", macvlan(&json!({ "mode": "vepa" }))),
            case("the default route's link", macvlan(&json!({ "master": "" }))),
            case("hardware address", macvlan(&json!({ "mac": "0e:00:00:00:00:07" }))),
            case("of CNI_ARGS", macvlan(&json!({}))).arguments("IgnoreUnknown=1;MAC=0e:00:00:00:00:07"),
            case("without addresses", json!({ "type": "macvlan", "master": "up0" })),
            case("old version", macvlan(&json!({}))).version("0.2.0").steps(&[
                Step::Add,
                Step::Del,
                Step::Del,
            ]),
            case("an MTU larger than the master's", macvlan(&json!({ "mtu": 9000 }))).steps(&[Step::Add]),
            case("no such mode", macvlan(&json!({ "mode": "source" }))).steps(&[Step::Add]),
            case("no such master", macvlan(&json!({ "master": "nowhere" }))).steps(&[Step::Add]),
            case("both families", {
                let mut config = macvlan(&json!({}));
                config["ipam"]["ranges"] =
                    json!([[{ "subnet": "10.5.0.0/24" }], [{ "subnet": "fd05::/64" }]]);
                config
            }),
        ],
    );
}

#[test]
fn what_the_reference_does_worse() {
    run_three_ways(
        "macvlan::what_the_reference_does_worse",
        &[
            case("name service of the address plugin", {
                let mut config = macvlan(&json!({}));
                config["ipam"] = json!({
                    "type": "static", "addresses": [{ "address": "10.5.0.2/24" }],
                    "dns": { "nameservers": ["10.5.0.1"] },
                });
                config
            })
            .differs("name service of the address plugin", |line| line.starts_with("ADD: result.dns")),
            case("a name that is taken", macvlan(&json!({})))
                .in_container("ip link add eth0 type bridge")
                .steps(&[Step::Add, Step::Del])
                .differs("DEL leaves the links of others", |line| {
                    line.starts_with("DEL: container: link eth0")
                }),
        ],
    );
}

#[test]
fn what_only_newer_reference_plugins_have() {
    run_three_ways(
        "macvlan::what_only_newer_reference_plugins_have",
        &[
            case(
                "a master in the container",
                macvlan(&json!({ "linkInContainer": true, "bcqueuelen": 500 })),
            )
            .version("1.1.0")
            .in_container("ip link add up0 type veth peer name far0; ip link set up0 up"),
            case("GC and STATUS", macvlan(&json!({}))).version("1.1.0").steps(&[
                Step::Status,
                Step::Add,
                Step::Gc(&["one"]),
                Step::Check,
                Step::Gc(&[]),
                Step::Check,
            ]),
            case("an ADD that was killed", macvlan(&json!({}))).killed(),
            // The name that the link gets is taken on the host, as `eth0` often is.
            case("the host has an eth0", macvlan(&json!({ "master": "eth0" })))
                .version("1.1.0")
                .on_host("ip link set up0 name eth0 && ip link set eth0 up"),
        ],
    );
}
