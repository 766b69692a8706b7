//! The side of whoever wants a lease: asks the keeper at a socket.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::keeper::records_directory;
use crate::refusal::{Refusal, code};
use crate::wire::{Answer, Call, Incoming, MAX_LINE, Progress, Request, VERSION, send_line};

/// How long an answer may take beside the time for the server.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a keeper that ends just now is asked again.
const ATTEMPTS: u32 = 5;

/// Who asks.
pub struct Caller<'a> {
    /// Where the keeper listens.
    pub socket: &'a Path,
    /// How long a server is waited for.
    pub patience: Duration,
    /// Called when nobody listens, with the reason: starts a keeper, which is ready when this returns, or says that there
    /// shall be none.
    pub start: &'a dyn Fn(&io::Error) -> Result<bool, Refusal>,
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Caller").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Asks the keeper, with the descriptor of a namespace; `None` when there is no keeper, and none was started.
pub fn ask(
    caller: &Caller<'_>,
    call: Call,
    namespace: Option<BorrowedFd<'_>>,
) -> Result<Option<Answer>, Refusal> {
    ask_within(caller, call, namespace, caller.patience + ANSWER)
}

/// Asks the keeper, and waits so long for each step of it.
pub(crate) fn ask_within(
    caller: &Caller<'_>,
    call: Call,
    namespace: Option<BorrowedFd<'_>>,
    limit: Duration,
) -> Result<Option<Answer>, Refusal> {
    let mut line = serde_json::to_vec(&Request { version: VERSION, call })
        .map_err(|cause| Refusal::new(code::INTERNAL, "the request can't be written").because(&cause))?;
    if line.len() > MAX_LINE {
        let message = "the request to the keeper of DHCP leases is too long";
        return Err(Refusal::new(code::INTERNAL, message));
    }
    line.push(b'\n');
    for _ in 0..ATTEMPTS {
        match connect_within(caller.socket, limit.min(ANSWER)) {
            Ok(stream) => {
                if let Some(answer) = exchange(caller.socket, &stream, &line, namespace, limit)? {
                    return Ok(Some(answer));
                }
            }
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                if !(caller.start)(&cause)? {
                    return Ok(None);
                }
            }
            Err(cause) => return Err(Refusal::unreachable(caller.socket, &cause)),
        }
    }
    let message =
        format!("the keeper of DHCP leases at `{}` keeps ending without an answer", caller.socket.display());
    Err(Refusal::new(code::TRY_AGAIN, message))
}

/// Connects to a socket. One that listens and takes no callers is an error after this time, of the kind [`ErrorKind::TimedOut`].
pub(crate) fn connect_within(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // A full queue is waited for as long as for sending (unix(7), `SO_SNDTIMEO`).
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => {}
        Err(Errno::AGAIN) => {
            let told = format!("it has taken no callers for {limit:?}");
            return Err(io::Error::new(ErrorKind::TimedOut, told));
        }
        Err(errno) => return Err(errno.into()),
    }
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(socket.into())
}

impl Refusal {
    /// A keeper can't be reached.
    pub fn unreachable(socket: &Path, cause: &io::Error) -> Self {
        Self::io(format!("error dialing DHCP daemon at `{}`", socket.display()), cause)
    }
}

/// One question; `None` when the keeper ended before it had answered.
fn exchange(
    socket: &Path,
    stream: &UnixStream,
    line: &[u8],
    namespace: Option<BorrowedFd<'_>>,
    limit: Duration,
) -> Result<Option<Answer>, Refusal> {
    let limits = || {
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit.min(ANSWER)))
    };
    limits().map_err(|cause| Refusal::unreachable(socket, &cause))?;
    match send_line(stream.as_fd(), line, namespace) {
        Ok(()) => {}
        Err(Errno::PIPE | Errno::CONNRESET) => return Ok(None),
        Err(errno) => return Err(Refusal::unreachable(socket, &errno.into())),
    }
    let mut incoming = Incoming::default();
    loop {
        match incoming.read(stream.as_fd()) {
            Ok(Progress::Partial) => {}
            Ok(Progress::Whole) => break,
            Ok(Progress::Closed) | Err(Errno::CONNRESET) if incoming.bytes.is_empty() => return Ok(None),
            Ok(Progress::Closed | Progress::TooLong) => break,
            Err(errno) => return Err(Refusal::unreachable(socket, &errno.into())),
        }
    }
    serde_json::from_slice(&incoming.bytes).map(Some).map_err(|cause| {
        let message = format!(
            "the daemon at `{}` is not one of this plugin: end it, or set `daemonSocketPath`",
            socket.display()
        );
        Refusal::io(message, &cause)
    })
}

/// Whether a keeper has left leases behind.
pub fn has_leases(socket: &Path) -> Result<bool, Refusal> {
    let directory = records_directory(socket);
    let names = loam_state_file::names(&directory)
        .map_err(|cause| Refusal::io(format!("reading `{}` failed", directory.display()), &cause))?;
    Ok(names.iter().any(|name| name.ends_with(".json")))
}

#[cfg(test)]
mod tests {
    use rustix::net::{bind, listen};

    use super::*;

    #[test]
    fn a_keeper_that_takes_no_callers_is_given_up() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("socket");
        let stream = |flags| {
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | flags, None)
                .expect("a socket")
        };
        let address = SocketAddrUnix::new(&path).expect("a path");
        let listener = stream(SocketFlags::empty());
        bind(&listener, &address).expect("free");
        listen(&listener, 0).expect("it has a name");
        let mut callers = Vec::new();
        loop {
            let caller = stream(SocketFlags::NONBLOCK);
            match connect(&caller, &address) {
                Ok(()) => callers.push(caller),
                Err(errno) => break assert_eq!(errno, Errno::AGAIN),
            }
        }
        let caller = Caller { socket: &path, patience: Duration::ZERO, start: &|_| Ok(false) };
        let refused = ask_within(&caller, Call::Status, None, Duration::from_millis(100));
        let told = refused.expect_err("nobody takes the call").to_string();
        assert!(told.ends_with("`: it has taken no callers for 100ms"), "{told}");
    }
}
