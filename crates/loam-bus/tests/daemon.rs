//! The client and freedesktop's `dbus-daemon`, on a bus of the test's own with the policy of the system's.

#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loam_bus::{Address, Body, Bus, BusError};

const BUS: Address<'static> = Address {
    name: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// A running bus.
struct Daemon {
    child: Child,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Daemon {
    /// Starts it, and waits until it listens.
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("bus");
        let config = directory.path().join("config");
        let text = format!(
            "<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow user=\"*\"/><deny own=\"*\"/><deny send_type=\"method_call\"/><allow send_type=\"signal\"/>\
             <allow send_requested_reply=\"true\" send_type=\"method_return\"/>\
             <allow send_requested_reply=\"true\" send_type=\"error\"/><allow receive_type=\"method_return\"/>\
             <allow receive_type=\"error\"/><allow receive_type=\"signal\"/>\
             <allow send_destination=\"org.freedesktop.DBus\"/></policy></busconfig>",
            socket.display()
        );
        std::fs::write(&config, text).expect("writable");
        let mut child = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be executed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
        assert!(line.starts_with("unix:"), "{line:?}");
        Self { child, socket, _directory: directory }
    }

    fn connect(&self) -> Bus {
        Bus::connect(&self.socket, Duration::from_secs(30)).expect("connected")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it was ours");
    }
}

/// Whether the programs are there; says so by name when not.
fn can_run(test: &str) -> bool {
    let missing =
        ["dbus-daemon", "dbus-send"].into_iter().find(|name| !Path::new("/usr/bin").join(name).exists());
    if let Some(missing) = missing {
        println!("skipped: {test}: needs {missing}");
    }
    missing.is_none()
}

#[test]
fn names_and_refusals() {
    if !can_run("names_and_refusals") {
        return;
    }
    let daemon = Daemon::start();
    let mut bus = daemon.connect();
    assert!(bus.has_owner(BUS.name).expect("answered"));
    assert!(!bus.has_owner("org.x.Service").expect("answered"));
    let refused = bus.call(&BUS, "NoSuchMethod", &Body::default().text("x")).expect_err("there is none");
    assert!(refused.is_answer("org.freedesktop.DBus.Error.UnknownMethod"), "{refused}");
    let nobody = Address { name: "org.x.Service", ..BUS };
    let refused = bus.listen(nobody, "Done").expect_err("nobody has the name");
    assert!(refused.is_answer("org.freedesktop.DBus.Error.NameHasNoOwner"), "{refused}");
    let denied =
        bus.call(&Address { name: ":1.0", ..BUS }, "X", &Body::default()).expect_err("by the policy");
    assert!(denied.is_answer("org.freedesktop.DBus.Error.AccessDenied"), "{denied}");
    drop(daemon);
    assert!(matches!(bus.has_owner(BUS.name), Err(BusError::Broken(_))));
}

#[test]
fn a_stranger_s_signal_is_handed_on_by_the_bus_and_not_heard() {
    if !can_run("a_stranger_s_signal_is_handed_on_by_the_bus_and_not_heard") {
        return;
    }
    let daemon = Daemon::start();
    // The first connection, which strangers can guess.
    let mut bus = daemon.connect();
    bus.listen(BUS, "NameOwnerChanged").expect("listening");
    let stranger = Command::new("dbus-send")
        .arg(format!("--bus=unix:path={}", daemon.socket.display()))
        .args(["--dest=:1.0", "--type=signal", BUS.path, "org.freedesktop.DBus.NameOwnerChanged"])
        .args(["string:forged", "string:", "string::1.0"])
        .output()
        .expect("it can be executed");
    assert!(stranger.status.success(), "{stranger:?}");
    // The stranger comes and goes; what it says lies between.
    let mut next = || {
        let signal = bus.signal().expect("a signal");
        let mut values = signal.values();
        [values.text(), values.text(), values.text()].map(|text| text.expect("a text"))
    };
    assert_eq!(next(), [":1.1", "", ":1.1"]);
    assert_eq!(next(), [":1.1", ":1.1", ""]);
}
