//! The directories of an overlay, opened, and idmapped when the container's ids are.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use loam_model::{ErrorKind, Failure, IdMapping, Result, RootfsPlan};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::{IdMaps, disk, kind_of, shift};

/// The open directories of a plan.
#[derive(Debug)]
pub(crate) struct Layers {
    /// The topmost first.
    pub(crate) lower: Vec<OwnedFd>,
    pub(crate) upper: Option<OwnedFd>,
    pub(crate) work: Option<OwnedFd>,
    /// The idmapped mounts of our own in which directories were opened.
    pub(crate) anchors: Vec<OwnedFd>,
    /// The mount of the disk file that holds the writable directories.
    pub(crate) disk: Option<OwnedFd>,
    /// Whether the ids are still to be shifted: the container has its own, and the directories are not idmapped.
    pub(crate) unmapped: bool,
    /// The SELinux label of all files.
    pub(crate) label: Option<String>,
}

impl Layers {
    /// Opens the directories. With a mapping, one idmapped clone of a mount serves all directories in it: the
    /// overlay makes itself private clones of just the directories.
    pub(crate) fn open(plan: &RootfsPlan, maps: &mut IdMaps) -> Result<Self> {
        let disk = disk::mount(plan)?;
        let mapped = match &plan.mapping {
            Some(mapping) if !shift::has_begun(plan, disk.as_ref()) => {
                open_mapped(plan, disk.as_ref(), mapping, maps)?
            }
            _ => None,
        };
        match mapped {
            Some((directories, anchors)) => Self::sort(plan, disk, directories, anchors),
            None => Self::plain(plan, disk),
        }
    }

    /// Opens the directories as they are.
    pub(crate) fn open_unmapped(plan: &RootfsPlan) -> Result<Self> {
        Self::plain(plan, disk::mount(plan)?)
    }

    fn plain(plan: &RootfsPlan, disk: Option<OwnedFd>) -> Result<Self> {
        let layers = Self::sort(plan, disk, open_plainly(&paths(plan))?, Vec::new())?;
        Ok(Self { unmapped: plan.mapping.is_some(), ..layers })
    }

    /// Which directory is what; those of a disk file are opened in its mount.
    fn sort(
        plan: &RootfsPlan,
        disk: Option<OwnedFd>,
        mut directories: Vec<OwnedFd>,
        anchors: Vec<OwnedFd>,
    ) -> Result<Self> {
        if let Some(disk) = &disk {
            for name in plan.upper.iter().chain(&plan.work) {
                let opened = rustix::fs::openat(disk, name, DIRECTORY, Mode::empty());
                directories.push(opened.map_err(|errno| layer_failure(name, errno))?);
            }
        }
        let work = plan.work.as_ref().and_then(|_| directories.pop());
        let upper = plan.upper.as_ref().and_then(|_| directories.pop());
        Ok(Self { lower: directories, upper, work, anchors, disk, unmapped: false, label: None })
    }
}

/// The directories that lie on the host, the writable ones last. A disk file has those in it.
fn paths(plan: &RootfsPlan) -> Vec<&Path> {
    let writable = plan.upper.iter().chain(&plan.work).filter(|_| plan.disk.is_none());
    plan.lower.iter().chain(writable).map(PathBuf::as_path).collect()
}

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn layer_failure(path: &Path, errno: Errno) -> Failure {
    Failure::new(kind_of(errno), format!("the layer directory `{}` can't be opened", path.display()))
        .caused_by(errno)
}

fn open_plainly(paths: &[&Path]) -> Result<Vec<OwnedFd>> {
    let beneath = Beneath::open(directory_of_all(paths))?;
    let open = |path: &&Path| beneath.directory(path).map_err(|errno| layer_failure(path, errno));
    paths.iter().map(open).collect()
}

/// Directories by way of an ancestor of all: an image may have hundreds, and their paths are long.
struct Beneath<'a> {
    top: &'a Path,
    anchor: OwnedFd,
}

impl<'a> Beneath<'a> {
    /// By way of the ancestor itself. What leads to the layers is the administrator's, and may have links in it; a layer
    /// is none.
    fn open(top: &'a Path) -> Result<Self> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        let anchor =
            rustix::fs::open(top, flags, Mode::empty()).map_err(|errno| layer_failure(top, errno))?;
        Ok(Self { top, anchor })
    }

    /// The way to a path that the ancestor has, or is.
    fn way(&self, path: &'a Path) -> &'a Path {
        let below = path.strip_prefix(self.top).expect("an ancestor is a prefix");
        if below.as_os_str().is_empty() { Path::new(".") } else { below }
    }

    fn directory(&self, path: &'a Path) -> std::result::Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.anchor, self.way(path), DIRECTORY, Mode::empty())
    }

    /// The mount that a directory is on.
    fn mount_id(&self, path: &'a Path) -> std::result::Result<u64, Errno> {
        let (way, flags) = (self.way(path), AtFlags::SYMLINK_NOFOLLOW);
        Ok(rustix::fs::statx(&self.anchor, way, flags, StatxFlags::MNT_ID)?.stx_mnt_id)
    }
}

/// Opened directories, and the idmapped mounts that they were opened in.
type Mapped = (Vec<OwnedFd>, Vec<OwnedFd>);

/// Opens the directories with shifted ids; `None` where a file system or the kernel can't shift them.
fn open_mapped(
    plan: &RootfsPlan,
    disk: Option<&OwnedFd>,
    mapping: &IdMapping,
    maps: &mut IdMaps,
) -> Result<Option<Mapped>> {
    if !IdMaps::are_possible() {
        return Ok(None);
    }
    let mapped = open_mapped_paths(&paths(plan), mapping, maps)?;
    if let (Some(_), Some(mount), Some(path)) = (&mapped, disk, &plan.disk)
        && !maps.apply(mount, mapping, false, path)?
    {
        return Ok(None);
    }
    Ok(mapped)
}

fn open_mapped_paths(paths: &[&Path], mapping: &IdMapping, maps: &mut IdMaps) -> Result<Option<Mapped>> {
    let beneath = Beneath::open(directory_of_all(paths))?;
    let mut mounts = Vec::with_capacity(paths.len());
    for path in paths {
        mounts.push(beneath.mount_id(path).map_err(|errno| layer_failure(path, errno))?);
    }
    let mut anchors: Vec<(u64, Beneath<'_>)> = Vec::new();
    let mut directories = Vec::with_capacity(paths.len());
    for (path, mount) in paths.iter().zip(&mounts) {
        if !anchors.iter().any(|(known, _)| known == mount) {
            let together = paths.iter().zip(&mounts).filter(|(_, id)| *id == mount).map(|(path, _)| *path);
            let top = common_ancestor(together);
            let anchor = clone_mount(top).map_err(|errno| layer_failure(top, errno))?;
            if !maps.apply(&anchor, mapping, false, top)? {
                return Ok(None);
            }
            anchors.push((*mount, Beneath { top, anchor }));
        }
        let anchor = anchors.iter().find(|(known, _)| known == mount);
        let (_, beneath) = anchor.expect("the anchor of this mount was made just before");
        directories.push(beneath.directory(path).map_err(|errno| layer_failure(path, errno))?);
    }
    Ok(Some((directories, anchors.into_iter().map(|(_, beneath)| beneath.anchor).collect())))
}

pub(crate) fn clone_mount(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    rustix::mount::open_tree(CWD, path, flags)
}

/// The longest path that has all of these in it, and is none of them.
fn directory_of_all<'a>(paths: &[&'a Path]) -> &'a Path {
    common_ancestor(paths.iter().map(|path| path.parent().unwrap_or(path)))
}

/// The longest path that is a prefix of all.
pub(crate) fn common_ancestor<'a>(mut paths: impl Iterator<Item = &'a Path>) -> &'a Path {
    let mut common = paths.next().unwrap_or(Path::new(""));
    for path in paths {
        while !path.starts_with(common) {
            common = common.parent().unwrap_or(Path::new(""));
        }
    }
    common
}

/// Refuses a plan that no overlay can be made of.
pub(crate) fn check(plan: &RootfsPlan) -> Result<()> {
    let invalid = |message: &str| Err(Failure::new(ErrorKind::Invalid, message));
    if plan.lower.is_empty() {
        return invalid("a root file system needs at least one layer");
    }
    if plan.upper.is_some() != plan.work.is_some() {
        return invalid("a writable root file system needs an upper and a work directory");
    }
    if plan.disk.is_some() && plan.upper.is_none() {
        return invalid("a disk file is of use to a writable root file system only");
    }
    let writable = plan.upper.iter().chain(&plan.work);
    let name = |path: &PathBuf| {
        let mut parts = path.components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    };
    let ours = if plan.disk.is_some() { writable.clone().find(|path| !name(path)) } else { None };
    if let Some(path) = ours {
        return invalid(&format!("`{}` is not a directory of a disk file", path.display()));
    }
    let outside = writable.filter(|_| plan.disk.is_none()).chain(&plan.lower).chain(&plan.disk);
    if let Some(path) = outside.into_iter().find(|path| !path.is_absolute()) {
        return invalid(&format!("the layer directory `{}` is not an absolute path", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_ancestor_is_by_whole_components() {
        let common = |paths: &[&'static str]| common_ancestor(paths.iter().map(|path| Path::new(*path)));
        assert_eq!(common(&["/a/b/c", "/a/b/d"]), Path::new("/a/b"));
        assert_eq!(common(&["/a/bc", "/a/bd"]), Path::new("/a"));
        assert_eq!(common(&["/a/b"]), Path::new("/a/b"));
        assert_eq!(common(&["/a/b", "/a"]), Path::new("/a"));
        assert_eq!(common(&["/a", "/b"]), Path::new("/"));
        assert_eq!(common(&["a/b", "c"]), Path::new(""));
        assert_eq!(common(&[]), Path::new(""));
    }

    #[test]
    fn what_leads_to_the_layers_may_be_a_link_and_a_layer_may_not() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        for name in ["store/one", "store/two"] {
            std::fs::create_dir_all(at(name)).expect("made");
        }
        symlink(at("store"), at("link")).expect("linked");
        symlink(at("store/one"), at("store/three")).expect("linked");
        let open = |names: &[&str]| {
            let paths: Vec<_> = names.iter().map(|name| at(name)).collect();
            open_plainly(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>()).map(|opened| opened.len())
        };
        assert_eq!(open(&["link/one", "link/two"]).expect("opened"), 2);
        assert_eq!(open(&["store/one"]).expect("opened"), 1);
        for names in [&["store/one", "store/three"][..], &["store/three"]] {
            let refused = open(names).expect_err("a layer is no link");
            assert!(refused.chain().contains("store/three"), "{}", refused.chain());
        }
    }
}
