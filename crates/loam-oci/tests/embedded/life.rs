//! From create to delete.

use loam_model::{ErrorKind, Runtime};
use serde_json::json;

use crate::Test;
use crate::bundle::{Bundle, FIRST_ID};

pub(crate) const TESTS: &[Test] = &[
    ("life::output_and_exit_code", output_and_exit_code),
    ("life::user_namespace", user_namespace),
    ("life::nothing_runs_before_the_start", nothing_runs_before_the_start),
    ("life::signals", signals),
    ("life::delete_at_any_time", delete_at_any_time),
    ("life::unknown_and_unusable_commands", unknown_and_unusable_commands),
    ("life::pause_and_resume", pause_and_resume),
    ("life::kill_while_paused", kill_while_paused),
    ("life::figures", figures),
    ("life::shared_namespaces", shared_namespaces),
    ("life::joined_namespaces", joined_namespaces),
];

fn output_and_exit_code() {
    let bundle = Bundle::new(&["sh", "-c", "echo out; echo err >&2; exit 42"]);
    let outcome = bundle.run().unwrap();
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (42, "out\n", "err\n"));
}

fn user_namespace() {
    let script = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/cgroup >/dev/null; \
                  stat -c %u /dev /dev/null /proc/1/ /tmp-dir; echo x >/dev/null; mkdir /new; stat -c %u /new";
    let bundle = Bundle::new(&["sh", "-c", script]).with_user_namespace();
    let bundle = bundle.mount(json!({"destination": "/tmp-dir", "type": "tmpfs"}));
    let out = bundle.output();
    let words: Vec<&str> = out.split_whitespace().collect();
    let first = FIRST_ID.to_string();
    let map = ["0", first.as_str(), "65536"];
    assert_eq!(words[..2], ["0", "0"]);
    assert_eq!((&words[2..5], &words[5..8]), (&map[..], &map[..]));
    assert_eq!(words[8..], ["0"; 5]);
}

fn nothing_runs_before_the_start() {
    let bundle = Bundle::new(&["sh", "-c", "echo ran"]);
    let mut container = bundle.create().unwrap();
    assert!(std::fs::read_link(format!("/proc/{}/exe", container.process.process.pid)).is_ok());
    container.start();
    assert_eq!(container.runtime.start().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(container.process.finish().out, "ran\n");
    assert_eq!(container.runtime.signal(15, false).unwrap_err().kind(), ErrorKind::Conflict);
    container.delete();
}

fn signals() {
    for (signal, all) in [(9, false), (15, false), (9, true)] {
        let script = "trap 'exit 15' TERM; echo ready; while :; do sleep 60 & wait; done";
        let bundle = Bundle::new(&["sh", "-c", script]);
        let mut container = bundle.create().unwrap();
        container.start();
        container.process.wait_for_line("ready");
        container.runtime.signal(signal, all).unwrap();
        let code = container.process.reap();
        assert_eq!(code, Some(if signal == 9 { 137 } else { 15 }));
        container.delete();
    }
}

fn delete_at_any_time() {
    for start in [false, true] {
        let bundle = Bundle::new(&["sleep", "1000"]).with_user_namespace();
        let mut container = bundle.create().unwrap();
        if start {
            container.start();
        }
        container.runtime.delete().unwrap();
        assert_eq!(container.process.reap(), Some(137));
        assert_eq!(container.runtime.start().unwrap_err().kind(), ErrorKind::Conflict);
        container.runtime.delete().unwrap();
        bundle.check_gone();
    }
}

fn unknown_and_unusable_commands() {
    let text = |bundle: &Bundle, name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = bundle.rootfs().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let cases = [
        ("no-such-command", ErrorKind::CommandNotFound),
        ("/no/such/command", ErrorKind::CommandNotFound),
        ("/bad-interpreter", ErrorKind::CommandNotFound),
        ("/bin", ErrorKind::CommandNotExecutable),
        ("/plain", ErrorKind::CommandNotExecutable),
        ("/no-program", ErrorKind::CommandNotExecutable),
    ];
    for (command, kind) in cases {
        let bundle = Bundle::new(&[command]);
        text(&bundle, "plain", "hello", 0o644);
        text(&bundle, "no-program", "hello", 0o755);
        text(&bundle, "bad-interpreter", "#!/no/such/thing\n", 0o755);
        let failure = match bundle.create() {
            Err(failure) => failure,
            Ok(mut container) => {
                let failure = container.runtime.start().expect_err(command);
                container.delete();
                failure
            }
        };
        assert_eq!(failure.kind(), kind, "{command}: {failure:?}");
        assert!(failure.to_string().contains(command), "{failure:?}");
        bundle.check_gone();
    }
}

fn pause_and_resume() {
    let bundle = Bundle::new(&["sh", "-c", "while :; do :; done"]);
    let mut container = bundle.create().unwrap();
    container.start();
    container.runtime.pause().unwrap();
    let refused = container.exec(|process| process["args"] = json!(["true"])).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    container.runtime.resume().unwrap();
    assert_eq!(container.exec(|process| process["args"] = json!(["true"])).unwrap().code, 0);
    container.runtime.pause().unwrap();
    container.runtime.delete().unwrap();
    assert_eq!(container.process.reap(), Some(137));
    bundle.check_gone();
}

fn kill_while_paused() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let mut container = bundle.create().unwrap();
    container.start();
    container.runtime.pause().unwrap();
    container.runtime.signal(9, false).unwrap();
    assert_eq!(container.process.reap(), Some(137));
    container.delete();
}

fn figures() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let mut container = bundle.create().unwrap();
    container.start();
    let stats = container.runtime.stats().unwrap();
    assert_eq!((stats.pids, stats.network_received, stats.network_sent), (1, Some(0), Some(0)));
    let resources = json!({"pids": {"limit": 7}});
    container.runtime.update(&serde_json::from_value(resources).unwrap()).unwrap();
    assert_eq!(container.runtime.stats().unwrap().pids_limit, Some(7));
    container.delete();
}

fn shared_namespaces() {
    for with_user in [false, true] {
        let host =
            |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
        let script = "for kind in net pid ipc; do readlink /proc/self/ns/$kind; done; ls /sys/class/net";
        let mut bundle = Bundle::new(&["sh", "-c", script]);
        if with_user {
            bundle = bundle.with_user_namespace();
        }
        let bundle = bundle.without_namespace("network").without_namespace("pid").without_namespace("ipc");
        // The host need not have one to show.
        let bundle = bundle.without_mount("/dev/mqueue");
        let out = bundle.output();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[..3], [host("net"), host("pid"), host("ipc")]);
        assert!(lines.contains(&"lo"), "{out}");
    }
}

fn joined_namespaces() {
    for with_user in [false, true] {
        let first = Bundle::new(&["sh", "-c", "echo ready; sleep 1000"]);
        let script = "for kind in net ipc uts pid; do readlink /proc/self/ns/$kind; done; hostname";
        let second = Bundle::new(&["sh", "-c", script]);
        let (first, mut second) = if with_user {
            (first.with_user_namespace(), second.with_user_namespace())
        } else {
            (first, second)
        };
        let mut pod = first.create().unwrap();
        pod.start();
        let pid = pod.process.process.pid;
        let link =
            |kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
        for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("user", "user")] {
            for namespace in second.namespaces().iter_mut().filter(|namespace| namespace["type"] == kind) {
                namespace["path"] = json!(format!("/proc/{pid}/ns/{file}"));
            }
        }
        second.config.as_object_mut().unwrap().remove("hostname");
        let out = second.output_beside(&pod);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[..3], [link("net"), link("ipc"), link("uts")]);
        assert_ne!(lines[3], link("pid"));
        assert_eq!(lines[4], "loam-test");
        pod.delete();
    }
}
