//! Compiled profiles, kept for the next start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use loam_model::Result;
use loam_model::oci_spec::runtime::LinuxSeccomp;
use sha2::{Digest, Sha256};

use super::{Filter, SeccompError, compile};

/// Changes whenever the same profile makes another program for another reason than the library's version.
const FORMAT: &str = "loam-1";
/// Bytes of an instruction.
const INSTRUCTION: u64 = 8;
/// The most instructions that the kernel takes (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: u64 = 4096;

/// Compiles a profile, or takes the program that an earlier call left in `directory`/seccomp.
///
/// A cache that can't be used, or written, costs only time.
pub fn compile_cached(profile: &LinuxSeccomp, directory: &Path) -> Result<Filter> {
    let directory = directory.join("seccomp");
    let file = directory.join(format!("{}.bpf", key(profile)));
    if let Some(program) = kept(&file) {
        return Ok(Filter { program, flags: compile::flags(profile) });
    }
    let filter = compile::filter(profile)?;
    if let Err(source) = keep(&directory, &file, &filter.program) {
        let error = SeccompError::Cache { path: file, source };
        tracing::warn!(error = &error as &dyn std::error::Error, "a compiled seccomp profile is not kept");
    }
    Ok(filter)
}

/// The hash of everything that a program depends on.
fn key(profile: &LinuxSeccomp) -> String {
    let version = libseccomp::ScmpVersion::current().map(|v| (v.major, v.minor, v.micro)).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(format!("{FORMAT} {version:?} {}\n", std::env::consts::ARCH));
    hash.update(serde_json::to_vec(profile).expect("a profile is plain data"));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a kept program, unless it is not ours or can't be one.
fn kept(path: &Path) -> Option<Vec<u8>> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path).ok()?;
    let status = file.metadata().ok()?;
    let ours =
        status.is_file() && status.uid() == rustix::process::geteuid().as_raw() && status.mode() & 0o022 == 0;
    let size = status.len();
    if !ours || size == 0 || size % INSTRUCTION != 0 || size > INSTRUCTION * MAX_INSTRUCTIONS {
        return None;
    }
    let mut program = Vec::new();
    file.take(size).read_to_end(&mut program).ok()?;
    (program.len() as u64 == size).then_some(program)
}

fn keep(directory: &Path, path: &Path, program: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let beside: PathBuf = directory.join(format!(".{}.{}", std::process::id(), FORMAT));
    // One of the same name is what a process with our id left when it was killed.
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file: File| file.write_all(program))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _nothing_can_be_done = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::seccomp::default_profile;

    #[test]
    fn a_kept_program_is_taken_and_a_strange_one_is_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let profile = default_profile(&Default::default());
        let filter = compile_cached(&profile, directory.path()).expect("compiled");
        let file = directory.path().join("seccomp").join(format!("{}.bpf", key(&profile)));
        assert_eq!(fs::read(&file).expect("kept"), filter.program);
        assert_eq!(compile_cached(&profile, directory.path()).expect("kept"), filter);

        let odd = &filter.program[..filter.program.len() - 1];
        fs::write(&file, odd).expect("ours");
        assert_eq!(compile_cached(&profile, directory.path()).expect("made anew"), filter);
        assert_eq!(fs::read(&file).expect("kept anew"), filter.program);

        fs::write(&file, &odd[..8]).expect("ours");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("ours");
        assert_eq!(compile_cached(&profile, directory.path()).expect("not trusted"), filter);
        let left = fs::read_dir(directory.path().join("seccomp")).expect("readable").count();
        assert_eq!(left, 1, "nothing is left beside");
    }

    #[test]
    fn profiles_have_different_keys() {
        let every = crate::capabilities::from_mask(u64::MAX);
        assert_ne!(key(&default_profile(&every)), key(&default_profile(&Default::default())));
    }
}
