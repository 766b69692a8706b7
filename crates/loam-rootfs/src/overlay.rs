//! The overlay mount.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loam_model::{Failure, Result, RootfsPlan};
use loam_sys::features::{Feature, has_mount_api};
use loam_sys::magic_link;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::headroom::Headroom;
use crate::layers::{self, Layers};
use crate::{IdMaps, as_container_root, kind_of, shift};

/// How the kernel is told of the layers, from the newest way to the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `fsconfig` with descriptors, which may be of mounts that are mounted nowhere (Linux 6.15).
    Descriptors,
    /// `fsconfig` with a path for each layer (`lowerdir+`, Linux 6.7).
    Paths,
    /// `mount` with one string; paths of the form `/proc/self/fd/N` leave room for 250 layers in its one page.
    OneString,
}

/// Mounts the plan's root file system at `target`, a directory in a mount namespace of our own, and gives a
/// descriptor of its root. With a label, SELinux takes it for that of every file.
pub fn mount_root(
    plan: &RootfsPlan,
    label: Option<&str>,
    maps: &mut IdMaps,
    target: &Path,
) -> Result<OwnedFd> {
    layers::check(plan)?;
    let layers = Layers { label: label.map(str::to_owned), ..Layers::open(plan, maps)? };
    if layers.unmapped {
        return mount_shifted(plan, &layers, target);
    }
    let room = Headroom::take(plan);
    // The overlay works on its writable directory with the rights and ids of the one who mounts it.
    let mounted = as_container_root(plan.mapping.as_ref(), || mount_layers(plan, &layers, target, ways()));
    let limited = room.map_or(Ok(()), Headroom::give_back);
    let mounted = mounted.and_then(|mounted| limited.map(|()| mounted))?;
    match mounted {
        // Before Linux 5.19 an overlay takes no idmapped layers.
        Err(Errno::INVAL) if !layers.anchors.is_empty() => {
            // A disk file is mounted anew: its mount has ids now.
            drop(layers);
            let layers = Layers { label: label.map(str::to_owned), ..Layers::open_unmapped(plan)? };
            mount_shifted(plan, &layers, target)
        }
        mounted => mounted.map_err(|errno| mount_failure(target, errno)),
    }
}

/// Mounts the layers with the ids that they have on the disk, and gives all files to the container's users.
fn mount_shifted(plan: &RootfsPlan, layers: &Layers, target: &Path) -> Result<OwnedFd> {
    shift::begin(plan, layers.disk.as_ref())?;
    let room = Headroom::take(plan);
    let mounted = mount_layers(plan, layers, target, ways());
    let limited = room.map_or(Ok(()), Headroom::give_back);
    let root = mounted.map_err(|errno| mount_failure(target, errno))?;
    limited?;
    shift::shift(&root, plan, layers.disk.as_ref())?;
    Ok(root)
}

fn mount_failure(target: &Path, errno: Errno) -> Failure {
    let message = format!("the root file system can't be mounted at `{}`", target.display());
    let failure = Failure::new(kind_of(errno), message).caused_by(errno);
    if errno == Errno::BUSY {
        failure.hint("another overlay uses the same writable directory")
    } else {
        failure
    }
}

/// The ways that may be tried.
fn ways() -> &'static [Way] {
    if !has_mount_api() || Feature::LowerdirPlus.is_off() {
        &[Way::OneString]
    } else if Feature::LayersByDescriptor.is_off() {
        &[Way::Paths, Way::OneString]
    } else {
        &[Way::Descriptors, Way::Paths, Way::OneString]
    }
}

fn mount_layers(
    plan: &RootfsPlan,
    layers: &Layers,
    target: &Path,
    ways: &[Way],
) -> std::result::Result<OwnedFd, Errno> {
    if let Some(work) = &layers.work {
        // What a mount with `volatile` leaves so that nobody mounts the same again. Only containers that are thrown
        // away are mounted so, and they may be started after a look into them.
        match rustix::fs::unlinkat(work, "work/incompat/volatile", AtFlags::REMOVEDIR) {
            Ok(()) | Err(_) => {}
        }
    }
    if layers.upper.is_none() && layers.lower.len() == 1 {
        return mount_single(&layers.lower[0], target);
    }
    let mut refusal = Errno::INVAL;
    let mut anchored = false;
    for way in ways {
        if *way != Way::Descriptors && !anchored {
            // Older kernels want the layers' mounts to be mounted somewhere in our namespace. They are covered by the
            // overlay in the end.
            for anchor in layers.anchors.iter().chain(&layers.disk) {
                move_to(anchor, target)?;
            }
            anchored = true;
        }
        let result = match way {
            Way::Descriptors | Way::Paths => {
                configure(plan, layers, *way).and_then(|mount| move_to(&mount, target).map(|()| mount))
            }
            Way::OneString => mount_with_one_string(plan, layers, target),
        };
        match result {
            Ok(mount) => return Ok(mount),
            // An unknown way looks like any other bad argument.
            Err(errno @ (Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::LOOP | Errno::BADF)) => {
                refusal = errno;
            }
            Err(errno) => {
                refusal = errno;
                break;
            }
        }
    }
    if anchored {
        for _ in layers.anchors.iter().chain(&layers.disk) {
            rustix::mount::unmount(target, UnmountFlags::DETACH)?;
        }
    }
    Err(refusal)
}

/// One read-only layer is no overlay.
fn mount_single(layer: &OwnedFd, target: &Path) -> std::result::Result<OwnedFd, Errno> {
    if !has_mount_api() {
        rustix::mount::mount_bind(magic_link(layer), target)?;
        rustix::mount::mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, "")?;
        return open_root(target);
    }
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(layer, "", flags)?;
    loam_sys::set_mount_read_only(mount.as_fd())
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    move_to(&mount, target)?;
    Ok(mount)
}

fn configure(plan: &RootfsPlan, layers: &Layers, way: Way) -> std::result::Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", "overlay")?;
    let set = |key: &str, layer: &OwnedFd| match way {
        Way::Descriptors => rustix::mount::fsconfig_set_fd(&context, key, layer),
        Way::Paths | Way::OneString => rustix::mount::fsconfig_set_string(&context, key, magic_link(layer)),
    };
    for layer in &layers.lower {
        set("lowerdir+", layer)?;
    }
    if let (Some(upper), Some(work)) = (&layers.upper, &layers.work) {
        set("upperdir", upper)?;
        set("workdir", work)?;
    }
    for (key, value) in settings(plan, layers) {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, key, value)?,
            None => rustix::mount::fsconfig_set_flag(&context, key)?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes(plan))
}

/// Device files of an image are of no use in a user namespace, and so are not honoured there.
fn attributes(plan: &RootfsPlan) -> MountAttrFlags {
    if plan.mapping.is_some() { MountAttrFlags::MOUNT_ATTR_NODEV } else { MountAttrFlags::empty() }
}

/// What an overlay is told beside its directories.
fn settings<'a>(plan: &RootfsPlan, layers: &'a Layers) -> Vec<(&'static str, Option<&'a str>)> {
    let mut settings = Vec::new();
    if layers.upper.is_some() && layers.work.is_some() {
        settings.push(("index", Some("off")));
        if plan.volatile {
            settings.push(("volatile", None));
        }
        if layers.unmapped {
            settings.push(("metacopy", Some("on")));
        }
    }
    settings.extend(layers.label.as_deref().map(|label| ("context", Some(label))));
    settings
}

/// All of it in one string, as mount(2) takes it.
fn one_string(plan: &RootfsPlan, layers: &Layers) -> String {
    let lower: Vec<String> = layers.lower.iter().map(magic_link).collect();
    let mut options = format!("lowerdir={}", lower.join(":"));
    if let (Some(upper), Some(work)) = (&layers.upper, &layers.work) {
        options += &format!(",upperdir={},workdir={}", magic_link(upper), magic_link(work));
    }
    for (key, value) in settings(plan, layers) {
        options += &match value {
            // Quoted, because a level contains commas.
            Some(label) if key == "context" => format!(",{key}=\"{label}\""),
            Some(value) => format!(",{key}={value}"),
            None => format!(",{key}"),
        };
    }
    options
}

fn mount_with_one_string(
    plan: &RootfsPlan,
    layers: &Layers,
    target: &Path,
) -> std::result::Result<OwnedFd, Errno> {
    let flags = if plan.mapping.is_some() { MountFlags::NODEV } else { MountFlags::empty() };
    let options = std::ffi::CString::new(one_string(plan, layers)).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount("overlay", target, "overlay", flags, options.as_c_str())?;
    open_root(target)
}

fn open_root(target: &Path) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open(target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Puts a detached mount at a path.
pub fn move_to(mount: &OwnedFd, target: &Path) -> std::result::Result<(), Errno> {
    rustix::mount::move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loam_model::IdMapping;
    use rustix::mount::MountPropagationFlags;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    /// Mounts two layers in each of the ways, in a mount namespace that only a thread of this test sees.
    fn try_ways(mapping: Option<&IdMapping>, owner: u32) {
        for way in [Way::Descriptors, Way::Paths, Way::OneString] {
            let directory = tempfile::tempdir().unwrap();
            let path = |name: &str| directory.path().join(name);
            for name in ["low", "high", "upper", "work", "root", "elsewhere"] {
                std::fs::create_dir(path(name)).unwrap();
            }
            std::fs::write(path("low/a"), "low").unwrap();
            std::fs::write(path("high/a"), "high").unwrap();
            std::fs::write(path("low/b"), "b").unwrap();
            let plan = RootfsPlan {
                lower: vec![path("high"), path("low")],
                upper: Some(path("upper")),
                work: Some(path("work")),
                disk: None,
                limit: None,
                mapping: mapping.cloned(),
                volatile: true,
            };
            let layers = Layers::open(&plan, &mut IdMaps::default()).unwrap();
            let root = as_container_root(mapping, || mount_layers(&plan, &layers, &path("root"), &[way]));
            let root = root.unwrap();
            let root = root.unwrap_or_else(|errno| panic!("{way:?}: {errno}"));
            assert_eq!(std::fs::read_to_string(path("root/a")).unwrap(), "high");
            assert_eq!(std::fs::metadata(path("root/b")).unwrap().uid(), owner, "{way:?}");
            crate::make_standard_directories(&root, mapping).unwrap();
            assert_eq!(std::fs::metadata(path("root/proc")).unwrap().uid(), owner, "{way:?}");
            assert_eq!(std::fs::metadata(path("upper/proc")).unwrap().uid(), 0, "{way:?}");
            // A file that is written to is copied up, one that is removed leaves a whiteout.
            std::fs::OpenOptions::new().append(true).open(path("root/b")).unwrap();
            std::fs::remove_file(path("root/a")).unwrap();
            assert_eq!(std::fs::metadata(path("upper/b")).unwrap().uid(), 0, "{way:?}");
            assert_eq!(std::fs::metadata(path("upper/a")).unwrap().rdev(), 0, "{way:?}");
            rustix::mount::unmount(path("root"), UnmountFlags::DETACH).unwrap();
        }
    }

    /// Mounts a layer without idmapped mounts in each of the ways, twice.
    fn try_shifted(mapping: &IdMapping) {
        use std::os::unix::fs::PermissionsExt;
        for way in [Way::Paths, Way::OneString] {
            let directory = tempfile::tempdir().unwrap();
            let path = |name: &str| directory.path().join(name);
            for name in ["low/d", "upper", "work", "root"] {
                std::fs::create_dir_all(path(name)).unwrap();
            }
            std::fs::write(path("low/d/program"), vec![1; 1 << 20]).unwrap();
            std::fs::set_permissions(path("low/d/program"), PermissionsExt::from_mode(0o4755)).unwrap();
            std::os::unix::fs::symlink("nowhere", path("low/link")).unwrap();
            std::os::unix::fs::chown(path("low/d"), Some(1000), Some(70_000)).unwrap();
            let plan = RootfsPlan {
                lower: vec![path("low")],
                upper: Some(path("upper")),
                work: Some(path("work")),
                mapping: Some(mapping.clone()),
                volatile: false,
                disk: None,
                limit: None,
            };
            for round in 0..2 {
                shift::begin(&plan, None).unwrap();
                let layers = Layers::open(&plan, &mut IdMaps::default()).unwrap();
                assert!(layers.unmapped && layers.anchors.is_empty(), "the mark counts");
                let root = mount_layers(&plan, &layers, &path("root"), &[way]).unwrap();
                shift::shift(&root, &plan, None).unwrap();
                let owner = |name: &str| {
                    let status = std::fs::symlink_metadata(path("root").join(name)).unwrap();
                    (status.uid(), status.gid())
                };
                assert_eq!(owner(""), (100_000, 100_000), "{way:?}");
                assert_eq!(owner("link"), (100_000, 100_000), "{way:?}");
                assert_eq!(owner("d"), (101_000, 70_000), "{way:?}: what is not mapped stays");
                assert_eq!(owner("d/program"), (100_000, 100_000), "{way:?}");
                let program = std::fs::metadata(path("root/d/program")).unwrap();
                assert_eq!((program.mode() & 0o7777, program.len()), (0o4755, 1 << 20), "{way:?}");
                // The contents stay in the layer.
                let above = std::fs::metadata(path("upper/d/program")).unwrap();
                assert!(above.blocks() < 64, "{way:?}: {} blocks", above.blocks());
                // What the container makes of its files later is its own business.
                if round == 0 {
                    std::fs::write(path("root/later"), "").unwrap();
                } else {
                    assert_eq!(owner("later"), (0, 0), "{way:?}: walked again");
                }
                rustix::mount::unmount(path("root"), UnmountFlags::DETACH).unwrap();
            }
            assert_eq!(std::fs::metadata(path("low/d/program")).unwrap().uid(), 0);
        }
    }

    #[test]
    fn a_label_is_a_value_of_its_own_or_quoted() {
        const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";
        let open = || open_root(Path::new("/")).unwrap();
        let directory = || PathBuf::from("/somewhere");
        let plan = RootfsPlan {
            lower: vec![directory(), directory()],
            upper: Some(directory()),
            work: Some(directory()),
            disk: None,
            limit: None,
            mapping: None,
            volatile: true,
        };
        let mut layers = Layers {
            lower: vec![open(), open()],
            upper: Some(open()),
            work: Some(open()),
            anchors: Vec::new(),
            disk: None,
            unmapped: true,
            label: Some(LABEL.to_owned()),
        };
        let known = [("index", Some("off")), ("volatile", None), ("metacopy", Some("on"))];
        assert_eq!(settings(&plan, &layers), [&known[..], &[("context", Some(LABEL))]].concat());
        let text = one_string(&plan, &layers);
        let (directories, rest) = text.split_once(",index=").unwrap();
        assert_eq!(rest, format!("off,volatile,metacopy=on,context=\"{LABEL}\""));
        let links = |fds: &[&OwnedFd]| fds.iter().map(magic_link).collect::<Vec<_>>();
        let lower = links(&layers.lower.iter().collect::<Vec<_>>()).join(":");
        let writable = links(&[layers.upper.as_ref().unwrap(), layers.work.as_ref().unwrap()]);
        let expected = format!("lowerdir={lower},upperdir={},workdir={}", writable[0], writable[1]);
        assert_eq!(directories, expected);
        // A read-only one has a label, too; one without a label says nothing of it.
        (layers.upper, layers.work) = (None, None);
        assert_eq!(one_string(&plan, &layers), format!("lowerdir={lower},context=\"{LABEL}\""));
        layers.label = None;
        assert_eq!(one_string(&plan, &layers), format!("lowerdir={lower}"));
    }

    #[test]
    fn every_way_mounts_the_same_overlay() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: every_way_mounts_the_same_overlay: needs root");
            return;
        }
        // A thread of its own, because the namespace change is for the thread.
        std::thread::spawn(|| {
            loam_sys::new_mount_namespace().unwrap();
            rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                .unwrap();
            try_ways(None, 0);
            try_ways(Some(&IdMapping::contiguous(100_000, 65_536)), 100_000);
            try_shifted(&IdMapping::contiguous(100_000, 65_536));
        })
        .join()
        .unwrap();
    }
}
