//! A container that nothing special was asked for.

use std::path::PathBuf;

use loam_model::{EngineFile, IdMapping};

use super::{Case, shown};

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
