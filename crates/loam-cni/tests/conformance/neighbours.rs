//! `bridge`: an address that another container had a moment ago is reached at once.

use std::net::{IpAddr, SocketAddr};

use loam_testkit::lab::{Sandbox, eventually, inside};
use serde_json::{Value, json};

use crate::lab::{CONTAINER, Lab, Way};

/// Its own address, then the one that has several owners.
const IPV4: [&str; 2] = ["10.5.0.2/24", "10.5.0.9/24"];
const IPV6: [&str; 2] = ["fd05::2/64", "fd05::9/64"];

fn config(addresses: &[&str], mac: Option<&str>) -> Value {
    let addresses: Vec<Value> = addresses.iter().map(|address| json!({ "address": address })).collect();
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0",
        "args": { "cni": { "mac": mac.unwrap_or_default() } },
        "ipam": { "type": "static", "addresses": addresses },
    })
}

/// The hardware address that the lab's container knows for an address.
fn known(lab: &Lab, address: IpAddr) -> String {
    let entry = lab.container_script(&format!("ip neigh show {address} dev eth0"));
    let words: Vec<&str> = entry.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "lladdr");
    at.and_then(|at| words.get(at + 1)).copied().unwrap_or_default().to_owned()
}

/// Containers come and go with one address, and are asked by a neighbour that remembers the one before.
fn owners_change(way: Way, both: [&[&str]; 2], macs: &[Option<&str>]) -> Vec<String> {
    let lab = Lab::new(way);
    let call = |verb: &str, id: &str, container: &Sandbox, config: &Value| {
        lab.call(verb, id, &container.path().display().to_string(), "", config)
    };
    call("ADD", CONTAINER, &lab.container, &config(both[0], None)).expect("attachable");
    let mut seen = Vec::new();
    for (number, mac) in macs.iter().enumerate() {
        let owner = Sandbox::new();
        let (id, config) = (format!("owner{number}"), config(both[1], *mac));
        let result = call("ADD", &id, &owner, &config).expect("attachable");
        let own = result["interfaces"][2]["mac"].as_str().expect("an address").to_owned();
        for address in both[1] {
            let address = address.split('/').next().unwrap_or_default().parse::<IpAddr>().expect("valid");
            if number > 0 {
                eventually("the neighbour knows", || known(&lab, address) == own);
            }
            let server = SocketAddr::new(address, 80);
            owner.serve_tcp(&server.to_string());
            assert!(lab.container.ask_tcp(server).is_some());
            assert_eq!(known(&lab, address), own);
        }
        assert_eq!(owner.command(&["cat", "/proc/sys/net/ipv4/conf/eth0/arp_notify"]).trim(), "1");
        call("DEL", &id, &owner, &config).expect("detachable");
        seen.push(own);
    }
    seen
}

#[test]
fn an_address_that_had_another_owner_is_reached_at_once() {
    inside("neighbours::an_address_that_had_another_owner_is_reached_at_once", || {
        const OWN: [Option<&str>; 2] = [Some("02:00:00:00:00:33"), Some("02:00:00:00:00:44")];
        for way in [|| Way::Function, || Way::Program] {
            // The second is as the first; the third and the fourth have hardware addresses of their own.
            let seen = owners_change(
                way(),
                IPV4.each_ref().map(std::slice::from_ref),
                &[None, None, OWN[0], OWN[1]],
            );
            assert_eq!(
                seen,
                [
                    "02:6c:0a:05:00:09",
                    "02:6c:0a:05:00:09",
                    OWN[0].unwrap_or_default(),
                    OWN[1].unwrap_or_default()
                ]
            );
            owners_change(way(), IPV6.each_ref().map(std::slice::from_ref), &[None, None, OWN[0]]);
            let both = [[IPV4[0], IPV6[0]], [IPV4[1], IPV6[1]]];
            owners_change(way(), both.each_ref().map(<[&str; 2]>::as_slice), &[None, OWN[0], OWN[1]]);
        }
    });
}

#[test]
fn a_container_without_an_address_of_ipv6_has_no_ipv6_there() {
    inside("neighbours::a_container_without_an_address_of_ipv6_has_no_ipv6_there", || {
        for (addresses, off) in [(&IPV4[..1], "1"), (&IPV6[..1], "0"), (&[IPV4[0], IPV6[0]], "0"), (&[], "0")]
        {
            let lab = Lab::new(Way::Function);
            let mut config = config(addresses, None);
            if addresses.is_empty() {
                config["ipam"] = json!({});
            }
            let path = lab.container.path().display().to_string();
            lab.call("ADD", CONTAINER, &path, "", &config).expect("attachable");
            let found = lab.container_script("cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
            assert_eq!(found.trim(), off, "{addresses:?}");
        }
    });
}
