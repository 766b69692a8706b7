//! Further processes in a container.

use std::time::{Duration, Instant};

use loam_model::{ErrorKind, Runtime};
use serde_json::{Value, json};

use crate::Test;
use crate::bundle::Bundle;
use crate::container::{Container, status_of};

pub(crate) const TESTS: &[Test] = &[
    ("exec::output_and_exit_code", output_and_exit_code),
    ("exec::is_as_confined_as_the_main_process", is_as_confined_as_the_main_process),
    ("exec::a_changed_bundle_has_no_effect", a_changed_bundle_has_no_effect),
    ("exec::unknown_and_unusable_commands", unknown_and_unusable_commands),
    ("exec::ended_container", ended_container),
    ("exec::container_that_is_ending", container_that_is_ending),
    ("exec::terminal", terminal),
    ("exec::users_and_directories", users_and_directories),
    ("exec::many", many),
];

/// A container that waits, with a seccomp filter and, perhaps, a user namespace.
fn waiting(with_user: bool) -> Bundle {
    let bundle =
        Bundle::new(&["sh", "-c", "echo ready; sleep 1000"]).set("/linux/seccomp", refuse_sethostname());
    if with_user { bundle.with_user_namespace() } else { bundle }
}

pub(crate) fn refuse_sethostname() -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]})
}

fn started(bundle: &Bundle) -> Container<'_> {
    let mut container = bundle.create().unwrap();
    container.start();
    container.process.wait_for_line("ready");
    container
}

fn arguments(command: &[&str]) -> impl FnOnce(&mut Value) {
    let command = json!(command);
    move |process| process["args"] = command
}

fn output_and_exit_code() {
    let bundle = waiting(false);
    let mut container = started(&bundle);
    let outcome = container.exec(arguments(&["sh", "-c", "echo out; echo err >&2; exit 7"])).unwrap();
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (7, "out\n", "err\n"));
    container.delete();
}

fn is_as_confined_as_the_main_process() {
    for with_user in [false, true] {
        let bundle = waiting(with_user);
        let mut container = started(&bundle);
        let further = container.spawn(false, arguments(&["sleep", "1000"])).unwrap();
        let (main, pid) = (container.process.process.pid, further.process.pid);
        for key in
            ["Seccomp", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Uid", "Groups"]
        {
            assert_eq!(status_of(pid, key), status_of(main, key), "{key}");
        }
        assert_eq!((status_of(pid, "Seccomp").as_str(), status_of(pid, "NoNewPrivs").as_str()), ("2", "1"));
        assert_eq!(status_of(pid, "CapInh"), "0000000000000000");
        for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"] {
            let link = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            assert_eq!(link(pid), link(main), "{kind}");
        }
        let cgroup = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert_eq!(cgroup(pid), cgroup(main));
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        assert_eq!(descriptors, 3);
        let outcome = container.exec(arguments(&["hostname", "other"])).unwrap();
        assert_ne!(outcome.code, 0, "the filter refuses it");
        loam_sys::send_signal(std::os::fd::AsFd::as_fd(&further.process.pidfd), 9).unwrap();
        assert_eq!(further.reap(), Some(137));
        container.delete();
    }
}

fn a_changed_bundle_has_no_effect() {
    let mut bundle = waiting(false);
    let file = bundle.path().join("config.json");
    std::fs::write(&file, bundle.config.to_string()).unwrap();
    let config = bundle.config.take();
    bundle.config = config.clone();
    let mut container = started(&bundle);
    let mut changed = config;
    changed["linux"]["seccomp"] = Value::Null;
    changed["linux"]["namespaces"] = json!([]);
    std::fs::write(&file, changed.to_string()).unwrap();
    let out = container.exec(arguments(&["grep", "Seccomp:", "/proc/self/status"])).unwrap().out;
    assert_eq!(out, "Seccomp:\t2\n");
    container.delete();
}

fn unknown_and_unusable_commands() {
    let bundle = waiting(true);
    std::fs::write(bundle.rootfs().join("plain"), "hello").unwrap();
    let mut container = started(&bundle);
    for (command, kind) in [
        ("no-such-command", ErrorKind::CommandNotFound),
        ("/bin", ErrorKind::CommandNotExecutable),
        ("/plain", ErrorKind::CommandNotExecutable),
    ] {
        let failure = container.exec(arguments(&[command])).unwrap_err();
        assert_eq!(failure.kind(), kind, "{failure:?}");
    }
    let failure = container.exec(|process| process["cwd"] = json!("/nowhere")).unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Invalid, "{failure:?}");
    for descriptor in 3..20 {
        let path = format!("/proc/self/fd/{descriptor}");
        container.exec(|process| process["cwd"] = json!(path)).unwrap_err();
    }
    container.delete();
}

fn ended_container() {
    let bundle = Bundle::new(&["true"]);
    let mut container = bundle.create().unwrap();
    container.start();
    container.process.finish();
    let failure = container.exec(arguments(&["true"])).unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Conflict);
    container.delete();
}

fn terminal() {
    for with_user in [false, true] {
        let bundle = waiting(with_user);
        let mut container = started(&bundle);
        let script = "tty; stat -c %u $(tty); busybox stty size; echo x >/dev/tty";
        let mut process = container.spawn(true, arguments(&["sh", "-c", script])).unwrap();
        let outcome = process.finish();
        assert_eq!(outcome.out, "/dev/pts/0\n0\n24 80\nx\n");
        container.delete();
    }
}

fn users_and_directories() {
    for with_user in [false, true] {
        let bundle = waiting(with_user);
        let mut container = started(&bundle);
        let outcome = container.exec(|process| {
            process["args"] =
                json!(["sh", "-c", "id; pwd; grep CapEff /proc/self/status; echo ok >/dev/stdout"]);
            process["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6]});
            process["cwd"] = json!("/bin");
        });
        let outcome = outcome.unwrap();
        assert_eq!(
            outcome.out,
            "uid=1000 gid=1001 groups=1001,5,6\n/bin\nCapEff:\t0000000000000000\nok\n"
                .replace("1001,5,6", "5,6"),
            "{outcome:?}"
        );
        container.delete();
    }
}

fn many() {
    let bundle = waiting(true);
    let mut container = started(&bundle);
    let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
    for number in 0..20 {
        assert_eq!(container.exec(arguments(&["sh", "-c", &format!("exit {number}")])).unwrap().code, number);
    }
    assert_eq!(std::fs::read_dir("/proc/self/fd").unwrap().count(), before, "descriptors are left open");
    container.runtime.signal(15, true).unwrap();
    container.delete();
}

/// Whether a process is on its way out: `PF_EXITING` among its flags (proc(5), `/proc/PID/stat`, field 9).
fn is_exiting(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    after_name.split(' ').nth(6).unwrap().parse::<u64>().unwrap() & 0x4 != 0
}

fn container_that_is_ending() {
    let bundle = waiting(false);
    let mut container = started(&bundle);
    // The first process of a namespace ends only when all others in there are reaped, and nobody reaps this one yet.
    let further = container.spawn(false, arguments(&["sleep", "1000"])).unwrap();
    container.runtime.signal(9, false).unwrap();
    // The signal is sent, not yet taken.
    let limit = Instant::now() + Duration::from_secs(20);
    while !is_exiting(container.process.process.pid) {
        assert!(Instant::now() < limit, "the first process does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..3 {
        let failure = container.exec(arguments(&["true"])).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Conflict, "{failure:?}");
        assert_eq!(failure.to_string(), "the container is not running");
    }
    further.reap();
    container.delete();
}
