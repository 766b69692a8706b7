//! Mounting and creating the container, and the mount namespace that both happen in.

use std::os::fd::OwnedFd;
use std::path::Path;

use loam_model::{CreateRequest, Failure, Result, RuntimeChoice, ShimLaunch};
use loam_rootfs::{IdMaps, kind_of, make_standard_directories, make_volume_directories, mount_root};
use loam_sys::ChildSignal;
use rustix::fs::Mode;

use super::{Container, has_memory_limit, with_runtime};
use crate::log::Log;
use crate::rootfs::{self, MountNamespace};
use crate::serve::config;
use crate::serve::process::{Process, make_streams};

impl Container {
    /// Mounts and creates; `announce` gets the process id as soon as the namespaces exist. Undoes all on failure.
    pub(in crate::serve) fn create(
        &mut self,
        launch: &ShimLaunch,
        children: &ChildSignal,
        announce: &mut dyn FnMut(i32),
    ) -> Result<()> {
        let result = self.try_create(launch, children, announce);
        if result.is_err() {
            self.leave_mounts()?;
        }
        loam_sys::release_free_memory();
        result
    }

    fn try_create(
        &mut self,
        launch: &ShimLaunch,
        children: &ChildSignal,
        announce: &mut dyn FnMut(i32),
    ) -> Result<()> {
        self.log = launch.log.as_deref().map(Log::open).transpose()?;
        let mut spec = config::read(&launch.directory)?;
        let label = spec.linux().as_ref().and_then(|linux| linux.mount_label().clone());
        let root = self.mount(launch, label.as_deref())?;
        if let Some(process) = spec.process_mut() {
            (self.finish_process)(&root, launch.user.as_deref(), process)?;
            self.files.hand_down(process);
        }
        drop(root);
        if launch.runtime != RuntimeChoice::Embedded {
            // Another program reads the file.
            config::write(&launch.directory, &spec)?;
        }
        self.has_memory_limit =
            has_memory_limit(spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()));
        let (stdio, ends) = make_streams(launch.terminal, launch.open_stdin)?;
        let request = CreateRequest { id: &launch.id, bundle: &launch.directory, spec: &spec, stdio };
        let created = with_runtime((&mut self.runtime, &self.files), children, |runtime| {
            runtime.create(request, announce)
        })?;
        self.main = Some(Process::new(created, ends, false)?);
        Ok(())
    }

    fn mount(&mut self, launch: &ShimLaunch, label: Option<&str>) -> Result<OwnedFd> {
        self.mounts = Some(MountNamespace::enter(&launch.directory)?);
        let mut maps = IdMaps::default();
        let target = launch.directory.join("rootfs");
        make_directory(&target)?;
        let root = mount_root(&launch.rootfs, label, &mut maps, &target)?;
        if launch.rootfs.upper.is_some() {
            make_standard_directories(&root, launch.rootfs.mapping.as_ref())?;
            make_volume_directories(&root, launch.rootfs.mapping.as_ref(), &launch.volumes)?;
        }
        for preparation in &launch.preparations {
            rootfs::prepare(preparation, &launch.directory, &mut maps)?;
        }
        Ok(root)
    }

    /// Leaves the mount namespace, with which all mounts vanish.
    pub(in crate::serve) fn leave_mounts(&mut self) -> Result<()> {
        self.mounts.take().map_or(Ok(()), |mounts| mounts.leave())
    }

    /// Does something in the host's mount namespace.
    pub(in crate::serve) fn on_host<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        match &self.mounts {
            Some(mounts) => mounts.on_host(work),
            None => Ok(work()),
        }
    }
}

fn make_directory(path: &Path) -> Result<()> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o711)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => {
            let message = format!("`{}` can't be made", path.display());
            Err(Failure::new(kind_of(errno), message).caused_by(errno))
        }
    }
}
