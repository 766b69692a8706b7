//! Hosts whose state directory lies on a file system of a kind, in a file.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use crate::{Host, wait};

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// XFS with project quotas.
    Xfs,
    /// ext4 with project quotas.
    Ext4,
    /// btrfs with quotas.
    Btrfs,
    /// ext4 without quotas.
    Plain,
}

impl FileSystem {
    /// The beginning of the command that makes one in a file or on a device.
    pub fn make(self) -> &'static str {
        match self {
            Self::Xfs => "mkfs.xfs -q",
            Self::Ext4 => "mkfs.ext4 -q -F -O quota,project",
            Self::Btrfs => "mkfs.btrfs -q",
            Self::Plain => "mkfs.ext4 -q -F",
        }
    }

    /// The options with which one in a file is mounted.
    pub fn mount_options(self) -> &'static str {
        match self {
            Self::Xfs | Self::Ext4 => "loop,prjquota",
            // What was deleted is freed after a commit.
            Self::Btrfs => "loop,commit=1",
            Self::Plain => "loop",
        }
    }
}

/// A host with the small image on such a file system.
#[derive(Debug)]
pub struct QuotaHost {
    host: Host,
    kind: FileSystem,
}

impl QuotaHost {
    /// Makes and mounts the file system.
    pub fn new(kind: FileSystem) -> Self {
        let host = Host::new();
        fs::create_dir_all(host.root()).expect("a directory can be made");
        let bed = Self { host, kind };
        let make = kind.make();
        bed.host.sh(&format!("truncate -s 640M {0} && {make} {0}", bed.disk().display())).ok();
        bed.mount();
        if kind == FileSystem::Btrfs {
            let root = bed.host.root();
            bed.host.sh(&format!("btrfs quota enable {0} && btrfs quota rescan -w {0}", root.display())).ok();
        }
        bed.host.load_small_image();
        bed
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The beginning of a shell's line that runs `loam` with the host's state.
    pub fn loam(&self) -> String {
        let program = crate::host::program("loam");
        let (root, run) = (self.host.root(), self.host.run_directory());
        format!("{program} --root {} --run {}", root.display(), run.display())
    }

    fn disk(&self) -> PathBuf {
        self.host.scratch().join("disk")
    }

    fn mount(&self) {
        let options = self.kind.mount_options();
        let (disk, root) = (self.disk(), self.host.root());
        self.host.sh(&format!("mount -o {options} {} {}", disk.display(), root.display())).ok();
    }

    /// Unmounts the state directory, with nothing running, and mounts it again.
    pub fn remount(&self) {
        self.unmount();
        self.mount();
    }

    /// Has everything written, and counted.
    pub fn sync(&self) {
        self.host.sh(&format!("sync -f {}", self.host.root().display())).ok();
    }

    /// A directory with `chattr` and what it needs to run anywhere.
    pub fn chattr(&self) -> PathBuf {
        let tool = self.host.scratch().join("tool");
        let line = "mkdir -p TOOL && cp -L $(command -v chattr) $(ldd $(command -v chattr) | grep -o '/[^ ]*') TOOL/";
        self.host.sh(&line.replace("TOOL", &tool.display().to_string())).ok();
        tool
    }

    /// Removes these containers, checks that nothing counts them any more, and ends.
    pub fn finish(self, containers: &[&str]) {
        let root = self.host.root();
        let ids: Vec<String> = containers
            .iter()
            .map(|name| self.host.inspect(name)["id"].as_str().expect("an id").to_owned())
            .collect();
        let projects: Vec<u32> = ids.iter().filter_map(|id| self.project(id)).collect();
        for name in containers {
            self.host.loam(&["rm", "-f", name]).ok();
        }
        let left = wait::nothing_left(|| self.counted(&projects));
        assert!(left.is_empty(), "left behind: {left:#?}");
        let files = self.host.sh(&format!(
            "cd {} && ls snapshots containers trash staging | grep -v : | grep .; true",
            root.display()
        ));
        assert_eq!(files.stdout, "", "left behind");
        // Templates go with the limits that they are for.
        self.host.loam(&["rmi", "small"]).ok();
        let templates = self.host.sh(&format!("ls {}/disk-templates 2>/dev/null; true", root.display()));
        assert_eq!(templates.ok(), "");
        self.unmount();
        self.host.finish();
    }

    fn unmount(&self) {
        // A shim that has just ended may still be letting go of it.
        wait::until("the state directory is unmounted", || {
            (self.host.sh(&format!("umount {}", self.host.root().display())).code == 0).then_some(())
        });
    }

    /// The limit that the file system enforces on the container with this id; 0 is none.
    pub fn enforced(&self, id: &str) -> u64 {
        if self.kind == FileSystem::Btrfs {
            let snapshot = self.host.root().join("snapshots").join(id);
            let line = format!(
                "cat /sys/fs/btrfs/$(findmnt -no UUID {})/qgroups/0_$(btrfs inspect-internal rootid {})/max_referenced",
                self.host.root().display(),
                snapshot.display()
            );
            return self.host.sh(&line).ok().parse().expect("a number");
        }
        self.project_limit(self.project(id).expect("it has a project id"))
    }

    /// The limit that the file system enforces on what has no limit of its own; 0 is none.
    pub fn enforced_on_all(&self) -> u64 {
        if self.kind == FileSystem::Btrfs {
            let line = format!(
                "cat /sys/fs/btrfs/$(findmnt -no UUID {})/qgroups/0_5/max_referenced",
                self.host.root().display()
            );
            return self.host.sh(&line).ok().parse().expect("a number");
        }
        self.project_limit(0)
    }

    /// The limit of a project; 0 is none.
    pub fn project_limit(&self, project: u32) -> u64 {
        let usage = loam_sys::project_quota::project_usage(self.seen().as_fd(), project);
        usage.expect("quotas are on").limit
    }

    /// Limits a project, as somebody does who has died since.
    pub fn limit_project(&self, project: u32, bytes: u64) {
        loam_sys::project_quota::limit_project(self.seen().as_fd(), project, bytes).expect("quotas are on");
    }

    /// The state directory.
    fn seen(&self) -> File {
        let root = self.host.path_from_outside(&self.host.root());
        File::open(root).expect("the state directory can be opened")
    }

    /// The project id of a container.
    pub fn project_of(&self, name: &str) -> u32 {
        let id = self.host.inspect(name)["id"].as_str().expect("an id").to_owned();
        self.project(&id).expect("it has a project id")
    }

    /// The project id of a container's snapshot.
    fn project(&self, id: &str) -> Option<u32> {
        let snapshot = self.host.root().join("snapshots").join(id);
        let listed = self.host.sh(&format!("lsattr -pd {} 2>/dev/null", snapshot.display()));
        listed.stdout.split_whitespace().next()?.parse().ok().filter(|project| *project != 0)
    }

    /// Takes a stopped container's snapshot away from its row, as a power cut does with a row that was not synced, and lets
    /// that be swept; gives what is still there of it.
    pub fn lose_row(&self, name: &str) -> Vec<String> {
        let id = self.host.inspect(name)["id"].as_str().expect("an id").to_owned();
        let snapshots = self.host.root().join("snapshots");
        let (known, lost) = (snapshots.join(id), snapshots.join("e".repeat(64)));
        self.host.sh(&format!("mv {} {}", known.display(), lost.display())).ok();
        let projects: Vec<u32> = self.project(&"e".repeat(64)).into_iter().collect();
        let subvolume = match self.kind {
            FileSystem::Btrfs => {
                self.host.sh(&format!("btrfs inspect-internal rootid {}", lost.display())).ok().to_owned()
            }
            _ => String::new(),
        };
        self.host.loam(&["settle"]).ok();
        let of_it =
            |line: &String| self.kind != FileSystem::Btrfs || line.starts_with(&format!("0/{subvolume} "));
        let mut left = wait::nothing_left(|| self.counted(&projects).into_iter().filter(of_it).collect());
        left.extend(
            self.host
                .sh(&format!("ls -d {} 2>/dev/null; true", lost.display()))
                .stdout
                .lines()
                .map(str::to_owned),
        );
        left
    }

    /// What the file system still knows of these projects, or of subvolumes.
    fn counted(&self, projects: &[u32]) -> Vec<String> {
        let root = self.host.root();
        if self.kind == FileSystem::Btrfs {
            // A group goes when its subvolume is freed, by the kernel or by whoever comes by then.
            self.host.sh(&format!("btrfs subvolume sync {}", root.display())).ok();
            self.host.loam(&["settle"]).ok();
            let groups = self.host.sh(&format!("btrfs qgroup show --raw {}", root.display()));
            let groups = groups.ok().lines().map(str::trim);
            return groups
                .filter(|line| line.starts_with("0/") && !line.starts_with("0/5 "))
                .map(str::to_owned)
                .collect();
        }
        let seen = self.seen();
        let usage = |project: &u32| {
            let usage =
                loam_sys::project_quota::project_usage(seen.as_fd(), *project).expect("quotas are on");
            (usage != loam_sys::project_quota::ProjectUsage::default())
                .then(|| format!("{project}: {usage:?}"))
        };
        projects.iter().filter_map(usage).collect()
    }
}
