//! `kill -9` of any command at any moment loses nothing that a later command can't find and finish.

use std::process::Stdio;

use loam_tests::{Host, until};

#[test]
fn a_killed_run_is_finished_by_the_next_command() {
    let host = Host::with_small_image();
    // From before the first effect to well after the start.
    for delay_ms in [1, 3, 5, 8, 12, 16, 20, 25, 30, 40, 60, 100] {
        let mut child = host
            .loam_command(&["run", "--rm", "--name", "victim", "-p", "8080:80", "small", "sleep", "1000"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // This is the one delay that is meant: it chooses the moment of the crash.
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        // Whatever was half made, the same name and port can be had at once.
        host.loam(&["rm", "-f", "victim"]);
        let ran = host.loam(&["run", "--rm", "--name", "victim", "-p", "8080:80", "small", "echo", "again"]);
        assert_eq!(ran.ok(), "again", "after {delay_ms} ms");
    }
    host.finish();
}

#[test]
fn containers_outlive_the_commands_that_started_them() {
    let host = Host::with_small_image();
    let mut child = host
        .loam_command(&["run", "--name", "survivor", "small", "sleep", "1000"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("it runs", || (!host.loam(&["ps", "-q"]).stdout.trim().is_empty()).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(host.loam(&["exec", "survivor", "echo", "alive"]).ok(), "alive");
    assert_eq!(host.loam(&["stop", "-t", "0", "survivor"]).code, 0);
    host.finish();
}

#[test]
fn a_container_that_ends_without_its_command_is_recorded() {
    let host = Host::with_small_image();
    let mut child =
        host.loam_command(&["run", "--rm", "--name", "alone", "small", "sleep", "1"]).spawn().unwrap();
    until("it runs", || (!host.loam(&["ps", "-q"]).stdout.trim().is_empty()).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    until("it removed itself", || host.loam(&["ps", "-a", "-q"]).stdout.trim().is_empty().then_some(()));
    host.finish();
}

#[test]
fn a_killed_shim_takes_its_container_along() {
    let host = Host::with_small_image();
    let id = host.start(&["--name", "c", "-p", "8080:80", "small", "sleep", "1000"]);
    let (pid, shim) = (host.pid("c"), host.shim("c"));
    host.sh(&format!("kill -9 {shim}")).ok();
    until("the next command sees it", || host.loam(&["ps", "-q"]).stdout.trim().is_empty().then_some(()));
    until("the process is gone", || (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    assert!(host.loam(&["ps", "-a", "-q", "--no-trunc"]).ok().contains(&id));
    host.loam(&["start", "c"]).ok();
    assert_eq!(host.loam(&["exec", "c", "echo", "back"]).ok(), "back");
    host.finish();
}

#[test]
fn after_a_reboot_containers_are_stopped_and_start_again() {
    let host = Host::with_small_image();
    host.start(&["--name", "c", "small", "sh", "-c", "echo started >> /log; sleep 1000"]);
    let (pid, shim) = (host.pid("c"), host.shim("c"));
    // What a reboot leaves: no process, an empty run directory.
    host.sh(&format!("kill -9 {shim} {pid}")).ok();
    until("the process is gone", || (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    std::fs::remove_dir_all(host.run_directory()).unwrap();
    assert_eq!(host.loam(&["ps", "-q"]).ok(), "");
    host.loam(&["start", "c"]).ok();
    until("it ran twice", || {
        (host.loam(&["exec", "c", "cat", "/log"]).stdout.lines().count() == 2).then_some(())
    });
    host.finish();
}

#[test]
fn a_killed_pull_leaves_nothing_that_is_used() {
    let host = Host::new();
    let source = format!("oci:{}", loam_testkit::images::small().display());
    for delay_ms in [1, 4, 8, 12, 20] {
        let mut child =
            host.loam_command(&["pull", "--quiet", &source]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let id = host.loam(&["pull", "--quiet", &source]).ok().to_owned();
    assert_eq!(host.loam(&["run", "--rm", &id, "echo", "whole"]).ok(), "whole");
    assert_eq!(
        host.sh(&format!("find {} -path '*staging*' -mindepth 2 | wc -l", host.root().display())).ok(),
        "0"
    );
    host.finish();
}

#[test]
fn settle_deletes_a_snapshot_that_no_row_knows() {
    let host = Host::with_small_image();
    host.loam(&["create", "--name", "kept", "small", "true"]).ok();
    // As after a power cut, which takes the row of a container that is thrown away.
    let lost = host.root().join("snapshots").join("e".repeat(64));
    host.sh(&format!("mkdir -p {0}/upper/deep {0}/work", lost.display())).ok();
    host.loam(&["settle"]).ok();
    assert_eq!(host.sh(&format!("ls {}/snapshots | wc -l", host.root().display())).ok(), "1");
    assert_eq!(host.sh(&format!("ls {}/trash | wc -l", host.root().display())).ok(), "0");
    host.loam(&["start", "kept"]).ok();
    assert_eq!(host.loam(&["wait", "kept"]).ok(), "0");
    host.finish();
}

#[test]
fn settle_deletes_what_a_killed_pull_left() {
    let host = Host::new();
    let source = format!("oci:{}:gzip", loam_testkit::images::python().display());
    let staged = || host.sh(&format!("ls {}/staging", host.root().display())).stdout;
    let mut child = host.loam_command(&["pull", "--quiet", &source]).stdout(Stdio::null()).spawn().unwrap();
    until("a layer is being unpacked", || (!staged().is_empty()).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!staged().is_empty(), "the pull was killed while it worked");
    host.loam(&["settle"]).ok();
    assert_eq!(staged(), "");
    host.finish();
}
