//! Cgroups against the kernel of this machine, whatever versions it has mounted. Needs root.
#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loam_model::ErrorKind;
use loam_model::oci_spec::runtime::LinuxResources;
use loam_oci::{Cgroup, CgroupVersion};

/// Says by name that a test can't run, and whether it can.
fn can_run(name: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    println!("skipped: {name}: needs root");
    false
}

fn path(name: &str) -> String {
    format!("/loam-test-{}/{name}", std::process::id())
}

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).expect("valid resources")
}

/// A process of ours that does nothing.
fn sleeper() -> Child {
    Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep is on every machine")
}

fn id(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("process ids are small")
}

/// The directory of a version 1 controller.
fn v1(cgroup: &Cgroup, controller: &str) -> Option<PathBuf> {
    let mounts = cgroup.container_mounts();
    let is = |mount: &&loam_oci::CgroupMount| mount.options.split(',').any(|name| name == controller);
    mounts.iter().find(is).map(|mount| mount.source.clone())
}

fn nothing_left(cgroup: &Cgroup) {
    for mount in cgroup.container_mounts() {
        assert!(!mount.source.exists(), "{} is left", mount.source.display());
    }
}

#[test]
fn a_cgroup_is_made_joined_counted_and_removed() {
    if !can_run("a_cgroup_is_made_joined_counted_and_removed") {
        return;
    }
    let path = path("life");
    let limits = resources(
        r#"{"memory":{"limit":67108864},"pids":{"limit":77},"cpu":{"quota":50000,"period":100000}}"#,
    );
    let cgroup = Cgroup::create(&path, Some(&limits)).expect("created");
    let mut child = sleeper();
    cgroup.join(id(&child)).expect("joined");
    assert_eq!(cgroup.pids().expect("listed"), [id(&child)]);
    let memberships = fs::read_to_string(format!("/proc/{}/cgroup", child.id())).expect("readable");
    for mount in cgroup.container_mounts() {
        assert!(mount.source.ends_with(path.trim_start_matches('/')), "{mount:?}");
        assert!(memberships.contains(&path), "{memberships}");
    }
    let stats = cgroup.stats().expect("readable");
    assert_eq!((stats.memory_limit, stats.pids, stats.pids_limit), (Some(67_108_864), 1, Some(77)));
    assert!(!cgroup.oom_killed());
    cgroup.update(&resources(r#"{"memory":{"limit":134217728,"swap":134217728}}"#)).expect("grown");
    cgroup.update(&resources(r#"{"memory":{"limit":33554432,"swap":33554432}}"#)).expect("shrunk");
    cgroup.update(&resources(r#"{"cpu":{"quota":5000,"period":5000}}"#)).expect("other period");
    assert_eq!(cgroup.stats().expect("readable").memory_limit, Some(33_554_432));
    let again = Cgroup::open(&path).expect("found");
    assert_eq!(again.container_mounts(), cgroup.container_mounts());
    assert_eq!(Cgroup::create(&path, None).expect_err("occupied").kind(), ErrorKind::Conflict);
    cgroup.remove().expect("removed");
    child.wait().expect("killed by the removal");
    nothing_left(&cgroup);
    cgroup.remove().expect("a second removal has nothing to do");
    assert_eq!(Cgroup::open(&path).expect_err("gone").kind(), ErrorKind::NotFound);
}

#[test]
fn a_cgroup_with_children_and_several_processes_is_killed_and_removed() {
    if !can_run("a_cgroup_with_children_and_several_processes_is_killed_and_removed") {
        return;
    }
    let cgroup = Cgroup::create(&path("deep"), None).expect("created");
    let mut children = [sleeper(), sleeper()];
    cgroup.join(id(&children[0])).expect("joined");
    for mount in cgroup.container_mounts() {
        fs::create_dir_all(mount.source.join("a/b")).expect("made below");
        if !mount.options.contains("cpuset") {
            let procs = mount.source.join("a/b/cgroup.procs");
            fs::write(procs, children[1].id().to_string()).expect("joined below");
        }
    }
    let mut pids = cgroup.pids().expect("listed");
    pids.sort_unstable();
    let mut expected = children.each_ref().map(id);
    expected.sort_unstable();
    assert_eq!(pids, expected);
    cgroup.signal_all(libc_sigterm()).expect("signalled");
    for child in &mut children {
        child.wait().expect("ended by the signal");
    }
    cgroup.remove().expect("removed");
    nothing_left(&cgroup);
}

#[test]
fn a_parent_that_was_made_but_not_prepared_is_prepared_by_the_next_creation() {
    let name = "a_parent_that_was_made_but_not_prepared_is_prepared_by_the_next_creation";
    if !can_run(name) {
        return;
    }
    let probe = Cgroup::create(&path("probe"), None).expect("created");
    let Some(cpuset) = v1(&probe, "cpuset") else {
        println!("skipped: {name}: needs the cpuset controller of cgroup v1");
        return probe.remove().expect("removed");
    };
    // As a creation leaves it that is killed, or that another one overtakes.
    let unprepared = cpuset.with_file_name("unprepared").join("below");
    fs::create_dir_all(&unprepared).expect("made");
    probe.remove().expect("removed");
    let cgroup = Cgroup::create(&path("unprepared/below/container"), None).expect("created");
    let mut child = sleeper();
    cgroup.join(id(&child)).expect("joined");
    cgroup.remove().expect("removed");
    child.wait().expect("killed by the removal");
    nothing_left(&cgroup);
}

fn libc_sigterm() -> i32 {
    rustix::process::Signal::TERM.as_raw()
}

#[test]
fn a_frozen_cgroup_stands_still_and_can_still_be_killed() {
    if !can_run("a_frozen_cgroup_stands_still_and_can_still_be_killed") {
        return;
    }
    let cgroup = Cgroup::create(&path("frozen"), None).expect("created");
    let mut child = sleeper();
    cgroup.join(id(&child)).expect("joined");
    cgroup.freeze().expect("frozen");
    cgroup.freeze().expect("frozen twice");
    cgroup.thaw().expect("thawed");
    cgroup.freeze().expect("frozen again");
    cgroup.kill_all().expect("killed");
    child.wait().expect("a frozen process can be killed");
    cgroup.remove().expect("removed");
    nothing_left(&cgroup);
}

#[test]
fn only_listed_devices_can_be_used() {
    if !can_run("only_listed_devices_can_be_used") {
        return;
    }
    let devices = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"r"}]}"#;
    let cgroup = Cgroup::create(&path("devices"), Some(&resources(devices))).expect("created");
    if let Some(directory) = v1(&cgroup, "devices") {
        let list = fs::read_to_string(directory.join("devices.list")).expect("readable");
        assert!(
            list.contains("c 1:3 rwm") && list.contains("c 10:229 r") && !list.contains("a *:*"),
            "{list}"
        );
    }
    // /dev/kmsg is not on the list, /dev/null is.
    let script = "read line && cat /dev/null && ! (: < /dev/kmsg) 2>/dev/null";
    let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().expect("a shell");
    cgroup.join(id(&child)).expect("joined");
    std::io::Write::write_all(child.stdin.as_mut().expect("piped"), b"go\n").expect("let go");
    assert!(child.wait().expect("ended").success(), "only the listed devices can be opened");
    cgroup.remove().expect("removed");
    nothing_left(&cgroup);
}

#[test]
fn device_rules_can_be_a_program_of_version_two() {
    if !can_run("device_rules_can_be_a_program_of_version_two") {
        return;
    }
    use loam_sys::bpf::{Instruction, load_cgroup_device, replace_cgroup_device};
    use std::os::fd::AsFd;
    let cgroup = Cgroup::create(&path("program"), None).expect("created");
    let mounts = cgroup.container_mounts();
    let Some(v2) = mounts.iter().find(|mount| mount.version == CgroupVersion::V2) else {
        println!("skipped: device_rules_can_be_a_program_of_version_two: needs cgroup version 2");
        return cgroup.remove().expect("removed");
    };
    let directory = fs::File::open(&v2.source).expect("a directory");
    for answer in [0, 1, 0] {
        let program = [Instruction::move_value(0, answer), Instruction::exit()];
        let program = load_cgroup_device(&program).expect("accepted by the kernel");
        replace_cgroup_device(directory.as_fd(), program.as_fd()).expect("attached");
        let script = "read line && : < /dev/null";
        let mut shell = Command::new("sh");
        let mut child =
            shell.args(["-c", script]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a shell");
        cgroup.join(id(&child)).expect("joined");
        std::io::Write::write_all(child.stdin.as_mut().expect("piped"), b"go\n").expect("let go");
        assert_eq!(child.wait().expect("ended").success(), answer == 1);
    }
    cgroup.remove().expect("removed");
    nothing_left(&cgroup);
}

#[test]
fn without_cgroup_kill_the_processes_are_killed_one_by_one() {
    const NAME: &str = "without_cgroup_kill_the_processes_are_killed_one_by_one";
    if !can_run(NAME) {
        return;
    }
    let Ok(without) = std::env::var(loam_sys::features::VARIABLE) else {
        // What is turned off stays off in the whole process: the test runs itself for each way.
        for without in ["cgroup.kill", "cgroup.kill,pidfd"] {
            let test = std::env::current_exe().expect("this program");
            let ran = Command::new(test)
                .args(["--exact", NAME])
                .env(loam_sys::features::VARIABLE, without)
                .status();
            assert!(ran.expect("run").success(), "without {without}");
        }
        return;
    };
    loam_sys::features::turn_off(&without).expect("features");
    let cgroup = Cgroup::create(&path("rounds"), None).expect("created");
    // A shell that makes children as fast as it can, and waits for the word to begin.
    let script = "read line; while :; do sleep 1000 & done 2>/dev/null";
    let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().expect("a shell");
    cgroup.join(id(&child)).expect("joined");
    cgroup.update(&resources(r#"{"pids":{"limit":100}}"#)).expect("limited");
    std::io::Write::write_all(child.stdin.as_mut().expect("piped"), b"go\n").expect("let go");
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while cgroup.pids().expect("listed").len() < 50 {
        assert!(std::time::Instant::now() < limit, "it does not fork");
        std::thread::yield_now();
    }
    cgroup.kill_all().expect("killed");
    child.wait().expect("killed");
    cgroup.remove().expect("removed");
    nothing_left(&cgroup);
}

#[test]
fn a_failed_creation_leaves_nothing() {
    if !can_run("a_failed_creation_leaves_nothing") {
        return;
    }
    let path = path("failed");
    let wrong = resources(r#"{"cpu":{"cpus":"9999"}}"#);
    let error = Cgroup::create(&path, Some(&wrong)).expect_err("no such processor");
    assert!(error.to_string().contains("cpuset.cpus"), "{error:?}");
    assert_eq!(Cgroup::open(&path).expect_err("undone").kind(), ErrorKind::NotFound);
}

#[test]
fn a_process_killed_for_lack_of_memory_is_noticed() {
    if !can_run("a_process_killed_for_lack_of_memory_is_noticed") {
        return;
    }
    let limits = resources(r#"{"memory":{"limit":8388608,"swap":8388608}}"#);
    let cgroup = Cgroup::create(&path("memory"), Some(&limits)).expect("created");
    let script = "read line && head -c 100000000 /dev/zero | tail -c 100000000";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell");
    cgroup.join(id(&child)).expect("joined");
    std::io::Write::write_all(child.stdin.as_mut().expect("piped"), b"go\n").expect("let go");
    assert!(!child.wait().expect("ended").success());
    assert!(cgroup.oom_killed());
    assert!(cgroup.stats().expect("readable").out_of_memory_kills.is_some_and(|kills| kills > 0));
    cgroup.remove().expect("removed");
    nothing_left(&cgroup);
}

/// Waits for a condition that comes true soon.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_is_frozen_below_can_be_killed_and_removed() {
    const NAME: &str = "what_is_frozen_below_can_be_killed_and_removed";
    if !can_run(NAME) {
        return;
    }
    match std::env::var("LOAM_WITHOUT") {
        Ok(features) => loam_sys::features::turn_off(&features).expect("known features"),
        // Features are turned off for a whole process.
        Err(_) => {
            let test = std::env::current_exe().expect("this program");
            let ran = Command::new(test).args(["--exact", NAME]).env("LOAM_WITHOUT", "cgroup.kill").status();
            assert!(ran.expect("run").success());
        }
    }
    let cgroup = Cgroup::create(&path(&format!("ice-{}", std::process::id())), None).expect("created");
    let mut children = [sleeper(), sleeper()];
    let mounts = cgroup.container_mounts();
    let ways = mounts.iter().filter_map(|mount| match mount.version {
        CgroupVersion::V2 => Some((&mount.source, "cgroup.freeze", "1")),
        CgroupVersion::V1 => {
            (mount.options == "freezer").then_some((&mount.source, "freezer.state", "FROZEN"))
        }
    });
    for child in &children {
        cgroup.join(id(child)).expect("joined");
    }
    for ((directory, file, frozen), child) in ways.zip(&children) {
        let below = directory.join("a/b");
        fs::create_dir_all(&below).expect("made below");
        fs::write(below.join("cgroup.procs"), child.id().to_string()).expect("joined below");
        fs::write(below.join(file), frozen).expect("frozen");
        eventually("it freezes", || match file {
            "cgroup.freeze" => {
                fs::read_to_string(below.join("cgroup.events")).expect("readable").contains("frozen 1")
            }
            _ => fs::read_to_string(below.join(file)).expect("readable").trim() == frozen,
        });
    }
    cgroup.remove().expect("removed");
    for child in &mut children {
        child.wait().expect("killed by the removal");
    }
    nothing_left(&cgroup);
}

#[test]
fn a_cgroup_that_can_not_be_emptied_is_waited_for_once() {
    const NAME: &str = "a_cgroup_that_can_not_be_emptied_is_waited_for_once";
    if !can_run(NAME) {
        return;
    }
    let cgroup = Cgroup::create(&path("stuck/container"), None).expect("created");
    let Some(freezer) = v1(&cgroup, "freezer") else {
        println!("skipped: {NAME}: needs the freezer of cgroup v1");
        return cgroup.remove().expect("removed");
    };
    let mut child = sleeper();
    cgroup.join(id(&child)).expect("joined");
    // What is frozen above is not the container's to thaw.
    let above = freezer.with_file_name("freezer.state");
    fs::write(&above, "FROZEN").expect("frozen");
    let begun = Instant::now();
    let error = cgroup.remove().expect_err("it can't die");
    assert!(error.to_string().contains("did not become empty within 10 seconds"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    fs::write(&above, "THAWED").expect("thawed");
    cgroup.remove().expect("removed");
    child.wait().expect("killed by the removal");
    nothing_left(&cgroup);
}

/// The directory of version 2 beside version 1, where it only tracks.
fn tracker(cgroup: &Cgroup) -> Option<PathBuf> {
    let mounts = cgroup.container_mounts();
    let beside = mounts.iter().any(|mount| mount.version == CgroupVersion::V1);
    let is = |mount: &&loam_oci::CgroupMount| mount.version == CgroupVersion::V2;
    mounts.iter().find(is).filter(|_| beside).map(|mount| mount.source.clone())
}

#[test]
fn a_hierarchy_that_refuses_the_first_process_does_not_speak_for_the_container() {
    const NAME: &str = "a_hierarchy_that_refuses_the_first_process_does_not_speak_for_the_container";
    if !can_run(NAME) {
        return;
    }
    if std::env::var_os("LOAM_TEST_MOUNTS").is_none() {
        // Mounts of its own.
        let test = std::env::current_exe().expect("this program");
        let mut own = Command::new("unshare");
        let own = own.arg("--mount").arg(test).args(["--exact", NAME]).env("LOAM_TEST_MOUNTS", "1");
        assert!(own.status().expect("run").success());
        return;
    }
    let mut cgroup =
        Cgroup::create(&path(&format!("refused-{}", std::process::id())), None).expect("created");
    let Some(directory) = tracker(&cgroup) else {
        println!("skipped: {NAME}: needs cgroup version 2 beside version 1");
        return cgroup.remove().expect("removed");
    };
    let list = directory.join("cgroup.procs");
    rustix::mount::mount_bind(&list, &list).expect("bound");
    rustix::mount::mount_remount(
        &list,
        rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY,
        "",
    )
    .expect("read-only");
    let mut child = sleeper();
    cgroup.join_first(id(&child)).expect("joined elsewhere");
    assert!(!directory.exists(), "the empty directory is given up");
    assert_eq!(tracker(&cgroup), None);
    assert_eq!(cgroup.pids().expect("listed"), [id(&child)]);
    cgroup.freeze().expect("frozen");
    cgroup.kill_all().expect("killed");
    child.wait().expect("killed");
    cgroup.remove().expect("removed");
    nothing_left(&cgroup);
}

#[test]
fn what_runs_outside_an_empty_tracker_is_found_stopped_and_killed() {
    const NAME: &str = "what_runs_outside_an_empty_tracker_is_found_stopped_and_killed";
    if !can_run(NAME) {
        return;
    }
    let path = path("astray");
    let made = Cgroup::create(&path, None).expect("created");
    let Some(directory) = tracker(&made) else {
        println!("skipped: {NAME}: needs cgroup version 2 beside version 1");
        return made.remove().expect("removed");
    };
    let mut child = sleeper();
    // As a runtime leaves it that was refused version 2.
    for mount in made.container_mounts().iter().filter(|mount| mount.source != directory) {
        fs::write(mount.source.join("cgroup.procs"), child.id().to_string()).expect("joined");
    }
    let cgroup = Cgroup::open(&path).expect("found");
    assert_eq!(cgroup.pids().expect("listed"), [id(&child)]);
    cgroup.freeze().expect("frozen");
    if let Some(freezer) = v1(&cgroup, "freezer") {
        let state = fs::read_to_string(freezer.join("freezer.state")).expect("readable");
        assert_eq!(state.trim(), "FROZEN");
    }
    cgroup.kill_all().expect("killed");
    child.wait().expect("killed");
    cgroup.remove().expect("removed");
    nothing_left(&cgroup);
}
