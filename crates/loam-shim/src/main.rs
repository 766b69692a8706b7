//! The `loam-shim` program: the library's shim with the OCI runtimes wired in.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use loam_model::oci_spec::runtime::Process;
use loam_model::{Result, Runtime, RuntimeChoice, ShimLaunch};
use loam_oci::{EmbeddedRuntime, ExecRuntime};
use loam_shim::Equipment;
use loam_sys::features;

fn main() -> ExitCode {
    loam_sys::end_at_panic();
    // `loam` has checked the names.
    let without = std::env::var(features::VARIABLE).unwrap_or_default();
    if features::turn_off(&without).is_err() || loam_sys::keep_ended_children().is_err() {
        return ExitCode::FAILURE;
    }
    let role = std::env::args_os().nth(1);
    match role.as_ref().map(|role| role.as_encoded_bytes()) {
        None => loam_shim::serve(equip),
        Some(b"archive-out") => loam_shim::archive_out(),
        Some(b"archive-in") => loam_shim::archive_in(),
        Some(_) => ExitCode::FAILURE,
    }
}

fn equip(launch: &ShimLaunch) -> Equipment {
    let runtime: Box<dyn Runtime> = match &launch.runtime {
        RuntimeChoice::Embedded => Box::new(EmbeddedRuntime::new(seccomp_cache(launch))),
        RuntimeChoice::Program(program) => {
            let search_path = std::env::var("PATH").ok();
            let directory = launch.directory.clone();
            Box::new(ExecRuntime::new(program.clone(), search_path, launch.id.clone(), directory))
        }
    };
    Equipment { runtime, finish_process }
}

/// Compiled seccomp filters are kept in the run directory, two levels above the container's (`RUN/containers/ID`).
fn seccomp_cache(launch: &ShimLaunch) -> PathBuf {
    launch.directory.ancestors().nth(2).unwrap_or(&launch.directory).to_owned()
}

fn finish_process(root: &OwnedFd, user: Option<&str>, process: &mut Process) -> Result<()> {
    let user = loam_oci::resolve_user(root.as_fd(), user)?;
    loam_oci::finish_process(process, user);
    Ok(())
}
