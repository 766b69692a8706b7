//! `sbr`.

use loam_testkit::lab::inside;
use serde_json::{Value, json};

use crate::machine::{Machine, read, reference};

/// The rules, and the routes of all tables but the local one.
fn state(machine: &Machine) -> Vec<String> {
    let mut lines = Vec::new();
    for family in ["-4", "-6"] {
        for rule in read(&machine.container, &["ip", family, "-j", "rule"]) {
            lines.push(format!(
                "rule {} {} {} {}",
                rule["priority"], rule["src"], rule["srclen"], rule["table"]
            ));
        }
        for route in read(&machine.container, &["ip", family, "-j", "route", "show", "table", "all"]) {
            if route["table"] != "local" {
                let part = |key: &str| route.get(key).cloned().unwrap_or(Value::Null);
                lines.push(format!(
                    "{family} {} via {} src {} table {} scope {} metric {} proto {}",
                    part("dst"),
                    part("gateway"),
                    part("prefsrc"),
                    part("table"),
                    part("scope"),
                    part("metric"),
                    part("protocol"),
                ));
            }
        }
    }
    lines.sort();
    lines
}

#[test]
fn tables_and_rules_are_the_reference_s() {
    let name = "sbr::tables_and_rules_are_the_reference_s";
    inside(name, || {
        let Some(reference) = reference(name) else { return };
        // The old release that is packaged does not know the key `table`.
        for (case, both) in [(json!({}), true), (json!({ "table": 4711 }), false)] {
            let (ours, theirs) = (Machine::new(None), Machine::new(Some(&reference)));
            let mut seen = Vec::new();
            for machine in [&ours, &theirs].into_iter().take(if both { 2 } else { 1 }) {
                let previous = machine.attach();
                let config = Machine::chained("sbr", &previous, &case);
                assert_eq!(machine.call("ADD", "sbr", &config).expect("routed"), previous);
                seen.push(state(machine));
                machine.call_ours("CHECK", "sbr", &config).expect("routed");
                assert!(machine.container.command(&["ip", "rule"]).contains("10.5.0.2"));
                machine.call("DEL", "sbr", &config).expect("removed");
                machine.call_ours("DEL", "sbr", &config).expect("idempotent");
                assert!(!machine.container.command(&["ip", "rule"]).contains("10.5.0.2"));
                machine.call_ours("CHECK", "sbr", &config).expect_err("there is no rule");
            }
            if both {
                assert_eq!(seen[0], seen[1], "{case}");
            } else {
                assert!(seen[0].iter().any(|line| line.contains("4711")), "{seen:?}");
            }
        }
    });
}

#[test]
fn gateways_and_source_hints_are_taken() {
    inside("sbr::gateways_and_source_hints_are_taken", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let keys = json!({ "gateways": ["10.5.0.77"], "addSourceHints": true });
        machine.call("ADD", "sbr", &Machine::chained("sbr", &previous, &keys)).expect("routed");
        let main = machine.container.command(&["ip", "route", "show"]);
        assert!(main.contains("10.5.0.0/24 dev eth0 scope link src 10.5.0.2"), "{main}");
        assert!(!main.contains("default"), "{main}");
        let table = machine.container.command(&["ip", "route", "show", "table", "100"]);
        assert!(table.contains("10.5.0.0/24") && table.contains("default via 10.5.0."), "{table}");
        for bad in [
            json!({ "gateways": ["x"] }),
            json!({ "gateways": ["10.5.0.1", "10.5.0.2"] }),
            json!({ "table": -1 }),
        ] {
            let error =
                machine.call("ADD", "sbr", &Machine::chained("sbr", &previous, &bad)).expect_err("bad");
            assert_eq!(error["code"], 7, "{bad}: {error}");
        }
    });
}

#[test]
fn a_change_that_fails_leaves_the_routes() {
    inside("sbr::a_change_that_fails_leaves_the_routes", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let before = state(&machine);
        // No such neighbour: the kernel refuses the default route.
        let keys = json!({ "gateways": ["192.0.2.1"] });
        let error =
            machine.call("ADD", "sbr", &Machine::chained("sbr", &previous, &keys)).expect_err("unreachable");
        assert!(error["msg"].as_str().is_some_and(|text| text.contains("192.0.2.1")), "{error}");
        assert_eq!(state(&machine), before);
    });
}
