//! Containers in systemd's scopes.

use std::fs;

use loam_tests::trace::with_words;
use loam_tests::{Host, Need, Trace, needs, until};

/// What these tests need.
const NEEDS: [Need; 2] = [Need::Systemd, Need::CgroupV2];

/// A property of a unit as systemd sees it.
fn property(host: &Host, unit: &str, name: &str) -> String {
    host.sh(&format!("systemctl show --value -p {name} {unit}")).ok().to_owned()
}

/// Whether systemd has a unit in its list, whatever its state.
fn is_listed(host: &Host, unit: &str) -> bool {
    host.sh("systemctl list-units --all --plain --no-legend --type=scope,slice").ok().contains(unit)
}

#[test]
fn a_container_is_a_scope_with_its_limits() {
    if !needs::met(&NEEDS) {
        return;
    }
    let host = Host::with_small_image();
    assert!(host.loam(&["info", "-o", "json"]).ok().contains("\"cgroup_driver\": \"systemd\""));
    let limits = [
        "-m=64m",
        "--memory-reservation=32m",
        "--cpus=0.5",
        "--cpu-shares=512",
        "--cpuset-cpus=0",
        "--pids-limit=77",
        "--stop-timeout=3",
    ];
    let id = host.start(&[&["--name", "s"], &limits[..], &["small", "sleep", "1000"]].concat());
    let unit = format!("loam-{id}.scope");
    let detail = host.inspect("s");
    assert_eq!(detail["cgroup_driver"], "systemd");
    assert_eq!(detail["cgroup"], format!("/machine.slice/{unit}"));
    for (name, value) in [
        ("ActiveState", "active"),
        ("Slice", "machine.slice"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("MemoryLow", "33554432"),
        ("MemorySwapMax", "0"),
        ("TasksMax", "77"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("CPUWeight", "59"),
        ("AllowedCPUs", "0"),
        ("TimeoutStopUSec", "3s"),
    ] {
        assert_eq!(property(&host, &unit, name), value, "{name}");
    }
    assert!(is_listed(&host, &unit) && is_listed(&host, "machine.slice"));
    let status = host.sh("systemctl status machine.slice").stdout;
    assert!(status.contains(&unit), "{status}");
    assert_eq!(host.loam(&["exec", "s", "cat", "/proc/self/cgroup"]).ok(), "0::/");
    assert_eq!(host.loam(&["exec", "s", "true"]).code, 0);
    host.loam(&["rm", "-f", "s"]).ok();
    assert!(!is_listed(&host, &unit), "the scope is left");
    host.finish();
}

#[test]
fn limits_outlive_a_reload_of_systemd() {
    if !needs::met(&NEEDS) {
        return;
    }
    let host = Host::with_small_image();
    let limits = [
        "-m=64m",
        "--memory-swap=96m",
        "--cpus=0.5",
        "--cpu-shares=512",
        "--cpuset-cpus=0",
        "--pids-limit=77",
    ];
    host.start(&[&["--name", "r"], &limits[..], &["small", "sh", "-c", "sleep 1000 & wait"]].concat());
    let cgroup = host.cgroup("r");
    let files = [
        "memory.max",
        "memory.swap.max",
        "cpu.max",
        "cpu.weight",
        "cpuset.cpus",
        "pids.max",
        "cgroup.controllers",
    ];
    let read = || files.map(|file| cgroup.read(("", ""), file));
    let before = read();
    assert_eq!(before[..4], ["67108864", "33554432", "50000 100000", "59"]);
    host.sh("systemctl daemon-reload").ok();
    assert_eq!(read(), before);
    // Its devices are still those that every container has.
    let device = host.loam(&["exec", "r", "sh", "-c", "cat /dev/null && head -c 1 /dev/zero | wc -c"]);
    assert_eq!(device.ok(), "1");
    host.finish();
}

#[test]
fn systemctl_stop_ends_the_container_and_is_noticed() {
    if !needs::met(&NEEDS) {
        return;
    }
    let host = Host::with_small_image();
    let id = host.start(&[
        "--name",
        "polite",
        "small",
        "sh",
        "-c",
        "trap 'exit 7' TERM; while :; do sleep 0.1; done",
    ]);
    until("it runs", || host.loam(&["exec", "polite", "true"]).code.eq(&0).then_some(()));
    host.sh(&format!("systemctl stop loam-{id}.scope")).ok();
    assert_eq!(host.loam(&["wait", "polite"]).ok(), "7");
    until("it has stopped", || (host.inspect("polite")["state"] == "stopped").then_some(()));
    // Process 1 without a handler does not hear the signal: it is killed after its own time, not after systemd's 90 seconds.
    let id = host.start(&["--name", "deaf", "--stop-timeout", "1", "small", "sleep", "1000"]);
    let begin = std::time::Instant::now();
    host.sh(&format!("systemctl stop loam-{id}.scope")).ok();
    assert!(begin.elapsed() < std::time::Duration::from_secs(30), "{:?}", begin.elapsed());
    assert_eq!(host.loam(&["wait", "deaf"]).ok(), "137");
    assert!(!is_listed(&host, &id), "a scope is left");
    // The same name and the same scope again.
    host.loam(&["start", "deaf"]).ok();
    assert_eq!(property(&host, &format!("loam-{id}.scope"), "ActiveState"), "active");
    host.finish();
}

/// systemd removes a scope's directory while `rm` is about to kill what is in it: what is open then is no device any more.
#[test]
fn a_scope_that_systemd_removes_at_the_same_moment_is_no_failure() {
    if !needs::met(&NEEDS) {
        return;
    }
    let host = Host::with_small_image();
    let id = host.start(&["--name", "c", "small", "sleep", "1000"]);
    let group = property(&host, &format!("loam-{id}.scope"), "ControlGroup");
    // With a process that is not the container's, the scope outlives the shim, and the command ends it by itself.
    host.sh(&format!("sleep 1000 >/dev/null 2>&1 & echo $! > /sys/fs/cgroup{group}/cgroup.procs")).ok();
    host.sh(&format!("kill -9 {}", host.shim("c"))).ok();
    let trace = format!(
        "strace -f -qq -o /dev/null -P /sys/fs/cgroup{group}/cgroup.kill -e inject=write:error=ENODEV"
    );
    let (root, run) = (host.root(), host.run_directory());
    let loam = loam_tests::program("loam");
    host.sh(&format!("{trace} {loam} --root {} --run {} rm -f c", root.display(), run.display())).ok();
    assert!(!is_listed(&host, &id), "a scope is left");
    host.finish();
}

#[test]
fn nothing_above_the_scope_is_changed() {
    if !needs::met(&NEEDS) {
        return;
    }
    let host = Host::with_small_image();
    // What systemd hands down to a unit of its own with the same limits, in a slice that no other test is in.
    let unit = format!("reference-{}", std::process::id());
    let limits = "-p Delegate=yes -p MemoryMax=32M -p CPUQuota=50% -p AllowedCPUs=0 -p TasksMax=9";
    host.sh(&format!("systemd-run --quiet --unit={unit} --slice=loamabove.slice {limits} sleep 1000")).ok();
    let read = |file: &str| fs::read_to_string(format!("/sys/fs/cgroup/loamabove.slice/{file}")).unwrap();
    let before = read("cgroup.subtree_control");
    assert!(before.contains("memory"), "{before:?}");
    let limits =
        ["--cgroup-slice=loamabove.slice", "-m=32m", "--cpus=0.5", "--cpuset-cpus=0", "--pids-limit=9"];
    let ids = ["first", "second"]
        .map(|name| host.start(&[&["--name", name], &limits[..], &["small", "sleep", "1000"]].concat()));
    assert_eq!(read("cgroup.subtree_control"), before);
    assert_eq!(read("cgroup.procs"), "", "processes belong in leaves");
    host.loam(&["rm", "-f", "first", "second"]).ok();
    assert_eq!(read("cgroup.subtree_control"), before);
    assert!(!ids.iter().any(|id| is_listed(&host, id)), "a scope is left");
    host.sh(&format!("systemctl stop {unit}.service")).ok();
    host.finish();
}

/// The files of control groups with this name that were opened to be written to.
fn opened_to_write<'a>(calls: &'a [String], file: &str) -> Vec<&'a str> {
    let end = format!("/{file}\"");
    let ways = ["O_WRONLY", "O_RDWR"].map(|way| with_words(calls, &[&end, way]));
    ways.concat()
}

#[test]
fn nothing_of_loam_hands_controllers_down() {
    if !needs::met(&NEEDS) {
        return;
    }
    let host = Host::with_small_image();
    // Nobody else is in this slice: what its scopes need systemd hands down for them alone.
    let flags = [
        "--cgroup-slice=loamtraced.slice",
        "-m=32m",
        "--cpus=0.5",
        "--cpu-shares=512",
        "--cpuset-cpus=0",
        "--pids-limit=9",
    ];
    let run = [&["run", "--name", "t"], &flags[..], &["small", "sleep", "1000"]].concat();
    let opening = "?open,openat,openat2,?creat";
    let started = Trace::of(&host, opening, &[], &run);
    until("it runs", || (host.loam(&["exec", "t", "true"]).code == 0).then_some(()));
    let removed = Trace::of(&host, opening, &[], &["rm", "-f", "t"]).end();
    // With the command goes its shim.
    let started = started.end();
    let limited = opened_to_write(&started, "pids.max");
    assert!(!limited.is_empty(), "the shim is traced while it sets limits: {started:#?}");
    assert!(limited.iter().all(|call| call.contains("/loamtraced.slice/loam-")), "{limited:#?}");
    for calls in [&started, &removed] {
        assert_eq!(opened_to_write(calls, "cgroup.subtree_control"), [""; 0]);
    }
    host.finish();
}

#[test]
fn a_start_that_fails_and_a_shim_that_dies_leave_no_scope() {
    if !needs::met(&NEEDS) {
        return;
    }
    let host = Host::with_small_image();
    // A slice of this test's own: others have scopes at the same time.
    let slice = ["--cgroup-slice", "loamends.slice"];
    let run = |arguments: &[&str]| host.loam(&[&["run"], &slice[..], arguments].concat());
    run(&["--rm", "small", "no-such-program"]).refused(127, "no-such-program");
    run(&["--rm", "-w", "/bin/busybox/x", "small", "true"]).refused(125, "working directory");
    let id = host.start(&[&slice[..], &["--name", "d", "small", "sleep", "1000"]].concat());
    let unit = format!("loam-{id}.scope");
    host.sh(&format!("kill -9 {}", host.shim("d"))).ok();
    until("that is noticed", || (host.inspect("d")["state"] == "stopped").then_some(()));
    until("its scope is gone", || (!is_listed(&host, &unit)).then_some(()));
    let units = host.sh("systemctl show --all --property=Id,Slice '*.scope'");
    assert!(!units.stdout.contains("loamends.slice"), "{}", units.stdout);
    host.finish();
}

#[test]
fn the_driver_and_the_slice_are_chosen() {
    if !needs::met(&NEEDS) {
        return;
    }
    let host = Host::with_small_image();
    let config = host.scratch().join("config.toml");
    let path = config.display().to_string();
    fs::write(&config, "cgroup_driver = 'systemd'\ncgroup_slice = 'loam-test.slice'\n").unwrap();
    host.loam(&["run", "-d", "--config", &path, "--name", "sliced", "small", "sleep", "1000"]).ok();
    let detail = host.inspect("sliced");
    let unit = format!("loam-{}.scope", detail["id"].as_str().unwrap());
    assert_eq!(detail["cgroup"], format!("/loam.slice/loam-test.slice/{unit}"));
    assert_eq!(property(&host, &unit, "Slice"), "loam-test.slice");
    host.cgroup("sliced");
    // A flag goes before the file, and the environment too.
    let plain = ["--config", &path, "--cgroup-driver", "cgroupfs"];
    host.loam(&[&["run", "-d", "--name", "plain"], &plain[..], &["small", "sleep", "1000"]].concat()).ok();
    let id = host.inspect("plain")["id"].as_str().unwrap().to_owned();
    assert_eq!(host.inspect("plain")["cgroup"], format!("/loam-{id}"));
    assert!(!is_listed(&host, &format!("loam-{id}.scope")));
    let info = host.loam_with(&[("LOAM_CGROUP_DRIVER", "cgroupfs")], &["info", "-o", "json"]);
    assert!(info.ok().contains("\"cgroup_driver\": \"cgroupfs\""), "{info:?}");
    host.loam(&["rm", "-f", "sliced", "plain"]).ok();
    host.sh("systemctl stop loam.slice").ok();
    host.finish();
}

#[test]
fn other_runtimes_are_told_to_use_a_scope() {
    if !needs::met(&NEEDS) {
        return;
    }
    let host = Host::with_small_image();
    for runtime in ["runc", "crun"] {
        let flags = [
            "--runtime",
            runtime,
            "--name",
            runtime,
            "-m",
            "64m",
            "--pids-limit",
            "50",
            "--stop-timeout",
            "1",
        ];
        let id = host.start(&[&flags[..], &["small", "sleep", "1000"]].concat());
        let unit = format!("loam-{id}.scope");
        assert_eq!(property(&host, &unit, "ActiveState"), "active", "{runtime}");
        assert_eq!(property(&host, &unit, "TimeoutStopUSec"), "1s", "{runtime}");
        // Not every one tells systemd of every limit, but the kernel has it.
        let cgroup = host.sh(&format!("cut -d: -f3 /proc/{}/cgroup", host.pid(runtime))).ok().to_owned();
        assert!(cgroup.starts_with(&format!("/machine.slice/{unit}")), "{runtime}: {cgroup}");
        let limit = host
            .sh(&format!("cat /sys/fs/cgroup{cgroup}/pids.max /sys/fs/cgroup/machine.slice/{unit}/pids.max"));
        assert!(limit.ok().lines().any(|limit| limit == "50"), "{runtime}: {limit:?}");
        assert!(host.loam(&["stats", "--no-stream", runtime]).ok().contains("64.0 MiB"), "{runtime}");
        host.sh(&format!("systemctl stop {unit}")).ok();
        assert_eq!(host.loam(&["wait", runtime]).ok(), "137", "{runtime}");
        until("its scope is gone", || (!is_listed(&host, &unit)).then_some(()));
    }
    host.finish();
}
