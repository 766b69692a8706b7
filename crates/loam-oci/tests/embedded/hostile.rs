//! Images and configurations that mean harm.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use loam_model::ErrorKind;
use serde_json::json;

use crate::Test;
use crate::bundle::Bundle;

pub(crate) const TESTS: &[Test] = &[
    ("hostile::dev_is_a_link", dev_is_a_link),
    ("hostile::null_is_a_link", null_is_a_link),
    ("hostile::proc_or_sys_is_a_link", proc_or_sys_is_a_link),
    ("hostile::proc_is_covered", proc_is_covered),
    ("hostile::mount_points_lead_out", mount_points_lead_out),
    ("hostile::console_is_a_link", console_is_a_link),
    ("hostile::working_directory_leads_out", working_directory_leads_out),
    ("hostile::strange_namespaces", strange_namespaces),
    ("hostile::mount_point_is_exchanged", mount_point_is_exchanged),
    ("hostile::all_others_are_stopped", all_others_are_stopped),
];

/// A directory of the host that must stay as it is.
struct Canary(PathBuf, Vec<String>);

impl Canary {
    fn new(bundle: &Bundle) -> Self {
        let path = bundle.path().join("canary");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        for name in ["null", "ptmx", "stdin", "console", "file"] {
            std::fs::write(path.join(name), "untouched").unwrap();
        }
        let state = Self::state(&path);
        Self(path, state)
    }

    fn state(path: &Path) -> Vec<String> {
        let mut state: Vec<String> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                format!(
                    "{:?} {:?} {:?} {text}",
                    entry.file_name(),
                    meta.permissions(),
                    meta.modified().unwrap()
                )
            })
            .collect();
        state.sort();
        state.push(format!("{:?}", std::fs::metadata(path).unwrap().modified().unwrap()));
        state
    }

    fn check(&self) {
        assert_eq!(Self::state(&self.0), self.1, "the host was changed");
    }
}

fn without_dev(bundle: Bundle) -> Bundle {
    ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]
        .iter()
        .fold(bundle, |bundle, path| bundle.without_mount(path))
}

fn dev_is_a_link() {
    for keep_mounts in [true, false] {
        for inside in [true, false] {
            let bundle = Bundle::new(&["true"]);
            let canary = Canary::new(&bundle);
            let target = if inside { PathBuf::from("/elsewhere") } else { canary.0.clone() };
            std::fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
            symlink(target, bundle.rootfs().join("dev")).unwrap();
            let bundle = if keep_mounts { bundle } else { without_dev(bundle) };
            let failure = bundle.run().unwrap_err();
            assert!(failure.chain().contains("/dev"), "{failure:?}");
            canary.check();
            assert_eq!(std::fs::read_dir(bundle.rootfs().join("elsewhere")).unwrap().count(), 0);
            bundle.check_gone();
        }
    }
}

fn null_is_a_link() {
    for target in ["/proc/sys/kernel/core_pattern", "/file", "file"] {
        let bundle = without_dev(Bundle::new(&["true"]));
        let canary = Canary::new(&bundle);
        std::fs::create_dir(bundle.rootfs().join("dev")).unwrap();
        if target == "file" {
            std::fs::write(bundle.rootfs().join("dev/null"), "x").unwrap();
        } else {
            symlink(target, bundle.rootfs().join("dev/null")).unwrap();
        }
        let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        assert_eq!(bundle.run().unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
        canary.check();
        bundle.check_gone();
    }
    // The host's own `/dev` bound there, with something else over its null device.
    let bundle = without_dev(Bundle::new(&["true"]));
    std::fs::write(bundle.path().join("fake"), "x").unwrap();
    let bundle = bundle
        .mount(json!({"destination": "/dev", "source": "/dev", "options": ["bind"]}))
        .mount(json!({"destination": "/dev/null", "source": "fake", "options": ["bind"]}));
    assert_eq!(bundle.run().unwrap_err().kind(), ErrorKind::Denied);
    bundle.check_gone();
}

fn proc_or_sys_is_a_link() {
    for name in ["proc", "sys"] {
        let bundle = Bundle::new(&["true"]);
        let canary = Canary::new(&bundle);
        std::fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
        symlink("/elsewhere", bundle.rootfs().join(name)).unwrap();
        let failure = bundle.run().unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Denied, "{failure:?}");
        canary.check();
        bundle.check_gone();
    }
}

fn proc_is_covered() {
    let source = |bundle: &Bundle| {
        let path = bundle.path().join("source");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("file"), "MemTotal: 1 kB\n").unwrap();
        path
    };
    for destination in ["/proc", "/proc/sys", "/proc/self/attr", "/proc/1", "/link/sys"] {
        let bundle = Bundle::new(&["true"]);
        symlink("/proc", bundle.rootfs().join("link")).unwrap();
        let mount = json!({"destination": destination, "source": source(&bundle), "options": ["bind"]});
        let bundle = bundle.mount(mount);
        let failure = bundle.run().unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Denied, "{destination}: {failure:?}");
        bundle.check_gone();
    }
    let bundle = Bundle::new(&["cat", "/proc/meminfo"]);
    let file = source(&bundle).join("file");
    let bundle = bundle.mount(json!({"destination": "/proc/meminfo", "source": file, "options": ["bind"]}));
    assert_eq!(bundle.output(), "MemTotal: 1 kB\n");
}

fn mount_points_lead_out() {
    let bundle = Bundle::new(&["true"]);
    let canary = Canary::new(&bundle);
    symlink(&canary.0, bundle.rootfs().join("out")).unwrap();
    symlink(format!("../../../../..{}", canary.0.display()), bundle.rootfs().join("up")).unwrap();
    for destination in ["/out/new", "/up/new", "/out/file"] {
        let config = bundle.config.clone();
        let mut bundle = Bundle::new(&["true"]);
        bundle.config = config;
        symlink(&canary.0, bundle.rootfs().join("out")).unwrap();
        symlink(format!("../../../../..{}", canary.0.display()), bundle.rootfs().join("up")).unwrap();
        let bundle = bundle.mount(json!({"destination": destination, "type": "tmpfs"}));
        assert!(bundle.run().is_err(), "{destination}");
        canary.check();
        bundle.check_gone();
    }
    let bundle = bundle.mount(json!({"destination": "/a/../../x", "type": "tmpfs"}));
    assert_eq!(bundle.run().unwrap_err().kind(), ErrorKind::Invalid);
}

fn console_is_a_link() {
    let bundle = Bundle::new(&["true"]).with_terminal();
    let canary = Canary::new(&bundle);
    // A `/dev` whose content the image, or another container, decides.
    let dev = bundle.path().join("dev");
    std::fs::create_dir_all(dev.join("pts")).unwrap();
    symlink(canary.0.join("console"), dev.join("console")).unwrap();
    let bundle = bundle.set("/mounts/1", json!({"destination": "/dev", "source": dev, "options": ["bind"]}));
    let failure = bundle.run().unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Denied, "{failure:?}");
    canary.check();
    bundle.check_gone();
}

fn working_directory_leads_out() {
    let host = std::fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&host, rustix::io::FdFlags::empty()).unwrap();
    for descriptor in 3..40 {
        let bundle = Bundle::new(&["ls"]).set("/process/cwd", json!(format!("/proc/self/fd/{descriptor}")));
        assert!(bundle.run().is_err());
        if descriptor == 3 {
            bundle.check_gone();
        }
    }
}

fn strange_namespaces() {
    for (path, kind) in
        [("/etc/passwd", "network"), ("/proc/self/ns/uts", "network"), ("/proc/self/ns/mnt", "mount")]
    {
        let mut bundle = Bundle::new(&["true"]);
        for namespace in bundle.namespaces().iter_mut().filter(|namespace| namespace["type"] == kind) {
            namespace["path"] = json!(path);
        }
        assert!(bundle.run().is_err(), "{path}");
        bundle.check_gone();
    }
    let mut bundle = Bundle::new(&["true"]);
    bundle.namespaces()[1]["path"] = json!(format!("/{}", "x".repeat(70_000)));
    assert!(bundle.run().is_err());
}

fn mount_point_is_exchanged() {
    // A process beside exchanges a directory of a shared volume with a link out of it, over and over.
    let bundle = Bundle::new(&["true"]);
    let canary = Canary::new(&bundle);
    let volume = bundle.path().join("volume");
    std::fs::create_dir_all(volume.join("point")).unwrap();
    symlink(&canary.0, volume.join("link")).unwrap();
    let exchange = || {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        let (one, other) = (volume.join("point"), volume.join("link"));
        loop {
            rustix::fs::renameat_with(rustix::fs::CWD, &one, rustix::fs::CWD, &other, flags).ok();
        }
    };
    let racer = loam_sys::spawn(loam_sys::CloneFlags::empty(), None, exchange).unwrap();
    let bundle = bundle
        .mount(json!({"destination": "/volume", "source": volume, "options": ["rbind"]}))
        .mount(json!({"destination": "/volume/point/deep", "type": "tmpfs"}));
    for _ in 0..30 {
        if let Ok(mut container) = bundle.create() {
            loam_model::Runtime::delete(&mut container.runtime).unwrap();
            container.process.reap();
        }
    }
    loam_sys::send_signal(std::os::fd::AsFd::as_fd(&racer.pidfd), 9).unwrap();
    let status = rustix::process::waitid(
        rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&racer.pidfd)),
        rustix::process::WaitIdOptions::EXITED,
    );
    status.unwrap();
    canary.check();
    bundle.check_gone();
}

fn all_others_are_stopped() {
    // A shell's own `kill` signals every process that it can see but itself and the first.
    let script = "sh -c 'while :; do kill -STOP -1; done' & echo ready; while :; do sleep 1000; done";
    let bundle = Bundle::new(&["sh", "-c", script]);
    let mut container = bundle.create().unwrap();
    container.start();
    container.process.wait_for_line("ready");
    for _ in 0..2 {
        let begin = std::time::Instant::now();
        let further = container.spawn(false, |process| process["args"] = json!(["sleep", "1000"]));
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
        match further {
            Ok(further) => {
                loam_sys::send_signal(std::os::fd::AsFd::as_fd(&further.process.pidfd), 9).unwrap();
                further.reap();
            }
            Err(failure) => assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure:?}"),
        }
    }
    container.delete();
}
