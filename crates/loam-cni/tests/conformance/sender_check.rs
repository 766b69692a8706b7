//! `bridge` with `macspoofchk`: a container sends from its own hardware address only.

use serde_json::{Value, json};

use crate::lab::{CONTAINER, Lab, Way};

fn config(lab: &Lab, version: &str) -> Value {
    json!({
        "cniVersion": version, "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true, "macspoofchk": true,
        "ipam": {
            "type": "host-local", "dataDir": lab.directory.path().join("addresses"),
            "ranges": [[{ "subnet": "10.5.0.0/24" }]],
        },
    })
}

/// Whether the host answers the container.
fn passes(lab: &Lab) -> bool {
    // Nobody shall send to an address that the container had before.
    lab.container_script("ip neigh flush dev eth0");
    lab.host_script("ip neigh flush dev br0");
    lab.container.ask_tcp("10.5.0.1:80".parse().expect("valid")).is_some()
}

fn change_mac(lab: &Lab) {
    lab.container_script("ip link set eth0 address 0e:00:00:00:00:66");
}

#[test]
fn other_addresses_don_t_pass() {
    let name = "sender_check::other_addresses_don_t_pass";
    loam_testkit::lab::inside(name, || {
        for way in [Way::Function, Way::Program] {
            let lab = Lab::new(way);
            let path = lab.container.path().display().to_string();
            let mut config = config(&lab, "1.1.0");
            let call = |verb: &str, config: &Value| lab.call(verb, CONTAINER, &path, "", config);
            let result = call("ADD", &config).expect("attachable");
            lab.host.serve_tcp("0.0.0.0:80");
            assert!(passes(&lab));
            let own = result["interfaces"][2]["mac"].as_str().expect("an address").to_owned();
            change_mac(&lab);
            assert!(!passes(&lab), "it passes with another address");
            // Somebody flushes the table; the next ADD puts back what was in it.
            lab.host_script("nft flush ruleset");
            assert!(passes(&lab));
            let other = loam_testkit::lab::Sandbox::new();
            let other_path = other.path().display().to_string();
            lab.call("ADD", "two", &other_path, "", &config).expect("attachable");
            assert!(!passes(&lab), "the table was not made anew");
            lab.container_script(&format!("ip link set eth0 address {own}"));
            assert!(passes(&lab));
            // GC takes the one, DEL the other.
            config["cni.dev/valid-attachments"] = json!([{ "containerID": CONTAINER, "ifname": "eth0" }]);
            lab.call("GC", "", "", "", &config).expect("collected");
            let table = lab.host_script("nft list table bridge loam");
            assert!(table.contains("\"one eth0\"") && !table.contains("\"two eth0\""), "{table}");
            call("DEL", &config).expect("detachable");
            call("DEL", &config).expect("idempotent");
            let table = lab.host_script("nft list table bridge loam");
            assert!(!table.contains("eth0"), "{table}");
        }
    });
}
