//! A conversation over D-Bus: one socket, calls one after the other, no thread.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use loam_model::ErrorKind;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::message::{self, Body, FIXED, Kind, Message};

/// The most signals that are kept while something else is waited for.
const MOST_SIGNALS: usize = 1024;
/// The longest line of the authentication.
const LONGEST_LINE: usize = 512;

/// Who is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    /// The name on the bus.
    pub(super) name: &'static str,
    /// The object.
    pub(super) path: &'a str,
    /// The interface of the object.
    pub(super) interface: &'static str,
}

/// Why a conversation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    #[error("D-Bus can't be reached at `{}`", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("D-Bus does not know this user: `{0}`")]
    Unknown(String),
    #[error("the connection to D-Bus broke")]
    Broken(#[source] io::Error),
    #[error("D-Bus did not answer in time")]
    Late,
    #[error("D-Bus sent what is not a message")]
    Malformed,
    #[error("{sentence} ({name})")]
    Answer { name: String, sentence: String },
    #[error("the job ended with `{result}`")]
    Job { result: String },
}

/// The names of the answers to one who may not do this.
const DENIALS: [&str; 2] = [
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
];

impl BusError {
    /// What became of a scope that was asked for in this conversation.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown(_) => ErrorKind::Denied,
            Self::Answer { name, .. } if DENIALS.contains(&name.as_str()) => ErrorKind::Denied,
            _ => ErrorKind::Unavailable,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    socket: UnixStream,
    deadline: Instant,
    serial: u32,
    /// Whose signals are heard, and the connection that this is now.
    source: Option<(&'static Address<'static>, String)>,
    /// Signals that came while something else was waited for.
    signals: VecDeque<Message>,
}

impl Bus {
    /// Connects and says who we are: the kernel vouches for it (D-Bus specification, "EXTERNAL").
    /// The whole conversation may take so long, connecting included.
    pub(super) fn connect(path: &Path, patience: Duration) -> Result<Self, BusError> {
        let deadline = Instant::now() + patience;
        let socket = open_socket(path, deadline)?.into();
        let mut bus = Self { socket, deadline, serial: 0, source: None, signals: VecDeque::new() };
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        bus.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let answer = bus.line()?;
        if !answer.starts_with("OK ") {
            return Err(BusError::Unknown(loam_model::shown(&answer)));
        }
        bus.send(b"BEGIN\r\n")?;
        Ok(bus)
    }

    /// Calls a method and waits for its answer.
    pub(super) fn call(&mut self, to: &Address<'_>, method: &str, body: &Body) -> Result<Message, BusError> {
        self.serial += 1;
        let serial = self.serial;
        // What comes of this call is told after it.
        self.signals.clear();
        self.send(&message::call(serial, to, method, body))?;
        loop {
            let message = self.receive()?;
            match message.kind {
                Kind::Answer if message.answers == Some(serial) => return Ok(message),
                Kind::Failure if message.answers == Some(serial) => {
                    let sentence = message.sentence();
                    return Err(BusError::Answer { name: loam_model::shown(&message.error_name), sentence });
                }
                Kind::Signal if self.is_heard(&message) => {
                    if self.signals.len() == MOST_SIGNALS {
                        self.signals.pop_front();
                    }
                    self.signals.push_back(message);
                }
                Kind::Signal => {}
                // Nobody has a reason to call us, and an answer to nothing is no harm.
                Kind::Call | Kind::Answer | Kind::Failure => {}
            }
        }
    }

    /// Hears the signals of an object from now on, if they come from the connection that has this name now. Anybody can send
    /// any signal to one connection, and the match rule does not stop it.
    pub(super) fn listen(&mut self, source: &'static Address<'static>, connection: String) {
        self.source = Some((source, connection));
    }

    fn is_heard(&self, signal: &Message) -> bool {
        self.source.as_ref().is_some_and(|(source, connection)| {
            signal.sender == *connection && signal.path == source.path && signal.interface == source.interface
        })
    }

    /// Waits for a signal.
    pub(super) fn signal(&mut self, member: &str) -> Result<Message, BusError> {
        loop {
            let message = match self.signals.pop_front() {
                Some(message) => message,
                None => self.receive()?,
            };
            if message.kind == Kind::Signal && message.member == member && self.is_heard(&message) {
                return Ok(message);
            }
        }
    }

    fn receive(&mut self) -> Result<Message, BusError> {
        let mut bytes = vec![0; FIXED];
        self.read(&mut bytes)?;
        let length = message::length(&bytes)?;
        bytes.resize(length, 0);
        self.read(&mut bytes[FIXED..])?;
        Message::parse(&bytes)
    }

    /// A line of the authentication, without its end.
    fn line(&mut self) -> Result<String, BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.extend(byte);
            if line.len() > LONGEST_LINE {
                return Err(BusError::Malformed);
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BusError> {
        self.socket.set_write_timeout(Some(self.left()?)).map_err(BusError::Broken)?;
        self.socket.write_all(bytes).map_err(broken)
    }

    fn read(&mut self, mut bytes: &mut [u8]) -> Result<(), BusError> {
        while !bytes.is_empty() {
            self.socket.set_read_timeout(Some(self.left()?)).map_err(BusError::Broken)?;
            match self.socket.read(bytes) {
                Ok(0) => return Err(BusError::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }

    /// The time until the deadline.
    fn left(&self) -> Result<Duration, BusError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(BusError::Late) } else { Ok(left) }
    }
}

/// Connects a socket. Where its other end accepts nobody and its queue is full, that takes until the deadline (unix(7), an
/// effect of `SO_SNDTIMEO`).
fn open_socket(path: &Path, deadline: Instant) -> Result<OwnedFd, BusError> {
    let failed = |errno: Errno| BusError::Connect { path: path.to_owned(), source: errno.into() };
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(BusError::Late);
        }
        set_socket_timeout(&socket, Timeout::Send, Some(left)).map_err(failed)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(BusError::Late),
            Err(errno) => return Err(failed(errno)),
        }
    }
}

fn broken(error: io::Error) -> BusError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => BusError::Late,
        _ => BusError::Broken(error),
    }
}
