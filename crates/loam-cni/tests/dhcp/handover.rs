//! A keeper whose socket and directory were removed and made anew by somebody else: none of its leases is lost.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use loam_sys::HeldProcess;
use loam_testkit::lab::{LIMIT, Sandbox, eventually};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::json;

use crate::lab::Lab;
use crate::server::{with_dnsmasq, with_udhcpd};

/// A keeper that callers don't come to any more.
struct Former(HeldProcess);

impl Former {
    /// Has the keeper of a lab see nothing while everything of its is taken away and `after` happens.
    fn surprise(lab: &Lab, after: impl FnOnce()) -> Self {
        let keeper = lab.keeper().expect("it listens");
        let held = HeldProcess::new(keeper).expect("it can be held");
        let former = Self(held.expect("it lives"));
        former.signal(Signal::STOP);
        fs::remove_file(lab.socket()).expect("there");
        fs::remove_dir_all(leases(lab)).expect("there");
        after();
        former.signal(Signal::CONT);
        former
    }

    fn signal(&self, signal: Signal) {
        self.0.signal(signal.as_raw()).expect("it lives");
    }

    fn ends(&self) {
        assert!(self.0.ends_within(LIMIT).expect("it can be waited for"), "the former keeper stays");
    }
}

impl Drop for Former {
    /// Of a test that failed.
    fn drop(&mut self) {
        self.0.signal(Signal::KILL.as_raw()).unwrap_or_default();
    }
}

fn leases(lab: &Lab) -> PathBuf {
    lab.directory.path().join("dhcp.sock.leases")
}

/// Has the directory of leases as another keeper has it, and a socket that nobody answers at.
fn occupy(lab: &Lab) -> File {
    fs::create_dir(leases(lab)).expect("it was taken away");
    let lock = File::create(leases(lab).join("lock")).expect("writable");
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody has it");
    drop(UnixListener::bind(lab.socket()).expect("free"));
    lock
}

#[test]
fn the_keeper_that_callers_come_to_goes_on_with_them() {
    let name = "handover::the_keeper_that_callers_come_to_goes_on_with_them";
    with_dnsmasq(name, &[], |lab, server| {
        let (one, two) = (Sandbox::new(), Sandbox::new());
        let result = lab.add("one", &one).expect("leased");
        let former = Former::surprise(&lab, || drop(lab.add("two", &two).expect("leased by another")));
        former.ends();
        assert_eq!((lab.records().len(), server.said("DHCPRELEASE")), (2, 0), "{}", lab.log());
        lab.check("one", &one, &result).expect("it is held still");
        // It is on disk, too.
        lab.kill_keeper();
        lab.check("one", &one, &result).expect("it is held still");
        lab.del("one", Some(&one.path())).expect("given back");
        eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
        lab.del("two", Some(&two.path())).expect("given back");
        lab.ends_clean();
    });
}

#[test]
fn a_lease_that_was_asked_for_again_is_one() {
    with_dnsmasq("handover::a_lease_that_was_asked_for_again_is_one", &[], |lab, server| {
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        let mut config = lab.config(&json!({}));
        config["type"] = json!("dhcp");
        let former = Former::surprise(&lab, || {
            lab.call("ADD", "one", Some(&container.path()), &config).expect("leased again");
        });
        former.ends();
        assert_eq!((lab.records().len(), server.said("DHCPRELEASE")), (1, 0), "{}", lab.log());
        lab.check("one", &container, &result).expect("it is held still");
        lab.del("one", Some(&container.path())).expect("given back");
        lab.ends_clean();
    });
}

#[test]
fn where_no_keeper_is_they_lie_on_disk_for_the_next() {
    let name = "handover::where_no_keeper_is_they_lie_on_disk_for_the_next";
    with_dnsmasq(name, &[], |lab, server| {
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        let mut stranger = None;
        let former = Former::surprise(&lab, || {
            stranger = Some(UnixListener::bind(lab.socket()).expect("free"));
        });
        former.ends();
        assert_eq!((lab.records().len(), server.said("DHCPRELEASE")), (1, 0), "{}", lab.log());
        drop(stranger);
        lab.check("one", &container, &result).expect("it is held still");
        lab.del("one", Some(&container.path())).expect("given back");
        eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
        lab.ends_clean();
    });
}

#[test]
fn what_nobody_takes_is_renewed_and_given_back_at_the_end() {
    let name = "handover::what_nobody_takes_is_renewed_and_given_back_at_the_end";
    with_udhcpd(name, 8, |lab, _server| {
        let container = Sandbox::new();
        lab.add("one", &container).expect("leased");
        let mut lock = None;
        let former = Former::surprise(&lab, || lock = Some(occupy(&lab)));
        eventually("it says so", || lab.log().contains("leases are kept here still: nobody listens at"));
        eventually("it was renewed", || lab.log().contains("lease renewed"));
        assert!(lab.records().is_empty(), "the directory is another's");
        former.signal(Signal::TERM);
        former.ends();
        assert!(lab.log().contains("lease released"), "{}", lab.log());
        let link = container.command(&["ip", "-o", "link", "show", "dev", "eth0"]);
        assert!(link.contains("state DOWN"), "{link}");
        assert!(lab.records().is_empty(), "the directory is another's");
        drop(lock);
        fs::remove_file(lab.socket()).expect("it is another's");
        lab.del("one", Some(&container.path())).expect("given back");
        lab.ends_clean();
    });
}

#[test]
fn who_is_alone_again_listens_again() {
    with_dnsmasq("handover::who_is_alone_again_listens_again", &[], |lab, server| {
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        let keeper = lab.keeper();
        let mut lock = None;
        let _former = Former::surprise(&lab, || lock = Some(occupy(&lab)));
        eventually("it says so", || lab.log().contains("leases are kept here still"));
        drop(lock);
        fs::remove_file(lab.socket()).expect("it is another's");
        eventually("it listens again", || lab.keeper() == keeper);
        eventually("what it holds is there again", || lab.records().len() == 1);
        lab.check("one", &container, &result).expect("it is held still");
        lab.del("one", Some(&container.path())).expect("given back");
        eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
        lab.ends_clean();
    });
}
