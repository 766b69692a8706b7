//! Runs a bundle with the embedded runtime, as `crun run` does: `run-bundle DIRECTORY [TIMES]`.
//!
//! For measuring: with TIMES the container is created, started, awaited and deleted so often in one process, and the
//! time of each phase is printed.

#![expect(clippy::print_stdout, reason = "a program that measures prints what it measured")]

use std::error::Error;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use loam_model::oci_spec::runtime::Spec;
use loam_model::{ContainerId, CreateRequest, ProcessStdio, Runtime};
use loam_oci::EmbeddedRuntime;
use rustix::process::{WaitId, WaitIdOptions, waitid};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: run-bundle DIRECTORY [TIMES]")?);
    let times: Option<u32> = arguments.next().map(|times| times.parse()).transpose()?;
    let haste = loam_sys::spawn(loam_sys::CloneFlags::empty(), None, || {
        loam_oci::hasten_cgroup_joins();
        0
    })?;
    let spec: Spec = serde_json::from_slice(&std::fs::read(directory.join("config.json"))?)?;
    loam_sys::new_mount_namespace()?;
    let mut code = 0;
    for _ in 0..times.unwrap_or(1) {
        let begin = Instant::now();
        let mut runtime = EmbeddedRuntime::new(std::env::temp_dir().join("run-bundle"));
        let id: ContainerId = format!("{:064x}", std::process::id()).parse()?;

        let [stdin, stdout, stderr] = [
            rustix::io::dup(rustix::stdio::stdin())?,
            rustix::io::dup(rustix::stdio::stdout())?,
            rustix::io::dup(rustix::stdio::stderr())?,
        ];
        let stdio = ProcessStdio::Descriptors { stdin, stdout, stderr };
        let request = CreateRequest { id: &id, bundle: &directory, spec: &spec, stdio };
        let process = runtime.create(request, &mut |_| {}).map_err(|failure| failure.chain())?;
        let created = Instant::now();
        runtime.start().map_err(|failure| failure.chain())?;
        let started = Instant::now();
        let status = waitid(WaitId::PidFd(process.pidfd.as_fd()), WaitIdOptions::EXITED)?;
        code = status.and_then(|status| status.exit_status()).unwrap_or(255);
        let ended = Instant::now();
        runtime.delete().map_err(|failure| failure.chain())?;
        if times.is_some() {
            println!(
                "create {:?} start {:?} end {:?} delete {:?}",
                created - begin,
                started - created,
                ended - started,
                ended.elapsed()
            );
        }
    }
    waitid(WaitId::PidFd(haste.pidfd.as_fd()), WaitIdOptions::EXITED)?;
    Ok(ExitCode::from(u8::try_from(code)?))
}
