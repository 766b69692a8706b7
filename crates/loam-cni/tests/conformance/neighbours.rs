//! `bridge`: an address that another container had a moment ago is reached at once.

use loam_testkit::lab::{Sandbox, eventually, inside};
use serde_json::{Value, json};

use crate::lab::{CONTAINER, Lab, Way};

const ADDRESS: &str = "10.5.0.9";

fn config(address: &str, mac: Option<&str>) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0",
        "args": { "cni": { "mac": mac.unwrap_or_default() } },
        "ipam": { "type": "static", "addresses": [{ "address": format!("{address}/24") }] },
    })
}

/// The hardware address that the lab's container knows for the address.
fn known(lab: &Lab) -> String {
    let entry = lab.container_script(&format!("ip neigh show {ADDRESS} dev eth0"));
    let words: Vec<&str> = entry.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "lladdr");
    at.and_then(|at| words.get(at + 1)).copied().unwrap_or_default().to_owned()
}

#[test]
fn an_address_that_had_another_owner_is_reached_at_once() {
    inside("neighbours::an_address_that_had_another_owner_is_reached_at_once", || {
        for way in [Way::Function, Way::Program] {
            let lab = Lab::new(way);
            let call = |verb: &str, id: &str, container: &Sandbox, config: &Value| {
                lab.call(verb, id, &container.path().display().to_string(), "", config)
            };
            call("ADD", CONTAINER, &lab.container, &config("10.5.0.2", None)).expect("attachable");
            // The second is as the first; the third and the fourth have hardware addresses of their own.
            let owners = [None, None, Some("02:00:00:00:00:33"), Some("02:00:00:00:00:44")];
            let mut seen = Vec::new();
            for (number, mac) in owners.into_iter().enumerate() {
                let owner = Sandbox::new();
                let (id, config) = (format!("owner{number}"), config(ADDRESS, mac));
                let result = call("ADD", &id, &owner, &config).expect("attachable");
                let own = result["interfaces"][2]["mac"].as_str().expect("an address").to_owned();
                if number > 0 {
                    eventually("the neighbour knows", || known(&lab) == own);
                }
                owner.serve_tcp(&format!("{ADDRESS}:80"));
                assert!(lab.container.ask_tcp(format!("{ADDRESS}:80").parse().expect("valid")).is_some());
                assert_eq!(known(&lab), own);
                assert_eq!(owner.command(&["cat", "/proc/sys/net/ipv4/conf/eth0/arp_notify"]).trim(), "1");
                call("DEL", &id, &owner, &config).expect("detachable");
                seen.push(own);
            }
            assert_eq!(seen[0], seen[1], "it follows from the address");
            assert_eq!(seen[2..], ["02:00:00:00:00:33", "02:00:00:00:00:44"]);
        }
    });
}
