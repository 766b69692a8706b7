//! Runtime programs of others, as they are installed here, on bundles of ours. Needs root.
#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

mod container;

use std::path::{Path, PathBuf};

use loam_model::oci_spec::runtime::LinuxResources;
use loam_model::{ContainerSpec, ErrorKind, IdMapping, ProcessStdio, Runtime, TerminalSize};

use container::{Container, code, reap_orphans, running, streams, text};

/// The first program of a name that is installed.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    places.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

/// Says by name that a test can't run, and whether it can.
fn can_run(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| installed(program).is_none());
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {test}: needs root");
    } else if let Some(program) = missing {
        println!("skipped: {test}: needs {program}");
    }
    root && missing.is_none()
}

fn a_whole_life(program: &str, mapping: Option<&IdMapping>) {
    let mut container = Container::new(program);
    let (stdio, output) = streams();
    let script = "id -u; grep -E '^(Seccomp|NoNewPrivs|CapBnd):' /proc/self/status; cat </dev/null; echo $HOME $HOSTNAME; sleep 1000";
    let main = container.create(&running(&["sh", "-c", script]), mapping, stdio).expect("created");
    container.runtime.start().expect("started");

    let (stdio, further) = streams();
    let process = container.exec(&["id"], Some("app"), stdio).expect("run");
    assert_eq!(code(&process), 0);
    assert_eq!(text(further), "uid=7(app) gid=8\n");

    let stats = container.runtime.stats().expect("figures");
    assert!(stats.pids >= 1 && stats.memory_usage > 0, "{stats:?}");
    assert_eq!(stats.pids_limit, Some(4096));
    let limits: LinuxResources = serde_json::from_str(r#"{"pids":{"limit":99}}"#).expect("valid");
    container.runtime.update(&limits).expect("updated");
    assert_eq!(container.runtime.stats().expect("figures").pids_limit, Some(99));
    container.runtime.pause().expect("paused");
    container.runtime.resume().expect("resumed");
    container.runtime.signal(9, false).expect("signalled");
    assert_eq!(code(&main), 128 + 9);
    let late = container.runtime.signal(15, false).expect_err("it has ended");
    assert_eq!(late.kind(), ErrorKind::Conflict, "{late:?}");
    container.gone();
    let output = text(output);
    assert_eq!(output.lines().next(), Some("0"), "{output}");
    assert!(output.contains("CapBnd:\t00000000a80425fb"), "{output}");
    assert!(output.contains("NoNewPrivs:\t1") && output.contains("Seccomp:\t2"), "{output}");
    assert!(output.contains("/root "), "{output}");
}

#[test]
fn runc_lives() {
    if can_run("runc_lives", &["runc", "busybox"]) {
        a_whole_life("runc", None);
    }
}

#[test]
fn runc_lives_with_ids_of_its_own() {
    if can_run("runc_lives_with_ids_of_its_own", &["runc", "busybox"]) {
        a_whole_life("runc", Some(&IdMapping::contiguous(100_000, 65_536)));
    }
}

#[test]
fn crun_lives() {
    if can_run("crun_lives", &["crun", "busybox"]) {
        a_whole_life("crun", None);
    }
}

#[test]
fn crun_lives_with_ids_of_its_own() {
    if can_run("crun_lives_with_ids_of_its_own", &["crun", "busybox"]) {
        a_whole_life("crun", Some(&IdMapping::contiguous(100_000, 65_536)));
    }
}

fn a_terminal(program: &str) {
    let mut container = Container::new(program);
    let size = TerminalSize { rows: 33, columns: 99 };
    let terminal = ContainerSpec { terminal: true, ..running(&["sh", "-c", "stty size; sleep 1000"]) };
    let main = container.create(&terminal, None, ProcessStdio::Terminal(size)).expect("created");
    container.runtime.start().expect("started");
    // crun runs the program before anybody can set the size.
    let script = "i=0; until stty size 2>&1 | grep '^33' || [ $i = 9999 ]; do i=$((i+1)); done";
    let process = container.exec(&["sh", "-c", script], None, ProcessStdio::Terminal(size)).expect("run");
    let output = text(process.terminal.as_ref().expect("a master").try_clone().expect("copied").into());
    assert_eq!(output, "33 99\r\n");
    assert_eq!(code(&process), 0);
    container.runtime.signal(9, true).expect("signalled");
    assert_eq!(code(&main), 128 + 9);
    let output = text(main.terminal.expect("a master").into());
    assert_eq!(output, "33 99\r\n");
    container.gone();
}

#[test]
fn runc_hands_over_terminals() {
    if can_run("runc_hands_over_terminals", &["runc", "busybox"]) {
        a_terminal("runc");
    }
}

#[test]
fn crun_hands_over_terminals() {
    if can_run("crun_hands_over_terminals", &["crun", "busybox"]) {
        a_terminal("crun");
    }
}

fn wrong_commands(program: &str) {
    let table = [
        ("/nope", ErrorKind::CommandNotFound),
        ("nope", ErrorKind::CommandNotFound),
        ("/etc/passwd", ErrorKind::CommandNotExecutable),
        ("/etc", ErrorKind::CommandNotExecutable),
    ];
    for (command, kind) in table {
        let mut container = Container::new(program);
        let failure = container
            .create(&running(&[command]), None, streams().0)
            .map(drop)
            .and_then(|()| container.runtime.start())
            .expect_err(command);
        assert_eq!(failure.kind(), kind, "{failure:?}");
        container.gone();
    }
    reap_orphans();
    let mut container = Container::new(program);
    let main = container.create(&running(&["sleep", "1000"]), None, streams().0).expect("created");
    container.runtime.start().expect("started");
    for (command, kind) in table {
        let failure = container.exec(&[command], None, streams().0).expect_err(command);
        assert_eq!(failure.kind(), kind, "{failure:?}");
    }
    reap_orphans();
    container.runtime.delete().expect("deleted while it runs");
    assert_eq!(code(&main), 128 + 9);
    container.gone();
}

#[test]
fn runc_tells_what_is_wrong_with_a_command() {
    if can_run("runc_tells_what_is_wrong_with_a_command", &["runc", "busybox"]) {
        wrong_commands("runc");
    }
}

#[test]
fn crun_tells_what_is_wrong_with_a_command() {
    if can_run("crun_tells_what_is_wrong_with_a_command", &["crun", "busybox"]) {
        wrong_commands("crun");
    }
}

#[test]
fn an_unknown_runtime_is_one_sentence() {
    if can_run("an_unknown_runtime_is_one_sentence", &["busybox"]) {
        let mut container = Container::new("no-such-runtime");
        let failure = container.create(&running(&["true"]), None, streams().0).expect_err("unknown");
        assert_eq!(failure.kind(), ErrorKind::NotFound);
        assert!(failure.to_string().starts_with("unknown runtime `no-such-runtime`: "), "{failure}");
        container.gone();
    }
}
