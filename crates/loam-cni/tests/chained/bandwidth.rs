//! `bandwidth`.

use loam_testkit::lab::{eventually, inside};
use serde_json::{Value, json};

use crate::machine::{Machine, read, reference};

const IFBS: &[&str] = &["ip", "-o", "link", "show", "type", "ifb"];

/// The disciplines and filters of the host's end and of the link that its incoming packets go through.
fn state(machine: &Machine) -> Vec<Value> {
    let mut seen = Vec::new();
    for link in read(&machine.host, &["ip", "-j", "-d", "link"]) {
        let name = link["ifname"].as_str().expect("a name");
        let kind = &link["linkinfo"]["info_kind"];
        if kind != "veth" && kind != "ifb" {
            continue;
        }
        let shown = if kind == "ifb" { name } else { "veth" };
        for discipline in read(&machine.host, &["tc", "-j", "qdisc", "show", "dev", name]) {
            let parts = ["kind", "handle", "root", "parent", "options"].map(|key| discipline[key].clone());
            seen.push(json!([shown, parts]));
        }
        // How long the queue of a veth is, is the bridge plugin's matter.
        let queue = if kind == "ifb" { link["txqlen"].clone() } else { Value::Null };
        seen.push(json!([shown, link["mtu"], link["flags"], queue]));
    }
    seen.sort_by_key(Value::to_string);
    seen
}

#[test]
fn the_limits_are_the_reference_s() {
    let name = "bandwidth::the_limits_are_the_reference_s";
    inside(name, || {
        let Some(reference) = reference(name) else { return };
        let both = json!({
            "ingressRate": 8_000_000, "ingressBurst": 8_000_000, "egressRate": 123_457, "egressBurst": 654_321,
        });
        let cases = [
            both.clone(),
            json!({ "ingressRate": 100_000_000_000_u64, "ingressBurst": 8_000_000_000_u64 }),
            json!({ "egressRate": 800, "egressBurst": 80_000 }),
            json!({ "runtimeConfig": { "bandwidth": both } }),
            json!({}),
        ];
        for case in cases {
            let (ours, theirs) = (Machine::new(None), Machine::new(Some(&reference)));
            let mut seen = Vec::new();
            for machine in [&ours, &theirs] {
                let mut config = Machine::chained("bandwidth", &machine.attach(), &case);
                let result = machine.call("ADD", "bandwidth", &config).expect("limited");
                let names: Vec<Value> = result["interfaces"]
                    .as_array()
                    .expect("interfaces")
                    .iter()
                    .map(|interface| interface["name"].clone())
                    .filter(|name| name.as_str().is_some_and(|name| name.starts_with("bwp")))
                    .collect();
                seen.push((names, state(machine)));
                config["prevResult"] = result;
                // Ours verifies both.
                machine.call_ours("CHECK", "bandwidth", &config).expect("as it was set");
                // The old release that is packaged panics when there is nothing to check.
                if case != json!({}) {
                    machine.call("CHECK", "bandwidth", &config).expect("as it was set");
                }
                machine.call_ours("DEL", "bandwidth", &config).expect("removed");
                machine.call("DEL", "bandwidth", &config).expect("idempotent");
                assert!(!machine.host.command(&["ip", "-o", "link"]).contains("bwp"), "{case}");
                eventually("no ifb is left", || machine.host.command(IFBS).is_empty());
            }
            assert_eq!(seen[0], seen[1], "{case}");
        }
    });
}

#[test]
fn a_limit_that_was_changed_is_seen_and_leftovers_are_collected() {
    inside("bandwidth::a_limit_that_was_changed_is_seen_and_leftovers_are_collected", || {
        let machine = Machine::new(None);
        let keys = json!({ "egressRate": 8_000_000, "egressBurst": 8_000_000 });
        let mut config = Machine::chained("bandwidth", &machine.attach(), &keys);
        config["cniVersion"] = json!("1.1.0");
        let result = machine.call("ADD", "bandwidth", &config).expect("limited");
        let ifb = result["interfaces"][3]["name"].as_str().expect("a name").to_owned();
        let taken = machine.call("ADD", "bandwidth", &config).expect_err("it is limited already");
        assert_eq!(taken["code"], 103, "{taken}");
        machine.host.command(&[
            "tc", "qdisc", "change", "dev", &ifb, "root", "handle", "1:", "tbf", "rate", "9mbit", "burst",
            "1000000", "latency", "25ms",
        ]);
        config["prevResult"] = result;
        let error = machine.call("CHECK", "bandwidth", &config).expect_err("changed");
        assert!(error["msg"].as_str().is_some_and(|text| text.contains("rate doesn't match")), "{error}");
        let links = || machine.host.command(&["ip", "-o", "link"]);
        // Another network's, and one that is valid, stay.
        for (network, valid) in
            [("other", json!([])), ("net", json!([{ "containerID": "one", "ifname": "eth0" }]))]
        {
            let mut gc = config.clone();
            gc["name"] = json!(network);
            gc["cni.dev/valid-attachments"] = valid;
            machine.call("GC", "bandwidth", &gc).expect("nothing to do");
            assert!(links().contains(&ifb));
        }
        config["cni.dev/valid-attachments"] = json!([]);
        machine.call("GC", "bandwidth", &config).expect("collected");
        assert!(!links().contains(&ifb));
        eventually("the ifb is gone", || machine.host.command(IFBS).is_empty());
        machine.call("STATUS", "bandwidth", &config).expect("ready");
    });
}

#[test]
fn what_a_killed_del_left_goes_with_the_next() {
    inside("bandwidth::what_a_killed_del_left_goes_with_the_next", || {
        let machine = Machine::new(None);
        let keys = json!({ "egressRate": 8_000_000, "egressBurst": 8_000_000 });
        let config = Machine::chained("bandwidth", &machine.attach(), &keys);
        let result = machine.call("ADD", "bandwidth", &config).expect("limited");
        let ifb = result["interfaces"][3]["name"].as_str().expect("a name");
        machine.host.command(&["ip", "link", "set", ifb, "down", "name", &format!("gone{}", &ifb[4..])]);
        machine.call("DEL", "bandwidth", &config).expect("removed");
        eventually("the ifb is gone", || machine.host.command(IFBS).is_empty());
    });
}

#[test]
fn bad_limits_are_refused_and_leave_nothing() {
    inside("bandwidth::bad_limits_are_refused_and_leave_nothing", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let code = |keys: &Value, previous: &Value| {
            let config = Machine::chained("bandwidth", previous, keys);
            machine.call("ADD", "bandwidth", &config).expect_err("bad")["code"].clone()
        };
        assert_eq!(code(&json!({ "ingressRate": 8 }), &previous), 7);
        assert_eq!(code(&json!({ "ingressBurst": 8 }), &previous), 7);
        assert_eq!(code(&json!({ "ingressRate": 1, "ingressBurst": 1 }), &previous), 7);
        assert_eq!(code(&json!({ "egressRate": -1, "egressBurst": "x" }), &previous), 7);
        assert_eq!(code(&json!({ "egressRate": 8, "egressBurst": u64::MAX }), &previous), 7);
        let good = json!({ "ingressRate": 800_000, "ingressBurst": 800_000, "egressRate": 800_000, "egressBurst": 800_000 });
        assert_eq!(code(&good, &json!({ "cniVersion": "1.0.0" })), 999);
        // A discipline that somebody set is in the way: nothing of ours stays.
        let host_end = previous["interfaces"][1]["name"].as_str().expect("a name");
        machine.host.command(&["tc", "qdisc", "add", "dev", host_end, "ingress"]);
        assert_eq!(code(&good, &previous), 999);
        let seen = machine.host.command(&["tc", "qdisc"]);
        assert!(
            !seen.contains("tbf") && !machine.host.command(&["ip", "-o", "link"]).contains("bwp"),
            "{seen}"
        );
    });
}
