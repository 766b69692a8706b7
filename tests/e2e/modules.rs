//! Linux security modules: AppArmor profiles on a kernel that runs it, and clear refusals on one that does not.

use loam_tests::{Host, Need, alone, needs};

/// Runs a container where a part of sysfs is covered.
const RUN: [&str; 4] = ["run", "--rm", "--userns", "host"];

/// The profile of a process in a container, as it sees it itself.
const CURRENT: &str = "cat /proc/self/attr/apparmor/current 2>/dev/null || cat /proc/self/attr/current";

#[test]
fn the_default_profile_is_loaded_and_applied() {
    if !needs::met(&[Need::AppArmor]) {
        return;
    }
    let (_alone, host) = (alone(), Host::with_small_image());
    let look = |host: &Host| {
        host.sh("grep -c '^loam-default (enforce)' /sys/kernel/security/apparmor/profiles").stdout
    };
    // As on a machine that has never seen Loam; nothing says whether it has.
    host.sh("echo -n loam-default >/sys/kernel/security/apparmor/.remove; true").ok();
    host.loam(&["create", "--name", "dry", "small", "true"]).ok();
    assert_eq!(host.inspect("dry")["effective"]["apparmor_profile"], "loam-default");
    assert_eq!(look(&host).trim(), "0", "looking loads the profile");
    host.loam(&["rm", "dry"]).ok();
    // Several commands at once, each of which finds it missing.
    std::thread::scope(|scope| {
        let host = &host;
        let starts: Vec<_> = (0..4)
            .map(|_| scope.spawn(move || host.loam(&["run", "--rm", "small", "sh", "-c", CURRENT])))
            .collect();
        for start in starts {
            assert_eq!(start.join().unwrap().ok(), "loam-default (enforce)");
        }
    });
    assert_eq!(look(&host).trim(), "1");
    host.start(&["--name", "c", "small", "sleep", "1000"]);
    assert_eq!(host.loam(&["exec", "c", "sh", "-c", CURRENT]).ok(), "loam-default (enforce)");
    assert_eq!(
        host.loam(&["exec", "--user", "1000", "c", "sh", "-c", CURRENT]).ok(),
        "loam-default (enforce)"
    );
    assert_eq!(host.inspect("c")["effective"]["apparmor_profile"], "loam-default");
    // Signals of the engine's arrive.
    host.loam(&["stop", "--time", "1", "c"]).ok();
    let ran = host.loam(&["run", "--rm", "--runtime", "crun", "small", "sh", "-c", CURRENT]);
    assert_eq!(ran.ok(), "loam-default (enforce)");
    let unconfined = ["run", "--rm", "--security-opt", "apparmor=unconfined", "small", "sh", "-c", CURRENT];
    assert_eq!(host.loam(&unconfined).ok(), "unconfined");
    assert!(host.loam(&["info"]).ok().contains("`loam-default` is loaded"));
    host.finish();
}

#[test]
fn the_default_profile_holds_when_everything_else_is_loosened() {
    if !needs::met(&[Need::AppArmor]) {
        return;
    }
    let (_alone, host) = (alone(), Host::with_small_image());
    let loose = [
        "--userns",
        "host",
        "--cap-add",
        "ALL",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "unmask=ALL",
    ];
    let run = |more: &[&str], line: &str| {
        host.loam(&[&["run", "--rm"], &loose[..], more, &["small", "sh", "-c", line]].concat()).stdout
    };
    for line in [
        "mount -t tmpfs t /mnt",
        "mount --bind /etc /mnt",
        "umount /dev/shm",
        "mount -o remount,rw /proc/sys 2>/dev/null; cat /proc/sys/kernel/panic >/tmp/p; cat /tmp/p >/proc/sys/kernel/panic",
        "cat /proc/sys/vm/swappiness >/tmp/p; cat /tmp/p >/proc/sys/vm/swappiness",
        "cat /proc/sys/fs/file-max >/tmp/p; cat /tmp/p >/proc/sys/fs/file-max",
        "echo h >/proc/sysrq-trigger",
        "head -c 1 /proc/kcore",
        "ls /sys/kernel/security/apparmor",
        "cat /sys/module/loop/parameters/max_loop >/tmp/p; mount -o remount,rw /sys; cat /tmp/p >/sys/kernel/mm/ksm/run",
    ] {
        let asked = format!("mkdir -p /mnt; ({line}) >/dev/null 2>&1 && echo done || echo refused");
        assert_eq!(run(&[], &asked).trim(), "refused", "{line}");
    }
    // It is the profile that refuses them.
    let unconfined = ["--security-opt", "apparmor=unconfined"];
    let mount = "mkdir -p /mnt; mount -t tmpfs t /mnt && umount /mnt && echo done";
    assert_eq!(run(&unconfined, mount).trim(), "done");
    let setting = "cat /proc/sys/kernel/panic >/tmp/p; cat /tmp/p >/proc/sys/kernel/panic && echo done";
    assert_eq!(run(&unconfined, setting).trim(), "done");
    // What belongs to the container's own namespaces can be changed.
    let own = "cat /proc/sys/kernel/msgmax >/tmp/p; cat /tmp/p >/proc/sys/kernel/msgmax && \
               echo 1 >/proc/sys/net/ipv4/ip_forward && echo 0 >/proc/self/oom_score_adj && echo done";
    assert_eq!(run(&[], own).trim(), "done");
    host.finish();
}

#[test]
fn a_profile_by_name_is_applied_or_refused() {
    if !needs::met(&[Need::AppArmor]) {
        return;
    }
    let (_alone, host) = (alone(), Host::with_small_image());
    let file = host.scratch().join("profile");
    let rules = "profile loam-test flags=(attach_disconnected) {\n  capability,\n  file,\n  network,\n  signal,\n  \
                 deny /etc/group r,\n}\n";
    std::fs::write(&file, rules).unwrap();
    let run = |profile: &str, line: &str| {
        let option = format!("apparmor={profile}");
        host.loam(&["run", "--rm", "--security-opt", &option, "small", "sh", "-c", line])
    };
    run("loam-test", "true").refused(125, "loam-test");
    host.sh(&format!("apparmor_parser --replace --skip-cache '{}'", file.display())).ok();
    assert_eq!(run("loam-test", CURRENT).ok(), "loam-test (enforce)");
    assert_eq!(run("loam-test", "cat /etc/group 2>/dev/null || echo denied").ok(), "denied");
    assert_eq!(run("loam-default", "grep -c root /etc/group").ok(), "1");
    host.sh(&format!("apparmor_parser --remove '{}'", file.display())).ok();
    run("loam-test", "true").refused(125, "loam-test");
    host.finish();
}

/// Has a kernel that runs a module look, on this host alone, as one that does not: nothing is there by which it tells. Where
/// something of sysfs is covered, the kernel lets only those of the host's user namespace mount it ([`RUN`]).
fn without(host: &Host, place: &str) {
    host.sh(&format!("[ ! -e {place} ] || mount -t tmpfs tmpfs {place}")).ok();
    assert_eq!(host.sh(&format!("ls -A {place} 2>/dev/null; true")).ok(), "");
}

#[test]
fn an_apparmor_profile_is_refused_where_the_kernel_runs_none() {
    let host = Host::with_small_image();
    without(&host, "/sys/module/apparmor");
    let asked = |option: &str| host.loam(&[&RUN[..], &["--security-opt", option, "small", "true"]].concat());
    for profile in ["strict", "loam-default"] {
        let ran = asked(&format!("apparmor={profile}"));
        ran.refused(125, profile).refused(125, "this kernel does not run AppArmor");
    }
    asked("apparmor=unconfined").ok();
    host.start(&["--name", "c", "--userns", "host", "small", "sleep", "1000"]);
    assert!(host.inspect("c")["effective"]["apparmor_profile"].is_null());
    host.finish();
}

#[test]
fn a_selinux_label_is_refused_where_the_kernel_runs_none() {
    let host = Host::with_small_image();
    without(&host, "/sys/fs/selinux");
    let asked = |option: &str| host.loam(&[&RUN[..], &["--security-opt", option, "small", "true"]].concat());
    for label in ["type:container_t", "level:s0:c1,c2", "user:system_u", "role:system_r"] {
        let ran = asked(&format!("label={label}"));
        ran.refused(125, label).refused(125, "this kernel does not run SELinux");
    }
    asked("label=disable").ok();
    let volume = format!("{}:/data:z", host.scratch().display());
    host.loam(&[&RUN[..], &["-v", &volume, "small", "true"]].concat()).ok();
    host.finish();
}

#[test]
fn a_label_that_makes_no_sense_is_named() {
    let host = Host::with_small_image();
    let run = ["run", "--rm", "--security-opt", "label=nonsense", "small", "true"];
    host.loam(&run).refused(125, "label=nonsense");
    host.finish();
}
