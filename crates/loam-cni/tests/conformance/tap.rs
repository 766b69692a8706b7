//! `tap`: a link whose other end a virtual machine opens. Debian's package does not have it yet.

use serde_json::{Value, json};

use crate::case::{Case, Step};
use crate::lab::{CONTAINER, Lab, Way};
use crate::{run_three_ways, state};

fn tap(extra: &Value) -> Value {
    let mut config = json!({ "type": "tap" });
    for (key, value) in extra.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

fn case(title: &'static str, config: Value) -> Case {
    Case::new(title, config).version("1.1.0").steps(&[
        Step::Status,
        Step::Add,
        Step::Add,
        Step::Check,
        Step::Gc(&[]),
        Step::Del,
        Step::Check,
        Step::Del,
        Step::DelBlind,
    ])
}

#[test]
fn lives() {
    let fixed = json!({ "type": "static", "addresses": [{ "address": "10.5.0.2/24" }] });
    run_three_ways(
        "tap::lives",
        &[
            case("plain", tap(&json!({}))),
            case("with addresses", tap(&json!({ "mtu": 1400, "ipam": fixed }))),
            case("an ADD that was killed", tap(&json!({}))).killed(),
            case("no such bridge", tap(&json!({ "bridge": "br0" }))),
        ],
    );
}

#[test]
fn keys_are_obeyed() {
    loam_testkit::lab::inside("tap::keys_are_obeyed", || {
        let lab = Lab::new(Way::Program);
        lab.container_script("ip link add br0 type bridge");
        let mut config = tap(&json!({
            "multiQueue": true, "owner": 61000, "group": 61001, "mac": "0e:00:00:00:00:07", "bridge": "br0",
        }));
        config["name"] = json!("net");
        config["cniVersion"] = json!("1.1.0");
        let path = lab.container.path().display().to_string();
        let result = lab.call("ADD", CONTAINER, &path, "", &config).expect("attachable");
        assert_eq!(result["interfaces"][0]["mac"], "0e:00:00:00:00:07");
        let lines = state::lines(&lab.container);
        let wanted = "link eth0 tun up mtu 1500 mac 0e:00:00:00:00:07 master br0";
        let line = lines.iter().find(|line| line.starts_with(wanted)).expect("it is there");
        for detail in ["type tap", "persist true", "user 61000", "group 61001", "multi_queue true"] {
            assert!(line.contains(detail), "{detail}: {line}");
        }
        lab.call("DEL", CONTAINER, &path, "", &config).expect("detachable");
        config["selinuxContext"] = json!("system_u:system_r:container_t:s0");
        let error = lab.call("ADD", CONTAINER, &path, "", &config).expect_err("refused");
        assert_eq!(error["code"], 2, "{error}");
        assert!(!state::lines(&lab.container).iter().any(|line| line.contains("eth0")));
    });
}
