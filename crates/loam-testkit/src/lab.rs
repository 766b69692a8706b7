//! A host of a test's own: the test runs again inside new network and mount namespaces, so that it neither breaks nor
//! sees the real host. Containers are processes with a network namespace each.

mod plugin;
mod sandbox;

use std::process::Command;
use std::time::{Duration, Instant};

pub use plugin::{PluginCall, our_plugins, reference_plugins};
pub use sandbox::{Sandbox, ask_tcp, ask_udp};

/// Says that the test runs inside already, and names a file that it takes away to say that it was found.
const INSIDE: &str = "LOAM_TEST_INSIDE";

/// How long anything may take before a test fails.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Runs a test function inside a host of its own; `name` is the test's whole name, as `--exact` takes it. Says by name
/// when it can't.
#[expect(clippy::print_stdout, reason = "a test that can't run says so")]
pub fn inside(name: &str, test: impl FnOnce()) {
    if let Some(mark) = std::env::var_os(INSIDE) {
        std::fs::remove_file(mark).expect("it was made for this");
        succeed(&["ip", "link", "set", "lo", "up"]);
        succeed(&["mount", "-t", "tmpfs", "run", "/run"]);
        test();
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {name}: needs root");
        return;
    }
    let mark = tempfile::NamedTempFile::new().expect("a temporary file");
    let program = std::env::current_exe().expect("the test program has a path");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, mark.path())
        .status()
        .expect("unshare runs");
    assert!(status.success(), "{name} failed inside its namespaces");
    assert!(!mark.path().exists(), "no test is called {name}");
}

/// Runs a command that must succeed, and gives what it says.
pub fn succeed(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output().expect("the command exists");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Waits until a condition holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::yield_now();
    }
}
