//! Leases of real servers: taken, shown, renewed, given back.

use loam_testkit::lab::{Sandbox, eventually};
use serde_json::json;

use crate::lab::address;
use crate::server::{with_dnsmasq, with_udhcpd};

#[test]
fn an_address_is_leased_checked_and_given_back() {
    with_dnsmasq(
        "lease::an_address_is_leased_checked_and_given_back",
        &["--dhcp-option=3,10.5.0.1"],
        |lab, server| {
            let container = Sandbox::new();
            let result = lab.add("one", &container).expect("leased");
            let leased = address(&result);
            assert!(leased.starts_with("10.5.0.5") && leased.ends_with("/24"), "{leased}");
            assert_eq!(result["ips"][0]["gateway"], "10.5.0.1");
            assert_eq!(result["routes"], json!([{ "dst": "0.0.0.0/0", "gw": "10.5.0.1" }]));
            // The client identifier of the reference: type 0, then container, network and interface.
            let identifier: String = "\0one/net/eth0".bytes().map(|byte| format!(":{byte:02x}")).collect();
            let leases = std::fs::read_to_string(lab.directory.path().join("dnsmasq.leases")).expect("there");
            assert!(leases.contains(&identifier[1..]), "{leases}");
            container.command(&["busybox", "ping", "-c", "1", "-W", "5", "10.5.0.1"]);

            lab.check("one", &container, &result).expect("as it was made");
            // Who asks again is told what is held, without asking the server.
            let asked = server.said("DHCPREQUEST");
            let mut alone = lab.config(&json!({}));
            alone["type"] = json!("dhcp");
            let again = lab.call("ADD", "one", Some(&container.path()), &alone).expect("held");
            assert_eq!((address(&again), server.said("DHCPREQUEST")), (leased, asked));
            lab.del("one", Some(&container.path())).expect("given back");
            eventually("the server has it back", || server.said("DHCPRELEASE") > 0);
            lab.check("one", &container, &result).expect_err("given back");
            lab.del("one", Some(&container.path())).expect("nothing to do");
            lab.ends_clean();
        },
    );
}

#[test]
fn routes_and_their_metric_are_the_server_s() {
    let more = [
        "--dhcp-option=3,10.5.0.1",
        "--dhcp-option-force=121,0.0.0.0/0,10.5.0.2,172.16.0.0/12,10.5.0.3,192.0.2.7/32,0.0.0.0",
    ];
    with_dnsmasq("lease::routes_and_their_metric_are_the_server_s", &more, |lab, _server| {
        let container = Sandbox::new();
        let config = lab.config(&json!({
            "priority": 77,
            "request": [{ "skipDefault": true }, { "option": "subnet-mask" }, { "option": "121" }],
        }));
        let result = lab.call("ADD", "one", Some(&container.path()), &config).expect("leased");
        assert_eq!(
            result["routes"],
            json!([
                { "dst": "0.0.0.0/0", "gw": "10.5.0.2", "priority": 77 },
                { "dst": "172.16.0.0/12", "gw": "10.5.0.3", "priority": 77 },
                { "dst": "192.0.2.7/32", "gw": "0.0.0.0", "priority": 77, "scope": 253 },
            ])
        );
        let routes = container.command(&["ip", "route"]);
        for wanted in [
            "default via 10.5.0.2 dev eth0 metric 77",
            "172.16.0.0/12 via 10.5.0.3 dev eth0 metric 77",
            "192.0.2.7 dev eth0 scope link metric 77",
        ] {
            assert!(routes.contains(wanted), "{routes}");
        }
        lab.check("one", &container, &result).expect("as it was made");
        lab.del("one", Some(&container.path())).expect("given back");
        lab.ends_clean();
    });
}

#[test]
fn a_lease_is_renewed_and_ends_when_nobody_renews_it() {
    with_udhcpd("lease::a_lease_is_renewed_and_ends_when_nobody_renews_it", 4, |lab, server| {
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        // The lease would be over.
        eventually("it was renewed twice", || lab.log().matches("lease renewed").count() >= 2);
        assert!(server.said("sending ACK") >= 3);
        lab.check("one", &container, &result).expect("it is held");

        drop(server);
        let up = || container.command(&["ip", "-o", "link", "show", "dev", "eth0"]).contains("state UP");
        assert!(up());
        eventually("the link is down", || !up());
        let error = lab.check("one", &container, &result).expect_err("it is over");
        assert!(error.message.contains("is over: no DHCP server has renewed it"), "{error}");
        // Nobody is needed to remember it.
        eventually("the keeper has ended", || !lab.socket().exists());
        assert_eq!(lab.records().len(), 1);
        lab.del("one", Some(&container.path())).expect("given back");
        lab.ends_clean();
    });
}

#[test]
fn containers_that_die_give_their_leases_back() {
    with_dnsmasq("lease::containers_that_die_give_their_leases_back", &[], |lab, server| {
        let (one, two, three) = (Sandbox::new(), Sandbox::new(), Sandbox::new());
        for (id, container) in [("one", &one), ("two", &two), ("three", &three)] {
            lab.add(id, container).expect("leased");
        }
        // DEL without the namespace, and GC without the container.
        one.end();
        lab.del("one", None).expect("given back");
        eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
        two.end();
        let mut config = lab.config(&json!({}));
        config["cni.dev/valid-attachments"] = json!([{ "containerID": "three", "ifname": "eth0" }]);
        lab.call("GC", "", None, &config).expect("collected");
        eventually("the server has both back", || server.said("DHCPRELEASE") == 2);
        assert_eq!(lab.records().len(), 1);
        // Another network's collection leaves it alone.
        config["name"] = json!("other");
        config["cni.dev/valid-attachments"] = json!([]);
        config["bridge"] = json!("br1");
        lab.call("GC", "", None, &config).expect("collected");
        assert_eq!(lab.records().len(), 1);
        lab.del("three", Some(&three.path())).expect("given back");
        lab.ends_clean();
    });
}

#[test]
fn a_container_that_dies_without_a_word_is_let_go() {
    with_udhcpd("lease::a_container_that_dies_without_a_word_is_let_go", 4, |lab, server| {
        let container = Sandbox::new();
        lab.add("one", &container).expect("leased");
        container.end();
        // The keeper has the namespace open, and looks at the latest when the lease must be renewed.
        assert_eq!(lab.records().len(), 1);
        lab.ends_clean();
        assert!(lab.log().contains("lease released"), "{}", lab.log());
        assert!(server.said("sending ACK") == 1, "it was renewed");
    });
}
