//! `bridge` and `ptp`: a veth pair that DEL has taken out of service is gone soon, and in nobody's way until then.

use serde_json::{Value, json};

use crate::lab::{CONTAINER, Lab, Way};

/// Finds the host's end in service and puts it, and the other end, where a DEL that is killed leaves them.
const KILLED: &str = "host=$(ip -o link show type veth | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/'); \
    ip link set $host down; ip link set $host nomaster; ip link set $host name gone${host#veth}";

fn config(lab: &Lab, kind: &str) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": kind, "bridge": "br0", "isGateway": true,
        "ipam": {
            "type": "host-local", "dataDir": lab.directory.path().join("addresses"),
            "ranges": [[{ "subnet": "10.5.0.0/24" }]],
        },
    })
}

fn call(lab: &Lab, kind: &str, verb: &str, namespace: bool) -> Value {
    let path = lab.container.path().display().to_string();
    let called = lab.call(verb, CONTAINER, if namespace { &path } else { "" }, "", &config(lab, kind));
    called.unwrap_or_else(|error| panic!("{verb}: {error}"))
}

fn veths(lab: &Lab) -> String {
    lab.host_script("ip -br link show type veth") + &lab.container_script("ip -br link show type veth")
}

fn both_ways(test: impl Fn(&Lab, &str)) {
    for kind in ["bridge", "ptp"] {
        for way in [Way::Function, Way::Program] {
            test(&Lab::new(way), kind);
        }
    }
}

#[test]
fn nothing_is_left_soon_after_del() {
    both_ways(|lab, kind| {
        call(lab, kind, "ADD", true);
        call(lab, kind, "DEL", true);
        let names = veths(lab);
        assert!(!names.contains("veth") && !names.contains("eth0"), "out of service at once: {names}");
        if kind == "bridge" {
            let ports = lab.host_script("ip -br link show master br0");
            assert_eq!(ports, "", "off the bridge at once");
        }
        lab.settle();
        assert_eq!(veths(lab), "");
    });
}

#[test]
fn the_same_container_can_be_attached_again_at_once() {
    both_ways(|lab, kind| {
        for round in 0..10 {
            call(lab, kind, "ADD", true);
            // Every other time DEL can't reach the end in the namespace, which lives on.
            call(lab, kind, "DEL", round % 2 == 0);
        }
        call(lab, kind, "ADD", true);
        lab.container_script("ip -o link show dev eth0 up | grep -q eth0");
        call(lab, kind, "DEL", true);
        lab.settle();
        assert_eq!(veths(lab), "");
    });
}

#[test]
fn what_a_killed_del_left_goes_with_the_next_del_or_with_gc() {
    for verb in ["DEL", "GC"] {
        both_ways(|lab, kind| {
            call(lab, kind, "ADD", true);
            lab.host_script(KILLED);
            assert!(veths(lab).contains("gone"), "{}", veths(lab));
            match verb {
                "DEL" => drop(call(lab, kind, "DEL", true)),
                _ => {
                    let mut config = config(lab, kind);
                    config["cni.dev/valid-attachments"] = json!([]);
                    lab.call("GC", "", "", "", &config).expect("collected");
                }
            }
            lab.settle();
            assert_eq!(veths(lab), "", "after {verb}");
        });
    }
}
