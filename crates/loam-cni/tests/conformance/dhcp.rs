//! `dhcp`: addresses of a real server, over each link that can be asked over.

use serde_json::{Value, json};

use crate::case::{Case, Step};
use crate::run_three_ways;
use crate::service::Service;

/// A bridge with the server on it, whose own address does not follow its ports.
const BRIDGE: &str = "ip link add br0 address 0e:00:00:00:00:01 type bridge; ip link set br0 up; \
                      ip addr add 10.5.0.1/24 dev br0";
/// A link whose other end is the server's.
const UPLINK: &str = "ip link add up0 type veth peer name far0; ip link set up0 up; ip link set far0 up; \
                      ip addr add 10.5.0.1/24 dev far0";

pub(crate) fn have_server(test: &str) -> bool {
    let found = std::path::Path::new("/usr/sbin/dnsmasq").exists();
    if !found {
        println!("skipped: {test}: needs dnsmasq-base");
    }
    found
}

fn bridge(extra: &Value) -> Value {
    let mut config = json!({ "type": "bridge", "bridge": "br0", "ipam": { "type": "dhcp" } });
    for (key, value) in extra.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

fn on_bridge(title: &'static str, config: Value, options: &'static [&'static str]) -> Case {
    Case::new(title, config)
        .on_host(BRIDGE)
        .with(Service::DhcpServer("br0", options))
        .with(Service::DhcpDaemon)
}

#[test]
fn lives() {
    let name = "dhcp::lives";
    if !have_server(name) {
        return;
    }
    run_three_ways(
        name,
        &[
            on_bridge("on a bridge", bridge(&json!({})), &[]),
            on_bridge("another router", bridge(&json!({})), &["--dhcp-option=3,10.5.0.9"]),
            on_bridge("two routers", bridge(&json!({})), &["--dhcp-option=3,10.5.0.9,10.5.0.8"])
                .differs("dhcp: several routers", |line| {
                    line.contains("10.5.0.9") || line.contains(".routes[0].dst")
                }),
            on_bridge("no router", bridge(&json!({})), &["--dhcp-option=3"]),
            on_bridge("the host as gateway", bridge(&json!({ "isDefaultGateway": true })), &[]),
            on_bridge(
                "classful routes",
                bridge(&json!({ "ipam": { "type": "dhcp", "request": [{ "option": "33" }] } })),
                &["--dhcp-option=33,10.0.0.0,10.5.0.3,192.168.7.0,10.5.0.4"],
            ),
            on_bridge(
                "a classful route to a host",
                bridge(&json!({ "ipam": { "type": "dhcp", "request": [{ "option": "33" }] } })),
                &["--dhcp-option=33,10.9.8.7,10.5.0.3"],
            )
            .steps(&[Step::Add, Step::DelWithoutResult])
            .differs("dhcp: routes to hosts", |line| line.starts_with("ADD")),
            on_bridge(
                "classless routes",
                bridge(&json!({ "ipam": { "type": "dhcp", "request": [{ "option": "121" }] } })),
                &["--dhcp-option=121,0.0.0.0/0,10.5.0.2,172.16.0.0/12,10.5.0.3"],
            ),
            on_bridge(
                "options for the server",
                bridge(&json!({
                    "ipam": {
                        "type": "dhcp",
                        "provide": [
                            { "option": "host-name", "value": "box" },
                            { "option": "60", "fromArg": "K8S_POD_NAME" },
                        ],
                    },
                })),
                // Only who gives both gets the router.
                &["--dhcp-vendorclass=set:right,pod", "--dhcp-option=tag:right,3,10.5.0.7"],
            )
            .arguments("IgnoreUnknown=1;K8S_POD_NAME=pod"),
            on_bridge("old version", bridge(&json!({})), &[]).version("0.2.0").steps(&[
                Step::Add,
                Step::Del,
                Step::Del,
            ]),
            on_bridge(
                "an option that is not known",
                bridge(&json!({ "ipam": { "type": "dhcp", "request": [{ "option": "colour" }] } })),
                &[],
            )
            .steps(&[Step::Add]),
            Case::new(
                "on macvlan",
                json!({ "type": "macvlan", "master": "up0", "ipam": { "type": "dhcp" } }),
            )
            .needs("macvlan")
            .on_host(UPLINK)
            .with(Service::DhcpServer("far0", &[]))
            .with(Service::DhcpDaemon),
        ],
    );
}

#[test]
fn what_only_newer_reference_plugins_have() {
    let name = "dhcp::what_only_newer_reference_plugins_have";
    if !have_server(name) {
        return;
    }
    run_three_ways(
        name,
        &[
            on_bridge("GC and STATUS", bridge(&json!({})), &[]).version("1.1.0").steps(&[
                Step::Status,
                Step::Add,
                Step::Gc(&["one"]),
                Step::Check,
                Step::Gc(&[]),
                Step::Check,
            ]),
            on_bridge("an ADD that was killed", bridge(&json!({})), &[]).killed(),
            on_bridge("DEL without namespace", bridge(&json!({})), &[]).version("1.1.0").steps(&[
                Step::Add,
                Step::DelBlind,
                Step::Host("! ls /run/cni/dhcp.sock.leases/*.json 2>/dev/null"),
            ]),
        ],
    );
}
