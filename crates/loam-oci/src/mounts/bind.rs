//! Files and directories of the host in the container.

use std::path::Path;

use loam_model::oci_spec::runtime::Mount;
use loam_model::{
    BundleInput, EngineFile, ErrorKind, Failure, IdMapping, MountKind, MountOwner, MountPreparation,
    MountSpec, Propagation, Result,
};

use super::mount;
use crate::bundle::Host;

/// File systems of the kernel's own (linux/magic.h): their files belong to the kernel, and can't be shifted.
const OF_THE_KERNEL: [u32; 8] = [
    0x0000_9fa0, // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x0000_1cd1, // devpts
    0x1980_0202, // mqueue
    0x6462_6720, // debugfs
    0x7363_6673, // securityfs
];
/// File systems that no kernel can shift.
const NOT_SHIFTED: [(u32, &str); 4] =
    [(0x794c_7630, "overlay"), (0x0000_6969, "NFS"), (0x0102_1997, "9P"), (0xff53_4d42, "CIFS")];

/// Collects binds, and what the shim has to make ready for them.
#[derive(Debug)]
pub(super) struct Binds<'a> {
    input: &'a BundleInput<'a>,
    host: &'a Host,
    /// What the shim makes ready.
    pub(super) preparations: Vec<MountPreparation>,
}

impl<'a> Binds<'a> {
    pub(super) fn new(input: &'a BundleInput<'a>, host: &'a Host) -> Self {
        Self { input, host, preparations: Vec::new() }
    }

    /// Mounts a file of the engine's. It belongs to the container's root.
    pub(super) fn engine_file(&mut self, file: &EngineFile) -> Mount {
        let mapping = self.input.mapping.cloned();
        let is_init = self.input.init_program == Some(file.target.as_str());
        let owner = if is_init { MountOwner::Engine } else { MountOwner::Container };
        let source = self.prepare(&file.source, owner, false, mapping);
        let mut options = vec!["bind", "rprivate", "nosuid", "nodev"];
        if !is_init {
            options.push("noexec");
        }
        options.push(if file.read_only { "ro" } else { "rw" });
        mount(&file.target, "bind", source, options.into_iter().map(str::to_owned).collect())
    }

    /// Mounts what is asked for.
    pub(super) fn requested(
        &mut self,
        spec: &MountSpec,
        target: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Mount> {
        let MountKind::Bind { source, recursive, propagation, idmap, exec, dev, suid, .. } = &spec.kind
        else {
            unreachable!("the caller looked at the kind");
        };
        check_source(source)?;
        if *propagation == Propagation::Shared && self.input.mapping.is_some() {
            let message = format!(
                "mount propagation of `{}` can't be shared: the container has its own ids",
                source.display()
            );
            return Err(Failure::new(ErrorKind::Invalid, message)
                .hint("mounts pass from the container to the host only without a user namespace"));
        }
        let mapping = if *idmap { self.shift(source, warnings)? } else { None };
        let recursive = *recursive && !self.leaves_out_mounts_below(spec, source, warnings);
        let from = self.prepare(source, MountOwner::Host, recursive, mapping);
        let r = if recursive { "r" } else { "" };
        let propagation = match propagation {
            Propagation::Private => "private",
            Propagation::Slave => "slave",
            Propagation::Shared => "shared",
        };
        let mut options = vec![format!("{r}bind"), format!("{r}{propagation}")];
        for (allowed, option) in [(suid, "nosuid"), (dev, "nodev"), (exec, "noexec")] {
            if !allowed {
                options.push(option.to_owned());
                if recursive {
                    // The mounts below, too.
                    options.push(format!("r{option}"));
                }
            }
        }
        options.push(if spec.read_only { "ro" } else { "rw" }.to_owned());
        if spec.read_only && recursive {
            // The mounts below, too, or they could be written to.
            options.push("rro".to_owned());
        }
        Ok(mount(target, "bind", from, options))
    }

    /// Whether mounts below a source can't come along: mount_setattr(2) alone restricts them as it.
    fn leaves_out_mounts_below(&self, spec: &MountSpec, source: &Path, warnings: &mut Vec<String>) -> bool {
        let MountKind::Bind { exec: true, dev: true, suid: true, .. } = &spec.kind else {
            return self.leaves_out(source, warnings);
        };
        spec.read_only && self.leaves_out(source, warnings)
    }

    fn leaves_out(&self, source: &Path, warnings: &mut Vec<String>) -> bool {
        let leaves_out = self.host.lacks_mount_calls;
        if leaves_out && has_mounts_below(source) {
            warnings.push(format!(
                "what is mounted below `{}` is not in the container: this kernel or a sandbox around Loam gives no way to \
                 restrict it likewise",
                source.display()
            ));
        }
        leaves_out
    }

    /// The path that the configuration names: of a mount that the shim makes ready. It is needed in a user namespace,
    /// where a runtime may not reach the file itself, and for a path on which a container may put links that nobody
    /// follows.
    fn prepare(
        &mut self,
        source: &Path,
        owner: MountOwner,
        recursive: bool,
        mapping: Option<IdMapping>,
    ) -> std::path::PathBuf {
        let follow_links = owner != MountOwner::Host;
        if self.input.mapping.is_none() && follow_links {
            return source.to_owned();
        }
        let prepared = self.input.directory.join("mounts").join(self.preparations.len().to_string());
        let source = source.to_owned();
        let preparation =
            MountPreparation { source, prepared: prepared.clone(), owner, follow_links, recursive, mapping };
        self.preparations.push(preparation);
        prepared
    }

    /// The ids to shift a bind by.
    fn shift(&self, source: &Path, warnings: &mut Vec<String>) -> Result<Option<IdMapping>> {
        let Some(mapping) = self.input.mapping else { return Ok(None) };
        let file_system = rustix::fs::statfs(source).map_err(|error| unreadable(source, error.into()))?;
        let magic = u32::try_from(file_system.f_type).unwrap_or(0);
        if OF_THE_KERNEL.contains(&magic) {
            return Ok(None);
        }
        if let Some((_, name)) = NOT_SHIFTED.iter().find(|(number, _)| *number == magic) {
            warnings.push(format!(
                "files in `{}` appear as nobody's in the container: {name} can't shift ids",
                source.display()
            ));
            return Ok(None);
        }
        Ok(Some(mapping.clone()))
    }
}

fn check_source(source: &Path) -> Result<()> {
    if !source.is_absolute() {
        let message = format!("mount source `{}` is not an absolute path", source.display());
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    std::fs::metadata(source).map(drop).map_err(|error| unreadable(source, error))
}

/// Whether something is mounted below a directory (proc_pid_mountinfo(5)). What can't be looked at counts as a mount.
fn has_mounts_below(source: &Path) -> bool {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let real = rustix::fs::open(source, flags, rustix::fs::Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(|opened| std::fs::read_link(loam_sys::magic_link(&opened)));
    let mounts = std::fs::read("/proc/thread-self/mountinfo");
    let (Ok(real), Ok(mounts)) = (real, mounts) else { return true };
    // The kernel writes what would be no word as a backslash and three octal digits.
    let escape = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        byte => vec![*byte],
    };
    let mut prefix: Vec<u8> = real.as_os_str().as_encoded_bytes().iter().flat_map(escape).collect();
    if prefix != b"/" {
        prefix.push(b'/');
    }
    let place = |line: &'_ [u8]| line.split(|byte| *byte == b' ').nth(4).map(<[u8]>::to_vec);
    let places = mounts.split(|byte| *byte == b'\n').filter_map(place);
    places.into_iter().any(|place| place.len() > prefix.len() && place.starts_with(&prefix))
}

fn unreadable(source: &Path, error: std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::NotFound {
        let message = format!("mount source `{}` does not exist", source.display());
        return Failure::new(ErrorKind::NotFound, message);
    }
    Failure::new(ErrorKind::Invalid, format!("mount source `{}` can't be looked at", source.display()))
        .caused_by(error)
}
