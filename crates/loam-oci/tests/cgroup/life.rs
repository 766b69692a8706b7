//! Cgroups are made, joined, limited and removed.

use std::fs;
use std::process::{Command, Stdio};

use loam_model::ErrorKind;
use loam_oci::{Cgroup, CgroupVersion};

use crate::{can_run, id, nothing_left, path, resources, sleeper, v1};

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
