//! A further process in a running container.

use std::process::Stdio;
use std::time::{Duration, Instant};

use loam_tests::{Host, until};

#[test]
fn exec_has_the_container_s_rights_and_no_more() {
    let host = Host::with_small_image();
    host.start(&["--name", "c", "small", "sleep", "1000"]);
    let look = "grep -E '^(Seccomp|NoNewPrivs|CapBnd|CapEff|CapInh):' /proc/PID/status";
    let own = host.loam(&["exec", "c", "sh", "-c", &look.replace("PID", "self")]);
    let main = host.loam(&["exec", "c", "sh", "-c", &look.replace("PID", "1")]);
    assert_eq!(own.ok(), main.ok());
    assert!(own.stdout.contains("Seccomp:\t2"), "{own:?}");
    assert!(own.stdout.contains("NoNewPrivs:\t1"), "{own:?}");
    assert!(own.stdout.contains("CapInh:\t0000000000000000"), "{own:?}");
    let groups = host.loam(&[
        "exec",
        "c",
        "sh",
        "-c",
        "cat /proc/self/cgroup > /tmp/a; cat /proc/1/cgroup | diff /tmp/a -",
    ]);
    groups.ok();
    for kind in ["user", "pid", "net", "ipc", "uts", "mnt", "cgroup"] {
        let line = format!("[ $(readlink /proc/self/ns/{kind}) = $(readlink /proc/1/ns/{kind}) ]");
        host.loam(&["exec", "c", "sh", "-c", &line]).ok();
    }
    host.finish();
}

#[test]
fn exec_takes_user_directory_environment_and_input() {
    let host = Host::with_small_image();
    host.start(&["--name", "c", "-e", "FROM=run", "small", "sleep", "1000"]);
    let ran = host.loam(&[
        "exec",
        "-u",
        "7:8",
        "-w",
        "/tmp",
        "-e",
        "X=1",
        "c",
        "sh",
        "-c",
        "id -u; id -g; pwd; echo $FROM $X",
    ]);
    assert_eq!(ran.ok(), "7\n8\n/tmp\nrun 1");
    let ran = host.loam_with_input(&["exec", "-i", "c", "wc", "-c"], &[b'x'; 100_000]);
    assert_eq!(ran.ok().trim(), "100000");
    assert_eq!(host.loam(&["exec", "c", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(host.loam(&["exec", "c", "sh", "-c", "kill -15 $$"]).code, 143);
    host.loam(&["exec", "c", "nothing-like-it"]).refused(127, "nothing-like-it");
    host.loam(&["exec", "c", "/etc"]).refused(126, "/etc");
    host.finish();
}

#[test]
fn exec_ignores_a_config_that_was_edited_meanwhile() {
    let host = Host::with_small_image();
    let id = host.start(&["--name", "c", "small", "sleep", "1000"]);
    let config = host.run_directory().join("containers").join(&id).join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"noNewPrivileges\":true", "\"noNewPrivileges\":false")).unwrap();
    let ran = host.loam(&["exec", "c", "grep", "NoNewPrivs", "/proc/self/status"]);
    assert_eq!(ran.ok(), "NoNewPrivs:\t1");
    host.finish();
}

#[test]
fn exec_in_a_container_that_does_not_run_is_refused() {
    let host = Host::with_small_image();
    host.loam(&["create", "--name", "c", "small", "true"]).ok();
    host.loam(&["exec", "c", "true"]).refused(125, "c");
    host.finish();
}

#[test]
fn a_container_with_a_running_exec_is_removed_at_once() {
    let host = Host::with_small_image();
    host.start(&["--name", "c", "small", "sleep", "1000"]);
    host.loam(&["exec", "-d", "c", "sleep", "1000"]).ok();
    let begin = std::time::Instant::now();
    host.loam(&["rm", "-f", "c"]).ok();
    assert!(begin.elapsed() < std::time::Duration::from_secs(10), "{:?}", begin.elapsed());
    host.finish();
}

#[test]
fn many_execs_leave_nothing_behind() {
    let host = Host::with_small_image();
    host.start(&["--name", "c", "small", "sleep", "1000"]);
    // The parent of the main process. Other tests have shims at the same time.
    let shim = host.sh(&format!("ps -o ppid= -p {}", host.pid("c"))).ok().trim().to_owned();
    let open = || std::fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    host.loam(&["exec", "c", "true"]).ok();
    let before = open();
    for _ in 0..20 {
        host.loam(&["exec", "c", "true"]).ok();
    }
    // A command ends a moment before the shim lets go of its connection.
    until("the shim has no more descriptors than before", || (open() <= before).then_some(()));
    let processes = host.loam(&["exec", "c", "sh", "-c", "ls -d /proc/[0-9]* | wc -l"]);
    assert!(processes.ok().parse::<u32>().unwrap() <= 4, "{processes:?}");
    host.finish();
}

#[test]
fn a_container_that_stops_everything_is_stopped_all_the_same() {
    let host = Host::with_small_image();
    let script = "sh -c 'while :; do kill -STOP -1; done' & while :; do sleep 1000; done";
    host.start(&["--name", "c", "small", "sh", "-c", script]);
    let execs: Vec<_> = (0..20)
        .map(|_| {
            let mut command = host.loam_command(&["exec", "c", "true"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let begin = Instant::now();
    host.loam(&["stop", "-t", "1", "c"]).ok();
    // Five seconds for each of the execs would be a hundred; on an emulated machine starting their commands takes some.
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    for exec in execs {
        let output = exec.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let known = said.contains("container `c` is not running") || said.contains("was not ready within");
        assert!(matches!(output.status.code(), Some(0 | 137)) || known, "{:?}: {said}", output.status);
    }
    host.finish();
}
