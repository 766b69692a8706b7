//! The mounts of a container: those that every container has, the engine's files, and those asked for.

mod bind;

use std::path::{Path, PathBuf};

use loam_model::oci_spec::runtime::{Mount, MountBuilder};
use loam_model::{
    BundleInput, ErrorKind, Failure, MountKind, MountPreparation, MountSpec, Propagation, Result, shown,
};

use crate::bundle::{Host, clean, has_host_network};
use crate::masks::may_be_covered;
use bind::Binds;

/// The size of `/dev/shm` when nobody says: 64 MiB.
const DEFAULT_SHM_SIZE: u64 = 64 << 20;
/// The group that owns terminals in every distribution.
const TTY_GROUP: u32 = 5;
/// The mode of a tmpfs that nobody gave one: everybody may make files and remove their own.
const DEFAULT_TMPFS_MODE: u32 = 0o1777;

/// What a configuration says of mounts.
#[derive(Debug, PartialEq)]
pub(crate) struct Mounts {
    /// The mounts, parents first.
    pub(crate) mounts: Vec<Mount>,
    /// What the shim makes ready.
    pub(crate) preparations: Vec<MountPreparation>,
    /// `linux.rootfsPropagation`.
    pub(crate) propagation: &'static str,
}

/// Puts the mounts together. One that is asked for replaces a default one of the same place, and one on `/dev` also those
/// below it.
pub(crate) fn resolve(input: &BundleInput<'_>, host: &Host, warnings: &mut Vec<String>) -> Result<Mounts> {
    let mut binds = Binds::new(input, host);
    let mut asked: Vec<Mount> = Vec::new();
    for file in input.files {
        asked.push(binds.engine_file(file));
    }
    for spec in &input.spec.mounts {
        let target = check_target(&spec.target)?;
        if asked.iter().any(|mount| mount.destination() == Path::new(&target)) {
            // A person's mount replaces the engine's file of the same place; two of the person's are a mistake.
            if !input.files.iter().any(|file| file.target == target) {
                let message = format!("`{target}` is the target of two mounts");
                return Err(Failure::new(ErrorKind::Invalid, message));
            }
            asked.retain(|mount| mount.destination() != Path::new(&target));
        }
        asked.push(match &spec.kind {
            MountKind::Bind { .. } => binds.requested(spec, &target, warnings)?,
            MountKind::Tmpfs { size, mode, exec } => tmpfs(spec, &target, *size, *mode, *exec)?,
        });
    }
    let taken = |place: &Path| asked.iter().any(|mount| mount.destination() == place);
    let replaced = |mount: &Mount| {
        taken(mount.destination()) || (mount.destination().starts_with("/dev") && taken(Path::new("/dev")))
    };
    let mut mounts = defaults(input);
    mounts.retain(|mount| !replaced(mount));
    mounts.extend(asked);
    mounts.sort_by_key(|mount| mount.destination().components().count());
    let preparations = binds.preparations.into_iter().filter(|one| is_used(&mounts, one)).collect();
    Ok(Mounts { mounts, preparations, propagation: propagation(&input.spec.mounts) })
}

fn is_used(mounts: &[Mount], preparation: &MountPreparation) -> bool {
    mounts.iter().any(|mount| mount.source().as_deref() == Some(preparation.prepared.as_path()))
}

/// How the container's root passes mounts on: only as far as a mount that is asked for needs it.
fn propagation(asked: &[MountSpec]) -> &'static str {
    let has = |wanted: Propagation| {
        asked
            .iter()
            .any(|spec| matches!(spec.kind, MountKind::Bind { propagation, .. } if propagation == wanted))
    };
    match (has(Propagation::Shared), has(Propagation::Slave)) {
        (true, _) => "shared",
        (false, true) => "rslave",
        (false, false) => "rprivate",
    }
}

/// Checks a place in the container.
fn check_target(target: &str) -> Result<String> {
    let refuse =
        |why: &str| Failure::new(ErrorKind::Invalid, format!("mount target `{}` {why}", shown(target)));
    if !target.starts_with('/') || target.contains('\0') {
        return Err(refuse("is not an absolute path"));
    }
    let target = clean(target);
    if target == "/" {
        return Err(refuse("is the container's root"));
    }
    if Path::new(&target).starts_with("/proc") && !may_be_covered(Path::new(&target)) {
        return Err(refuse("lies in `/proc`"));
    }
    Ok(target)
}

fn tmpfs(spec: &MountSpec, target: &str, size: Option<u64>, mode: Option<u32>, exec: bool) -> Result<Mount> {
    let mode = mode.unwrap_or(DEFAULT_TMPFS_MODE);
    if mode > 0o7777 {
        let message = format!("mode {mode:o} of the tmpfs at `{target}` is not one");
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
    if !exec {
        options.push("noexec".to_owned());
    }
    options.push(format!("mode={mode:o}"));
    options.extend(size.map(|size| format!("size={size}")));
    options.push(if spec.read_only { "ro" } else { "rw" }.to_owned());
    Ok(mount(target, "tmpfs", "tmpfs", options))
}

/// The mounts of every container, in order.
fn defaults(input: &BundleInput<'_>) -> Vec<Mount> {
    let list = |target: &str, kind: &str, source: &str, options: &str| {
        mount(target, kind, source, options.split(',').map(str::to_owned).collect())
    };
    let terminals = "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620";
    // The group of terminals may lie outside the container's ids.
    let terminals = match input.mapping.map(|mapping| mapping.to_host(TTY_GROUP)) {
        Some(None) => terminals.to_owned(),
        _ => format!("{terminals},gid={TTY_GROUP}"),
    };
    let shm_size = input.spec.limits.shm_size.unwrap_or(DEFAULT_SHM_SIZE);
    let shm = format!("nosuid,noexec,nodev,mode=1777,size={shm_size}");
    // A new sysfs shows the network namespace that it is made in, which must belong to the container's user namespace.
    let sys = if has_host_network(input) && input.mapping.is_some() {
        list("/sys", "bind", "/sys", "rbind,rprivate,nosuid,noexec,nodev,ro,rro")
    } else {
        list("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro")
    };
    vec![
        list("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        list("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        list("/dev/pts", "devpts", "devpts", &terminals),
        list("/dev/shm", "tmpfs", "shm", &shm),
        list("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        sys,
        list("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
    ]
}

/// A mount of the configuration.
fn mount(target: &str, kind: &str, source: impl Into<PathBuf>, options: Vec<String>) -> Mount {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(options)
        .build()
        .expect("every member of a mount has a default")
}
