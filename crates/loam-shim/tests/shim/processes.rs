//! Later processes.

use std::io::Write;

use loam_model::oci_spec::runtime::Process;
use loam_model::{
    Bundler, ErrorKind, ExitStatus, ProcessSpec, ProcessTarget, Streams, Supervisor, TerminalSize,
};

use crate::fixture::{Fixture, Running, needs_root, outputs, pipe, read_all, wait_until};

pub(crate) fn process(running: &Running, arguments: &[&str]) -> Process {
    let config = std::fs::read(running.fixture.directory().join("config.json")).unwrap();
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let further = ProcessSpec { arguments, ..ProcessSpec::default() };
    loam_oci::OciBundler::default().process(&serde_json::from_slice(&config).unwrap(), &further).unwrap()
}

fn sleeping() -> Running {
    let mut running = Fixture::new("sleep 1000").create();
    running.shim().start().unwrap();
    running
}

#[test]
fn a_later_process_runs_with_streams_of_its_own() {
    needs_root!();
    let mut running = sleeping();
    let process = process(&running, &["/bin/sh", "-c", "cat; echo err >&2; id -u; exit 9"]);
    let (mut streams, out, err) = outputs();
    let (read, write) = pipe();
    streams.stdin = Some(read.into());
    let id = running.shim().exec(&process, Some("app"), None, streams).unwrap();
    assert_eq!(running.connect().unwrap().status().unwrap().execs, [id]);
    std::fs::File::from(write).write_all(b"hello\n").unwrap();
    assert_eq!(running.shim().wait(&ProcessTarget::Exec(id)).unwrap(), ExitStatus::Exited(9));
    assert_eq!((read_all(out).as_str(), read_all(err).as_str()), ("hello\n1000\n", "err\n"));
    let asked_again = running.shim().wait(&ProcessTarget::Exec(id)).unwrap_err();
    assert_eq!(asked_again.kind(), ErrorKind::NotFound);
    assert_eq!(running.log(), "");
}

#[test]
fn a_later_process_can_have_a_terminal() {
    needs_root!();
    let mut running = sleeping();
    let process = process(&running, &["/bin/sh", "-c", "stty size"]);
    let (out, stdout) = pipe();
    let streams = Streams { stdout: Some(stdout), ..Streams::default() };
    let size = TerminalSize { rows: 11, columns: 22 };
    let id = running.shim().exec(&process, None, Some(size), streams).unwrap();
    assert_eq!(running.shim().wait(&ProcessTarget::Exec(id)).unwrap(), ExitStatus::Exited(0));
    assert_eq!(read_all(out), "11 22\r\n");
}

#[test]
fn programs_that_can_not_run_are_told_apart() {
    needs_root!();
    let mut running = sleeping();
    for (program, kind) in
        [("/bin/no-such", ErrorKind::CommandNotFound), ("/etc/passwd", ErrorKind::CommandNotExecutable)]
    {
        let process = process(&running, &[program]);
        let failure = running.shim().exec(&process, None, None, Streams::default()).unwrap_err();
        assert_eq!(failure.kind(), kind, "{failure:?}");
    }
    let process = process(&running, &["/bin/id"]);
    let failure = running.shim().exec(&process, Some("nobody-knows"), None, Streams::default()).unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Invalid, "{failure:?}");
    assert_eq!(running.shim().status().unwrap().execs, Vec::<u64>::new());
}

#[test]
fn a_process_left_in_the_background_does_not_hold_the_answer_up() {
    needs_root!();
    let mut running = sleeping();
    let process = process(&running, &["/bin/sh", "-c", "echo done; sleep 1000 &"]);
    let (streams, out, _err) = outputs();
    let id = running.shim().exec(&process, None, None, streams).unwrap();
    assert_eq!(running.shim().wait(&ProcessTarget::Exec(id)).unwrap(), ExitStatus::Exited(0));
    assert_eq!(read_all(out), "done\n");
}

#[test]
fn a_process_left_in_the_background_can_still_write() {
    needs_root!();
    let mut running = sleeping();
    let script = "(sleep 1; dd if=/dev/zero bs=1000 count=200 2>/dev/null; echo $? > /dev/shm/done) &";
    let process = process(&running, &["/bin/sh", "-c", script]);
    let (streams, out, _err) = outputs();
    let id = running.shim().exec(&process, None, None, streams).unwrap();
    running.shim().wait(&ProcessTarget::Exec(id)).unwrap();
    assert_eq!(read_all(out), "");
    let done = format!("/proc/{}/root/dev/shm/done", running.pid);
    wait_until("it has written all", || std::fs::read_to_string(&done).is_ok_and(|text| text == "0\n"));
}

#[test]
fn a_signal_reaches_one_process_alone() {
    needs_root!();
    let mut running = sleeping();
    let process = process(&running, &["/bin/sleep", "1000"]);
    let id = running.shim().exec(&process, None, None, Streams::default()).unwrap();
    let target = ProcessTarget::Exec(id);
    running.shim().signal(&target, 15, false).unwrap();
    assert_eq!(running.shim().wait(&target).unwrap(), ExitStatus::Signaled(15));
    assert!(running.shim().status().unwrap().pid.is_some());
}

#[test]
fn many_processes_end_in_any_order() {
    needs_root!();
    let mut running = sleeping();
    let mut ids = Vec::new();
    for code in 0..20_u8 {
        let process = process(&running, &["/bin/sh", "-c", &format!("exit {code}")]);
        ids.push((running.shim().exec(&process, None, None, Streams::default()).unwrap(), code));
    }
    for (id, code) in ids.into_iter().rev() {
        let status = running.shim().wait(&ProcessTarget::Exec(id)).unwrap();
        assert_eq!(status, ExitStatus::Exited(code));
    }
}

#[test]
fn a_later_process_that_runs_does_not_hold_the_end_up() {
    needs_root!();
    let mut running = sleeping();
    let process = process(&running, &["/bin/sleep", "1000"]);
    let id = running.shim().exec(&process, None, None, Streams::default()).unwrap();
    let mut waiter = running.connect().unwrap();
    let waiting = std::thread::spawn(move || waiter.wait(&ProcessTarget::Exec(id)));
    let begin = std::time::Instant::now();
    running.shim().shut_down().unwrap();
    assert!(begin.elapsed() < std::time::Duration::from_secs(5), "{:?}", begin.elapsed());
    match waiting.join().unwrap() {
        Ok(status) => assert_eq!(status, ExitStatus::Signaled(9)),
        // It asked too late.
        Err(failure) => assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure:?}"),
    }
    let record = running.fixture.supervisor.exit_record(&running.fixture.launch.id).unwrap();
    assert_eq!(record.unwrap().status, ExitStatus::Signaled(9));
}
