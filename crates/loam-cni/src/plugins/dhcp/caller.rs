//! The plugin's side: asks the keeper of leases, and starts one when nobody listens.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command as Program;
use std::time::Duration;

use rustix::io::Errno;

use super::keeper::records_directory;
use super::wire::{Answer, Call, Incoming, MAX_LINE, Progress, Request, VERSION, send_line};
use crate::delegate::{self, Limits};
use crate::protocol::{CniError, LeaseKeeping, code};

/// How long the start of a keeper may take, and its answer beside the time for the server.
const START: Duration = Duration::from_secs(10);
/// What the process that starts a keeper may take.
const LIMITS: Limits = Limits { time: START, output: 4096 };
/// How often a keeper that ends just now is asked again.
const ATTEMPTS: u32 = 5;

/// When a keeper is started that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Always.
    Always,
    /// When an earlier one has left leases.
    ForLeases,
    /// Never.
    Never,
}

/// Asks the keeper at a socket; `None` when there is none, and none was started.
pub(super) fn ask(
    socket: &Path,
    leases: &LeaseKeeping,
    call: Call,
    namespace: Option<BorrowedFd<'_>>,
    start: Start,
) -> Result<Option<Answer>, CniError> {
    let mut line = serde_json::to_vec(&Request { version: VERSION, call })
        .map_err(|cause| CniError::internal("the request can't be written", &cause))?;
    if line.len() > MAX_LINE {
        return Err(CniError::invalid_config("the request to the keeper of DHCP leases is too long"));
    }
    line.push(b'\n');
    for _ in 0..ATTEMPTS {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                if let Some(answer) = exchange(socket, &stream, &line, namespace, leases.patience)? {
                    return Ok(Some(answer));
                }
            }
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                let wanted = match start {
                    Start::Always => true,
                    Start::ForLeases => has_leases(socket)?,
                    Start::Never => false,
                };
                if !wanted {
                    return Ok(None);
                }
                start_keeper(socket, leases, &cause)?;
            }
            Err(cause) => return Err(unreachable(socket, &cause)),
        }
    }
    let message =
        format!("the keeper of DHCP leases at `{}` keeps ending without an answer", socket.display());
    Err(CniError::new(code::TRY_AGAIN, message))
}

fn unreachable(socket: &Path, cause: &io::Error) -> CniError {
    CniError::io(format!("error dialing DHCP daemon at `{}`", socket.display()), cause)
}

/// One question; `None` when the keeper ended before it had answered.
fn exchange(
    socket: &Path,
    stream: &UnixStream,
    line: &[u8],
    namespace: Option<BorrowedFd<'_>>,
    patience: Duration,
) -> Result<Option<Answer>, CniError> {
    let limits = || {
        stream.set_read_timeout(Some(patience + START))?;
        stream.set_write_timeout(Some(START))
    };
    limits().map_err(|cause| unreachable(socket, &cause))?;
    match send_line(stream.as_fd(), line, namespace) {
        Ok(()) => {}
        Err(Errno::PIPE | Errno::CONNRESET) => return Ok(None),
        Err(errno) => return Err(unreachable(socket, &errno.into())),
    }
    let mut incoming = Incoming::default();
    loop {
        match incoming.read(stream.as_fd()) {
            Ok(Progress::Partial) => {}
            Ok(Progress::Whole) => break,
            Ok(Progress::Closed) | Err(Errno::CONNRESET) if incoming.bytes.is_empty() => return Ok(None),
            Ok(Progress::Closed | Progress::TooLong) => break,
            Err(errno) => return Err(unreachable(socket, &errno.into())),
        }
    }
    serde_json::from_slice(&incoming.bytes).map(Some).map_err(|cause| {
        let message = format!(
            "the daemon at `{}` is not one of this plugin: end it, or set `daemonSocketPath`",
            socket.display()
        );
        CniError::new(code::IO, message).because(&cause)
    })
}

/// Whether a keeper has left leases behind.
fn has_leases(socket: &Path) -> Result<bool, CniError> {
    let directory = records_directory(socket);
    let listed = match std::fs::read_dir(&directory) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(false),
        listed => listed.and_then(|entries| entries.collect::<Result<Vec<_>, _>>()),
    };
    let entries =
        listed.map_err(|cause| CniError::io(format!("reading `{}` failed", directory.display()), &cause))?;
    Ok(entries.iter().any(|entry| entry.path().extension().is_some_and(|extension| extension == "json")))
}

/// Starts a keeper, which is ready when this returns. When another one was faster, that is as good.
fn start_keeper(socket: &Path, leases: &LeaseKeeping, cause: &io::Error) -> Result<(), CniError> {
    let Some(program) = &leases.program else {
        return Err(unreachable(socket, cause));
    };
    let mut child = Program::new(program);
    child.arg0("loam-cni").args(["dhcp", "keep", "-socketpath"]).arg(socket).current_dir("/").env_clear();
    let failed = |what: String| {
        let message = format!("starting `{}` to keep DHCP leases failed", program.display());
        CniError { code: code::INTERNAL, message, details: what }
    };
    let output = delegate::run(child, b"", LIMITS).map_err(|what| failed(format!("it {what}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.trim().escape_debug().to_string()));
    }
    Ok(())
}
