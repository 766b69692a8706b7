//! The container's file system.

use std::os::unix::fs::PermissionsExt;

use loam_model::ErrorKind;
use serde_json::json;

use crate::Test;
use crate::bundle::{Bundle, FIRST_ID, give_to};

pub(crate) const TESTS: &[Test] = &[
    ("rootfs::devices", devices),
    ("rootfs::read_only", read_only),
    ("rootfs::masked_and_read_only_paths", masked_and_read_only_paths),
    ("rootfs::binds", binds),
    ("rootfs::missing_source", missing_source),
    ("rootfs::id_mapped_bind", id_mapped_bind),
    ("rootfs::cgroups", cgroups),
    ("rootfs::unified_cgroups", unified_cgroups),
    ("rootfs::host_is_out_of_sight", host_is_out_of_sight),
    ("rootfs::a_root_that_is_a_mount", a_root_that_is_a_mount),
    ("rootfs::propagation", propagation),
];

fn shell(script: &str) -> Bundle {
    Bundle::new(&["sh", "-c", script])
}

fn each(script: &str, check: impl Fn(Bundle, bool)) {
    check(shell(script), false);
    check(shell(script).with_user_namespace(), true);
}

fn devices() {
    let script = "cd /dev; stat -c '%n %F %t:%T %a %u' null zero full random urandom tty extra; \
                  readlink ptmx; readlink fd; readlink stdin; ls -d pts shm mqueue; \
                  echo x >null; head -c 2 zero | wc -c; head -c 2 urandom | wc -c; stat -c %F /dev/pts/ptmx";
    each(script, |bundle, _| {
        let extra =
            json!([{"path": "/dev/extra", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 9}]);
        let bundle = bundle.set("/linux/devices", extra);
        let expected = "null character special file 1:3 666 0\nzero character special file 1:5 666 0\n\
                        full character special file 1:7 666 0\nrandom character special file 1:8 666 0\n\
                        urandom character special file 1:9 666 0\ntty character special file 5:0 666 0\n\
                        extra character special file 1:3 600 9\npts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n\
                        mqueue\npts\nshm\n2\n2\ncharacter special file\n";
        assert_eq!(bundle.output(), expected);
    });
    // Without a file system for it, `/dev` of the image is filled; in a user namespace with binds.
    let script =
        "cd /dev; for name in null zero tty; do stat -c '%n %t:%T' $name; done; echo x >null; readlink fd";
    each(script, |bundle, with_user| {
        let bundle =
            ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"].iter().fold(bundle, |b, m| b.without_mount(m));
        std::fs::create_dir(bundle.rootfs().join("dev")).unwrap();
        if with_user {
            give_to(&bundle.rootfs(), FIRST_ID);
        }
        assert_eq!(bundle.output(), "null 1:3\nzero 1:5\ntty 5:0\n/proc/self/fd\n");
    });
}

fn read_only() {
    let script = "touch() { echo >$1/x && echo $1; }; for where in / /dev /run /tmp /dev/shm; do touch $where; done 2>&1 \
                  | grep -v Read-only; exit 0";
    each(script, |bundle, _| {
        let bundle = bundle
            .set("/root/readonly", json!(true))
            .set("/mounts/1/options", json!(["nosuid", "mode=755", "ro"]))
            .mount(json!({"destination": "/run", "type": "tmpfs", "options": ["ro"]}))
            .mount(json!({"destination": "/tmp", "type": "tmpfs", "options": ["mode=1777", "size=1m"]}));
        assert_eq!(bundle.output(), "/tmp\n/dev/shm\n");
    });
}

fn masked_and_read_only_paths() {
    let script = "wc -c </proc/keys; ls /proc/tty /sys/firmware /proc/scsi 2>/dev/null | grep -v -e : -e '^$'; \
                  mkdir /proc/tty/x 2>&1 | grep -c -i -e read-only -e permitted; \
                  (echo 1 >/proc/sys/kernel/shmmni) 2>&1 | grep -c -i read-only";
    each(script, |bundle, _| assert_eq!(bundle.output(), "0\n1\n1\n"));
}

fn binds() {
    let script = "cat /deep/er/data/file /one-file; (echo x >/deep/er/data/new) 2>&1 | grep -c Read-only; \
                  echo x >/rw/new && cat /rw/new; ls /rw/sub; (echo x >/all/sub/new) 2>&1 | grep -c Read-only; \
                  (echo x >/top/sub/new) && echo written";
    each(script, |bundle, _| {
        let source = bundle.path().join("source");
        let sub = source.join("sub");
        std::fs::create_dir_all(&sub).unwrap();
        std::fs::write(source.join("file"), "content\n").unwrap();
        for directory in [&source, &sub] {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        rustix::mount::mount_bind(&sub, &sub).unwrap();
        std::fs::write(sub.join("inner"), "").unwrap();
        let bundle = bundle
            .mount(json!({"destination": "/deep/er/data", "type": "bind", "source": source, "options": ["bind", "ro"]}))
            .mount(json!({"destination": "/one-file", "source": "source/file", "options": ["rbind", "rprivate"]}))
            .mount(json!({"destination": "/rw", "source": source, "options": ["rbind"]}))
            .mount(json!({"destination": "/all", "source": source, "options": ["rbind", "rro"]}))
            .mount(json!({"destination": "/top", "source": source, "options": ["rbind", "ro"]}));
        let mut container = bundle.create().unwrap();
        container.start();
        assert_eq!(container.process.finish().out, "content\ncontent\n1\nx\ninner\n1\nwritten\n");
        rustix::mount::unmount(&sub, rustix::mount::UnmountFlags::DETACH).unwrap();
        container.delete();
    });
}

fn missing_source() {
    let bundle =
        shell("true").mount(json!({"destination": "/x", "source": "/no/such/thing", "options": ["bind"]}));
    let failure = bundle.run().unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::NotFound);
    assert!(failure.to_string().contains("`/no/such/thing`"), "{failure:?}");
    bundle.check_gone();
}

fn id_mapped_bind() {
    let bundle = shell("stat -c %u /data /data/file; echo >/data/new").with_user_namespace();
    let source = bundle.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "").unwrap();
    std::os::unix::fs::chown(source.join("file"), Some(42), Some(42)).unwrap();
    let bundle =
        bundle.mount(json!({"destination": "/data", "source": source, "options": ["rbind", "idmap"]}));
    assert_eq!(bundle.output(), "0\n42\n");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(source.join("new")).unwrap());
    assert_eq!(owner, 0);
}

fn cgroups() {
    // With a cgroup namespace the container sees its cgroup as the root, without one it sees the same directories.
    let script = "sed() { :; }; cat /proc/self/cgroup | grep -v -e ':/$' -e '^0::'; \
                  ls /sys/fs/cgroup | grep -c .; cat /sys/fs/cgroup/*/cgroup.procs | grep -c '^1$' >/dev/null && echo 1; \
                  for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x; done 2>&1 | grep -v -i -e read-only -e exists; \
                  exit 0";
    each(script, |bundle, _| {
        let out = bundle.output();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 2, "{out}");
        assert_eq!(lines[1], "1", "{out}");
        let bundle = bundle.without_namespace("cgroup");
        let mut container = bundle.create().unwrap();
        container.start();
        let outcome = container.process.finish();
        assert!(outcome.out.contains("/loam-test/"), "{outcome:?}");
        assert!(outcome.out.ends_with("\n1\n"), "{outcome:?}");
        container.delete();
    });
}

fn unified_cgroups() {
    // A host with version 2 only, as far as this mount namespace shows.
    let none = None::<&std::ffi::CStr>;
    rustix::mount::unmount("/sys/fs/cgroup", rustix::mount::UnmountFlags::DETACH).unwrap();
    rustix::mount::mount("cgroup2", "/sys/fs/cgroup", "cgroup2", rustix::mount::MountFlags::empty(), none)
        .unwrap();
    let script = "cat /proc/self/cgroup | grep '^0::'; cat /sys/fs/cgroup/cgroup.procs | grep '^1$'; \
                  mkdir /sys/fs/cgroup/x 2>&1 | grep -c -i read-only; echo ready; sleep 1000";
    each(script, |bundle, _| {
        let mut container = bundle.create().unwrap();
        container.start();
        let text = container.process.read_to_line("ready");
        assert_eq!(text, "0::/\n1\n1\nready\n");
        let outcome = container.exec(|process| {
            process["args"] = json!(["grep", "^0::", "/proc/self/cgroup"]);
        });
        assert_eq!(outcome.unwrap().out, "0::/\n");
        loam_model::Runtime::pause(&mut container.runtime).unwrap();
        loam_model::Runtime::resume(&mut container.runtime).unwrap();
        container.delete();
    });
}

fn host_is_out_of_sight() {
    each("cat /proc/self/mountinfo; ls /", |bundle, _| {
        let out = bundle.output();
        // Every mount is the root or below one of the configuration's.
        for line in out.lines().filter(|line| line.contains(" - ")) {
            let point = line.split(' ').nth(4).unwrap();
            let known = ["/proc", "/dev", "/sys"].iter().any(|known| point.starts_with(known));
            assert!(known || point == "/", "{line}");
        }
        assert!(out.ends_with("bin\ndev\nproc\nsys\n"), "{out}");
    });
}

fn a_root_that_is_a_mount() {
    each("cat /file; echo x >/file2", |bundle, _| {
        let root = bundle.rootfs();
        std::fs::write(root.join("file"), "content\n").unwrap();
        rustix::mount::mount_bind(&root, &root).unwrap();
        let mut container = bundle.create().unwrap();
        container.start();
        let outcome = container.process.finish();
        assert_eq!(outcome.out, "content\n", "{outcome:?}");
        rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH).unwrap();
        container.delete();
    });
}

fn propagation() {
    use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
    // (propagation of the root, of the bind): whether the container sees what the host mounts later, and the other way.
    let cases = [
        ("rprivate", "rprivate", false, false),
        ("rslave", "rslave", true, false),
        ("rshared", "rshared", true, true),
        ("rshared", "rprivate", false, false),
    ];
    let script = "echo ready; while [ ! -e /flag/go ]; do busybox usleep 1000; done; ls /data/from-host; \
                  mount -t tmpfs tmpfs /data/from-container && echo >/data/from-container/x; echo done; sleep 1000";
    for (root, bind, from_host, from_container) in cases {
        let bundle = shell(script);
        let source = bundle.path().join("source");
        let flag = bundle.path().join("flag");
        std::fs::create_dir_all(source.join("from-host")).unwrap();
        std::fs::create_dir_all(source.join("from-container")).unwrap();
        std::fs::create_dir(&flag).unwrap();
        mount_bind(&source, &source).unwrap();
        mount_change(&source, MountPropagationFlags::SHARED).unwrap();
        let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
        let bundle = bundle
            .set("/linux/rootfsPropagation", json!(root))
            .set("/process/capabilities", json!({"bounding": all, "permitted": all, "effective": all}))
            .mount(json!({"destination": "/data", "source": source, "options": ["rbind", bind]}))
            .mount(json!({"destination": "/flag", "source": flag, "options": ["bind", "ro"]}));
        let mut container = bundle.create().unwrap();
        container.start();
        container.process.wait_for_line("ready");
        let later = bundle.path().join("later");
        std::fs::create_dir(&later).unwrap();
        std::fs::write(later.join("seen"), "").unwrap();
        mount_bind(&later, source.join("from-host")).unwrap();
        std::fs::write(flag.join("go"), "").unwrap();
        let text = container.process.read_to_line("done");
        assert_eq!(text.contains("seen"), from_host, "{root} {bind}: {text}");
        assert_eq!(source.join("from-container/x").exists(), from_container, "{root} {bind}");
        if from_container {
            unmount(source.join("from-container"), UnmountFlags::DETACH).unwrap();
        }
        unmount(source.join("from-host"), UnmountFlags::DETACH).unwrap();
        unmount(&source, UnmountFlags::DETACH).unwrap();
        container.delete();
    }
    let bundle = shell("true").with_user_namespace();
    let bundle =
        bundle.mount(json!({"destination": "/x", "source": "/etc", "options": ["rbind", "rshared"]}));
    assert!(bundle.run().is_err(), "a user namespace must not share its mounts with the host");
}
