//! A conversation over D-Bus with a service of the system: calls with texts, one after the other (D-Bus specification).

mod message;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use message::{FIXED, Message, call, length};

/// Where the bus of the system is, unless its variable says otherwise (D-Bus specification, "Well-known Message Bus
/// Instances").
const SOCKET: &str = "/run/dbus/system_bus_socket";
/// How long a whole conversation may take.
const PATIENCE: Duration = Duration::from_secs(25);
/// The longest line of the authentication.
const LONGEST_LINE: usize = 512;

/// Why a conversation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    #[error("D-Bus can't be reached")]
    Connect(#[source] io::Error),
    #[error("D-Bus does not know this user")]
    Unknown,
    #[error("the connection to D-Bus broke")]
    Broken(#[source] io::Error),
    #[error("D-Bus did not answer in time")]
    Late,
    #[error("D-Bus sent what is not a message")]
    Malformed,
    #[error("{sentence} ({name})")]
    Answer { name: String, sentence: String },
}

/// Whom a call is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) interface: &'static str,
}

const BUS: Address = Address {
    name: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// A connection.
#[derive(Debug)]
pub(crate) struct Bus {
    socket: UnixStream,
    deadline: Instant,
    serial: u32,
}

impl Bus {
    /// Connects to the bus of the system; `None` when there is none.
    pub(crate) fn connect() -> Result<Option<Self>, BusError> {
        let socket = match UnixStream::connect(Path::new(SOCKET)) {
            Err(cause)
                if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            socket => socket.map_err(BusError::Connect)?,
        };
        let mut bus = Self { socket, deadline: Instant::now() + PATIENCE, serial: 0 };
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        bus.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        if !bus.line()?.starts_with("OK ") {
            return Err(BusError::Unknown);
        }
        bus.send(b"BEGIN\r\n")?;
        bus.call(&BUS, "Hello", &[])?;
        Ok(Some(bus))
    }

    /// Whether a service is there.
    pub(crate) fn has_owner(&mut self, name: &str) -> Result<bool, BusError> {
        self.call(&BUS, "NameHasOwner", &[name])?.flag()
    }

    /// Calls a method with texts and waits for its answer.
    pub(crate) fn call(&mut self, to: &Address, method: &str, texts: &[&str]) -> Result<Message, BusError> {
        self.serial += 1;
        self.send(&call(self.serial, to, method, texts))?;
        loop {
            let mut bytes = vec![0; FIXED];
            self.read(&mut bytes)?;
            bytes.resize(length(&bytes)?, 0);
            self.read(&mut bytes[FIXED..])?;
            let message = Message::parse(&bytes)?;
            // Signals come too.
            if message.answers == Some(self.serial) {
                return message.verdict();
            }
        }
    }

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
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn left(&self) -> Result<Duration, BusError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(BusError::Late) } else { Ok(left) }
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
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(broken(cause)),
            }
        }
        Ok(())
    }
}

fn broken(cause: io::Error) -> BusError {
    match cause.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => BusError::Late,
        _ => BusError::Broken(cause),
    }
}
