//! A keeper whose socket and directory were removed and made anew by somebody else: none of its leases is lost.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use loam_sys::HeldProcess;
use loam_testkit::lab::{LIMIT, Sandbox, eventually, succeed};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::json;

use crate::lab::{Lab, PROGRAM};
use crate::server::{with_dnsmasq, with_udhcpd};

/// A keeper that callers don't come to any more.
struct Former(HeldProcess);

impl Former {
    /// Has the keeper of a lab see nothing while everything of its is taken away and `after` happens.
    fn surprise(lab: &Lab, after: impl FnOnce()) -> Self {
        let former = Self::of(lab);
        former.sees_nothing_of(|| {
            fs::remove_file(lab.socket()).expect("there");
            fs::remove_dir_all(leases(lab)).expect("there");
            after();
        });
        former
    }

    /// The keeper that callers come to now.
    fn of(lab: &Lab) -> Self {
        let keeper = lab.keeper().expect("it listens");
        let held = HeldProcess::new(keeper).expect("it can be held");
        Self(held.expect("it lives"))
    }

    fn sees_nothing_of(&self, happening: impl FnOnce()) {
        self.signal(Signal::STOP);
        happening();
        self.signal(Signal::CONT);
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

#[test]
fn a_lease_that_is_just_being_asked_for_there_is_kept_here_until_it_is_taken() {
    let name = "handover::a_lease_that_is_just_being_asked_for_there_is_kept_here_until_it_is_taken";
    with_dnsmasq(name, &[], |lab, server| {
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        let mut config = lab.config(&json!({}));
        config["type"] = json!("dhcp");
        let (keeper, mut asking) = (lab.keeper(), None);
        let _former = Former::surprise(&lab, || {
            // Nobody answers the other keeper.
            drop(server);
            asking = Some(lab.spawn(Path::new(PROGRAM), "ADD", "one", &container.path(), &config));
            eventually("it is asked for", || lab.log().contains("acquiring lease"));
        });
        eventually("it is not taken", || lab.log().contains("is just being asked for"));
        let mut asking = asking.expect("started");
        asking.kill().expect("it waits");
        asking.wait().expect("it was ours");
        // The other one has nothing any more, and ends.
        eventually("it listens again", || lab.keeper() == keeper);
        lab.check("one", &container, &result).expect("it is held still");
        lab.del("one", Some(&container.path())).expect("given back");
        lab.ends_clean();
    });
}

#[test]
fn one_whose_socket_and_directory_come_back_writes_there_again() {
    let name = "handover::one_whose_socket_and_directory_come_back_writes_there_again";
    with_dnsmasq(name, &[], |lab, server| {
        let container = Sandbox::new();
        lab.add("one", &container).expect("leased");
        let (keeper, former) = (lab.keeper(), Former::of(&lab));
        let (socket, directory) = (lab.directory.path().join("socket"), lab.directory.path().join("leases"));
        // Both are put aside, and what is there in their place lets it have neither.
        former.sees_nothing_of(|| {
            fs::rename(leases(&lab), &directory).expect("there");
            fs::write(leases(&lab), "no directory").expect("writable");
            fs::rename(lab.socket(), &socket).expect("there");
            drop(UnixListener::bind(lab.socket()).expect("free"));
        });
        let sends_away = || {
            let mut stream = UnixStream::connect(&socket).expect("it listens");
            stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
            matches!(stream.read(&mut [0]), Ok(0))
        };
        eventually("it stands aside", sends_away);
        former.sees_nothing_of(|| {
            fs::remove_file(leases(&lab)).expect("there");
            fs::rename(&directory, leases(&lab)).expect("free");
            fs::rename(&socket, lab.socket()).expect("in one step");
        });
        eventually("it says so", || lab.log().contains("are this keeper's again"));
        assert_eq!(lab.keeper(), keeper);
        lab.del("one", Some(&container.path())).expect("given back");
        eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
        lab.ends_clean();
    });
}

#[test]
fn one_that_stands_apart_with_leases_that_it_can_t_see_does_not_end() {
    let name = "handover::one_that_stands_apart_with_leases_that_it_can_t_see_does_not_end";
    with_dnsmasq(name, &[], |lab, _server| {
        let (one, two) = (Sandbox::new(), Sandbox::new());
        let path = lab.directory.path().join("container");
        let shown = path.display().to_string();
        fs::write(&path, "").expect("writable");
        succeed(&["mount", "--bind", &one.path().display().to_string(), &shown]);
        let config = lab.config(&json!({}));
        lab.call("ADD", "one", Some(&path), &config).expect("leased");
        lab.kill_keeper();
        // The next one is started where the namespace of the first can't be seen.
        let script = "umount \"$1\"; shift; exec \"$@\"";
        let socket = lab.socket().display().to_string();
        let begun = Command::new("unshare")
            .args([
                "--mount",
                "sh",
                "-ec",
                script,
                "sh",
                &shown,
                PROGRAM,
                "dhcp",
                "keep",
                "-socketpath",
                &socket,
            ])
            .status();
        assert!(begun.expect("unshare runs").success());
        lab.add("two", &two).expect("leased");
        assert!(lab.log().contains("can't be seen from here"), "{}", lab.log());
        let mut lock = None;
        let former = Former::surprise(&lab, || lock = Some(occupy(&lab)));
        eventually("it stands apart", || lab.log().contains("leases are kept here still"));
        two.end();
        eventually("it has no other lease", || {
            lab.log().contains("`two/net/eth0`: the network namespace is gone")
        });
        // What it holds is there as soon as it may write it.
        drop(lock);
        fs::remove_file(lab.socket()).expect("it is another's");
        eventually("what it has is on disk again", || lab.records().len() == 1);
        former.ends();
        lab.call("DEL", "one", Some(&path), &config).expect("given back");
        lab.ends_clean();
        succeed(&["umount", &shown]);
    });
}
