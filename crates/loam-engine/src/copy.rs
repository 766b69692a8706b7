//! Copying files out of and into containers, and their figures.

use std::io::{Read, Write};

use loam_model::{
    ArchiveDirection, ArchiveHold, ArchiveRequest, DiskUsage, ErrorKind, Failure, Result, Stats,
};

use crate::record::{MainProcess, Record};
use crate::{Engine, store};

impl Engine {
    /// Copies a file or directory of a container out as a tar stream.
    pub fn copy_out(&self, name: &str, path: &str, sink: &mut (dyn Write + Send)) -> Result<()> {
        self.with_archive(name, path, ArchiveDirection::Out, |engine, request, hold| {
            engine.core.seams.supervisor.archive_out(request, hold, sink)
        })
    }

    /// Unpacks a tar stream into a directory of a container.
    pub fn copy_in(&self, name: &str, path: &str, source: &mut (dyn Read + Send)) -> Result<()> {
        self.with_archive(name, path, ArchiveDirection::In, |engine, request, hold| {
            engine.core.seams.supervisor.archive_in(request, hold, source)
        })
    }

    /// Reads the kernel's figures for a running container.
    pub fn stats(&self, name: &str) -> Result<Stats> {
        let (record, mut shim) = self.connect_live(name)?;
        let mut stats = self.answered(&record, shim.stats())?;
        // One that is being removed has no figures any more; that is no failure of the others. What is enforced counts, which is
        // not what the spec says when an update was killed.
        let usage = self.core.seams.images.disk_usage(&record.id).ok().flatten();
        stats.disk_limit = usage.map_or(record.spec.limits.disk, |usage| usage.limit);
        stats.disk_used = stats.disk_used.or_else(|| usage?.used);
        Ok(stats)
    }

    /// What a container has written, where something counts it. Where only its mounts know, its shim is asked.
    pub(crate) fn disk_usage(&self, record: &Record) -> Option<DiskUsage> {
        let mut usage = self.core.seams.images.disk_usage(&record.id).ok().flatten()?;
        if usage.used.is_none() && record.state.is_live() {
            usage.used = self.stats(record.id.as_str()).ok().and_then(|stats| stats.disk_used);
        }
        Some(usage)
    }

    fn with_archive(
        &self,
        name: &str,
        path: &str,
        direction: ArchiveDirection,
        body: impl FnOnce(&Engine, &ArchiveRequest, Option<ArchiveHold<'_>>) -> Result<()>,
    ) -> Result<()> {
        if path.is_empty() || path.contains('\0') {
            return Err(Failure::new(ErrorKind::Invalid, "the path in the container is empty or not valid"));
        }
        let (record, shim) = self.connect(name)?;
        // The shim outlives the main process, whose id may be another's by then; one that is gone has nothing that runs.
        let status = match shim.map(|mut shim| shim.status()).transpose() {
            Err(error) if error.kind() == ErrorKind::Unavailable => None,
            status => status?,
        };
        if status.is_some_and(|status| status.pid.is_some()) {
            return body(self, &self.archive_request(&record, path, direction, record.process)?, None);
        }
        let (lock, record) = self.lock_settled(record.id.as_str())?;
        let process = record.process.filter(|_| record.state.is_live());
        let request = self.archive_request(&record, path, direction, process)?;
        // Held until the archive process ends, so that nobody starts the container while its file system is mounted
        // there; and by that process alone, so that its end is enough.
        let descriptor = lock.hand_over()?;
        let mut lock = Some(lock);
        let mut started = |pid: i32| {
            if let Some(lock) = lock.take() {
                lock.name_archive(pid);
            }
        };
        let copied = body(self, &request, Some(ArchiveHold { descriptor, started: &mut started }));
        match copied {
            Err(error) if store::get(&self.core.database, &record.id).is_ok_and(|row| row.is_none()) => {
                let message = format!("container `{}` was removed while it was copied", record.name);
                Err(Failure::new(ErrorKind::Conflict, message).caused_by(error))
            }
            copied => copied,
        }
    }

    fn archive_request(
        &self,
        record: &Record,
        path: &str,
        direction: ArchiveDirection,
        process: Option<MainProcess>,
    ) -> Result<ArchiveRequest> {
        let mapping = record.mapping(&self.core.config);
        let mut rootfs = self.core.seams.images.rootfs(&record.id, mapping.as_ref())?;
        // A volatile overlay can't be mounted a second time (Documentation/filesystems/overlayfs.rst, "Volatile
        // mount"), and the start comes after this.
        rootfs.volatile = false;
        Ok(ArchiveRequest {
            id: record.id.clone(),
            pid: process.map(|process| process.pid),
            start_time: process.map(|process| process.start_time),
            rootfs,
            path: path.to_owned(),
            direction,
        })
    }
}
