//! `host-device`: a link of the host that is lent to a container.

use serde_json::{Value, json};

use crate::case::{Case, Step};
use crate::run_three_ways;

const LINK: &str = "ip link add up0 address 0e:00:00:00:00:01 type veth peer name far0; ip link set up0 up";

fn host_device(extra: &Value) -> Value {
    let mut config = json!({ "type": "host-device" });
    for (key, value) in extra.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

fn addresses() -> Value {
    json!({
        "type": "host-local", "dataDir": "{DIR}/addresses", "ranges": [[{ "subnet": "10.5.0.0/24" }]],
        "routes": [{ "dst": "0.0.0.0/0" }],
    })
}

fn case(title: &'static str, config: Value) -> Case {
    Case::new(title, config).on_host(LINK).steps(&[Step::Add, Step::Check, Step::Del])
}

#[test]
fn lives() {
    run_three_ways(
        "host_device::lives",
        &[
            case("by name", host_device(&json!({ "device": "up0" }))),
            case("with addresses", host_device(&json!({ "device": "up0", "ipam": addresses() }))),
            case("by hardware address", host_device(&json!({ "hwaddr": "0e:00:00:00:00:01" }))),
            case("no such device", host_device(&json!({ "device": "nowhere" }))).steps(&[Step::Add]),
            case("none named", host_device(&json!({}))).steps(&[Step::Add]),
            case("a path elsewhere", host_device(&json!({ "kernelpath": "/etc" }))).steps(&[Step::Add]),
            case("no such PCI device", host_device(&json!({ "pciBusID": "0000:ff:1f.7" })))
                .steps(&[Step::Add]),
            case("a name that is taken", host_device(&json!({ "device": "up0" })))
                .in_container("ip link add eth0 type bridge")
                .steps(&[Step::Add, Step::Host("ip -br link show up0 | cut -d@ -f1 || true")])
                .differs("host-device: a name that is taken", |line| line.starts_with("host: ")),
        ],
    );
}

#[test]
fn what_the_reference_does_worse() {
    run_three_ways(
        "host_device::what_the_reference_does_worse",
        &[
            case("DEL again", host_device(&json!({ "device": "up0", "ipam": addresses() })))
                .steps(&[Step::Add, Step::Del, Step::Del])
                .differs("host-device: DEL again", |line| line == "DEL: succeeds" || line == "DEL: fails"),
            case("no namespace any more", host_device(&json!({ "device": "up0", "ipam": addresses() })))
                .steps(&[
                    Step::Add,
                    Step::DelBlind,
                    Step::Host("ls {DIR}/addresses/net | grep -v -e lock -e last_reserved || true"),
                ])
                .differs("host-device: addresses without a namespace", |line| line.starts_with("host: ")),
        ],
    );
}

#[test]
fn after_a_crash() {
    run_three_ways(
        "host_device::after_a_crash",
        &[
            // The kernel has given the device back under the name that it had in there.
            case("the namespace has ended", host_device(&json!({ "device": "up0" }))).version("1.1.0").steps(
                &[
                    Step::Host("ip link set up0 down; ip link set up0 name eth0 alias up0"),
                    Step::DelBlind,
                    Step::Host("ip -br link show up0 | cut -d@ -f1"),
                ],
            ),
            case("addresses that can't be had", {
                let mut config = host_device(&json!({ "device": "up0", "ipam": addresses() }));
                config["ipam"]["ranges"] = json!([[{ "subnet": "10.5.0.0/31" }]]);
                config
            })
            .version("1.1.0")
            .steps(&[Step::Add, Step::Host("ip -br link show up0 | cut -d@ -f1"), Step::Del]),
            case("GC and STATUS", host_device(&json!({ "device": "up0", "ipam": addresses() })))
                .version("1.1.0")
                .steps(&[Step::Status, Step::Add, Step::Gc(&["one"]), Step::Check, Step::Del]),
        ],
    );
}
