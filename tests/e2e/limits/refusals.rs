//! Limits that make no sense, and configuration files that don't.

use std::fs;

use loam_tests::cgroup::is_version_two;
use loam_tests::{Host, Need, needs};

#[test]
fn limits_that_make_no_sense_are_refused() {
    let host = Host::with_small_image();
    let run = |flag: &str| host.loam(&["run", "--rm", flag, "small", "true"]);
    run("--device-read-bps=/dev/null:1m").refused(125, "/dev/null");
    run("--device-write-iops=/no/such:1").refused(125, "/no/such");
    run("--hugepage-limit=3MB=6m").refused(125, "huge page");
    run("--cpu-quota=5").refused(125, "processor quota `5`");
    run("--cpu-period=5").refused(125, "processor period `5`");
    run("--cpu-shares=1").refused(125, "processor share `1`");
    run("--cpuset-cpus=1-0").refused(125, "processor list `1-0`");
    run("--cpuset-mems=x").refused(125, "memory node list `x`");
    let line = ["run", "--rm", "-m", "16m", "--memory-reservation", "17m", "small", "true"];
    host.loam(&line).refused(125, "memory reservation");
    assert_eq!(host.loam(&["run", "--rm", "--cpus", "1", "--cpu-quota", "5000", "small", "true"]).code, 125);
    host.finish();
}

#[test]
fn a_configuration_file_says_what_flags_leave_open() {
    let host = Host::with_small_image();
    let file = host.scratch().join("config.toml");
    let path = file.display().to_string();
    fs::write(&file, "cgroup_driver = \"cgroupfs\"\n").unwrap();
    let info = host.loam(&["info", "-o", "json", "--config", &path]);
    assert!(info.ok().contains("\"cgroup_driver\": \"cgroupfs\""), "{info:?}");
    host.loam(&["run", "-d", "--config", &path, "--name", "c", "small", "sleep", "1000"]).ok();
    let detail = host.inspect("c");
    assert_eq!(detail["cgroup_driver"], "cgroupfs");
    assert_eq!(detail["cgroup"], format!("/loam-{}", detail["id"].as_str().unwrap()));
    fs::write(&file, "root = \"/somewhere\"\ncgroup_drivr = \"systemd\"\n").unwrap();
    let refused = host.loam(&["ps", "--config", &path]);
    refused.refused(125, "line 2: unknown field `cgroup_drivr`");
    host.loam(&["ps", "--config", "/no/such/file"]).refused(125, "/no/such/file");
    fs::remove_file(&file).unwrap();
    host.finish();
}

#[test]
fn systemd_s_driver_is_version_two_s() {
    if !needs::met(&[Need::CgroupV1]) {
        return;
    }
    let host = Host::with_small_image();
    assert!(!is_version_two());
    host.loam_with(&[("LOAM_CGROUP_DRIVER", "systemd")], &["run", "--rm", "small", "true"])
        .refused(125, "the systemd cgroup driver needs cgroup version 2");
    assert!(host.loam(&["info", "-o", "json"]).ok().contains("\"cgroup_driver\": \"cgroupfs\""));
    host.finish();
}
