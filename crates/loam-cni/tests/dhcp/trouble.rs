//! Servers that are not there, refuse, or lie; callers that go away.

use std::path::Path;
use std::time::{Duration, Instant};

use loam_testkit::lab::{Sandbox, eventually, inside};
use serde_json::json;

use crate::lab::{Lab, PROGRAM};
use crate::server::{Liar, Lie};

fn patient(seconds: u64) -> Lab {
    let mut lab = Lab::new();
    lab.settings.leases.patience = Duration::from_secs(seconds);
    lab
}

/// An answer with a server, a mask and an hour.
fn answer(kind: u8, yours: [u8; 4], more: &[u8]) -> Lie {
    let mut options = vec![53, 1, kind, 54, 4, 10, 5, 0, 1, 1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 14, 16];
    options.extend(more);
    options.push(255);
    (options, yours)
}

#[test]
fn without_a_server_there_is_one_sentence_in_time() {
    inside("trouble::without_a_server_there_is_one_sentence_in_time", || {
        let lab = patient(3);
        let container = Sandbox::new();
        let begun = Instant::now();
        let error = lab.add("one", &container).expect_err("nobody is there");
        assert_eq!(error.message, "dhcp: no lease for `one/net/eth0`: no DHCP server answered");
        assert!((3..9).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        lab.ends_clean();
        assert!(!container.command(&["ip", "-o", "link"]).contains("eth0"), "the link is left");
    });
}

#[test]
fn a_server_that_refuses_is_quoted() {
    inside("trouble::a_server_that_refuses_is_quoted", || {
        let lab = patient(3);
        let _server = Liar::new(&lab.host, |kind| match kind {
            1 => vec![answer(2, [10, 5, 0, 9], &[])],
            3 => vec![answer(6, [0; 4], b"\x38\x07go away")],
            _ => vec![],
        });
        let error = lab.add("one", &Sandbox::new()).expect_err("refused");
        assert_eq!(
            error.message,
            "dhcp: no lease for `one/net/eth0`: the DHCP server refused address `10.5.0.9`: go away"
        );
        lab.ends_clean();
    });
}

#[test]
fn lies_are_passed_over() {
    inside("trouble::lies_are_passed_over", || {
        let lab = patient(20);
        // Before each sound answer come some that are not: broken options, addresses that nobody can have, another's.
        let server = Liar::new(&lab.host, |kind| {
            let broken = (vec![53, 1, 2, 12, 200, 1], [10, 5, 0, 9]);
            match kind {
                1 => vec![
                    broken,
                    (vec![], [10, 5, 0, 9]),
                    answer(2, [255, 255, 255, 255], &[]),
                    answer(2, [0, 0, 0, 0], &[]),
                    answer(5, [10, 5, 0, 9], &[]),
                    answer(2, [10, 5, 0, 9], &[]),
                ],
                3 => vec![
                    broken,
                    answer(5, [10, 5, 0, 10], &[]),
                    (vec![53, 1, 5, 54, 4, 10, 5, 0, 77], [10, 5, 0, 9]),
                    answer(5, [10, 5, 0, 9], &[3, 4, 10, 5, 0, 1, 121, 3, 99, 1, 2]),
                ],
                _ => vec![],
            }
        });
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        assert_eq!(result["ips"][0]["address"], "10.5.0.9/24");
        assert_eq!(result["routes"], json!([{ "dst": "0.0.0.0/0", "gw": "10.5.0.1" }]));
        lab.del("one", Some(&container.path())).expect("given back");
        drop(server);
        lab.ends_clean();

        let _server = Liar::new(&lab.host, |kind| match kind {
            1 => vec![answer(2, [10, 5, 0, 9], &[])],
            3 => vec![(vec![53, 1, 5, 54, 4, 10, 5, 0, 1, 255], [10, 5, 0, 9])],
            _ => vec![],
        });
        let error = lab.add("one", &container).expect_err("unusable");
        assert!(error.message.ends_with("DHCP option Subnet Mask not found in DHCPACK"), "{error}");
        lab.ends_clean();
    });
}

#[test]
fn a_caller_that_goes_takes_its_request_along() {
    inside("trouble::a_caller_that_goes_takes_its_request_along", || {
        let lab = Lab::new();
        let container = Sandbox::new();
        let config = lab.config(&json!({}));
        let mut caller = lab.spawn(Path::new(PROGRAM), "ADD", "one", &container.path(), &config);
        eventually("it is asked for", || lab.log().contains("acquiring lease"));
        caller.kill().expect("it lives");
        caller.wait().expect("it was ours");
        eventually("the keeper has ended", || !lab.socket().exists());
        assert!(lab.records().is_empty());
        assert!(lab.log().contains("the caller is gone"), "{}", lab.log());
        lab.del("one", Some(&container.path())).expect("nothing to give back");
        lab.ends_clean();
    });
}

#[test]
fn an_interface_that_can_t_have_a_lease_is_named() {
    inside("trouble::an_interface_that_can_t_have_a_lease_is_named", || {
        let lab = patient(3);
        let container = Sandbox::new();
        let mut config = lab.config(&json!({}));
        config["type"] = json!("dhcp");
        let error = lab.call("ADD", "one", Some(&container.path()), &config).expect_err("no link");
        assert_eq!(error.message, "interface `eth0` does not exist");
        lab.ends_clean();
        // A keeper that can't be started.
        let mut lab = lab;
        lab.settings.leases.program = Some("/nowhere/loam-cni".into());
        let error = lab.add("one", &container).expect_err("no keeper");
        assert!(error.to_string().contains("/nowhere/loam-cni"), "{error}");
        lab.settings.leases.program = None;
        let error = lab.add("one", &container).expect_err("no keeper");
        assert!(error.to_string().contains("dhcp.sock"), "{error}");
        let error = lab.call("STATUS", "", None, &config).expect_err("no keeper");
        assert_eq!(error.code, 50, "{error}");
        lab.del("one", Some(&container.path())).expect("there is nothing");
        // What ADD refuses has nothing to undo.
        let refused = lab.config(&json!({ "daemonSocketPath": "x", "priority": -1 }));
        lab.call("ADD", "one", Some(&container.path()), &refused).expect_err("refused");
        lab.call("DEL", "one", Some(&container.path()), &refused).expect("there is nothing");
        lab.ends_clean();
    });
}
