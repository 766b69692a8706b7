//! Building Loam's programs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::shell::{print, run, workspace};

/// How the programs are built.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    /// For tests.
    Dev,
    /// For people.
    Release,
}

/// Builds all programs and gives the directory that they lie in.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--locked"]);
    let directory = match profile {
        // Everything at once, so that the tests that follow find all of it built with the same features.
        Profile::Dev => {
            cargo.args(["--workspace", "--all-targets"]);
            "debug"
        }
        Profile::Release => {
            cargo.args(["--release", "--bins", "-p", "loam", "-p", "loam-shim", "-p", "loam-cni"]);
            "release"
        }
    };
    run(&mut cargo)?;
    Ok(target_directory().join(directory))
}

/// Builds the floor that benchmarks measure against, beside the release programs.
pub(crate) fn build_floor() -> Result<()> {
    run(cargo().args(["build", "--quiet", "--locked", "--release", "-p", "xtask", "--bin", "loam-floor"]))
}

/// `./x build`.
pub(crate) fn build_release(_arguments: &[String]) -> Result<()> {
    let directory = build(Profile::Release)?;
    print(&format!("{}\n", directory.join("loam").display()))
}

/// Cargo, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.current_dir(workspace());
    cargo
}

fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}
