//! What runs in a cgroup is frozen, signalled and killed, and what is left of it is waited for.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loam_oci::{Cgroup, CgroupVersion};

use crate::{can_run, id, nothing_left, path, resources, sleeper, v1};

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
                .args(["--exact", &format!("killing::{NAME}")])
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
            let ran = Command::new(test)
                .args(["--exact", &format!("killing::{NAME}")])
                .env("LOAM_WITHOUT", "cgroup.kill")
                .status();
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
        let own = own
            .arg("--mount")
            .arg(test)
            .args(["--exact", &format!("killing::{NAME}")])
            .env("LOAM_TEST_MOUNTS", "1");
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
