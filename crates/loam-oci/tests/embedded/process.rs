//! What a process is given, and what is taken from it.

use loam_model::ErrorKind;
use serde_json::json;

use crate::Test;
use crate::bundle::Bundle;
use crate::exec::refuse_sethostname;

pub(crate) const TESTS: &[Test] = &[
    ("process::only_the_standard_streams_are_open", only_the_standard_streams_are_open),
    ("process::working_directory_is_made", working_directory_is_made),
    ("process::limits", limits),
    ("process::names_masks_and_variables", names_masks_and_variables),
    ("process::users", users),
    ("process::capabilities", capabilities),
    ("process::seccomp", seccomp),
    ("process::out_of_memory_score", out_of_memory_score),
    ("process::terminal", terminal),
    ("process::labels_without_a_module", labels_without_a_module),
    ("process::sysctls", sysctls),
    ("process::hooks", hooks),
    ("process::failing_hooks", failing_hooks),
    ("process::loopback_is_up", loopback_is_up),
    ("process::signals_are_reset", signals_are_reset),
];

fn shell(script: &str) -> Bundle {
    Bundle::new(&["sh", "-c", script])
}

fn only_the_standard_streams_are_open() {
    // Even those that whoever started the shim forgot to close.
    let leaked: Vec<_> = (0..50)
        .map(|_| {
            let file = std::fs::File::open("/etc").unwrap();
            rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
            file
        })
        .collect();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let mut container = bundle.create().unwrap();
    container.start();
    let pid = container.process.process.pid;
    let mut open: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    drop(leaked);
    container.delete();
}

fn working_directory_is_made() {
    for with_user in [false, true] {
        let bundle = shell("pwd; stat -c '%u %a' .").set("/process/cwd", json!("/made/for/this"));
        let bundle = if with_user { bundle.with_user_namespace() } else { bundle };
        assert_eq!(bundle.output(), "/made/for/this\n0 755\n");
    }
}

fn limits() {
    let limits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        // More than may be had everywhere: as much as can be, and no failure.
        {"type": "RLIMIT_MEMLOCK", "soft": u64::MAX, "hard": u64::MAX},
        {"type": "RLIMIT_SIGPENDING", "soft": 1_000_000_000_u64, "hard": 1_000_000_000_u64},
    ]);
    for with_user in [false, true] {
        let bundle = shell("ulimit -Sn; ulimit -Hn; ulimit -c").set("/process/rlimits", limits.clone());
        let bundle = if with_user { bundle.with_user_namespace() } else { bundle };
        let bundle = bundle.set("/process/user/uid", json!(7));
        assert_eq!(bundle.output(), "100\n200\n0\n");
    }
}

fn names_masks_and_variables() {
    let bundle = shell("hostname; umask; env | grep -v -e SHLVL -e PWD -e PATH")
        .set("/process/env", json!(["PATH=/bin", "A=1", "B=2", "A=3"]));
    assert_eq!(bundle.output(), "loam-test\n0022\nA=3\nB=2\n");
    let bundle = shell("umask").set("/process/user/umask", json!(0o077));
    assert_eq!(bundle.output(), "0077\n");
}

fn users() {
    for with_user in [false, true] {
        let bundle = shell("id -u; id -g; id -G; grep CapEff /proc/self/status")
            .set("/process/user", json!({"uid": 33, "gid": 44, "additionalGids": [44, 55, 66]}));
        let bundle = if with_user { bundle.with_user_namespace() } else { bundle };
        assert_eq!(bundle.output(), "33\n44\n44 55 66\nCapEff:\t0000000000000000\n");
    }
    let bundle = shell("true").set("/process/user/uid", json!(70_000)).with_user_namespace();
    assert_eq!(bundle.run().unwrap_err().kind(), ErrorKind::Invalid);
    bundle.check_gone();
}

fn capabilities() {
    let script = "grep Cap /proc/self/status";
    let sets = json!({"bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"]});
    let bundle = shell(script).set("/process/capabilities", sets.clone());
    // Root gets what is in the bounding set when it runs a program.
    let expect = |inheritable: &str, permitted: &str, effective: &str, ambient: &str| {
        format!(
            "CapInh:\t00000000000000{inheritable}\nCapPrm:\t00000000000000{permitted}\n\
             CapEff:\t00000000000000{effective}\nCapBnd:\t0000000000000021\nCapAmb:\t00000000000000{ambient}\n"
        )
    };
    assert_eq!(bundle.output(), expect("00", "21", "21", "00"));
    let bundle = shell(script).set("/process/capabilities", sets).set("/process/user/uid", json!(5));
    assert_eq!(bundle.output(), expect("00", "00", "00", "00"));
    let bundle = bundle.set("/process/capabilities/ambient", json!(["CAP_KILL", "CAP_SYS_ADMIN"]));
    assert_eq!(bundle.output(), expect("20", "20", "20", "20"));
    // All there are: as many as the shim has itself.
    let everything = json!(["CAP_SYS_RESOURCE", "CAP_SYS_ADMIN", "CAP_KILL"]);
    let sets = json!({"bounding": everything, "permitted": everything, "effective": everything});
    shell("true").set("/process/capabilities", sets).output();
}

fn seccomp() {
    for (promise, with_user) in [(true, false), (false, false), (true, true), (false, true)] {
        let bundle = shell("hostname other 2>&1; grep -e Seccomp: -e NoNew /proc/self/status; exit 0")
            .set("/linux/seccomp", refuse_sethostname())
            .set("/process/noNewPrivileges", json!(promise));
        let bundle = if with_user { bundle.with_user_namespace() } else { bundle };
        let out = bundle.output();
        assert!(out.contains("not supported"), "{out}");
        assert!(out.contains("Seccomp:\t2\n"), "{out}");
        assert!(out.contains(&format!("NoNewPrivs:\t{}\n", u8::from(promise))), "{out}");
    }
}

fn out_of_memory_score() {
    let score =
        |value: i32| shell("cat /proc/self/oom_score_adj").set("/process/oomScoreAdj", json!(value)).output();
    assert_eq!(score(500), "500\n");
    // Lowering may be forbidden; then it stays.
    assert!(["-900\n", "0\n"].contains(&score(-900).as_str()));
}

fn terminal() {
    for with_user in [false, true] {
        let script =
            "tty; stat -c %u $(tty); busybox stty size; echo x >/dev/console; echo y >/dev/tty; ls /dev";
        let bundle = shell(script).with_terminal().set("/process/user/uid", json!(3));
        let bundle = if with_user { bundle.with_user_namespace() } else { bundle };
        let out = bundle.output();
        assert!(out.starts_with("/dev/pts/0\n3\n24 80\nx\ny\n"), "{out}");
        assert!(out.contains("console"), "{out}");
    }
}

fn labels_without_a_module() {
    for (place, module) in
        [("apparmorProfile", "/sys/module/apparmor"), ("selinuxLabel", "/sys/fs/selinux/enforce")]
    {
        if std::path::Path::new(module).exists() {
            continue;
        }
        let bundle = shell("true").set(&format!("/process/{place}"), json!("some-label"));
        assert_eq!(bundle.run().unwrap_err().kind(), ErrorKind::Unsupported);
        bundle.check_gone();
    }
}

fn sysctls() {
    for with_user in [false, true] {
        let bundle = shell("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni")
            .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "77"}));
        let bundle = if with_user { bundle.with_user_namespace() } else { bundle };
        assert_eq!(bundle.output(), "1\n77\n");
    }
    let bundle = shell("true").set("/linux/sysctl", json!({"kernel.core_pattern": "|/x"}));
    assert_eq!(bundle.run().unwrap_err().kind(), ErrorKind::Invalid);
}

fn hooks() {
    for with_user in [false, true] {
        let bundle = shell("echo program >>/log");
        let log = bundle.rootfs().join("log");
        std::fs::write(&log, "").unwrap();
        std::fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let say = |path: &std::path::Path, name: &str| {
            let script = format!("echo {name} $(grep -o '\"status\":\"[a-z]*\"') >>{}", path.display());
            json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
        };
        let inside = std::path::Path::new("/log");
        let hooks = json!({
            "prestart": say(&log, "prestart"), "createRuntime": say(&log, "createRuntime"),
            "createContainer": say(&log, "createContainer"), "startContainer": say(inside, "startContainer"),
            "poststart": say(&log, "poststart"), "poststop": say(&log, "poststop"),
        });
        let bundle = bundle.set("/hooks", hooks).set("/process/env", json!(["PATH=/bin", "X=1"]));
        let bundle = if with_user { bundle.with_user_namespace() } else { bundle };
        // In a user namespace the hooks of the container are nobody on the host.
        std::fs::set_permissions(bundle.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        bundle.output();
        let text = std::fs::read_to_string(&log).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        // These two run at the same time.
        lines[4..6].sort_unstable();
        let expected = [
            "prestart \"status\":\"creating\"",
            "createRuntime \"status\":\"creating\"",
            "createContainer \"status\":\"creating\"",
            "startContainer \"status\":\"created\"",
            "poststart \"status\":\"running\"",
            "program",
            "poststop \"status\":\"stopped\"",
        ];
        assert_eq!(lines, expected);
    }
}

fn failing_hooks() {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let fail = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo no; exit 3"]}]);
        let bundle = shell("true").set("/hooks", json!({kind: fail}));
        let failure = bundle.run().unwrap_err();
        let text = failure.chain();
        assert!(text.contains("no") && text.contains('3') && text.contains("/bin/sh"), "{text}");
        bundle.check_gone();
    }
    let slow = json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 100"], "timeout": 1}]);
    let bundle = shell("true").set("/hooks", json!({"createRuntime": slow}));
    assert!(bundle.run().unwrap_err().chain().contains("too long"));
}

fn loopback_is_up() {
    for with_user in [false, true] {
        let bundle = shell("cat /sys/class/net/lo/flags; ls /sys/class/net");
        let bundle = if with_user { bundle.with_user_namespace() } else { bundle };
        assert_eq!(bundle.output(), "0x9\nlo\n");
    }
}

fn signals_are_reset() {
    let out = Bundle::new(&["grep", "-e", "SigBlk", "-e", "SigIgn", "/proc/self/status"]).output();
    assert_eq!(out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}
