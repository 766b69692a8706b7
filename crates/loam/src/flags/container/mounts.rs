//! `--volume`, `--mount` and `--tmpfs`.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;
use loam_model::{ErrorKind, Failure, MountSpec, shown};

use crate::flags::{Parsed, mount};

/// The flags that mount something.
#[derive(Args, Clone, Debug)]
pub(super) struct MountFlags {
    /// Mount a file or directory of the host; options: ro, rslave, rshared, noidmap, noexec, dev, suid. Files that root
    /// makes there in the container are root's on the host, too, set-user-id bit included: mount only directories that
    /// other users of the host can't reach
    #[arg(short, long = "volume", value_name = "SOURCE:TARGET[:OPTIONS]")]
    volumes: Vec<String>,
    /// Mount something: type=bind,src=PATH,dst=PATH[,…] or type=tmpfs,dst=PATH[,…]
    #[arg(long = "mount", value_name = "OPTIONS")]
    mounts: Vec<String>,
    /// Mount a file system in memory; options: size, mode, exec, ro
    #[arg(long, value_name = "TARGET[:OPTIONS]", value_parser = mount::tmpfs)]
    tmpfs: Vec<MountSpec>,
}

impl MountFlags {
    /// The mounts, in the order volumes, mounts, file systems in memory.
    pub(super) fn collect(&self) -> Result<Vec<MountSpec>, Failure> {
        let relative = |text: &String| !text.starts_with('/');
        // Only a relative source needs it.
        let here = match self.volumes.iter().any(relative) || !self.mounts.is_empty() {
            true => env::current_dir().map_err(|error| {
                Failure::new(ErrorKind::Internal, "the working directory is not known").caused_by(error)
            })?,
            false => PathBuf::from("/"),
        };
        let refuse = |flag: &str, text: &str, sentence: String| {
            super::invalid(&format!("`{flag} {}` can't be used: {sentence}", shown(text)))
        };
        let parse = |flag, texts: &[String], parser: fn(&str, &Path) -> Parsed<MountSpec>| {
            let one = |text: &String| parser(text, &here).map_err(|sentence| refuse(flag, text, sentence));
            texts.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let mut mounts = parse("--volume", &self.volumes, mount::volume)?;
        mounts.extend(parse("--mount", &self.mounts, mount::mount)?);
        mounts.extend(self.tmpfs.iter().cloned());
        Ok(mounts)
    }
}
