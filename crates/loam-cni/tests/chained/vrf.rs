//! `vrf`, as functions that tests call where the kernel has such links: `optional_links.rs` all of them, and
//! `tests/e2e/cni_links.rs` the first.

use loam_testkit::lab::{eventually, inside};
use serde_json::{Value, json};

use super::machine::{Machine, read, reference};

/// A part of iproute2's JSON as text, without quotes.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Links with what they are and belong to, the addresses of `eth0`, and the routes to others; those of a link's own
/// making are left out, as the kernel chooses when.
fn state(machine: &Machine) -> Vec<String> {
    let mut lines = Vec::new();
    for link in read(&machine.container, &["ip", "-j", "-d", "addr", "show"]) {
        let info = &link["linkinfo"];
        let part = |value: &Value| if value.is_null() { "-".to_owned() } else { word(value) };
        let up = link["flags"].as_array().is_some_and(|flags| flags.contains(&json!("UP")));
        lines.push(format!(
            "link {} {} table {} of {} {}",
            part(&link["ifname"]),
            part(&info["info_kind"]),
            part(&info["info_data"]["table"]),
            part(&link["master"]),
            if up { "up" } else { "down" },
        ));
        for address in link["addr_info"].as_array().into_iter().flatten() {
            if address["scope"] == "global" {
                lines.push(format!("address {}/{}", part(&address["local"]), part(&address["prefixlen"])));
            }
        }
    }
    for family in ["-4", "-6"] {
        for route in read(&machine.container, &["ip", family, "-j", "route", "show", "table", "all"]) {
            let part = |key: &str| route.get(key).map_or_else(|| "-".to_owned(), word);
            let is_own = ["fe80::/64", "ff00::/8", "multicast"].contains(&part("dst").as_str());
            if is_own || !["-", "unicast"].contains(&part("type").as_str()) || part("dev") != "eth0" {
                continue;
            }
            lines.push(format!(
                "route {} via {} scope {} source {} proto {} metric {} {} table {}",
                part("dst"),
                part("gateway"),
                part("scope"),
                part("prefsrc"),
                part("protocol"),
                part("metric"),
                part("flags"),
                route.get("table").map_or_else(|| "main".to_owned(), word),
            ));
        }
    }
    lines.sort();
    lines
}

/// The lines that begin with a word.
fn only<'a>(lines: &'a [String], word: &str) -> Vec<&'a str> {
    lines.iter().map(String::as_str).filter(|line| line.starts_with(word)).collect()
}

fn config(previous: &Value, keys: &Value) -> Value {
    Machine::chained("vrf", previous, keys)
}

/// What the address plugins of others may set: a gateway that is no neighbour by any address, and one that is by a route.
const FURTHER_ROUTES: &str = "ip route add 198.51.100.0/24 via 169.254.1.1 dev eth0 onlink; \
                              ip route add 192.0.2.77 dev eth0; \
                              ip route add 203.0.113.0/24 via 192.0.2.77 dev eth0";

/// Makes the kernel drop IPv6 addresses with the move, as it does unless told otherwise.
const DROP_ADDRESSES: &str = "echo 0 > /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down";

/// A container's interface becomes a member with its addresses and routes, as the reference's does, and leaves.
pub(crate) fn addresses_and_routes_are_taken_along(test: &str) {
    inside(test, || {
        let reference = reference(test);
        let machines = [Some(Machine::new(None)), reference.as_ref().map(|path| Machine::new(Some(path)))];
        let mut seen = Vec::new();
        for machine in machines.iter().flatten() {
            let previous = machine.attach();
            let script = format!("{FURTHER_ROUTES}; {DROP_ADDRESSES}");
            machine.container.command(&["sh", "-ec", &script]);
            let before = state(machine);
            let config = config(&previous, &json!({ "vrfname": "blue" }));
            assert_eq!(machine.call("ADD", "vrf", &config).expect("a member"), previous);
            machine.call("CHECK", "vrf", &config).expect("a member");
            machine.call_ours("CHECK", "vrf", &config).expect("a member");
            let after = state(machine);
            if !machine.is_reference() {
                assert_eq!(only(&before, "route").len(), 7, "{before:#?}");
                let moved = only(&before, "route").join("\n").replace("table main", "table 1");
                assert_eq!(only(&after, "route").join("\n"), moved);
                assert_eq!(only(&after, "address"), only(&before, "address"));
                traffic_passes(machine);
            }
            seen.push(after);
            machine.call("DEL", "vrf", &config).expect("taken out");
            machine.call_ours("DEL", "vrf", &config).expect("idempotent");
            let links = only(&before, "link").join("\n");
            assert_eq!(only(&state(machine), "link").join("\n"), links);
            machine.call_ours("CHECK", "vrf", &config).expect_err("no member");
        }
        if let [ours, theirs] = &seen[..] {
            // Of the routes it keeps, if any, those by way of others alone: "vrf: routes" in docs/cni-chained.md.
            let common = |lines: &[String]| -> Vec<String> {
                let by_user = |line: &&String| line.starts_with("route") && !line.contains("proto kernel");
                lines.iter().filter(|line| !by_user(line)).cloned().collect()
            };
            assert_eq!(common(ours), common(theirs));
            assert_ne!(ours, theirs, "there is no difference `vrf: routes`");
        }
    });
}

/// The host reaches the container through the VRF, and the container would go through its gateways.
fn traffic_passes(machine: &Machine) {
    machine.container.command(&["sh", "-ec", "echo 1 > /proc/sys/net/ipv4/tcp_l3mdev_accept"]);
    machine.container.serve_tcp("[::]:80");
    for (address, host) in [("10.5.0.2:80", "10.5.0.1"), ("[fd05::2]:80", "fd05::1")] {
        // The bridge hears on its own time that its port is up again.
        eventually(address, || {
            machine.host.ask_tcp(address.parse().expect("valid")) == Some(host.parse().expect("valid"))
        });
    }
    for (address, gateway) in
        [("198.51.100.1", "169.254.1.1"), ("8.8.8.8", "10.5.0.1"), ("2001:db8::1", "fd05::1")]
    {
        let taken = read(&machine.container, &["ip", "-j", "route", "get", address, "vrf", "blue"]);
        assert_eq!((&taken[0]["gateway"], &taken[0]["dev"]), (&json!(gateway), &json!("eth0")), "{taken:?}");
    }
}

/// Addresses that the kernel keeps are left alone; the VRF goes with its last member, also when an ADD was killed.
pub(crate) fn a_vrf_goes_with_its_last_member(test: &str) {
    inside(test, || {
        let machine = Machine::new(None);
        let script = |script: &str| machine.container.command(&["sh", "-ec", script]);
        let previous = machine.attach();
        let before = state(&machine);
        script("ip link add green type vrf table 1; ip link add eth1 type veth peer name far1");
        let blue = config(&previous, &json!({ "vrfname": "blue" }));
        machine.call("ADD", "vrf", &blue).expect("a member");
        let after = state(&machine);
        assert_eq!(only(&after, "address"), only(&before, "address"));
        // The lowest table that no other VRF has.
        assert!(after.contains(&"link blue vrf table 2 of - up".to_owned()), "{after:#?}");
        script("ip link set eth1 master blue");
        machine.call("DEL", "vrf", &blue).expect("taken out");
        machine.call("CHECK", "vrf", &blue).expect_err("no member");
        let left = state(&machine);
        assert!(left.contains(&"link eth1 veth table - of blue down".to_owned()), "{left:#?}");
        assert!(left.contains(&"link eth0 veth table - of - up".to_owned()), "{left:#?}");
        script("ip link set eth1 nomaster");
        // As if the ADD had been killed before the interface joined, and told nothing.
        let bare = json!({ "cniVersion": "1.0.0", "name": "net", "type": "vrf", "vrfname": "blue" });
        machine.call("DEL", "vrf", &bare).expect("removed");
        assert!(!state(&machine).concat().contains("blue"));
        // One that is there is joined; and it goes with its last member as well, though that is gone.
        let green = config(&previous, &json!({ "vrfname": "green", "table": 1 }));
        machine.call("ADD", "vrf", &green).expect("a member");
        script("ip link del eth0");
        machine.call("CHECK", "vrf", &green).expect_err("no member");
        machine.call("DEL", "vrf", &green).expect("removed");
        assert!(!state(&machine).concat().contains("green"));
        let named = config(&previous, &json!({ "vrfname": "red", "table": 4711 }));
        machine.call("ADD", "vrf", &named).expect_err("there is no interface");
        assert!(!state(&machine).concat().contains("red"));
    });
}

/// What can't be is named, and nothing is left of it.
pub(crate) fn what_can_t_be_is_named(test: &str) {
    inside(test, || {
        let machine = Machine::new(None);
        let script = |script: &str| machine.container.command(&["sh", "-ec", script]);
        let previous = machine.attach();
        script("ip link add green type vrf table 1");
        let before = state(&machine);
        let fails = |config: &Value, code: u32, sentence: &str| {
            let error = machine.call("ADD", "vrf", config).expect_err("bad");
            let text = format!("{} {}", word(&error["msg"]), word(&error["details"]));
            assert!(text.contains(sentence), "{error}");
            assert_eq!(error["code"], code, "{error}");
        };
        let keys = |keys: Value| config(&previous, &keys);
        fails(&keys(json!({})), 7, "expected to have a valid vrf name");
        fails(&keys(json!({ "vrfname": "a/b" })), 7, "`a/b`");
        fails(&keys(json!({ "vrfname": "blue", "table": -1 })), 7, "table");
        fails(&keys(json!({ "vrfname": "green", "table": 9 })), 999, "different routing table 1");
        fails(&keys(json!({ "vrfname": "lo" })), 999, "`lo` is not a VRF");
        let bare = json!({ "cniVersion": "1.0.0", "name": "net", "type": "vrf", "vrfname": "blue" });
        fails(&bare, 7, "prevResult");
        assert_eq!(state(&machine), before);
        let blue = keys(json!({ "vrfname": "blue" }));
        machine.call("ADD", "vrf", &blue).expect("a member");
        fails(&blue, 999, "already a master set: `blue`");
        machine.call("DEL", "vrf", &blue).expect("taken out");
        // A nexthop that is gone with the move can't be routed to again.
        script("ip nexthop add id 7 via 10.5.0.9 dev eth0; ip route add 198.51.100.0/24 nhid 7");
        fails(&blue, 999, "restoring a route in table 2");
        let links = only(&before, "link").join("\n");
        assert_eq!(only(&state(&machine), "link").join("\n"), links);
    });
}
