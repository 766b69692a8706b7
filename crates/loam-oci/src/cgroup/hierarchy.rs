//! Finding the cgroup hierarchies of this host, from one read of `/proc/thread-self/cgroup` and
//! `/proc/thread-self/mountinfo`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{CgroupError, CgroupVersion};

/// Where hierarchies are looked for. Mounts elsewhere are somebody's private business and are ignored.
const MOUNT_BASE: &str = "/sys/fs/cgroup";

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// The kind.
    pub(crate) version: CgroupVersion,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// A v1 hierarchy's controllers as the kernel names them, such as `cpu` or `name=systemd`; empty for v2.
    pub(crate) controllers: Vec<String>,
    /// Whether the mount is read-only.
    pub(crate) read_only: bool,
}

impl Hierarchy {
    /// Whether it holds no controller, so that it only says which processes belong together.
    pub(crate) fn is_tracking(&self) -> bool {
        self.controllers.iter().all(|name| name.starts_with("name="))
    }

    /// The directory below `/sys/fs/cgroup`, empty for that directory itself.
    pub(crate) fn relative(&self) -> &str {
        self.mount.strip_prefix(MOUNT_BASE).ok().and_then(Path::to_str).unwrap_or_default()
    }
}

/// How cgroups are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupLayout {
    /// Version 2 alone.
    Unified,
    /// Version 1, and version 2 beside it.
    Hybrid,
    /// Version 1 alone.
    Legacy,
    /// None.
    Absent,
}

/// All hierarchies of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The mounted hierarchies, the v2 one last.
    pub(crate) hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Reads the layout that this process sees.
    pub(crate) fn detect() -> Result<Self, CgroupError> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|source| CgroupError::Read { path: PathBuf::from(path), source })
        };
        let layout = Self::parse(&read("/proc/thread-self/cgroup")?, &read("/proc/thread-self/mountinfo")?);
        if layout.hierarchies.is_empty() { Err(CgroupError::NoHierarchy) } else { Ok(layout) }
    }

    /// Finds the hierarchies in the text of the two files (cgroups(7), proc_pid_mountinfo(5)).
    pub(crate) fn parse(cgroup: &str, mountinfo: &str) -> Self {
        let attached: Vec<Vec<&str>> = cgroup.lines().filter_map(attached_controllers).collect();
        let mut found: Vec<Hierarchy> = Vec::new();
        for mut hierarchy in mountinfo.lines().filter_map(mounted_hierarchy) {
            if hierarchy.version == CgroupVersion::V1 {
                // The options of a mount also hold flags such as `xattr`: only what the process has a cgroup in is a
                // controller.
                let Some(controllers) = attached
                    .iter()
                    .find(|names| names.iter().any(|n| hierarchy.controllers.iter().any(|c| c == n)))
                else {
                    continue;
                };
                hierarchy.controllers = controllers.iter().map(|&name| name.to_owned()).collect();
            }
            let same = |other: &Hierarchy| {
                other.version == hierarchy.version && other.controllers == hierarchy.controllers
            };
            if !found.iter().any(same) {
                found.push(hierarchy);
            }
        }
        found.sort_by_key(|hierarchy| hierarchy.version == CgroupVersion::V2);
        Self { hierarchies: found }
    }

    /// Which versions there are.
    pub(crate) fn kind(&self) -> CgroupLayout {
        let has = |version| self.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
        match (has(CgroupVersion::V1), has(CgroupVersion::V2)) {
            (false, true) => CgroupLayout::Unified,
            (true, true) => CgroupLayout::Hybrid,
            (true, false) => CgroupLayout::Legacy,
            (false, false) => CgroupLayout::Absent,
        }
    }

    /// The v2 hierarchy.
    pub(crate) fn v2(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == CgroupVersion::V2)
    }

    /// The controllers that limits can be set with.
    pub(crate) fn available(&self) -> Vec<String> {
        let v1 = self.hierarchies.iter().flat_map(|hierarchy| hierarchy.controllers.iter().cloned());
        let v2 = self.v2().map(|hierarchy| v2_controllers(&hierarchy.mount)).unwrap_or_default();
        v1.chain(v2).collect()
    }
}

/// The controllers that a v2 cgroup could use; none when the file can't be read.
pub(crate) fn v2_controllers(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The controllers of a line `ID:CONTROLLERS:PATH` of `/proc/self/cgroup`; `None` for v2, whose line names none.
fn attached_controllers(line: &str) -> Option<Vec<&str>> {
    let names = line.split(':').nth(1)?;
    (!names.is_empty()).then(|| names.split(',').collect())
}

/// The hierarchy that a line of `/proc/self/mountinfo` mounts below `/sys/fs/cgroup`.
fn mounted_hierarchy(line: &str) -> Option<Hierarchy> {
    let (mount, super_block) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(4);
    let (mount, options) = (Path::new(fields.next()?), fields.next()?);
    if !mount.starts_with(MOUNT_BASE) {
        return None;
    }
    let mut fields = super_block.split(' ');
    let version = match fields.next()? {
        "cgroup" => CgroupVersion::V1,
        "cgroup2" => CgroupVersion::V2,
        _ => return None,
    };
    let controllers = match version {
        CgroupVersion::V1 => fields.nth(1)?.split(',').map(str::to_owned).collect(),
        CgroupVersion::V2 => Vec::new(),
    };
    let read_only = options.split(',').any(|option| option == "ro");
    Some(Hierarchy { version, mount: mount.to_owned(), controllers, read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(cgroup: &str, mountinfo: &str) -> Vec<String> {
        let show =
            |h: &Hierarchy| format!("{:?} {} {}", h.version, h.mount.display(), h.controllers.join("+"));
        Layout::parse(cgroup, mountinfo).hierarchies.iter().map(show).collect()
    }

    #[test]
    fn hybrid_with_a_process_in_a_sub_cgroup() {
        let cgroup = "4:memory:/process_api/afe0\n2:cpuacct,cpu:/\n1:name=systemd:/user.slice\n0::/\n";
        let mountinfo = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
35 31 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
36 31 0:31 / /mnt/stray rw - cgroup cgroup rw,memory
";
        assert_eq!(
            shown(cgroup, mountinfo),
            [
                "V1 /sys/fs/cgroup/cpu,cpuacct cpuacct+cpu",
                "V1 /sys/fs/cgroup/memory memory",
                "V1 /sys/fs/cgroup/systemd name=systemd",
                "V2 /sys/fs/cgroup/unified ",
            ]
        );
        let layout = Layout::parse(cgroup, mountinfo);
        assert_eq!(layout.kind(), CgroupLayout::Hybrid);
        assert_eq!(Layout::default().kind(), CgroupLayout::Absent);
        assert!(layout.hierarchies[1].read_only);
        assert!(layout.hierarchies[2].is_tracking() && !layout.hierarchies[1].is_tracking());
        assert_eq!(layout.v2().map(Hierarchy::relative), Some("unified"));
    }

    #[test]
    fn unified() {
        let mountinfo =
            "30 23 0:26 /below /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(shown("0::/user.slice\n", mountinfo), ["V2 /sys/fs/cgroup "]);
        assert_eq!(Layout::parse("0::/\n", mountinfo).kind(), CgroupLayout::Unified);
    }

    #[test]
    fn a_second_mount_of_a_hierarchy_and_strange_lines_are_ignored() {
        let mountinfo = "\
garbage
33 31 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
34 31 0:30 /a /sys/fs/cgroup/other rw - cgroup cgroup rw,pids
35 31 0:33 / /sys/fs/cgroup/rdma rw - cgroup cgroup rw,rdma
";
        assert_eq!(shown("1:pids:/\n", mountinfo), ["V1 /sys/fs/cgroup/pids pids"]);
        assert_eq!(Layout::parse("1:pids:/\n", mountinfo).kind(), CgroupLayout::Legacy);
    }
}
