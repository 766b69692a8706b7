//! The OCI runtime inside the shim.
//!
//! What comes in: a configuration of the runtime specification and a mounted root file system; what goes out: the
//! container's processes, as children of the shim. No program is executed between the shim and the user's: the shim,
//! which has one thread, is cloned straight into the new namespaces, and its copy turns itself into the container.
//!
//! While the new process mounts and pivots, the shim moves it into its cgroup, which on version 1 is a wait for the
//! kernel and most of a creation's time. The order of everything else:
//!
//! 1. shim: read and check the configuration; open all mount sources, make `/dev`, compile the seccomp filter
//! 2. shim: clone into the namespaces; write id mappings; tell the caller; make the cgroup; move the process into it
//! 3. process: session, keyring, loopback; mounts; terminal; names, sysctls; working directory; hooks; pivot; read-only
//!    and masked paths; cgroup namespace and its mounts
//! 4. process: labels, no new privileges, capabilities, user, limits; look the program up; ready
//! 5. shim, at the start: one word; process: hooks, filter, execve
//!
//! Whatever fails, in either, comes back from [`create`](Runtime::create) as one failure, with the process, its
//! namespaces, its mounts and its cgroup gone.

mod cgroup_entry;
mod cgroup_work;
mod channel;
mod child;
mod container;
mod create;
mod device_plan;
mod exec_process;
mod exec_wait;
mod execute;
mod explain;
mod haste;
mod hook;
mod identity;
mod init_plan;
mod init_process;
mod mount_plan;
mod mount_work;
mod namespaces;
mod options;
mod paths;
mod process_plan;
mod root;
mod session;
mod spawn_init;
mod step;
mod streams;
mod sysctl;
mod terminal;

use std::path::PathBuf;

use loam_model::oci_spec::runtime::LinuxResources;
use loam_model::{
    BegunProcess, CreateRequest, CreatedProcess, ErrorKind, ExecRequest, Failure, Result, Runtime, Stats,
};

use container::Container;
use step::Fault;

pub use haste::hasten_cgroup_joins;
pub(crate) use init_plan::lacks_mount_calls;
pub use step::Step;

/// The runtime of one container.
#[derive(Debug)]
pub struct EmbeddedRuntime {
    seccomp_cache: PathBuf,
    container: Option<Container>,
    fault: Fault,
}

impl EmbeddedRuntime {
    /// Makes the runtime of a container that does not exist yet. Compiled seccomp filters are kept in a directory.
    pub fn new(seccomp_cache: PathBuf) -> Self {
        Self { seccomp_cache, container: None, fault: Fault::default() }
    }

    /// Lets a step fail from now on. For tests of what is left behind.
    #[doc(hidden)]
    pub fn fail_at(&mut self, step: Option<Step>) {
        self.fault = Fault(step);
    }

    fn container(&mut self) -> Result<&mut Container> {
        self.container
            .as_mut()
            .ok_or_else(|| Failure::new(ErrorKind::Conflict, "the container was not created"))
    }
}

impl Runtime for EmbeddedRuntime {
    fn create(
        &mut self,
        request: CreateRequest<'_>,
        namespaces_ready: &mut dyn FnMut(i32),
    ) -> Result<CreatedProcess> {
        if self.container.is_some() {
            return Err(Failure::new(ErrorKind::Conflict, "the container was created before"));
        }
        init_plan::check_supported(request.spec)?;
        let (container, process) =
            create::create(self.fault, &self.seccomp_cache, request, namespaces_ready)?;
        self.container = Some(container);
        Ok(process)
    }

    fn start(&mut self) -> Result<()> {
        self.container()?.start()
    }

    fn exec(&mut self, request: ExecRequest<'_>) -> Result<CreatedProcess> {
        let fault = self.fault;
        exec_process::begin(fault, self.container()?, request)?.finish()
    }

    fn begin_exec(&mut self, request: ExecRequest<'_>) -> Result<BegunProcess> {
        let fault = self.fault;
        let starting = exec_process::begin(fault, self.container()?, request)?;
        Ok(BegunProcess::Starts(Box::new(starting)))
    }

    fn signal(&mut self, signal: i32, all: bool) -> Result<()> {
        self.container()?.signal(signal, all)
    }

    fn pause(&mut self) -> Result<()> {
        let container = self.container()?;
        container.cgroup.freeze()?;
        container.paused = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<()> {
        let container = self.container()?;
        container.cgroup.thaw()?;
        container.paused = false;
        Ok(())
    }

    fn update(&mut self, resources: &LinuxResources) -> Result<()> {
        self.container()?.cgroup.update(resources)
    }

    fn stats(&mut self) -> Result<Stats> {
        self.container()?.stats()
    }

    fn delete(&mut self) -> Result<()> {
        let Some(mut container) = self.container.take() else { return Ok(()) };
        let deleted = container.delete();
        if deleted.is_err() {
            self.container = Some(container);
        }
        deleted
    }
}
