//! Streams of the main process.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use loam_model::{ExitStatus, OnStall, ProcessTarget, Streams, TerminalSize};

use crate::fixture::{Fixture, needs_root, outputs, pipe, read_all, wait_until};

#[test]
fn a_hundred_megabytes_arrive_complete_and_quickly() {
    needs_root!();
    let mut fixture = Fixture::new("dd if=/dev/zero bs=1000000 count=100 2>/dev/null");
    fixture.launch.log = None;
    let mut running = fixture.create();
    let (streams, mut out, _err) = outputs();
    running.shim().attach(streams, OnStall::Block).unwrap();
    let start = Instant::now();
    running.shim().start().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()).unwrap());
    assert_eq!(running.shim().wait(&ProcessTarget::Main).unwrap(), ExitStatus::Exited(0));
    assert_eq!(reader.join().unwrap(), 100_000_000);
    let seconds = start.elapsed().as_secs_f64();
    println!("100 MB took {seconds:.3} s");
    assert!(seconds < 10.0, "{seconds}");
}

#[test]
fn an_onlooker_that_takes_nothing_is_let_go() {
    needs_root!();
    let mut running = Fixture::new("dd if=/dev/zero bs=1000 count=1000 2>/dev/null").create();
    let (watched, out, _err) = outputs();
    let (stalled, mut stalled_out, _stalled_err) = outputs();
    running.shim().attach(watched, OnStall::Block).unwrap();
    running.shim().attach(stalled, OnStall::Drop).unwrap();
    running.shim().start().unwrap();
    let start = Instant::now();
    let reader = std::thread::spawn(move || read_all(out).len());
    running.shim().wait(&ProcessTarget::Main).unwrap();
    assert_eq!(reader.join().unwrap(), 1_000_000);
    let took = start.elapsed();
    assert!(took > Duration::from_secs(8) && took < Duration::from_secs(25), "{took:?}");
    // What the pipe held is there, then it ends.
    assert!(std::io::copy(&mut stalled_out, &mut std::io::sink()).unwrap() < 1_000_000);
}

#[test]
fn without_a_log_or_a_client_output_is_let_go() {
    needs_root!();
    let mut fixture = Fixture::new("dd if=/dev/zero bs=1000000 count=10 2>/dev/null");
    fixture.launch.log = None;
    let mut running = fixture.create();
    running.shim().start().unwrap();
    assert_eq!(running.shim().wait(&ProcessTarget::Main).unwrap(), ExitStatus::Exited(0));
}

#[test]
fn input_reaches_the_process_and_ends_with_the_client() {
    needs_root!();
    let mut running = Fixture::new("cat").with_stdin().create();
    let (mut streams, out, _err) = outputs();
    let (read, write) = pipe();
    streams.stdin = Some(read.into());
    running.shim().attach(streams, OnStall::Block).unwrap();
    running.shim().start().unwrap();
    let text = "line\n".repeat(100_000);
    let sent = text.clone();
    let writer = std::thread::spawn(move || std::fs::File::from(write).write_all(sent.as_bytes()).unwrap());
    let got = read_all(out);
    writer.join().unwrap();
    assert!(got == text);
    assert_eq!(running.shim().wait(&ProcessTarget::Main).unwrap(), ExitStatus::Exited(0));
}

#[test]
fn a_client_that_dies_harms_nobody() {
    needs_root!();
    let mut running = Fixture::new("while read line; do echo got $line; done; exit 5").with_stdin().create();
    let (streams, mut out, err) = outputs();
    let (dead, dead_out, dead_err) = outputs();
    running.shim().attach(streams, OnStall::Block).unwrap();
    running.connect().unwrap().attach(dead, OnStall::Block).unwrap();
    drop((dead_out, dead_err, err));
    let (read, write) = pipe();
    let stdin = Streams { stdin: Some(read.into()), ..Streams::default() };
    running.connect().unwrap().attach(stdin, OnStall::Block).unwrap();
    running.shim().start().unwrap();
    let mut write = std::fs::File::from(write);
    write.write_all(b"one\n").unwrap();
    let mut line = [0; 8];
    out.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"got one\n");
    drop(write);
    assert_eq!(running.shim().wait(&ProcessTarget::Main).unwrap(), ExitStatus::Exited(5));
}

#[test]
fn a_terminal_has_its_size_and_is_relayed() {
    needs_root!();
    let mut running = Fixture::new("tty; stty size; read x; stty size; exit 4").with_terminal().create();
    let (out, stdout) = pipe();
    let (stdin, mut keys) = {
        let (read, write) = pipe();
        (read, std::fs::File::from(write))
    };
    let streams = Streams { stdin: Some(stdin.into()), stdout: Some(stdout), stderr: None };
    running.shim().attach(streams, OnStall::Block).unwrap();
    running.shim().start().unwrap();
    wait_until("the first size is shown", || running.log().contains("24 80"));
    let size = TerminalSize { rows: 30, columns: 100 };
    running.shim().resize(&ProcessTarget::Main, size).unwrap();
    keys.write_all(b"\n").unwrap();
    assert_eq!(running.shim().wait(&ProcessTarget::Main).unwrap(), ExitStatus::Exited(4));
    let text = read_all(out);
    assert!(text.contains("/dev/") && text.contains("30 100"), "{text}");
}

#[test]
fn the_log_can_be_moved_away() {
    needs_root!();
    let mut running = Fixture::new("while read line; do echo $line; done").with_stdin().create();
    let (read, write) = pipe();
    let mut write = std::fs::File::from(write);
    let streams = Streams { stdin: Some(read.into()), ..Streams::default() };
    running.shim().attach(streams, OnStall::Block).unwrap();
    running.shim().start().unwrap();
    write.write_all(b"before\n").unwrap();
    wait_until("it is logged", || running.log().contains(" F before\n"));
    let log = running.fixture.launch.log.clone().unwrap();
    std::fs::rename(&log, log.with_extension("1")).unwrap();
    running.shim().reopen_log().unwrap();
    write.write_all(b"after\n").unwrap();
    wait_until("it is logged anew", || running.log().ends_with(" F after\n"));
}
