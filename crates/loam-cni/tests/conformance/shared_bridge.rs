//! `bridge`: several networks on one bridge.

use loam_testkit::lab::{Sandbox, inside};
use serde_json::{Value, json};

use crate::lab::{CONTAINER, Lab, Way};

fn config(network: &str, valid: &Value) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": network, "type": "bridge", "bridge": "br0",
        "cni.dev/valid-attachments": valid,
    })
}

fn ports(lab: &Lab) -> usize {
    lab.host_script("ip -o link show master br0").lines().count()
}

#[test]
fn a_collection_leaves_the_ports_of_other_networks() {
    inside("shared_bridge::a_collection_leaves_the_ports_of_other_networks", || {
        for way in [Way::Function, Way::Program] {
            let lab = Lab::new(way);
            let other = Sandbox::new();
            let paths = [lab.container.path(), other.path()].map(|path| path.display().to_string());
            let none = json!([]);
            lab.call("ADD", CONTAINER, &paths[0], "", &config("a", &none)).expect("attachable");
            let two = lab.call("ADD", "two", &paths[1], "", &config("b", &none)).expect("attachable");
            let port = two["interfaces"][1]["name"].as_str().expect("a name").to_owned();
            lab.call("GC", "", "", "", &config("c", &none)).expect("collected");
            assert_eq!(ports(&lab), 2, "that network has none");
            lab.call("GC", "", "", "", &config("a", &none)).expect("collected");
            assert_eq!(ports(&lab), 1);
            assert!(lab.host_script("ip -o link show master br0").contains(&port), "the other's is left");
            let valid = json!([{ "containerID": "two", "ifname": "eth0" }]);
            lab.call("GC", "", "", "", &config("b", &valid)).expect("collected");
            assert_eq!(ports(&lab), 1, "it is valid");
            // One that was made before ports had aliases is removed by its name.
            lab.host_script(&format!("ip link set {port} alias ''"));
            lab.call("GC", "", "", "", &config("b", &none)).expect("collected");
            assert_eq!(ports(&lab), 1, "nobody knows whose it is");
            lab.call("DEL", "two", &paths[1], "", &config("b", &none)).expect("detachable");
            assert_eq!(ports(&lab), 0);
        }
    });
}
