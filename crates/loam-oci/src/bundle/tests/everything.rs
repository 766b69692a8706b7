//! A container that everything was asked for.

use loam_model::{CapabilityChange, IdMapping, MountKind, MountSpec, Namespace, Propagation, SeccompChoice};

use super::{Case, shown};

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
            relabel: false,
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
        "/data bind /run/loam/containers/07/mounts/1 rbind,rslave,nosuid,rnosuid,nodev,rnodev,rw",
        "/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620",
        "/dev/mqueue mqueue mqueue nosuid,noexec,nodev",
        "/data/deep bind /run/loam/containers/07/mounts/0 rbind,rprivate,nosuid,rnosuid,nodev,rnodev,ro,rro",
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
