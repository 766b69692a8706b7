//! Containers that use up what the shim has: descriptors and time.

use std::time::{Duration, Instant};

use loam_model::{ErrorKind, ExitStatus, ProcessTarget, Streams};
use rustix::process::{Pid, Resource, Rlimit};

use crate::fixture::{Fixture, Running, needs_root, outputs, read_all, wait_until};
use crate::processes::process;

fn descriptors(running: &Running) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", running.shim_pid())).unwrap().count()
}

/// The number that the next descriptor would get.
fn lowest_free(running: &Running) -> u64 {
    let directory = format!("/proc/{}/fd", running.shim_pid());
    (0..).find(|number| !std::path::Path::new(&format!("{directory}/{number}")).is_symlink()).unwrap()
}

/// The processor time that the shim has used, in clock ticks (proc(5), `/proc/PID/stat`, fields 14 and 15).
fn ticks(running: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.shim_pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn sleeping() -> Running {
    let mut running = Fixture::new("sleep 1000").create();
    running.shim().start().unwrap();
    running
}

#[test]
fn processes_that_leave_children_use_few_descriptors() {
    needs_root!();
    let mut running = sleeping();
    let before = descriptors(&running);
    let leaves_a_child = process(&running, &["/bin/sh", "-c", "sleep 1000 & exit 0"]);
    for number in 0..100 {
        let id = running.shim().exec(&leaves_a_child, None, None, Streams::default()).unwrap();
        // Some are asked for, and some nobody asks for.
        if number % 2 == 0 {
            let status = running.shim().wait(&ProcessTarget::Exec(id)).unwrap();
            assert_eq!(status, ExitStatus::Exited(0));
        }
    }
    wait_until("all have ended", || running.shim().status().unwrap().execs.is_empty());
    // 128 streams at most are emptied for those who still write.
    wait_until("they are let go", || descriptors(&running) <= before + 128 + 2);
}

#[test]
fn the_shim_s_limit_on_open_files_is_not_its_container_s() {
    needs_root!();
    let mut fixture = Fixture::new("ulimit -Sn; sleep 1000");
    fixture.without_limits = true;
    let mut running = fixture.create();
    let (streams, mut out, _err) = outputs();
    running.shim().attach(streams, loam_model::OnStall::Block).unwrap();
    running.shim().start().unwrap();
    let own = rustix::process::getrlimit(Resource::Nofile);
    let mut line = [0; 32];
    let length = std::io::Read::read(&mut out, &mut line).unwrap();
    let wanted = format!("{}\n", own.current.unwrap());
    assert_eq!(String::from_utf8_lossy(&line[..length]), wanted);
    let look = process(&running, &["/bin/sh", "-c", "ulimit -Sn"]);
    let (streams, out, _err) = outputs();
    let id = running.shim().exec(&look, None, None, streams).unwrap();
    running.shim().wait(&ProcessTarget::Exec(id)).unwrap();
    assert_eq!(read_all(out), wanted);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.shim_pid())).unwrap();
    let files: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "the shim has all that it may have");
}

#[test]
fn a_shim_without_descriptors_waits_for_some_and_does_not_spin() {
    needs_root!();
    let mut running = sleeping();
    let shim = Pid::from_raw(running.shim_pid());
    let before = rustix::process::getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(lowest_free(&running)), maximum: before.maximum };
    rustix::process::prlimit(shim, Resource::Nofile, few).unwrap();
    let begin = ticks(&running);
    let mut client = running.connect().unwrap();
    let asking = std::thread::spawn(move || client.status().map(drop));
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        running.shim().status().unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    let used = ticks(&running) - begin;
    assert!(used < 30, "the shim used {used} of 100 ticks");
    assert!(!asking.is_finished());
    let enough = Rlimit { current: before.maximum, maximum: before.maximum };
    rustix::process::prlimit(shim, Resource::Nofile, enough).unwrap();
    asking.join().unwrap().unwrap();
}

#[test]
fn too_many_clients_are_refused_with_a_sentence() {
    needs_root!();
    let mut running = sleeping();
    let mut clients = Vec::new();
    let refusal = loop {
        assert!(clients.len() < 600, "there is no limit");
        let mut client = running.connect().unwrap();
        match client.status() {
            Ok(_) => clients.push(client),
            Err(failure) => break failure,
        }
    };
    assert_eq!(refusal.kind(), ErrorKind::Exhausted);
    assert_eq!(refusal.to_string(), "the shim serves as many clients of the container as it can");
    drop(clients);
    wait_until("there is room again", || running.connect().unwrap().status().is_ok());
    running.shim().status().unwrap();
}

#[test]
fn processes_that_are_held_up_hold_nobody_else_up() {
    needs_root!();
    // A shell's own `kill` signals every process that it can see but itself and the first.
    let script = "sh -c 'while :; do kill -STOP -1; done' & while :; do sleep 1; echo alive; done";
    let mut running = Fixture::new(script).create();
    running.shim().start().unwrap();
    let process = process(&running, &["/bin/sleep", "1000"]);
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let (mut client, process) = (running.connect().unwrap(), process.clone());
            std::thread::spawn(move || client.exec(&process, None, None, Streams::default()))
        })
        .collect();
    let begin = Instant::now();
    for _ in 0..20 {
        running.connect().unwrap().status().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    running.shim().signal(&ProcessTarget::Main, 9, true).unwrap();
    running.shim().wait(&ProcessTarget::Main).unwrap();
    // One that is held up is given up after five seconds; all one after the other would take a hundred.
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    for asked in asking {
        if let Err(failure) = asked.join().unwrap() {
            let ended = "the container is not running";
            assert!(failure.kind() == ErrorKind::Conflict && failure.to_string() == ended, "{failure:?}");
        }
    }
}
