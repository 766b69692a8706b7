//! The engine's side: launching shims, finding them again, asking them.

mod archives;
mod connection;
mod launch;
mod program;

use std::io::Read;
use std::path::PathBuf;

use loam_model::{
    ArchiveHold, ArchiveRequest, ContainerId, ErrorKind, ExitRecord, Failure, Result, Shim, ShimLaunch,
    Supervisor,
};
use rustix::io::Errno;

use crate::protocol::EXIT_RECORD_NAME;
use crate::socket::connect_in;
use connection::ShimConnection;
use launch::Children;
use program::Program;

/// The largest exit record that is read.
const MAX_RECORD: u64 = 64 * 1024;

/// Launches shims, one process for each container, and finds them by their sockets in the run directory.
#[derive(Debug)]
pub struct ShimSupervisor {
    program: Program,
    run: PathBuf,
    children: Children,
}

impl ShimSupervisor {
    /// Uses this program as the shim, and `run` as the engine's run directory (the containers' are in
    /// `containers/ID` there).
    pub fn new(shim_program: PathBuf, run: PathBuf) -> Self {
        Self { program: Program::new(shim_program), run, children: Children::default() }
    }

    fn directory(&self, id: &ContainerId) -> PathBuf {
        self.run.join("containers").join(id.as_str())
    }
}

impl Supervisor for ShimSupervisor {
    fn launch(&self, launch: &ShimLaunch) -> Result<Box<dyn Shim>> {
        let socket = launch::launch(&self.program, &self.children, launch)?;
        Ok(Box::new(ShimConnection::new(socket, launch.id.clone())))
    }

    fn connect(&self, id: &ContainerId) -> Result<Option<Box<dyn Shim>>> {
        match connect_in(&self.directory(id)) {
            Ok(socket) => Ok(Some(Box::new(ShimConnection::new(socket, id.clone())))),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(errno) => {
                let message = format!("the shim of container `{id}` can't be reached");
                Err(Failure::new(ErrorKind::Unavailable, message).caused_by(errno))
            }
        }
    }

    fn exit_record(&self, id: &ContainerId) -> Result<Option<ExitRecord>> {
        let path = self.directory(id).join(EXIT_RECORD_NAME);
        let failure = |cause: Box<dyn std::error::Error + Send + Sync>| {
            Failure::new(ErrorKind::Internal, format!("`{}` can't be read", path.display())).caused_by(cause)
        };
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failure(error.into())),
        };
        let mut text = Vec::new();
        file.take(MAX_RECORD).read_to_end(&mut text).map_err(|error| failure(error.into()))?;
        serde_json::from_slice(&text).map(Some).map_err(|error| failure(error.into()))
    }

    fn archive_out(
        &self,
        request: &ArchiveRequest,
        hold: Option<ArchiveHold<'_>>,
        sink: &mut (dyn std::io::Write + Send),
    ) -> Result<()> {
        archives::copy_out(&self.program, request, hold, sink)
    }

    fn archive_in(
        &self,
        request: &ArchiveRequest,
        hold: Option<ArchiveHold<'_>>,
        source: &mut (dyn Read + Send),
    ) -> Result<()> {
        archives::copy_in(&self.program, request, hold, source)
    }
}
