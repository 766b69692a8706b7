//! `portmap` behind `bridge`: ports that are published, taken, and withdrawn with no more than the attachment's name.

use serde_json::json;

use crate::case::Case;
use crate::lab::{Lab, Way};
use crate::run_three_ways;

#[test]
fn ports_are_published_and_withdrawn() {
    loam_testkit::lab::inside("ports::ports_are_published_and_withdrawn", || {
        let lab = Lab::new(Way::Program);
        let path = lab.container.path().display().to_string();
        let call = |verb: &str, container: &str, namespace: &str, config: &serde_json::Value| {
            lab.call(verb, container, namespace, "", config)
        };
        let bridge = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0",
            "isDefaultGateway": true, "ipMasq": true,
            "ipam": {
                "type": "host-local", "dataDir": lab.directory.path().join("addresses"),
                "ranges": [[{ "subnet": "10.5.0.0/24" }], [{ "subnet": "fd05::/64" }]],
            },
        });
        let result = call("ADD", "one", &path, &bridge).expect("attachable");
        let mut ports = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "portmap", "prevResult": result,
            "runtimeConfig": { "portMappings": [
                { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
                { "hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "127.0.0.1" },
            ] },
        });
        assert_eq!(call("ADD", "one", &path, &ports).expect("published"), result);
        call("CHECK", "one", &path, &ports).expect("published");
        lab.container.serve_tcp("0.0.0.0:80");
        let loopback = "127.0.0.1:8080".parse().expect("valid");
        assert!(lab.host.ask_tcp(loopback).is_some());
        let error = call("ADD", "two", &path, &ports).expect_err("taken");
        assert_eq!(error["code"], 101, "{error}");
        assert!(error["msg"].as_str().is_some_and(|text| text.contains("is taken by `one eth0`")), "{error}");
        // DEL without anything but the name of the attachment.
        ports
            .as_object_mut()
            .expect("an object")
            .retain(|key, _| key != "prevResult" && key != "runtimeConfig");
        call("DEL", "one", "", &ports).expect("withdrawn");
        assert!(lab.host.ask_tcp(loopback).is_none());
        assert!(!lab.host.command(&["nft", "list", "table", "inet", "loam"]).contains("comment"));
        call("STATUS", "", "", &ports).expect("ready");
    });
}

#[test]
fn a_chain_without_ports_passes_through() {
    let bridge = json!({
        "type": "bridge", "bridge": "br0", "isDefaultGateway": true,
        "ipam": {
            "type": "host-local", "dataDir": "{DIR}/addresses", "ranges": [[{ "subnet": "10.5.0.0/24" }]],
        },
    });
    run_three_ways(
        "ports::a_chain_without_ports_passes_through",
        &[Case::new("no ports", bridge).then(json!({ "type": "portmap", "snat": true }))],
    );
}
