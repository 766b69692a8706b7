//! Whole bundles on a made-up host.

use std::path::{Path, PathBuf};

use loam_model::{
    CapabilityChange, ContainerId, ContainerSpec, EngineFile, IdMapping, ImageConfig, MountKind, MountSpec,
    Propagation, SeccompChoice,
};
use serde_json::Value;

use super::*;
use crate::capabilities::from_mask;

fn host() -> Host {
    let all = from_mask(u64::MAX);
    let controllers = ["cpu", "cpuset", "memory", "pids"].map(str::to_owned).into();
    Host {
        capabilities: all.clone(),
        known_capabilities: all,
        controllers: Some(controllers),
        ..Host::default()
    }
}

struct Case {
    spec: ContainerSpec,
    image: ImageConfig,
    mapping: Option<IdMapping>,
    network: Namespace,
    files: Vec<EngineFile>,
    init: Option<&'static str>,
}

impl Default for Case {
    fn default() -> Self {
        let image = ImageConfig { command: vec!["sh".to_owned()], ..ImageConfig::default() };
        let (spec, files) = (ContainerSpec::default(), Vec::new());
        Self { spec, image, mapping: None, network: Namespace::New, files, init: None }
    }
}

impl Case {
    fn bundle_on(&self, host: &Host) -> Result<Bundle> {
        let id = ContainerId::from_random([7; 32]);
        let input = BundleInput {
            id: &id,
            spec: &self.spec,
            image: &self.image,
            directory: Path::new("/run/loam/containers/07"),
            mapping: self.mapping.as_ref(),
            network: self.network.clone(),
            cgroup: "/loam/07",
            files: &self.files,
            init_program: self.init,
        };
        bundle(&input, host)
    }

    fn bundle(&self) -> Bundle {
        self.bundle_on(&host()).expect("a bundle")
    }

    fn refused(&self) -> String {
        let failure = self.bundle_on(&host()).expect_err("refused");
        format!("{:?}: {}", failure.kind(), failure.chain())
    }
}

/// The configuration as text, with sets in order and the long profile left out.
fn shown(config: &Spec) -> String {
    let mut value = serde_json::to_value(config).expect("plain data");
    for set in value["process"]["capabilities"].as_object_mut().expect("sets").values_mut() {
        let names = set.as_array_mut().expect("names");
        names.sort_by_key(|name| name.as_str().map(str::to_owned));
        *set = Value::String(names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
    }
    for mount in value["mounts"].as_array_mut().expect("mounts") {
        let options: Vec<&str> =
            mount["options"].as_array().expect("options").iter().filter_map(Value::as_str).collect();
        let options = options.join(",");
        let text = |key: &str| mount[key].as_str().unwrap_or_default().to_owned();
        *mount =
            Value::String(format!("{} {} {} {options}", text("destination"), text("type"), text("source")));
    }
    for list in ["maskedPaths", "readonlyPaths"] {
        let paths: Vec<&str> =
            value["linux"][list].as_array().expect("paths").iter().filter_map(Value::as_str).collect();
        value["linux"][list] = Value::String(paths.join(" "));
    }
    if let Some(linux) = value["linux"].as_object_mut()
        && linux.contains_key("seccomp")
    {
        linux.insert("seccomp".to_owned(), Value::String("…".to_owned()));
    }
    serde_json::to_string_pretty(&value).expect("plain data")
}

#[test]
fn a_plain_container_with_ids_of_its_own() {
    let case = Case {
        mapping: Some(IdMapping::contiguous(100_000, 65_536)),
        files: vec![EngineFile {
            source: PathBuf::from("/var/lib/loam/hosts"),
            target: "/etc/hosts".to_owned(),
            read_only: false,
        }],
        ..Case::default()
    };
    let bundle = case.bundle();
    assert_eq!((bundle.user, bundle.warnings.len()), (None, 0));
    insta::assert_snapshot!(shown(&bundle.config), @r#"
    {
      "hostname": "070707070707",
      "linux": {
        "cgroupsPath": "/loam/07",
        "gidMappings": [
          {
            "containerID": 0,
            "hostID": 100000,
            "size": 65536
          }
        ],
        "maskedPaths": "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware",
        "namespaces": [
          {
            "type": "pid"
          },
          {
            "type": "ipc"
          },
          {
            "type": "uts"
          },
          {
            "type": "mount"
          },
          {
            "type": "cgroup"
          },
          {
            "type": "network"
          },
          {
            "type": "user"
          }
        ],
        "readonlyPaths": "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger",
        "resources": {
          "devices": [
            {
              "access": "rwm",
              "allow": false,
              "type": "a"
            }
          ],
          "pids": {
            "limit": 4096
          }
        },
        "rootfsPropagation": "rprivate",
        "seccomp": "…",
        "sysctl": {
          "net.ipv4.ip_unprivileged_port_start": "0",
          "net.ipv4.ping_group_range": "0 65535"
        },
        "uidMappings": [
          {
            "containerID": 0,
            "hostID": 100000,
            "size": 65536
          }
        ]
      },
      "mounts": [
        "/proc proc proc nosuid,noexec,nodev",
        "/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k",
        "/sys sysfs sysfs nosuid,noexec,nodev,ro",
        "/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
        "/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=67108864",
        "/dev/mqueue mqueue mqueue nosuid,noexec,nodev",
        "/etc/hosts bind /run/loam/containers/07/mounts/0 bind,rprivate,nosuid,nodev,noexec,rw",
        "/sys/fs/cgroup cgroup cgroup nosuid,noexec,nodev,relatime,ro"
      ],
      "ociVersion": "1.0.2",
      "process": {
        "args": [
          "sh"
        ],
        "capabilities": {
          "ambient": "",
          "bounding": "CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT",
          "effective": "CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT",
          "inheritable": "",
          "permitted": "CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT"
        },
        "cwd": "/",
        "env": [
          "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
          "HOSTNAME=070707070707"
        ],
        "noNewPrivileges": true,
        "rlimits": [
          {
            "hard": 524288,
            "soft": 1024,
            "type": "RLIMIT_NOFILE"
          }
        ],
        "terminal": false,
        "user": {
          "gid": 0,
          "uid": 0,
          "umask": 18
        }
      },
      "root": {
        "path": "/run/loam/containers/07/rootfs",
        "readonly": false
      }
    }
    "#);
    let prepared = MountPreparationText(&bundle.preparations).to_string();
    insta::assert_snapshot!(prepared, @"/var/lib/loam/hosts -> /run/loam/containers/07/mounts/0 (once, shifted)");
}

struct MountPreparationText<'a>(&'a [loam_model::MountPreparation]);

impl std::fmt::Display for MountPreparationText<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for one in self.0 {
            let recursive = if one.recursive { "with all below" } else { "once" };
            let shifted = if one.mapping.is_some() { "shifted" } else { "as it is" };
            let (source, prepared) = (one.source.display(), one.prepared.display());
            writeln!(formatter, "{source} -> {prepared} ({recursive}, {shifted})")?;
        }
        Ok(())
    }
}

#[test]
fn a_container_with_everything_asked_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let source = directory.path().to_owned();
    let bind = |target: &str, read_only, propagation| MountSpec {
        target: target.to_owned(),
        kind: MountKind::Bind {
            source: source.clone(),
            recursive: true,
            propagation,
            idmap: true,
            exec: true,
            dev: false,
            suid: false,
        },
        read_only,
    };
    let mut case = Case {
        network: Namespace::Host,
        mapping: Some(IdMapping::contiguous(100_000, 4)),
        init: Some("/.loam-init"),
        ..Case::default()
    };
    case.image.user = Some("app:app".to_owned());
    case.image.labels.insert("org.opencontainers.image.title".to_owned(), "x".to_owned());
    case.image.labels.insert("run.oci.handler".to_owned(), "krun".to_owned());
    case.image.exposed_ports = vec!["80/tcp".to_owned(), "53/udp".to_owned()];
    let spec = &mut case.spec;
    spec.command = Some(vec!["serve".to_owned()]);
    spec.environment = vec!["A=b".to_owned()];
    spec.hostname = Some("web".to_owned());
    spec.terminal = true;
    spec.read_only = true;
    spec.working_directory = Some("/app/".to_owned());
    spec.stop_signal = Some("SIGQUIT".to_owned());
    spec.labels.insert("team".to_owned(), "soil".to_owned());
    spec.mounts = vec![
        bind("/data/deep", true, Propagation::Private),
        bind("/data", false, Propagation::Slave),
        MountSpec {
            target: "/dev/shm".to_owned(),
            kind: MountKind::Tmpfs { size: Some(1 << 20), mode: Some(0o700), exec: true },
            read_only: false,
        },
    ];
    spec.security.capabilities =
        vec![CapabilityChange::Drop("ALL".to_owned()), CapabilityChange::Add("chown".to_owned())];
    spec.security.allow_new_privileges = true;
    spec.security.seccomp = SeccompChoice::Unconfined;
    spec.security.unmask = vec!["ALL".to_owned()];
    spec.limits.memory = Some(64 << 20);
    spec.limits.cpu_millis = Some(1500);
    spec.limits.cpuset_cpus = Some("0-1,3".to_owned());
    spec.limits.pids = Some(-1);
    spec.limits.oom_score_adjust = Some(500);
    spec.limits.rlimits.insert("core".to_owned(), (0, 0));
    let bundle = case.bundle();
    assert_eq!(bundle.user.as_deref(), Some("app:app"));
    assert_eq!(bundle.preparations.len(), 2);
    let text = shown(&bundle.config);
    insta::assert_snapshot!(text, @r#"
    {
      "annotations": {
        "org.opencontainers.image.exposedPorts": "80/tcp,53/udp",
        "org.opencontainers.image.stopSignal": "SIGQUIT",
        "org.opencontainers.image.title": "x",
        "team": "soil"
      },
      "hostname": "web",
      "linux": {
        "cgroupsPath": "/loam/07",
        "gidMappings": [
          {
            "containerID": 0,
            "hostID": 100000,
            "size": 4
          }
        ],
        "maskedPaths": "",
        "namespaces": [
          {
            "type": "pid"
          },
          {
            "type": "ipc"
          },
          {
            "type": "uts"
          },
          {
            "type": "mount"
          },
          {
            "type": "cgroup"
          },
          {
            "type": "user"
          }
        ],
        "readonlyPaths": "",
        "resources": {
          "cpu": {
            "cpus": "0-1,3",
            "period": 100000,
            "quota": 150000
          },
          "devices": [
            {
              "access": "rwm",
              "allow": false,
              "type": "a"
            }
          ],
          "memory": {
            "limit": 67108864,
            "swap": 67108864
          }
        },
        "rootfsPropagation": "rslave",
        "uidMappings": [
          {
            "containerID": 0,
            "hostID": 100000,
            "size": 4
          }
        ]
      },
      "mounts": [
        "/proc proc proc nosuid,noexec,nodev",
        "/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k",
        "/sys bind /sys rbind,rprivate,nosuid,noexec,nodev,ro,rro",
        "/data bind /run/loam/containers/07/mounts/1 rbind,rslave,nosuid,nodev,rw",
        "/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620",
        "/dev/mqueue mqueue mqueue nosuid,noexec,nodev",
        "/data/deep bind /run/loam/containers/07/mounts/0 rbind,rprivate,nosuid,nodev,ro,rro",
        "/dev/shm tmpfs tmpfs nosuid,nodev,mode=700,size=1048576,rw",
        "/sys/fs/cgroup cgroup cgroup nosuid,noexec,nodev,relatime,ro"
      ],
      "ociVersion": "1.0.2",
      "process": {
        "args": [
          "/.loam-init",
          "--",
          "serve"
        ],
        "capabilities": {
          "ambient": "",
          "bounding": "CAP_CHOWN",
          "effective": "CAP_CHOWN",
          "inheritable": "",
          "permitted": "CAP_CHOWN"
        },
        "cwd": "/app",
        "env": [
          "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
          "HOSTNAME=web",
          "TERM=xterm",
          "A=b"
        ],
        "oomScoreAdj": 500,
        "rlimits": [
          {
            "hard": 524288,
            "soft": 1024,
            "type": "RLIMIT_NOFILE"
          },
          {
            "hard": 0,
            "soft": 0,
            "type": "RLIMIT_CORE"
          }
        ],
        "terminal": true,
        "user": {
          "gid": 0,
          "uid": 0,
          "umask": 18
        }
      },
      "root": {
        "path": "/run/loam/containers/07/rootfs",
        "readonly": true
      }
    }
    "#);
}

#[test]
fn without_ids_of_its_own_binds_are_mounted_as_they_are() {
    let mut case = Case::default();
    case.spec.mounts = vec![MountSpec {
        target: "/x".to_owned(),
        kind: MountKind::Bind {
            source: PathBuf::from("/"),
            recursive: false,
            propagation: Propagation::Shared,
            idmap: true,
            exec: false,
            dev: true,
            suid: true,
        },
        read_only: true,
    }];
    let bundle = case.bundle();
    assert!(bundle.preparations.is_empty());
    let mounts = bundle.config.mounts().clone().expect("mounts");
    let bind = mounts.iter().find(|mount| mount.destination() == Path::new("/x")).expect("the bind");
    assert_eq!(bind.options().clone().expect("options"), ["bind", "shared", "noexec", "ro"]);
    let linux = bundle.config.linux().clone().expect("the Linux part");
    assert_eq!(linux.rootfs_propagation().as_deref(), Some("shared"));
    assert!(linux.uid_mappings().is_none());
}

#[test]
fn wishes_that_make_no_sense_are_refused_by_name() {
    let table: &[(fn(&mut Case), &str)] = &[
        (|c| c.image.command.clear(), "Invalid: the container has no command to run"),
        (
            |c| c.spec.hostname = Some("a b".into()),
            "Invalid: `--hostname a b` is not a host name: letters, digits and `-._`, at most 64",
        ),
        (
            |c| c.spec.user = Some("4294967296".into()),
            "Invalid: user `4294967296` is not valid: numbers go up to 2147483647",
        ),
        (
            |c| c.spec.limits.memory = Some(1000),
            "Invalid: `--memory 1000` is less than 6 MiB, which no program starts with, or too large",
        ),
        (
            |c| {
                c.spec.limits.memory = Some(64 << 20);
                c.spec.limits.memory_swap = Some(5);
            },
            "Invalid: `--memory-swap 5` is less than `--memory 67108864`, of which it is part",
        ),
        (|c| c.spec.limits.memory_swap = Some(5), "Invalid: `--memory-swap` needs `--memory`"),
        (
            |c| c.spec.limits.cpu_millis = Some(0),
            "Invalid: `--cpus` of 0 thousandths is less than 0.01 or too large",
        ),
        (|c| c.spec.limits.cpu_shares = Some(1), "Invalid: `--cpu-shares 1` is not between 2 and 262144"),
        (
            |c| c.spec.limits.cpuset_cpus = Some("0\n1".into()),
            "Invalid: `--cpuset-cpus 0\\n1` is not a list of processors such as `0-1,3`",
        ),
        (
            |c| c.spec.limits.pids = Some(0),
            "Invalid: `--pids-limit 0` is neither a number of processes nor -1",
        ),
        (
            |c| c.spec.limits.oom_score_adjust = Some(2000),
            "Invalid: `--oom-score-adj 2000` is not between -1000 and 1000",
        ),
        (
            |c| c.spec.security.apparmor = Some("x".into()),
            "Unsupported: AppArmor profile `x` can't be applied: this kernel has no AppArmor",
        ),
        (
            |c| c.spec.security.selinux_label = Some("x:y".into()),
            "Unsupported: SELinux label `x:y` can't be applied: this kernel has no SELinux",
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
    for (wish, expected) in table {
        let mut case = Case::default();
        wish(&mut case);
        assert_eq!(case.refused(), *expected);
    }
}

fn tmpfs(target: &str) -> MountSpec {
    let kind = MountKind::Tmpfs { size: None, mode: None, exec: false };
    MountSpec { target: target.to_owned(), kind, read_only: false }
}

fn bind(source: &str) -> MountSpec {
    let kind = MountKind::Bind {
        source: PathBuf::from(source),
        recursive: true,
        propagation: Propagation::Private,
        idmap: true,
        exec: true,
        dev: false,
        suid: false,
    };
    MountSpec { target: "/x".to_owned(), kind, read_only: false }
}

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
fn a_further_process_follows_the_container() {
    let mut case = Case { mapping: Some(IdMapping::contiguous(100_000, 65_536)), ..Case::default() };
    case.spec.environment = vec!["A=1".to_owned()];
    let container = case.bundle().config;
    let wish = ProcessSpec {
        arguments: vec!["id".to_owned()],
        environment: vec!["A=2".to_owned()],
        terminal: true,
        ..ProcessSpec::default()
    };
    let process = process::further(&container, &wish, &host()).expect("a process");
    assert_eq!(process.args().clone().expect("arguments"), ["id"]);
    let environment = process.env().clone().expect("an environment");
    assert!(environment.contains(&"A=2".to_owned()) && environment.contains(&"TERM=xterm".to_owned()));
    assert_eq!((process.cwd().as_path(), process.no_new_privileges()), (Path::new("/"), Some(true)));
    assert_eq!(process.capabilities(), container.process().as_ref().expect("main").capabilities());
    let privileged = ProcessSpec { privileged: true, working_directory: Some("/tmp".to_owned()), ..wish };
    let process = process::further(&container, &privileged, &host()).expect("a process");
    assert_eq!((process.cwd().as_path(), process.no_new_privileges()), (Path::new("/tmp"), None));
    let bounding = process.capabilities().clone().and_then(|sets| sets.bounding().clone());
    assert_eq!(bounding, Some(from_mask(u64::MAX)));
    assert!(process::further(&container, &ProcessSpec::default(), &host()).is_err(), "no arguments");
}
