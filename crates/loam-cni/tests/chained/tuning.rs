//! `tuning`.

use loam_testkit::lab::inside;
use serde_json::{Value, json};

use crate::machine::{Machine, read, reference};

fn state(machine: &Machine) -> Value {
    let link = read(&machine.container, &["ip", "-j", "-d", "link", "show", "dev", "eth0"]).remove(0);
    let sysctls = ["net.ipv4.conf.eth0.arp_notify", "net.core.somaxconn"];
    let values = sysctls
        .map(|key| machine.container.command(&["cat", &format!("/proc/sys/{}", key.replace('.', "/"))]));
    json!([link["mtu"], link["promiscuity"], link["allmulti"], link["txqlen"], link["flags"], values])
}

fn mac(machine: &Machine) -> Value {
    read(&machine.container, &["ip", "-j", "link", "show", "dev", "eth0"]).remove(0)["address"].clone()
}

#[test]
fn settings_are_the_reference_s_and_are_restored() {
    let name = "tuning::settings_are_the_reference_s_and_are_restored";
    inside(name, || {
        let Some(reference) = reference(name) else { return };
        let all = json!({
            "mac": "c2:11:22:33:44:55", "mtu": 1402, "promisc": true, "allmulti": true,
            "sysctl": { "net.core.somaxconn": "500", "net.ipv4.conf.eth0.arp_notify": "0" },
        });
        let added = json!({
            "mtu": 1300, "sysctl": {}, "mac": "c2:11:22:33:44:01", "runtimeConfig": { "mac": "c2:11:22:33:44:02" },
            "args": { "cni": { "mtu": 1301, "sysctl": { "net.core.somaxconn": "501" } } },
        });
        for case in [all, added, json!({})] {
            let (ours, theirs) = (Machine::new(None), Machine::new(Some(&reference)));
            let mut seen = Vec::new();
            for machine in [&ours, &theirs] {
                let previous = machine.attach();
                let (before, mac_before) = (state(machine), mac(machine));
                let mut config = Machine::chained("tuning", &previous, &case);
                config["dataDir"] = json!(machine.directory.path().join("tuning"));
                let result = machine.call("ADD", "tuning", &config).expect("tuned");
                let mut after = state(machine);
                // The bridge plugin's matter, as the packaged release knows no key for it.
                after[3] = Value::Null;
                let macs = if mac(machine) == mac_before {
                    [Value::Null, Value::Null]
                } else {
                    [mac(machine), result["interfaces"][2]["mac"].clone()]
                };
                config["prevResult"] = result;
                machine.call_ours("CHECK", "tuning", &config).expect("as it was set");
                machine.call("CHECK", "tuning", &config).expect("as it was set");
                // Ours reads what the reference kept.
                machine.call_ours("DEL", "tuning", &config).expect("restored");
                machine.call("DEL", "tuning", &config).expect("idempotent");
                assert_eq!(mac(machine), mac_before, "{case}");
                let restored = state(machine);
                for part in 0..5 {
                    assert_eq!(restored[part], before[part], "{case}: part {part}");
                }
                let left =
                    std::fs::read_dir(machine.directory.path().join("tuning")).map_or(0, Iterator::count);
                assert_eq!(left, 0, "{case}");
                seen.push((after, macs));
            }
            assert_eq!(seen[0], seen[1], "{case}");
        }
    });
}

#[test]
fn the_queue_s_length_is_set_and_restored() {
    inside("tuning::the_queue_s_length_is_set_and_restored", || {
        let machine = Machine::new(None);
        let mut config = Machine::chained(
            "tuning",
            &machine.attach(),
            &json!({ "txQLen": 77, "sysctl": { "net.ipv4.conf.IFNAME.arp_notify": "0" } }),
        );
        config["dataDir"] = json!(machine.directory.path().join("tuning"));
        let length = || state(&machine)[3].clone();
        let before = length();
        machine.call("ADD", "tuning", &config).expect("tuned");
        assert_eq!((length(), &state(&machine)[5][0]), (json!(77), &json!("0\n")));
        machine.call("CHECK", "tuning", &config).expect("as it was set");
        config["txQLen"] = json!(78);
        machine.call("CHECK", "tuning", &config).expect_err("it has another length");
        machine.call("DEL", "tuning", &config).expect("restored");
        assert_eq!(length(), before);
    });
}

#[test]
fn bad_settings_are_refused_and_change_nothing() {
    inside("tuning::bad_settings_are_refused_and_change_nothing", || {
        let machine = Machine::new(None);
        let previous = machine.attach();
        let before = state(&machine);
        let cases = [
            (json!({ "mac": "nonsense" }), 7),
            (json!({ "mac": "01:00:5e:00:00:01" }), 7),
            (json!({ "mtu": -1 }), 7),
            (json!({ "mtu": "big" }), 7),
            (
                json!({ "mtu": 1400, "txQLen": 9, "allmulti": true, "mac": "02:00:00:00:00:01", "sysctl": { "net.core.somaxconn": "7", "net.nowhere": "1" } }),
                5,
            ),
            (json!({ "promisc": true, "mtu": 10 }), 999),
            (json!({ "sysctl": { "kernel.hostname": "x" } }), 7),
            (json!({ "sysctl": { "net/../kernel/hostname": "x" } }), 7),
            (json!({ "sysctl": { "net.core.somaxconn": "many" } }), 5),
        ];
        for (keys, code) in cases {
            let mut config = Machine::chained("tuning", &previous, &keys);
            config["dataDir"] = json!(machine.directory.path().join("tuning"));
            let error = machine.call("ADD", "tuning", &config).expect_err("bad");
            assert_eq!(error["code"], code, "{keys}: {error}");
            assert_eq!(state(&machine), before, "{keys}");
            let left = std::fs::read_dir(machine.directory.path().join("tuning")).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{keys}");
        }
        let twice = format!(
            r#"{{"cniVersion":"1.0.0","name":"net","type":"tuning","prevResult":{previous},
                "sysctl":{{"net.core.somaxconn":"1","net.core.somaxconn":"2"}}}}"#
        );
        let error = machine.call_text("ADD", "tuning", &twice).expect_err("which of the two?");
        assert!(error["msg"].as_str().is_some_and(|text| text.contains("duplicated sysctl keys")), "{error}");
        machine.call_text("DEL", "tuning", &twice).expect("there is nothing to undo");
    });
}

#[test]
fn what_is_kept_for_the_dead_is_collected() {
    inside("tuning::what_is_kept_for_the_dead_is_collected", || {
        let machine = Machine::new(None);
        let kept = machine.directory.path().join("tuning");
        let mut config =
            Machine::chained("tuning", &machine.attach(), &json!({ "mtu": 1400, "dataDir": kept }));
        config["cniVersion"] = json!("1.1.0");
        machine.call("ADD", "tuning", &config).expect("tuned");
        std::fs::write(kept.join("foreign_eth0.json"), r#"{"mtu":1500}"#).expect("writable");
        let files = || std::fs::read_dir(&kept).expect("readable").count();
        config["cni.dev/valid-attachments"] = json!([{ "containerID": "one", "ifname": "eth0" }]);
        machine.call("GC", "tuning", &config).expect("nothing to do");
        assert_eq!(files(), 2);
        config["cni.dev/valid-attachments"] = json!([]);
        machine.call("GC", "tuning", &config).expect("collected");
        assert_eq!(files(), 1);
        assert!(kept.join("foreign_eth0.json").exists());
    });
}
