//! Configurations that are wrong or hostile: the error's code, and that nothing was made.

use serde_json::{Value, json};

use crate::lab::{CONTAINER, Lab, Way};
use crate::state;

const UPLINK: &str = "ip link add up0 type veth peer name far0; ip link set up0 up";

#[test]
fn wrong_values_are_named_and_nothing_is_made() {
    loam_testkit::lab::inside("bad_input::wrong_values_are_named_and_nothing_is_made", || {
        let lab = Lab::new(Way::Function);
        lab.host_script(UPLINK);
        let before = (state::lines(&lab.host), state::lines(&lab.container));
        let path = lab.container.path().display().to_string();
        let fixed = json!({ "type": "static", "addresses": [{ "address": "10.5.0.2/24" }] });
        let cases = [
            (json!({ "type": "macvlan", "master": "sixteen-letters-" }), 7, "sixteen-letters-"),
            (json!({ "type": "macvlan", "master": "up0", "mtu": -1 }), 7, "`mtu` -1"),
            (json!({ "type": "macvlan", "master": "up0", "mtu": 1_000_000 }), 7, "`mtu` 1000000"),
            (json!({ "type": "macvlan", "master": "up0", "mtu": "big" }), 7, "big"),
            (json!({ "type": "macvlan", "master": "up0", "mode": "../x" }), 7, "../x"),
            (
                json!({ "type": "macvlan", "master": "up0", "mac": "01:00:5e:00:00:01" }),
                7,
                "01:00:5e:00:00:01",
            ),
            (json!({ "type": "macvlan", "master": "nowhere" }), 7, "master `nowhere` does not exist"),
            (json!({ "type": "macvlan" }), 7, "`master` is missing"),
            (json!({ "type": "macvlan", "master": "up0", "ipam": { "type": "../../sh" } }), 7, "../../sh"),
            (json!({ "type": "ipvlan", "master": "up0", "mode": "l4", "ipam": fixed }), 7, "l4"),
            (json!({ "type": "ipvlan", "master": "up0" }), 7, "`ipam.type` is missing"),
            (json!({ "type": "vlan", "master": "up0", "vlanId": 4095, "ipam": fixed }), 7, "`vlanId` 4095"),
            (json!({ "type": "vlan", "master": "up0", "vlanId": -1, "ipam": fixed }), 7, "`vlanId` -1"),
            (json!({ "type": "vlan", "master": "up0", "vlanId": 7 }), 7, "`ipam.type` is missing"),
            (json!({ "type": "vlan", "vlanId": 7, "ipam": fixed }), 7, "`master` is missing"),
            (json!({ "type": "dummy" }), 7, "`ipam.type` is missing"),
            (json!({ "type": "ptp" }), 7, "`ipam.type` is missing"),
            (json!({ "type": "ptp", "ipam": fixed }), 7, "address `10.5.0.2/24` has no gateway"),
            (json!({ "type": "ptp", "ipMasqBackend": "ebtables", "ipam": fixed }), 2, "ipMasqBackend"),
            (
                json!({ "type": "static", "ipam": { "addresses": [{ "address": "10.5.0.2" }] } }),
                7,
                "10.5.0.2",
            ),
        ];
        for (mut config, code, named) in cases {
            config["name"] = json!("net");
            config["cniVersion"] = json!("1.1.0");
            let error: Value = lab.call("ADD", CONTAINER, &path, "", &config).expect_err("refused");
            assert_eq!(error["code"], code, "{config}: {error}");
            assert!(error.to_string().contains(named), "{config}: {error}");
            assert_eq!((state::lines(&lab.host), state::lines(&lab.container)), before, "{config}");
        }
    });
}
