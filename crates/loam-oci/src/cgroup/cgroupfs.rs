//! The driver `cgroupfs`: the directories of a cgroup, made by ourselves and prepared until they can take processes.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use loam_model::CgroupPlace;

use super::hierarchy::{Hierarchy, Layout, v2_controllers};
use super::{Cgroup, CgroupDirectory, CgroupError, CgroupVersion, below, is_refusal, read, write};

/// The controllers that a container's version 2 cgroup gets, for its limits and its figures.
const V2_CONTROLLERS: [&str; 7] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"];
/// How often a parent that another container's removal takes away is made again.
const PARENT_ATTEMPTS: u32 = 10;

/// Makes the directories in every hierarchy. A failure leaves nothing behind.
pub(super) fn make(place: &CgroupPlace, layout: &Layout) -> Result<Cgroup, CgroupError> {
    let mut cgroup = Cgroup { path: place.path(), unit: None, kills_before: None, directories: Vec::new() };
    for hierarchy in &layout.hierarchies {
        // A hierarchy that only tracks is nice to have, unless it is all there is.
        let optional = hierarchy.is_tracking() && layout.hierarchies.len() > 1;
        if optional && hierarchy.read_only {
            continue;
        }
        let directory = below(&hierarchy.mount, &cgroup.path);
        match make_in(hierarchy, &directory) {
            Ok(()) => {
                cgroup.directories.push(CgroupDirectory { hierarchy: hierarchy.clone(), path: directory });
            }
            Err(CgroupError::Make { source, .. }) if optional && is_refusal(&source) => {}
            Err(error) => {
                cgroup.remove_now();
                return Err(error);
            }
        }
    }
    Ok(cgroup)
}

fn make_in(hierarchy: &Hierarchy, directory: &Path) -> Result<(), CgroupError> {
    let mut left = PARENT_ATTEMPTS;
    let made = loop {
        match fs::create_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound && left > 0 => {
                left -= 1;
                make_parents(hierarchy, directory)?;
            }
            other => break other,
        }
    };
    let path = directory.to_owned();
    match made {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => take_over(directory)?,
        Err(source) => return Err(CgroupError::Make { path, source }),
    }
    let prepared = prepare(hierarchy, directory);
    if prepared.is_err() {
        let _ignored = fs::remove_dir(directory);
    }
    prepared
}

/// Makes what is missing between the mount and the directory.
fn make_parents(hierarchy: &Hierarchy, directory: &Path) -> Result<(), CgroupError> {
    let below_mount =
        |ancestor: &&Path| ancestor.starts_with(&hierarchy.mount) && *ancestor != hierarchy.mount;
    let mut missing: Vec<&Path> = directory.ancestors().skip(1).take_while(below_mount).collect();
    missing.reverse();
    for parent in missing {
        match fs::create_dir(parent) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // Somebody took the parent of this one away again; the caller starts over.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(CgroupError::Make { path: parent.to_owned(), source }),
        }
    }
    Ok(())
}

/// Makes a left-over cgroup that nothing runs in new, without its old limits.
fn take_over(directory: &Path) -> Result<(), CgroupError> {
    let path = directory.to_owned();
    match fs::remove_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) if error.kind() == ErrorKind::ResourceBusy => return Err(CgroupError::Occupied { path }),
        Err(source) => return Err(CgroupError::Remove { path, source }),
    }
    fs::create_dir(directory).map_err(|source| CgroupError::Make { path, source })
}

/// What a new directory needs before it can take processes. Its parents are prepared here too, once it holds them in
/// place: another creation may have made them a moment ago, or been killed before it prepared them.
fn prepare(hierarchy: &Hierarchy, directory: &Path) -> Result<(), CgroupError> {
    if hierarchy.version == CgroupVersion::V2 {
        let below_mount = |ancestor: &&Path| ancestor.starts_with(&hierarchy.mount);
        let mut parents: Vec<&Path> = directory.ancestors().skip(1).take_while(below_mount).collect();
        parents.reverse();
        return parents.into_iter().try_for_each(enable_controllers);
    }
    if hierarchy.controllers.iter().any(|name| name == "cpuset") {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            inherit(&hierarchy.mount, directory, file)?;
        }
    }
    Ok(())
}

/// Gives a cpuset what its parent has where it has nothing, and returns what it has. Version 1 starts one empty, unless
/// the parent has `cgroup.clone_children` set, and an empty one takes no process.
fn inherit(mount: &Path, directory: &Path, file: &str) -> Result<String, CgroupError> {
    let own = read(&directory.join(file))?.trim().to_owned();
    if !own.is_empty() || directory == mount {
        return Ok(own);
    }
    let inherited = inherit(mount, directory.parent().expect("a cgroup lies below a mount"), file)?;
    write(&directory.join(file), &inherited)?;
    Ok(inherited)
}

/// Hands the controllers that a cgroup has down to its children. One that can't be handed down is missed only when a
/// limit needs it.
fn enable_controllers(parent: &Path) -> Result<(), CgroupError> {
    let available = v2_controllers(parent);
    if available.is_empty() {
        return Ok(());
    }
    let file = parent.join("cgroup.subtree_control");
    let enabled = read(&file)?;
    for name in V2_CONTROLLERS {
        let wanted = available.iter().any(|other| other == name);
        if wanted && !enabled.split_whitespace().any(|other| other == name) {
            match write(&file, &format!("+{name}")) {
                Err(CgroupError::Write { source, .. })
                    if is_refusal(&source) || source.kind() == ErrorKind::ResourceBusy => {}
                other => other?,
            }
        }
    }
    Ok(())
}
