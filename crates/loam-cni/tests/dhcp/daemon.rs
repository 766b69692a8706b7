//! `loam-cni dhcp daemon`: a keeper that an administrator starts, or systemd.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use loam_testkit::lab::{Sandbox, eventually, inside};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::lab::{Lab, PROGRAM};
use crate::server::with_dnsmasq;

/// Ends a process by SIGTERM; gives whether it ended well.
fn terminate(mut child: Child) -> bool {
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it lives");
    child.wait().expect("it was ours").success()
}

fn listens(lab: &Lab) {
    eventually("the daemon listens", || UnixStream::connect(lab.socket()).is_ok());
}

#[test]
fn it_stays_without_leases_and_leaves_them_to_the_next() {
    with_dnsmasq("daemon::it_stays_without_leases_and_leaves_them_to_the_next", &[], |mut lab, server| {
        lab.settings.leases.program = None;
        let pid_file = lab.directory.path().join("pid");
        let start = |lab: &Lab| {
            let child = Command::new(PROGRAM)
                .args(["dhcp", "daemon", "-socketpath"])
                .arg(lab.socket())
                .arg(format!("-pidfile={}", pid_file.display()))
                .stderr(Stdio::null())
                .spawn()
                .expect("it runs");
            listens(lab);
            child
        };
        let daemon = start(&lab);
        eventually("its id is written", || {
            fs::read_to_string(&pid_file).is_ok_and(|text| text == daemon.id().to_string())
        });
        lab.call("STATUS", "", None, &lab.config(&json!({}))).expect("somebody is there");
        let second = Command::new(PROGRAM)
            .args(["dhcp", "daemon", "-socketpath"])
            .arg(lab.socket())
            .output()
            .expect("it runs");
        assert_eq!(second.status.code(), Some(1));
        let told = String::from_utf8_lossy(&second.stderr);
        assert!(told.contains("listens on") && told.contains("already"), "{told}");

        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        assert!(terminate(daemon));
        assert!(!lab.socket().exists() && !pid_file.exists());
        assert_eq!(server.said("DHCPRELEASE"), 0);
        let error = lab.check("one", &container, &result).expect_err("nobody is there");
        assert!(error.message.contains("error dialing DHCP daemon"), "{error}");

        let daemon = start(&lab);
        lab.check("one", &container, &result).expect("it is held still");
        lab.del("one", Some(&container.path())).expect("given back");
        eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
        lab.call("STATUS", "", None, &lab.config(&json!({}))).expect("it stays");
        assert!(terminate(daemon));
        lab.ends_clean();
    });
}

/// Starts a daemon as systemd does, with sockets that are all this one.
fn activated(listener: &UnixListener, count: &str) -> Child {
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$; LISTEN_FDS=$1; export LISTEN_PID LISTEN_FDS; \
                  exec \"$2\" dhcp daemon -socketpath /nowhere/else";
    let socket = OwnedFd::from(listener.try_clone().expect("duplicated"));
    Command::new("sh")
        .args(["-c", script, "sh", count, PROGRAM])
        .stdin(socket)
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh runs")
}

#[test]
fn one_that_systemd_listens_for_has_its_leases_on_disk_again() {
    let name = "daemon::one_that_systemd_listens_for_has_its_leases_on_disk_again";
    with_dnsmasq(name, &[], |lab, server| {
        let listener = UnixListener::bind(lab.socket()).expect("bound");
        let daemon = activated(&listener, "1");
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        fs::remove_dir_all(lab.directory.path().join("dhcp.sock.leases")).expect("there");
        assert!(terminate(daemon));
        assert_eq!((lab.records().len(), server.said("DHCPRELEASE")), (1, 0));
        let daemon = activated(&listener, "1");
        lab.check("one", &container, &result).expect("it is held still");
        lab.del("one", Some(&container.path())).expect("given back");
        eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
        assert!(terminate(daemon));
        fs::remove_file(lab.socket()).expect("it is systemd's");
        lab.ends_clean();
    });
}

#[test]
fn systemd_may_listen_for_it() {
    inside("daemon::systemd_may_listen_for_it", || {
        let lab = Lab::new();
        let listener = UnixListener::bind(lab.socket()).expect("bound");
        let daemon = activated(&listener, "1");
        lab.call("STATUS", "", None, &lab.config(&json!({}))).expect("somebody is there");
        assert!(terminate(daemon));
        assert!(lab.socket().exists(), "the socket is not ours to remove");
        let output = activated(&listener, "2").wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("Too many (2) FDs passed through socket activation"), "{told}");
    });
}

#[test]
fn the_reference_s_plugin_and_daemon_are_told_apart_from_ours() {
    let name = "daemon::the_reference_s_plugin_and_daemon_are_told_apart_from_ours";
    let reference = ["/opt/cni/bin/dhcp", "/usr/lib/cni/dhcp"].map(Path::new);
    let Some(reference) = reference.into_iter().find(|path| path.exists()) else {
        println!("skipped: {name}: needs containernetworking-plugins");
        return;
    };
    inside(name, || {
        let lab = Lab::new();
        let container = Sandbox::new();
        let mut config = lab.config(&json!({}));
        config["cniVersion"] = json!("1.0.0");
        let daemon = Command::new(PROGRAM)
            .args(["dhcp", "daemon", "-socketpath"])
            .arg(lab.socket())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        listens(&lab);
        let theirs = lab.spawn(reference, "ADD", "one", &container.path(), &config);
        let output = theirs.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("501 this keeper of DHCP leases is Loam's"), "{told}");
        assert!(terminate(daemon));

        let mut daemon = lab
            .on_host(reference)
            .args(["daemon", "-socketpath"])
            .arg(lab.socket())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        listens(&lab);
        let error = lab.add("one", &container).expect_err("it speaks something else");
        assert!(error.message.contains("is not one of this plugin"), "{error}");
        let link = container.command(&["ip", "-o", "link"]);
        assert!(!link.contains("eth0"), "{link}");
        daemon.kill().expect("it lives");
        daemon.wait().expect("it was ours");
    });
}
