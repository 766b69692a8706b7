//! Loam in a sandbox: a seccomp filter around it refuses system calls, each with an error of the sandbox's choice.

use loam_sys::refuse_calls;
use loam_tests::{Host, Need, Ran, needs};

use super::{expected, main_job_by};

/// The mount calls that came with Linux 5.2 and 5.12.
const MOUNT_CALLS: [i64; 6] = [
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
];
const OPEN_AND_SIGNAL: [i64; 4] =
    [libc::SYS_openat2, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_close_range];

/// Runs `loam` in a sandbox.
fn loam_in_sandbox(host: &Host, calls: &[i64], errno: i32, arguments: &[&str]) -> Ran {
    // Only this thread and what it starts are in there.
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| {
            refuse_calls(calls, errno).expect("root may filter");
            host.loam(arguments)
        });
        ran.join().expect("loam runs")
    })
}

fn job_in_sandbox(calls: &[i64], errno: i32, runtime: &[&str]) -> Vec<String> {
    main_job_by(runtime, |host, arguments| loam_in_sandbox(host, calls, errno, arguments))
}

/// How `loam info` says that it stands with a feature.
fn state(ran: &Ran, feature: &str) -> String {
    let info: serde_json::Value = serde_json::from_str(ran.ok()).expect("JSON");
    let features = info["host"]["features"].as_array().expect("a list");
    let found = features.iter().find(|one| one["name"] == feature).expect("the feature");
    found["state"].as_str().expect("a word").to_owned()
}

#[test]
fn paths_processes_and_descriptors_have_another_way() {
    let expected = expected();
    // A C library that is told EPERM by clone3(2) starts no thread: no program works in such a sandbox.
    let with_clone = [&OPEN_AND_SIGNAL[..], &[libc::SYS_clone3]].concat();
    assert_eq!(job_in_sandbox(&with_clone, libc::ENOSYS, &[]), expected);
    assert_eq!(job_in_sandbox(&OPEN_AND_SIGNAL, libc::EPERM, &[]), expected);
}

#[test]
fn without_the_mount_calls_another_runtime_does_it() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let expected = expected();
    assert_eq!(job_in_sandbox(&MOUNT_CALLS, libc::ENOSYS, &["--runtime", "crun"]), expected);
    assert_eq!(job_in_sandbox(&MOUNT_CALLS, libc::EPERM, &["--runtime", "runc"]), expected);
}

#[test]
fn a_single_mount_call_that_is_refused_is_found_out_before_anything_is_made() {
    let host = Host::with_small_image();
    for (call, errno) in MOUNT_CALLS.into_iter().zip([libc::ENOSYS, libc::EPERM].into_iter().cycle()) {
        let loam = |arguments: &[&str]| loam_in_sandbox(&host, &[call], errno, arguments);
        let ran = loam(&["run", "--rm", "small", "true"]);
        ran.refused(125, "the newer mount calls");
        assert!(ran.stderr.contains("hint: a runtime that does without"), "{ran:?}");
        assert_eq!(state(&loam(&["info", "-o", "json"]), "mount-api"), "fallback", "call {call}");
        let other = loam(&["run", "--rm", "--runtime", "runc", "small", "echo", "well"]);
        assert_eq!(other.ok(), "well", "call {call}, error {errno}");
    }
    assert_eq!(host.loam(&["ps", "-aq"]).ok(), "");
    assert_eq!(state(&host.loam(&["info", "-o", "json"]), "mount-api"), "available");
    host.finish();
}

#[test]
fn a_container_made_outside_can_not_be_started_in_the_sandbox_and_can_outside() {
    let host = Host::with_small_image();
    host.loam(&["create", "--name", "c", "small", "sleep", "60"]).ok();
    let start = |calls: &[i64]| loam_in_sandbox(&host, calls, libc::ENOSYS, &["start", "c"]);
    start(&[libc::SYS_mount_setattr]).refused(125, "the newer mount calls");
    start(&[libc::SYS_clone3, libc::SYS_openat2]).ok();
    host.loam(&["rm", "-f", "c"]).ok();
    host.finish();
}

#[test]
fn a_limit_by_a_disk_file_says_what_it_lacks() {
    let host = Host::with_small_image();
    let run = ["run", "--rm", "--runtime", "runc", "--storage-opt", "size=8m", "small", "true"];
    loam_in_sandbox(&host, &MOUNT_CALLS, libc::ENOSYS, &run).refused(125, "refuses `fsopen`");
    host.loam(&run).ok();
    host.finish();
}
