//! A keeper whose socket's name is taken away, and one that sees other paths than the keeper before it.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Child;

use loam_testkit::lab::{Sandbox, eventually, succeed};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::server::with_dnsmasq;

/// Ends a process by a signal.
fn end(mut child: Child, signal: Signal) {
    kill_process(Pid::from_child(&child), signal).expect("it lives");
    child.wait().expect("it was ours");
}

#[test]
fn one_whose_socket_another_has_replaced_hands_over() {
    with_dnsmasq("reach::one_whose_socket_another_has_replaced_hands_over", &[], |lab, server| {
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        let other = lab.directory.path().join("other");
        let listener = UnixListener::bind(&other).expect("free");
        fs::rename(&other, lab.socket()).expect("in one step");
        eventually("the keeper has ended", || lab.log().contains("another socket has taken the place"));
        assert!(lab.socket().exists(), "it is another's");
        assert_eq!((lab.records().len(), server.said("DHCPRELEASE")), (1, 0));
        // Nobody listens any more, and the next keeper goes on.
        drop(listener);
        lab.check("one", &container, &result).expect("it is held still");
        lab.del("one", Some(&container.path())).expect("given back");
        eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
        lab.ends_clean();
    });
}

#[test]
fn one_whose_socket_is_gone_listens_anew() {
    with_dnsmasq("reach::one_whose_socket_is_gone_listens_anew", &[], |lab, _server| {
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        let keeper = lab.keeper().expect("it listens");
        fs::remove_file(lab.socket()).expect("there");
        eventually("it listens anew", || UnixStream::connect(lab.socket()).is_ok());
        eventually("it says so", || lab.log().contains("listening anew"));
        assert_eq!(lab.keeper(), Some(keeper));
        // Everything of its, lock and leases too.
        fs::remove_dir_all(lab.directory.path().join("dhcp.sock.leases")).expect("there");
        eventually("what it holds is there again", || lab.records().len() == 1);
        lab.check("one", &container, &result).expect("it is held still");
        assert_eq!(lab.keeper(), Some(keeper));
        lab.kill_keeper();
        lab.check("one", &container, &result).expect("its successor goes on");
        lab.del("one", Some(&container.path())).expect("given back");
        lab.ends_clean();
    });
}

#[test]
fn one_without_the_prefix_of_the_one_before_goes_on() {
    with_dnsmasq("reach::one_without_the_prefix_of_the_one_before_goes_on", &[], |lab, server| {
        let container = Sandbox::new();
        let prefix = lab.directory.path().display().to_string();
        std::os::unix::fs::symlink("/proc", lab.directory.path().join("proc")).expect("free");
        let daemon = lab.daemon(&[], &["-hostprefix", &prefix, "-socketpath", "/dhcp.sock"]);
        let result = lab.add("one", &container).expect("leased");
        end(daemon, Signal::KILL);
        // With the prefix there would be nothing.
        fs::remove_file(lab.directory.path().join("proc")).expect("there");
        lab.check("one", &container, &result).expect("it is held still");
        lab.del("one", Some(&container.path())).expect("given back");
        eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
        lab.ends_clean();
    });
}

#[test]
fn one_that_can_t_see_a_namespace_leaves_the_lease_to_one_that_can() {
    with_dnsmasq(
        "reach::one_that_can_t_see_a_namespace_leaves_the_lease_to_one_that_can",
        &[],
        |lab, server| {
            let container = Sandbox::new();
            let path = lab.directory.path().join("container");
            let shown = path.display().to_string();
            fs::write(&path, "").expect("writable");
            succeed(&["mount", "--bind", &container.path().display().to_string(), &shown]);
            let mut config = lab.config(&json!({}));
            let result = lab.call("ADD", "one", Some(&path), &config).expect("leased");
            config["prevResult"] = result;
            lab.kill_keeper();

            let script = "umount \"$1\"; shift; exec \"$@\"";
            let elsewhere = ["unshare", "--mount", "sh", "-ec", script, "sh", &shown];
            let socket = lab.socket().display().to_string();
            let daemon = lab.daemon(&elsewhere, &["-socketpath", &socket]);
            let error = lab.call("CHECK", "one", Some(&path), &config).expect_err("it is not held");
            assert!(error.message.contains("can't be seen from where this one is"), "{error}");
            assert_eq!((lab.records().len(), server.said("DHCPRELEASE")), (1, 0));
            end(daemon, Signal::TERM);

            lab.call("CHECK", "one", Some(&path), &config).expect("it is held still");
            lab.call("DEL", "one", Some(&path), &config).expect("given back");
            eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
            lab.ends_clean();

            // DEL and GC need not see it.
            for verb in ["DEL", "GC"] {
                lab.call("ADD", "one", Some(&path), &lab.config(&json!({}))).expect("leased");
                lab.kill_keeper();
                let daemon = lab.daemon(&elsewhere, &["-socketpath", &socket]);
                let mut config = lab.config(&json!({}));
                config["type"] = json!("dhcp");
                config["cni.dev/valid-attachments"] = json!([]);
                lab.call(verb, "one", Some(&path), &config).expect("forgotten");
                assert!(lab.records().is_empty());
                end(daemon, Signal::TERM);
                lab.call("DEL", "one", Some(&path), &lab.config(&json!({}))).expect("the link");
            }
            lab.ends_clean();
            succeed(&["umount", &shown]);
        },
    );
}
