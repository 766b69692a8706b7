//! `portmap`, and the masquerade of `bridge`, with other backends than our table.

use loam_testkit::lab::{Sandbox, inside};
use serde_json::{Value, json};

use crate::machine::{Machine, reference};

fn rules(machine: &Machine, family: &str) -> Vec<String> {
    let text = machine.host.command(&[&format!("{family}-save"), "-t", "nat"]);
    let ours = |line: &&str| line.starts_with("-A") || line.starts_with(":CNI");
    let mut lines: Vec<String> = text.lines().filter(ours).map(str::to_owned).collect();
    // The order of chains and of independent rules is the programs' own.
    lines.sort();
    lines
}

fn ports(keys: &Value) -> Value {
    let mut all = json!({
        "backend": "iptables",
        "runtimeConfig": { "portMappings": [
            { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
            { "hostPort": 8081, "containerPort": 81, "protocol": "tcp", "hostIP": "127.0.0.1" },
            { "hostPort": 5353, "containerPort": 53, "protocol": "udp" },
        ] },
    });
    for (key, value) in keys.as_object().expect("an object") {
        all[key] = value.clone();
    }
    all
}

#[test]
fn iptables_gets_the_reference_s_chains() {
    let name = "portmap::iptables_gets_the_reference_s_chains";
    inside(name, || {
        let Some(reference) = reference(name) else { return };
        let cases = [
            json!({}),
            json!({ "snat": false }),
            json!({ "markMasqBit": 5 }),
            json!({ "conditionsV4": ["!", "-s", "192.0.2.0/24"], "conditionsV6": ["!", "-s", "fd99::/64"] }),
        ];
        for case in cases {
            let (ours, theirs) = (Machine::new(None), Machine::new(Some(&reference)));
            let mut seen = Vec::new();
            for machine in [&ours, &theirs] {
                let previous = machine.attach();
                let mut config = Machine::chained("portmap", &previous, &ports(&case));
                if machine.is_reference() {
                    config.as_object_mut().expect("an object").remove("backend");
                }
                assert_eq!(machine.call("ADD", "portmap", &config).expect("published"), previous);
                let six = rules(machine, "ip6tables");
                // The reference looks for the port of an IPv4 address in IPv6 too, where nothing comes of it.
                let six: Vec<String> = six.iter().map(|line| line.replace("8080,8081", "8080")).collect();
                seen.push([rules(machine, "iptables"), six]);
                config["backend"] = json!("iptables");
                machine.call_ours("CHECK", "portmap", &config).expect("published");
                // The release that is packaged looks for rules of IPv4 in IPv6, and does not find them.
                if case.get("snat").is_none() {
                    machine.container.serve_tcp("0.0.0.0:80");
                    let loopback = "127.0.0.1:8080".parse().expect("valid");
                    assert!(machine.host.ask_tcp(loopback).is_some(), "{case}");
                }
                machine.call_ours("DEL", "portmap", &config).expect("withdrawn");
                machine.call("DEL", "portmap", &config).expect("idempotent");
                machine.call_ours("CHECK", "portmap", &config).expect_err("withdrawn");
                assert!(!rules(machine, "iptables").concat().contains("CNI-DN-"), "{case}");
            }
            assert_eq!(seen[0], seen[1], "{case}");
        }
    });
}

#[test]
fn the_dead_are_collected_from_iptables() {
    inside("portmap::the_dead_are_collected_from_iptables", || {
        let machine = Machine::new(None);
        let mut bridge = machine.bridge();
        bridge["cniVersion"] = json!("1.1.0");
        bridge["ipMasq"] = json!(true);
        bridge["ipMasqBackend"] = json!("iptables");
        let previous = machine.call("ADD", "bridge", &bridge).expect("attachable");
        let mut config = Machine::chained("portmap", &previous, &ports(&json!({})));
        config["cniVersion"] = json!("1.1.0");
        machine.call("ADD", "portmap", &config).expect("published");
        let keep = json!([{ "containerID": "one", "ifname": "eth0" }]);
        for (valid, left) in [(keep, true), (json!([]), false)] {
            for (plugin, config) in [("portmap", &mut config), ("bridge", &mut bridge)] {
                config["cni.dev/valid-attachments"] = valid.clone();
                machine.call("GC", plugin, config).expect("collected");
            }
            let text = rules(&machine, "iptables").concat();
            assert_eq!((text.contains("CNI-DN-"), text.contains("10.5.0.2")), (left, left), "{text}");
        }
    });
}

#[test]
fn bridges_masquerade_by_the_reference_s_chains() {
    let name = "portmap::bridges_masquerade_by_the_reference_s_chains";
    inside(name, || {
        let Some(reference) = reference(name) else { return };
        let (ours, theirs) = (Machine::new(None), Machine::new(Some(&reference)));
        let mut seen = Vec::new();
        for machine in [&ours, &theirs] {
            let mut config = machine.bridge();
            config["ipMasq"] = json!(true);
            if !machine.is_reference() {
                config["ipMasqBackend"] = json!("iptables");
            }
            config["prevResult"] = machine.call("ADD", "bridge", &config).expect("attachable");
            seen.push([rules(machine, "iptables"), rules(machine, "ip6tables")]);
            if !machine.is_reference() {
                machine.call("CHECK", "bridge", &config).expect("masqueraded");
                machine.host.command(&["iptables", "-t", "nat", "-F", "POSTROUTING"]);
                machine.call("CHECK", "bridge", &config).expect_err("flushed");
            }
            machine.call("DEL", "bridge", &config).expect("detachable");
            assert_eq!(rules(machine, "iptables"), Vec::<String>::new());
        }
        assert_eq!(seen[0], seen[1]);
    });
}

#[test]
fn all_clients_are_masqueraded_when_asked_for() {
    inside("portmap::all_clients_are_masqueraded_when_asked_for", || {
        for backend in ["nftables", "iptables"] {
            let machine = Machine::new(None);
            let previous = machine.attach();
            // A client behind another link of the host.
            let client = Sandbox::new();
            let pid = client
                .path()
                .components()
                .nth(2)
                .expect("a process")
                .as_os_str()
                .to_str()
                .expect("a number")
                .to_owned();
            machine.host.command(&[
                "ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", &pid,
            ]);
            machine.host.command(&["ip", "addr", "add", "192.0.2.1/24", "dev", "up0"]);
            machine.host.command(&["ip", "link", "set", "up0", "up"]);
            client.command(&["ip", "addr", "add", "192.0.2.2/24", "dev", "eth0"]);
            client.command(&["ip", "link", "set", "eth0", "up"]);
            machine.container.serve_tcp("0.0.0.0:80");
            let published = "192.0.2.1:8080".parse().expect("valid");
            for (all, seen) in [(false, "192.0.2.2"), (true, "10.5.0.1")] {
                let keys = ports(&json!({ "backend": backend, "masqAll": all }));
                let config = Machine::chained("portmap", &previous, &keys);
                machine.call("ADD", "portmap", &config).expect("published");
                machine.call("CHECK", "portmap", &config).expect("published");
                let found = client.ask_tcp(published).map(|address| address.to_string());
                assert_eq!(found.as_deref(), Some(seen), "{backend} {all}");
                machine.call("DEL", "portmap", &config).expect("withdrawn");
                assert!(client.ask_tcp(published).is_none(), "{backend}");
            }
            let table = machine.host.command(&["nft", "list", "ruleset"]);
            assert!(!table.contains("one eth0"), "{table}");
        }
    });
}

#[test]
fn keys_of_the_wrong_backend_are_refused() {
    inside("portmap::keys_of_the_wrong_backend_are_refused", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let refused = |keys: &Value| {
            let config = Machine::chained("portmap", &previous, &ports(keys));
            machine.call("ADD", "portmap", &config).expect_err("bad")
        };
        for (keys, code, key) in [
            (json!({ "backend": "ebtables" }), 2, "backend"),
            (json!({ "conditionsV4": ["ip saddr 10.0.0.0/8"] }), 2, "conditionsV4"),
            (json!({ "backend": "nftables", "conditionsV6": ["-s", "::1"] }), 7, "conditionsV6"),
            (json!({ "backend": "nftables", "externalSetMarkChain": "X" }), 7, "externalSetMarkChain"),
            (json!({ "markMasqBit": 32 }), 7, "markMasqBit"),
            (json!({ "markMasqBit": 3, "externalSetMarkChain": "X" }), 7, "externalSetMarkChain"),
            (json!({ "externalSetMarkChain": "NOT-THERE" }), 999, "iptables-restore"),
        ] {
            let error = refused(&keys);
            assert_eq!(error["code"], code, "{keys}: {error}");
            assert!(error["msg"].as_str().is_some_and(|text| text.contains(key)), "{keys}: {error}");
            assert!(!rules(&machine, "iptables").concat().contains("10.5.0.2"), "{keys}");
        }
    });
}

#[test]
fn ports_that_are_left_to_the_administrator_are_noted() {
    inside("portmap::ports_that_are_left_to_the_administrator_are_noted", || {
        let machine = Machine::new(None);
        let config = Machine::chained("portmap", &machine.attach(), &ports(&json!({ "backend": "none" })));
        machine.call("ADD", "portmap", &config).expect("noted");
        let path = "/run/loam/cni/unmanaged/ports:one:eth0";
        let text = std::fs::read_to_string(path).expect("readable");
        for rule in [
            "fib daddr type local tcp dport 8080 dnat ip to 10.5.0.2:80",
            "ip daddr 127.0.0.1 tcp dport 8081 dnat ip to 10.5.0.2:81",
            "fib daddr type local udp dport 5353 dnat ip6 to [fd05::2]:53",
        ] {
            assert!(text.contains(rule), "{text}");
        }
        machine.call("CHECK", "portmap", &config).expect("noted");
        machine.call("DEL", "portmap", &config).expect("removed");
        assert!(!std::path::Path::new(path).exists());
    });
}

#[test]
fn a_second_add_that_fails_leaves_the_ports_of_the_first() {
    inside("portmap::a_second_add_that_fails_leaves_the_ports_of_the_first", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let first = Machine::chained("portmap", &previous, &ports(&json!({})));
        machine.call("ADD", "portmap", &first).expect("published");
        let seen = || ["iptables", "ip6tables"].map(|family| rules(&machine, family));
        let before = seen();
        // For one family it fails at once, for the other when the first is published.
        for key in ["conditionsV4", "conditionsV6"] {
            let mut second = ports(&json!({ key: ["-m", "no-such-match"] }));
            second["runtimeConfig"]["portMappings"][0]["hostPort"] = json!(9090);
            let second = Machine::chained("portmap", &previous, &second);
            machine.call("ADD", "portmap", &second).expect_err("no such match");
            assert_eq!(seen(), before, "{key}");
            machine.call("CHECK", "portmap", &first).expect("published still");
        }
        machine.call("DEL", "portmap", &first).expect("withdrawn");
        assert!(!seen().concat().concat().contains("CNI-DN-"));
        assert!(!std::path::Path::new("/run/loam/cni/iptables-ports/one:eth0").exists());
        // One that fails without a first leaves nothing.
        let config = Machine::chained(
            "portmap",
            &previous,
            &ports(&json!({ "conditionsV6": ["-m", "no-such-match"] })),
        );
        machine.call("ADD", "portmap", &config).expect_err("no such match");
        assert!(!seen().concat().concat().contains("CNI-DN-"));
        assert!(!std::path::Path::new("/run/loam/cni/iptables-ports/one:eth0").exists());
    });
}

#[test]
fn a_second_add_adds_to_the_ports_of_the_first_or_changes_nothing() {
    inside("portmap::a_second_add_adds_to_the_ports_of_the_first_or_changes_nothing", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let config = |host: u16| {
            let keys = json!({ "masqAll": true, "runtimeConfig": { "portMappings": [
                { "hostPort": host, "containerPort": 80, "protocol": "tcp" } ] } });
            Machine::chained("portmap", &previous, &keys)
        };
        // Another container's.
        let other = Sandbox::new();
        let theirs = machine.call_in(&other, "two", "ADD", "bridge", &machine.bridge()).expect("attachable");
        let mut taken = config(9090);
        taken["prevResult"] = theirs;
        machine.call_in(&other, "two", "ADD", "portmap", &taken).expect("published");
        machine.call("ADD", "portmap", &config(8080)).expect("published");
        let table = || machine.host.command(&["nft", "list", "table", "inet", "loam"]);
        let before = table();
        machine.call("ADD", "portmap", &config(9090)).expect_err("taken");
        assert_eq!(table(), before);
        machine.call("CHECK", "portmap", &config(8080)).expect("published still");
        // Both are there, also in a table that is made anew, and both go.
        machine.call("ADD", "portmap", &config(8081)).expect("published");
        machine.host.command(&["nft", "flush", "ruleset"]);
        machine.call("ADD", "portmap", &config(8081)).expect("published");
        for port in [8080, 8081] {
            machine.call("CHECK", "portmap", &config(port)).expect("published");
        }
        let mut last = config(8081);
        last.as_object_mut().expect("an object").remove("prevResult");
        machine.call("DEL", "portmap", &last).expect("withdrawn");
        assert!(!table().contains("one eth0"), "{}", table());
    });
}

#[test]
fn of_ports_over_a_pair_nothing_stays() {
    inside("portmap::of_ports_over_a_pair_nothing_stays", || {
        let machine = Machine::new(None);
        let mut ptp = machine.bridge();
        ptp["type"] = json!("ptp");
        let previous = machine.call("ADD", "ptp", &ptp).expect("attachable");
        let end = previous["interfaces"][0]["name"].as_str().expect("a name").to_owned();
        let keys =
            json!({ "runtimeConfig": { "portMappings": [{ "hostPort": 8080, "containerPort": 80 }] } });
        let config = Machine::chained("portmap", &previous, &keys);
        machine.call("ADD", "portmap", &config).expect("published");
        let table = || machine.host.command(&["nft", "list", "table", "inet", "loam"]);
        assert!(table().contains(&end), "the host's loopback reaches the port over it: {}", table());
        machine.call("DEL", "portmap", &config).expect("withdrawn");
        assert!(!table().contains(&end), "{}", table());
    });
}
