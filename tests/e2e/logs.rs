//! Logs and attaching.

use std::process::Stdio;
use std::time::{Duration, Instant};

use loam_tests::{Host, until};

#[test]
fn logs_are_whole_and_told_apart() {
    let host = Host::with_small_image();
    host.loam(&["run", "--name", "l", "small", "sh", "-c", "echo one; echo two >&2; printf three"]).ok();
    let ran = host.loam(&["logs", "l"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("one\nthree", "two\n"));
    assert_eq!(host.loam(&["logs", "--tail", "1", "l"]).stdout, "three");
    assert_eq!(host.loam(&["logs", "--tail", "-1", "l"]).stdout, host.loam(&["logs", "l"]).stdout);
    host.finish();
}

#[test]
fn following_a_log_ends_with_the_container() {
    let host = Host::with_small_image();
    host.start(&[
        "--name",
        "f",
        "small",
        "sh",
        "-c",
        "echo first; read line < /fifo 2>/dev/null; sleep 1; echo last",
    ]);
    let follower = host.loam_command(&["logs", "-f", "f"]).stdout(Stdio::piped()).spawn().unwrap();
    let output = follower.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "first\nlast\n");
    host.finish();
}

#[test]
fn attach_sees_what_comes_and_can_write() {
    let host = Host::with_small_image();
    host.start(&["-i", "--name", "a", "small", "sh", "-c", "read line; echo got $line"]);
    let ran = host.loam_with_input(&["attach", "a"], b"hello\n");
    assert_eq!(ran.stdout, "got hello\n");
    assert_eq!(ran.code, 0);
    host.finish();
}

#[test]
fn a_reader_that_stops_does_not_stop_the_container_for_others() {
    let host = Host::with_small_image();
    host.start(&["--name", "s", "small", "sh", "-c", "while :; do echo line; sleep 0.01; done"]);
    let mut reader = host.loam_command(&["attach", "s"]).stdout(Stdio::piped()).spawn().unwrap();
    until("there is a log", || (host.loam(&["logs", "s"]).stdout.lines().count() > 3).then_some(()));
    let before = host.loam(&["logs", "s"]).stdout.lines().count();
    until("the log grows", || (host.loam(&["logs", "s"]).stdout.lines().count() > before + 5).then_some(()));
    reader.kill().unwrap();
    reader.wait().unwrap();
    host.finish();
}

#[test]
fn a_reader_that_stops_holds_up_neither_stop_nor_wait() {
    let host = Host::with_small_image();
    let arguments = ["run", "--name", "y", "small", "yes"];
    let mut run = host.loam_command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    until("there is a log", || (!host.loam(&["logs", "--tail", "1", "y"]).stdout.is_empty()).then_some(()));
    let waiter = host.loam_command(&["wait", "y"]).stdout(Stdio::piped()).spawn().unwrap();
    let before = Instant::now();
    host.loam(&["stop", "-t", "1", "y"]).ok();
    let waited = waiter.wait_with_output().unwrap();
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    assert_eq!(String::from_utf8_lossy(&waited.stdout), "137\n");
    drop(run.stdout.take());
    run.wait().unwrap();
    host.finish();
}
