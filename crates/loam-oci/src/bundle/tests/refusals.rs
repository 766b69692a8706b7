//! Requests that are refused, and the sentence.

use std::path::PathBuf;

use loam_model::{MountKind, MountSpec, Propagation, SeccompChoice};

use super::Case;

#[test]
fn requests_that_make_no_sense_are_refused_by_name() {
    let table: &[(fn(&mut Case), &str)] = &[
        (|c| c.image.command.clear(), "Invalid: the container has no command to run"),
        (
            |c| c.spec.hostname = Some("a..b".into()),
            "Invalid: host name `a..b` is not valid: letters, digits and `-._`, at most 64",
        ),
        (
            |c| c.spec.hostname = Some("a b".into()),
            "Invalid: host name `a b` is not valid: letters, digits and `-._`, at most 64",
        ),
        (
            |c| c.spec.user = Some("4294967296".into()),
            "Invalid: user `4294967296` is not valid: numbers go up to 2147483647",
        ),
        (
            |c| c.spec.limits.memory = Some(1000),
            "Invalid: memory limit `1000` is less than 6 MiB, with which no program starts",
        ),
        (
            |c| c.spec.limits.memory = Some(1 << 63),
            "Invalid: memory limit `9223372036854775808` is too large",
        ),
        (
            |c| {
                c.spec.limits.memory = Some(64 << 20);
                c.spec.limits.memory_swap = Some(5);
            },
            "Invalid: a swap limit of 5 bytes is less than the memory limit of 67108864 bytes, which it includes",
        ),
        (|c| c.spec.limits.memory_swap = Some(5), "Invalid: a swap limit of 5 bytes needs a memory limit"),
        (
            |c| c.spec.limits.cpu_millis = Some(0),
            "Invalid: processor limit `0.000` is less than 0.01 or too large",
        ),
        (|c| c.spec.limits.cpu_shares = Some(1), "Invalid: processor share `1` is not between 2 and 262144"),
        (
            |c| c.spec.limits.cpuset_cpus = Some("0\n1".into()),
            "Invalid: processor list `0\\n1` is not valid: a list is of numbers and ranges such as `0-1,3`",
        ),
        (
            |c| c.spec.limits.pids = Some(0),
            "Invalid: process limit `0` is neither a number of processes nor -1",
        ),
        (
            |c| c.spec.limits.oom_score_adjust = Some(2000),
            "Invalid: OOM score adjustment `2000` is not between -1000 and 1000",
        ),
        (
            |c| c.spec.security.apparmor = Some("x".into()),
            "Unsupported: AppArmor profile `x` can't be applied: this kernel does not run AppArmor",
        ),
        (
            |c| c.spec.security.selinux.kind = Some("x".into()),
            "Unsupported: SELinux label `type:x` can't be applied: this kernel does not run SELinux",
        ),
        (
            |c| c.spec.security.seccomp = SeccompChoice::Profile("[".into()),
            "Invalid: seccomp profile is not the JSON of a profile: EOF while parsing a list at line 1 column 1",
        ),
        (|c| c.spec.mounts = vec![tmpfs("/proc/1")], "Invalid: mount target `/proc/1` lies in `/proc`"),
        (
            |c| c.spec.mounts = vec![tmpfs("/x/../..")],
            "Invalid: mount target `/x/../..` is the container's root",
        ),
        (|c| c.spec.mounts = vec![tmpfs("x")], "Invalid: mount target `x` is not an absolute path"),
        (|c| c.spec.mounts = vec![tmpfs("/x"), tmpfs("/x/")], "Invalid: `/x` is the target of two mounts"),
        (
            |c| c.spec.mounts = vec![bind("/does/not/exist")],
            "NotFound: mount source `/does/not/exist` does not exist",
        ),
        (|c| c.spec.mounts = vec![bind("etc")], "Invalid: mount source `etc` is not an absolute path"),
    ];
    for (change, expected) in table {
        let mut case = Case::default();
        change(&mut case);
        assert_eq!(case.refused(), *expected);
    }
}

fn tmpfs(target: &str) -> MountSpec {
    let kind = MountKind::Tmpfs { size: None, mode: None, exec: false };
    MountSpec { target: target.to_owned(), kind, read_only: false }
}

pub(super) fn bind(source: &str) -> MountSpec {
    let kind = MountKind::Bind {
        source: PathBuf::from(source),
        recursive: true,
        propagation: Propagation::Private,
        idmap: true,
        exec: true,
        dev: false,
        suid: false,
        relabel: false,
    };
    MountSpec { target: "/x".to_owned(), kind, read_only: false }
}
