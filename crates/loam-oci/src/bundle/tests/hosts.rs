//! What a host lacks.

use std::path::Path;

use loam_model::{ErrorKind, IdMapping, MountKind, MountSpec, ProcessSpec, RuntimeChoice};

use super::Case;
use crate::bundle::Host;
use crate::capabilities::from_mask;
use crate::lsm::selinux::Selinux;

#[test]
fn a_poor_host_is_no_reason_to_fail() {
    let poor = Host {
        capabilities: from_mask(0b1),
        known_capabilities: from_mask(u64::MAX),
        controllers: Some(vec![]),
        oom_score_adjust: -100,
        ..Host::default()
    };
    let mut case = Case::default();
    let bundle = case.bundle_on(&poor).expect("a bundle");
    let process = bundle.config.process().clone().expect("a process");
    assert_eq!(process.oom_score_adj(), Some(0), "the engine's protection is not handed on");
    let bounding = process.capabilities().clone().and_then(|sets| sets.bounding().clone());
    assert_eq!(bounding, Some(from_mask(0b1)));
    assert_eq!(
        bundle.warnings,
        ["the number of processes is not limited: this host has no `pids` cgroup controller"]
    );
    case.spec.limits.oom_score_adjust = Some(-500);
    let bundle = case.bundle_on(&poor).expect("a bundle");
    assert_eq!(bundle.config.process().as_ref().and_then(|process| process.oom_score_adj()), Some(-100));
    assert_eq!(bundle.warnings.len(), 2);
    case.spec.limits.memory = Some(64 << 20);
    let refused = case.bundle_on(&poor).expect_err("a limit that nothing enforces");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

#[test]
fn without_the_mount_calls_another_runtime_gets_what_it_can_do() {
    let host = Host { lacks_mount_calls: true, ..super::host() };
    let mut case = Case::default();
    let refused = case.bundle_on(&host).expect_err("the embedded runtime needs them");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.hint_text().is_some_and(|hint| hint.contains("--runtime crun")));
    case.spec.runtime = RuntimeChoice::Program("crun".into());
    let options = |case: &Case| {
        let bundle = case.bundle_on(&host).expect("a bundle");
        let mounts = bundle.config.mounts().clone().expect("mounts");
        let bind = mounts.iter().find(|mount| mount.destination() == Path::new("/x")).expect("the bind");
        let options = bind.options().clone().expect("options");
        (options.join(","), bundle.preparations[0].recursive, bundle.warnings)
    };
    let bind = |source: &str, read_only| MountSpec { read_only, ..super::refusals::bind(source) };
    // The kernel's own process directory has no mounts of anybody's below; the root has.
    case.spec.mounts = vec![bind("/proc/self", true)];
    assert_eq!(options(&case), ("bind,private,nosuid,nodev,ro".to_owned(), false, Vec::new()));
    case.spec.mounts = vec![bind("/", true)];
    let (said, _, warnings) = options(&case);
    assert_eq!((said.as_str(), warnings.len()), ("bind,private,nosuid,nodev,ro", 1));
    assert!(warnings[0].starts_with("what is mounted below `/` is not in the container"), "{warnings:?}");
    case.spec.mounts = vec![bind("/", false)];
    assert_eq!((options(&case).0.as_str(), options(&case).1), ("bind,private,nosuid,nodev,rw", false));
    // What is restricted in nothing has nothing to leave out.
    if let MountKind::Bind { dev, suid, .. } = &mut case.spec.mounts[0].kind {
        (*dev, *suid) = (true, true);
    }
    assert_eq!(options(&case), ("rbind,rprivate,rw".to_owned(), true, Vec::new()));
}

#[test]
fn processors_and_memory_nodes_must_be_there() {
    let host = Host { processors: "0-1,3".parse().ok(), memory_nodes: "0".parse().ok(), ..super::host() };
    let mut case = Case::default();
    case.spec.limits.cpuset_cpus = Some("1,3".into());
    case.spec.limits.cpuset_mems = Some("0".into());
    case.bundle_on(&host).expect("all are there");
    case.spec.limits.cpuset_cpus = Some("1-2".into());
    let refused = case.bundle_on(&host).expect_err("one is not");
    assert_eq!(refused.chain(), "processor list `1-2` is not possible: this host has `0-1,3`");
    case.spec.limits.cpuset_cpus = None;
    case.spec.limits.cpuset_mems = Some("0-1".into());
    let refused = case.bundle_on(&host).expect_err("one is not");
    assert_eq!(refused.chain(), "memory node list `0-1` is not possible: this host has `0`");
}

/// The labels of a bundle: of its processes, of an exec'ed one, and of its files.
fn labels(case: &Case, host: &Host) -> [Option<String>; 3] {
    let config = case.bundle_on(host).expect("a bundle").config;
    let main = config.process().as_ref().and_then(|process| process.selinux_label().clone());
    let spec = ProcessSpec { arguments: vec!["sh".to_owned()], ..ProcessSpec::default() };
    let further = crate::bundle::process::further(&config, &spec, host).expect("a process");
    let files = config.linux().as_ref().and_then(|linux| linux.mount_label().clone());
    [main, further.selinux_label().clone(), files]
}

#[test]
fn processes_and_files_have_labels_where_selinux_runs() {
    let host = Host { selinux: Some(Selinux::default()), ..super::host() };
    let mut case = Case::default();
    let process = |kind: &str, level: &str| Some(format!("system_u:system_r:{kind}:{level}"));
    let files = |level: &str| Some(format!("system_u:object_r:container_file_t:{level}"));
    // Ranges of ids and pairs of categories are counted from zero: that with the number 5 has the pair 5.
    case.mapping = Some(IdMapping::contiguous(5 * 65_536, 65_536));
    let own = "s0:c2,c3";
    let expected = [process("container_t", own), process("container_t", own), files(own)];
    assert_eq!(labels(&case, &host), expected);
    case.spec.security.selinux.kind = Some("spc_t".to_owned());
    case.spec.security.selinux.level = Some("s0:c1,c2".to_owned());
    let asked = "s0:c1,c2";
    let expected = [process("spc_t", asked), process("spc_t", asked), files(asked)];
    assert_eq!(labels(&case, &host), expected);
    case.spec.security.selinux.disable = true;
    assert_eq!(labels(&case, &host), [None, None, None]);
    // Where it does not run nothing is said of labels.
    assert_eq!(labels(&Case::default(), &super::host()), [None, None, None]);
}

#[test]
fn files_are_not_relabelled_where_selinux_runs() {
    let labelled = Host { selinux: Some(Selinux::default()), ..super::host() };
    let mut case = Case::default();
    case.spec.mounts = vec![super::refusals::bind("/")];
    case.bundle_on(&labelled).expect("nobody asked for it");
    let MountKind::Bind { relabel, .. } = &mut case.spec.mounts[0].kind else { panic!("a bind") };
    *relabel = true;
    let refused = case.bundle_on(&labelled).expect_err("it would change files of the host");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert_eq!(refused.chain(), "mount source `/` can't be relabelled for SELinux");
    case.bundle_on(&super::host()).expect("there are no labels");
}
