//! `static`: the addresses that the configuration says.

use serde_json::{Value, json};

use crate::case::{Case, Step};
use crate::run_three_ways;

fn fixed(ipam: &Value, extra: &Value) -> Value {
    let mut config = json!({ "type": "static", "ipam": { "type": "static" } });
    for (key, value) in ipam.as_object().expect("an object") {
        config["ipam"][key] = value.clone();
    }
    for (key, value) in extra.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

#[test]
fn sources_of_addresses() {
    let both = json!({
        "addresses": [{ "address": "10.5.0.2/24", "gateway": "10.5.0.1" }, { "address": "fd05::2/64" }],
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "192.0.2.0/24", "gw": "10.5.0.9" }],
        "dns": { "nameservers": ["10.5.0.1"], "domain": "a", "search": ["b"], "options": ["ndots:2"] },
    });
    let none = json!({});
    run_three_ways(
        "static_addresses::sources_of_addresses",
        &[
            Case::new("configuration", fixed(&both, &none)),
            Case::new("old version", fixed(&both, &none)).version("0.2.0").steps(&[Step::Add, Step::Del]),
            Case::new("CNI_ARGS add", fixed(&both, &none))
                .arguments("IgnoreUnknown=1;IP=10.6.0.2/24,10.7.0.2/24;GATEWAY=10.6.0.1"),
            Case::new("CNI_ARGS alone", fixed(&none, &none)).arguments("IP=10.6.0.2/24"),
            Case::new(
                "args replace",
                fixed(&both, &json!({ "args": { "cni": { "ips": ["10.8.0.2/24"] } } })),
            ),
            Case::new(
                "the runtime's replace all",
                fixed(
                    &both,
                    &json!({
                        "args": { "cni": { "ips": ["10.8.0.2/24"] } },
                        "runtimeConfig": { "ips": ["10.9.0.2/24", "fd09::2/64"] },
                    }),
                ),
            ),
            Case::new("no prefix length", fixed(&json!({ "addresses": [{ "address": "10.5.0.2" }] }), &none)),
            Case::new("no address", fixed(&json!({ "addresses": [{ "address": "x/24" }] }), &none)),
            Case::new("two of a family in an old version", {
                let two =
                    json!({ "addresses": [{ "address": "10.5.0.2/24" }, { "address": "10.6.0.2/24" }] });
                fixed(&two, &none)
            })
            .version("0.2.0")
            .steps(&[Step::Add, Step::Del]),
            Case::new("STATUS", fixed(&both, &none)).version("1.1.0").steps(&[Step::Status, Step::Gc(&[])]),
        ],
    );
}
