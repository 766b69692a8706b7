//! `ptp`: a veth pair between a container and the host.

use serde_json::{Value, json};

use crate::case::{Case, Step};
use crate::run_three_ways;

fn ptp(extra: &Value) -> Value {
    let mut config = json!({
        "type": "ptp",
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

fn dual_stack(extra: &Value) -> Value {
    let mut config = ptp(extra);
    config["ipam"]["ranges"] = json!([[{ "subnet": "10.5.0.0/24" }], [{ "subnet": "fd05::/64" }]]);
    config["ipam"]["routes"] = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]);
    config
}

const LIFE: [Step; 7] =
    [Step::Add, Step::Add, Step::Check, Step::Del, Step::Check, Step::Del, Step::DelBlind];

#[test]
fn lives() {
    run_three_ways(
        "ptp::lives",
        &[
            Case::new("one address", ptp(&json!({}))).steps(&LIFE).observe(|lab| {
                lab.container.serve_tcp("0.0.0.0:80");
                vec![format!(
                    "the host reaches {:?}",
                    lab.host.ask_tcp("10.5.0.2:80".parse().expect("valid"))
                )]
            }),
            Case::new("both families", dual_stack(&json!({}))).steps(&LIFE),
            Case::new(
                "MTU, masquerade, name service",
                ptp(&json!({ "mtu": 1400, "ipMasq": true, "dns": { "nameservers": ["10.5.0.1"] } })),
            )
            .steps(&LIFE),
            Case::new("old version", dual_stack(&json!({}))).version("0.2.0").steps(&[
                Step::Add,
                Step::Del,
                Step::Del,
            ]),
            Case::new("a name that is taken", ptp(&json!({})))
                .in_container("ip link add eth0 type bridge")
                .steps(&[Step::Add, Step::Del])
                .differs("DEL leaves the links of others", |line| {
                    line.starts_with("DEL: container: link eth0")
                }),
        ],
    );
}

#[test]
fn collection_of_what_is_left() {
    run_three_ways(
        "ptp::collection_of_what_is_left",
        &[
            Case::new("GC and STATUS", ptp(&json!({}))).version("1.1.0").steps(&[
                Step::Status,
                Step::Add,
                Step::Gc(&["one"]),
                Step::Check,
                Step::Gc(&[]),
                Step::Check,
                Step::Host("ls {DIR}/addresses/net | grep -v -e lock -e last_reserved || true"),
                // What a kill between the making of the pair and its configuration leaves.
                Step::Add,
                Step::Container("ip addr flush dev eth0"),
                Step::DelBlind,
            ]),
            Case::new("an ADD that was killed", ptp(&json!({}))).killed(),
        ],
    );
}
