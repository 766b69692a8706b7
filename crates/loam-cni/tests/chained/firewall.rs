//! `firewall`.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

use loam_testkit::lab::{Sandbox, ask_tcp, inside};
use serde_json::{Value, json};

use crate::machine::{Machine, reference};

/// The rules of iptables, without counters and what is there anyway.
fn rules(machine: &Machine, family: &str) -> Vec<String> {
    let text = machine.host.command(&[&format!("{family}-save"), "-t", "filter"]);
    let ours = |line: &&str| line.starts_with("-A") || line.starts_with(":CNI");
    // The release that is packaged does not say `|isolated` yet.
    text.lines().filter(ours).map(|line| line.replace("same-bridge|isolated", "same-bridge")).collect()
}

#[test]
fn iptables_gets_the_reference_s_rules() {
    let name = "firewall::iptables_gets_the_reference_s_rules";
    inside(name, || {
        let Some(reference) = reference(name) else { return };
        let cases = [
            json!({ "backend": "iptables" }),
            json!({ "backend": "iptables", "iptablesAdminChainName": "MINE" }),
            json!({ "backend": "iptables", "ingressPolicy": "same-bridge" }),
        ];
        for case in cases {
            let (ours, theirs) = (Machine::new(None), Machine::new(Some(&reference)));
            let mut seen = Vec::new();
            for machine in [&ours, &theirs] {
                let previous = machine.attach();
                let config = Machine::chained("firewall", &previous, &case);
                for _ in 0..2 {
                    assert_eq!(machine.call("ADD", "firewall", &config).expect("let through"), previous);
                }
                seen.push([rules(machine, "iptables"), rules(machine, "ip6tables")]);
                machine.call("CHECK", "firewall", &config).expect("as it was set");
                if case.get("ingressPolicy").is_none() || !machine.is_reference() {
                    machine.call_ours("CHECK", "firewall", &config).expect("as it was set");
                }
                machine.call_ours("DEL", "firewall", &config).expect("taken back");
                machine.call("DEL", "firewall", &config).expect("idempotent");
                assert!(!rules(machine, "iptables").concat().contains("10.5.0.2"), "{case}");
                machine.call_ours("CHECK", "firewall", &config).expect_err("taken back");
            }
            assert_eq!(seen[0], seen[1], "{case}");
        }
    });
}

/// A second network on a machine, with a container of its own.
fn second(machine: &Machine) -> (Sandbox, Value) {
    let container = Sandbox::new();
    let mut config = machine.bridge();
    config["name"] = json!("other");
    config["bridge"] = json!("br1");
    config["ipam"]["ranges"] = json!([[{ "subnet": "10.6.0.0/24" }]]);
    let result = machine.call_in(&container, "two", "ADD", "bridge", &config).expect("attachable");
    (container, result)
}

fn reaches(from: &Sandbox, to: &str) -> bool {
    let address = to.parse().expect("valid");
    from.run(|| ask_tcp(address)).is_some()
}

#[test]
fn a_host_that_drops_what_passes_lets_containers_through() {
    inside("firewall::a_host_that_drops_what_passes_lets_containers_through", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let (other, _) = second(&machine);
        other.serve_tcp("0.0.0.0:80");
        machine.host.command(&["iptables", "-P", "FORWARD", "DROP"]);
        assert!(!reaches(&machine.container, "10.6.0.2:80"));
        // No backend is named: the policy tells that it must be iptables.
        let mut config = Machine::chained("firewall", &previous, &json!({}));
        config["cniVersion"] = json!("1.1.0");
        machine.call("ADD", "firewall", &config).expect("let through");
        assert!(reaches(&machine.container, "10.6.0.2:80"));
        machine.call("CHECK", "firewall", &config).expect("as it was set");
        // DEL that is told nothing, and on a host whose policy has changed.
        machine.host.command(&["iptables", "-P", "FORWARD", "ACCEPT"]);
        let bare = json!({ "cniVersion": "1.1.0", "name": "net", "type": "firewall" });
        machine.call("DEL", "firewall", &bare).expect("taken back");
        assert!(!rules(&machine, "iptables").concat().contains("10.5.0.2"));
        // GC likewise.
        machine.host.command(&["iptables", "-P", "FORWARD", "DROP"]);
        machine.call("ADD", "firewall", &config).expect("let through");
        let mut gc = bare.clone();
        gc["cni.dev/valid-attachments"] = json!([]);
        machine.call("GC", "firewall", &gc).expect("collected");
        assert!(!rules(&machine, "iptables").concat().contains("10.5.0.2"));
        machine.call("STATUS", "firewall", &bare).expect("ready");
    });
}

#[test]
fn networks_are_kept_apart() {
    inside("firewall::networks_are_kept_apart", || {
        for (policy, within) in [("same-bridge", true), ("isolated", false)] {
            let machine = Machine::new(None);
            let previous = machine.attach();
            let keys = json!({ "backend": "nftables", "ingressPolicy": policy });
            let config = Machine::chained("firewall", &previous, &keys);
            let (other, other_result) = second(&machine);
            other.serve_tcp("0.0.0.0:80");
            let neighbour = Sandbox::new();
            let result =
                machine.call_in(&neighbour, "three", "ADD", "bridge", &machine.bridge()).expect("attachable");
            let address = result["ips"][0]["address"].as_str().expect("an address").replace("/24", ":80");
            neighbour.serve_tcp("0.0.0.0:80");
            assert!(reaches(&machine.container, "10.6.0.2:80") && reaches(&machine.container, &address));
            machine.call("ADD", "firewall", &config).expect("guarded");
            let next = Machine::chained("firewall", &result, &keys);
            machine.call_in(&neighbour, "three", "ADD", "firewall", &next).expect("guarded");
            let mut apart = Machine::chained("firewall", &other_result, &keys);
            apart["name"] = json!("other");
            machine.call_in(&other, "two", "ADD", "firewall", &apart).expect("guarded");
            assert!(!reaches(&machine.container, "10.6.0.2:80"), "{policy}");
            assert_eq!(reaches(&machine.container, &address), within, "{policy}");
            machine.call("CHECK", "firewall", &config).expect("as it was set");
            machine.host.command(&["nft", "flush", "ruleset"]);
            machine.call("CHECK", "firewall", &config).expect_err("flushed");
            // Any change restores everything.
            machine.call("ADD", "firewall", &config).expect("guarded");
            machine.call_in(&other, "two", "CHECK", "firewall", &apart).expect("restored");
            assert!(!reaches(&machine.container, "10.6.0.2:80"), "{policy}");
            machine.call("DEL", "firewall", &config).expect("taken back");
            machine.call("DEL", "firewall", &config).expect("idempotent");
            let table = machine.host.command(&["nft", "list", "table", "inet", "loam"]);
            assert!(!table.contains("10.5.0.2") && table.contains("\"br0\" . \"br0\"") == within, "{table}");
        }
    });
}

#[test]
fn the_administrator_s_own_rules_come_first_and_stay() {
    inside("firewall::the_administrator_s_own_rules_come_first_and_stay", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let (other, _) = second(&machine);
        other.serve_tcp("0.0.0.0:80");
        let config = Machine::chained("firewall", &previous, &json!({ "backend": "nftables" }));
        machine.call("ADD", "firewall", &config).expect("let through");
        assert!(reaches(&machine.container, "10.6.0.2:80"));
        machine
            .host
            .command(&["nft", "add", "rule", "inet", "loam", "admin", "ip", "daddr", "10.6.0.2", "reject"]);
        assert!(!reaches(&machine.container, "10.6.0.2:80"));
        // A rule of ours that is lost is restored, and the administrator's is left.
        machine.host.command(&["nft", "flush", "chain", "inet", "loam", "forward"]);
        machine.call("ADD", "firewall", &config).expect("restored");
        assert!(!reaches(&machine.container, "10.6.0.2:80"));
    });
}

#[test]
fn what_is_left_to_the_administrator_is_noted() {
    inside("firewall::what_is_left_to_the_administrator_is_noted", || {
        let machine = Machine::new(None);
        let keys = json!({ "backend": "none", "ingressPolicy": "isolated" });
        let config = Machine::chained("firewall", &machine.attach(), &keys);
        machine.call("ADD", "firewall", &config).expect("noted");
        let path = "/run/loam/cni/unmanaged/firewall:one:eth0";
        let text = std::fs::read_to_string(path).expect("readable");
        for rule in ["ip saddr 10.5.0.2 accept", "ip6 saddr fd05::2 accept", "oifname \"br0\" drop"] {
            assert!(text.contains(rule), "{text}");
        }
        assert!(!machine.host.command(&["nft", "list", "ruleset"]).contains("10.5.0.2"));
        machine.call("CHECK", "firewall", &config).expect("noted");
        machine.call("DEL", "firewall", &config).expect("removed");
        machine.call("CHECK", "firewall", &config).expect_err("removed");
        assert!(!std::path::Path::new(path).exists());
    });
}

/// Plays D-Bus and firewalld: keeps sources, and answers for one connection after another.
fn play_firewalld(sources: &Arc<Mutex<Vec<String>>>) {
    std::fs::create_dir_all("/run/dbus").expect("writable");
    let listener = UnixListener::bind("/run/dbus/system_bus_socket").expect("free");
    let sources = sources.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a client"));
            let mut line = String::new();
            stream.read_line(&mut line).expect("a line");
            assert!(line.starts_with("\0AUTH EXTERNAL "), "{line}");
            stream.get_mut().write_all(b"OK 0123\r\n").expect("writable");
            line.clear();
            stream.read_line(&mut line).expect("a line");
            let mut fixed = [0; 16];
            while stream.read_exact(&mut fixed).is_ok() {
                let number =
                    |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().expect("four")) as usize;
                let mut rest = vec![0; number(12).next_multiple_of(8) + number(4)];
                stream.read_exact(&mut rest).expect("the rest");
                let answer = answer(&rest, number(8), &sources);
                stream.get_mut().write_all(&answer).expect("writable");
            }
        }
    });
}

fn answer(call: &[u8], serial: usize, sources: &Mutex<Vec<String>>) -> Vec<u8> {
    let text = String::from_utf8_lossy(call).into_owned();
    let source = ["10.5.0.2/32", "fd05::2/128"].into_iter().find(|source| text.contains(source));
    let mut sources = sources.lock().expect("not poisoned");
    let (mut failure, mut flag) = (false, true);
    if text.contains("addSource") {
        assert!(text.contains("\0trusted\0"), "{text}");
        failure = sources.iter().any(|known| Some(known.as_str()) == source);
        sources.extend(source.filter(|_| !failure).map(str::to_owned));
    } else if text.contains("removeSource") {
        sources.retain(|known| Some(known.as_str()) != source);
    } else if text.contains("querySource") {
        flag = sources.iter().any(|known| Some(known.as_str()) == source);
    }
    let sentence = b"\x15\0\0\0ZONE_ALREADY_SET: 'x'\0";
    let body: Vec<u8> = if failure { sentence.to_vec() } else { vec![u8::from(flag), 0, 0, 0] };
    let signature = if failure { b's' } else { b'b' };
    let mut bytes = vec![b'l', if failure { 3 } else { 2 }, 0, 1];
    bytes.extend(u32::try_from(body.len()).expect("short").to_le_bytes());
    bytes.extend(9u32.to_le_bytes());
    bytes.extend(15u32.to_le_bytes());
    bytes.extend([5, 1, b'u', 0]);
    bytes.extend(u32::try_from(serial).expect("small").to_le_bytes());
    bytes.extend([8, 1, b'g', 0, 1, signature, 0, 0]);
    bytes.extend(body);
    bytes
}

#[test]
fn firewalld_is_used_when_it_runs() {
    inside("firewall::firewalld_is_used_when_it_runs", || {
        let sources = Arc::new(Mutex::new(Vec::new()));
        play_firewalld(&sources);
        let machine = Machine::new(None);
        let config = Machine::chained("firewall", &machine.attach(), &json!({}));
        for _ in 0..2 {
            machine.call("ADD", "firewall", &config).expect("let through");
        }
        assert_eq!(*sources.lock().expect("not poisoned"), ["10.5.0.2/32", "fd05::2/128"]);
        machine.call("CHECK", "firewall", &config).expect("let through");
        sources.lock().expect("not poisoned").pop();
        machine.call("CHECK", "firewall", &config).expect_err("one is missing");
        let bare = json!({ "cniVersion": "1.0.0", "name": "net", "type": "firewall" });
        machine.call("DEL", "firewall", &bare).expect("taken back");
        assert!(sources.lock().expect("not poisoned").is_empty());
        std::fs::remove_file("/run/dbus/system_bus_socket").expect("it was there");
        let named = Machine::chained("firewall", &config["prevResult"], &json!({ "backend": "firewalld" }));
        let error = machine.call("ADD", "firewall", &named).expect_err("there is no D-Bus");
        assert!(error["msg"].as_str().is_some_and(|text| text.contains("there is no D-Bus")), "{error}");
    });
}

#[test]
fn bad_configurations_are_refused() {
    inside("firewall::bad_configurations_are_refused", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let code = |keys: &Value, previous: &Value| {
            let config = Machine::chained("firewall", previous, keys);
            machine.call("ADD", "firewall", &config).expect_err("bad")["code"].clone()
        };
        assert_eq!(code(&json!({ "backend": "ebtables" }), &previous), 2);
        assert_eq!(code(&json!({ "ingressPolicy": "closed" }), &previous), 2);
        assert_eq!(code(&json!({ "backend": 7 }), &previous), 7);
        assert_eq!(code(&json!({ "iptablesAdminChainName": "A B\nCOMMIT" }), &previous), 7);
        let bare = json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.5.0.2/24" }] });
        assert_eq!(code(&json!({ "backend": "nftables", "ingressPolicy": "isolated" }), &bare), 7);
        let old = json!({ "cniVersion": "0.3.1", "name": "net", "type": "firewall" });
        assert_eq!(machine.call("DEL", "firewall", &old).expect_err("too old")["code"], 1);
    });
}

#[test]
fn a_second_add_that_fails_leaves_what_the_first_let_through() {
    inside("firewall::a_second_add_that_fails_leaves_what_the_first_let_through", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let config = |backend: &str| Machine::chained("firewall", &previous, &json!({ "backend": backend }));
        machine.call("ADD", "firewall", &config("nftables")).expect("let through");
        let table = || machine.host.command(&["nft", "list", "table", "inet", "loam"]);
        let before = table();
        assert!(before.contains("10.5.0.2"), "{before}");
        // There is no D-Bus in here.
        machine.call("ADD", "firewall", &config("firewalld")).expect_err("no firewalld");
        assert_eq!(table(), before);
        machine.call("CHECK", "firewall", &config("nftables")).expect("let through still");
        machine.host.command(&["nft", "flush", "ruleset"]);
        machine.call("ADD", "firewall", &config("nftables")).expect("let through");
        assert_eq!(table(), before);
        // One that succeeds takes the place of the first.
        machine.call("ADD", "firewall", &config("none")).expect("noted");
        assert!(!table().contains("10.5.0.2"), "{}", table());
        machine.call("DEL", "firewall", &config("none")).expect("withdrawn");
        assert!(!std::path::Path::new("/run/loam/cni/admissions/one:eth0").exists());
    });
}

#[test]
fn a_second_add_with_another_backend_leaves_nothing_of_the_first() {
    inside("firewall::a_second_add_with_another_backend_leaves_nothing_of_the_first", || {
        let sources = Arc::new(Mutex::new(Vec::new()));
        play_firewalld(&sources);
        let machine = Machine::new(None);
        let previous = machine.attach();
        let config = |backend: &str| Machine::chained("firewall", &previous, &json!({ "backend": backend }));
        // Who lets the container through: iptables, firewalld, our table, a note.
        let backends = || {
            let note = std::path::Path::new("/run/loam/cni/unmanaged/firewall:one:eth0").exists();
            let ruleset = machine.host.command(&["nft", "list", "ruleset"]);
            let table = ruleset.split("table inet loam").nth(1).unwrap_or_default();
            let mut found = Vec::new();
            for (name, is_there) in [
                ("iptables", rules(&machine, "iptables").concat().contains("10.5.0.2")),
                ("ip6tables", rules(&machine, "ip6tables").concat().contains("fd05::2")),
                ("firewalld", !sources.lock().expect("not poisoned").is_empty()),
                ("nftables", table.contains("10.5.0.2")),
                ("none", note),
            ] {
                found.extend(is_there.then_some(name));
            }
            found
        };
        let order = [
            "iptables",
            "nftables",
            "firewalld",
            "iptables",
            "none",
            "firewalld",
            "nftables",
            "none",
            "iptables",
        ];
        for backend in order {
            machine.call("ADD", "firewall", &config(backend)).expect("let through");
            let wanted = if backend == "iptables" { vec!["iptables", "ip6tables"] } else { vec![backend] };
            assert_eq!(backends(), wanted);
            machine.call("CHECK", "firewall", &config(backend)).expect("let through");
        }
        // One address less is one less with the same backend, too.
        let mut less = previous.clone();
        less["ips"].as_array_mut().expect("addresses").pop();
        let only_four = Machine::chained("firewall", &less, &json!({ "backend": "iptables" }));
        machine.call("ADD", "firewall", &only_four).expect("let through");
        assert_eq!(backends(), ["iptables"]);
        machine.call("ADD", "firewall", &config("iptables")).expect("let through");

        // As a caller leaves it that is killed before it has taken back what was: GC and DEL find both.
        let path = "/run/loam/cni/admissions/one:eth0";
        for verb in ["GC", "DEL"] {
            machine.call("ADD", "firewall", &config("iptables")).expect("let through");
            let first: Value = serde_json::from_slice(&std::fs::read(path).expect("there")).expect("JSON");
            machine.host.command(&["sh", "-c", "iptables-save > /run/4; ip6tables-save > /run/6"]);
            machine.call("ADD", "firewall", &config("nftables")).expect("let through");
            machine.host.command(&["sh", "-c", "iptables-restore /run/4; ip6tables-restore /run/6"]);
            let mut killed: Value =
                serde_json::from_slice(&std::fs::read(path).expect("there")).expect("JSON");
            killed["outdated"] = json!([first["elsewhere"]]);
            std::fs::write(path, killed.to_string()).expect("writable");
            assert_eq!(backends(), ["iptables", "ip6tables", "nftables"]);
            let mut bare = json!({ "cniVersion": "1.1.0", "name": "net", "type": "firewall" });
            bare["cni.dev/valid-attachments"] = json!([]);
            machine.call(verb, "firewall", &bare).expect("taken back");
            assert_eq!(backends(), Vec::<&str>::new(), "{verb}");
            assert!(!std::path::Path::new(path).exists());
        }
    });
}
