//! The first steps of the process.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use loam_model::{ErrorKind, Failure, Result, ShimLaunch};
use loam_sys::ChildSignal;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;

use super::container::Container;
use super::exit::OnExit;
use super::life::Life;
use super::open_files::OpenFiles;
use super::{Equipment, Shim};
use crate::protocol::{self, Reply, Request};
use crate::relay::Buffer;
use crate::socket::Listener;

/// Runs the shim: the whole of its program. Standard input is the connection of the one who launched it.
pub fn serve(equip: impl FnOnce(&ShimLaunch) -> Equipment) -> ExitCode {
    let Ok(socket) = settle_in() else { return ExitCode::FAILURE };
    let Ok(files) = OpenFiles::raise() else { return ExitCode::FAILURE };
    let launch = match protocol::receive::<Request>(socket.as_fd()) {
        Ok((Request::Launch(launch), _)) => *launch,
        _ => return ExitCode::FAILURE,
    };
    match Shim::new(launch, files, equip) {
        Ok(mut shim) => {
            let sent = protocol::send(socket.as_fd(), &Reply::Done, &[]);
            if sent.is_err() || shim.adopt(socket).is_err() {
                return ExitCode::FAILURE;
            }
            shim.run();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let reply = Reply::from_result(Err(failure));
            match protocol::send(socket.as_fd(), &reply, &[]) {
                Ok(()) | Err(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// Makes the process independent of the one that launched it, and takes the connection from standard input.
pub(crate) fn settle_in() -> std::result::Result<OwnedFd, Errno> {
    loam_sys::close_from(3).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    // Nothing of the shim, which may be near a container's processes, is theirs to look at (CVE-2019-5736).
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let name = CString::new("loam-shim").map_err(|_| Errno::INVAL)?;
    rustix::thread::set_name(&name)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    // A session of its own: no terminal's signals reach it. It fails only for who leads one already.
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(socket)
}

impl Shim {
    fn new(
        launch: ShimLaunch,
        files: OpenFiles,
        equip: impl FnOnce(&ShimLaunch) -> Equipment,
    ) -> Result<Self> {
        if !launch.directory.is_absolute() {
            let message = format!("`{}` is not an absolute path", launch.directory.display());
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        let internal = |message: &'static str| {
            move |error: std::io::Error| Failure::new(ErrorKind::Internal, message).caused_by(error)
        };
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|errno| internal("the shim can't adopt processes")(errno.into()))?;
        let children = ChildSignal::new().map_err(internal("the shim can't hear of ended children"))?;
        let listener = Listener::new(&launch.directory)?;
        let equipment = equip(&launch);
        Ok(Self {
            on_exit: OnExit::new(launch.on_exit.clone()),
            launch,
            children,
            listener,
            deaf_until: None,
            connections: Vec::new(),
            container: Container::new(equipment, files),
            files,
            buffer: Buffer::default(),
            life: Life::default(),
            finished: false,
        })
    }

    /// Takes the launcher's connection as the first.
    fn adopt(&mut self, socket: OwnedFd) -> std::result::Result<(), Errno> {
        let flags = rustix::fs::fcntl_getfl(&socket)?;
        rustix::fs::fcntl_setfl(&socket, flags | OFlags::NONBLOCK)?;
        self.add_connection(socket);
        Ok(())
    }
}
