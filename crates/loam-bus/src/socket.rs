//! A stream socket on which everything together has one deadline.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::BusError;

/// The longest line that is read.
const LONGEST_LINE: usize = 512;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: UnixStream,
    deadline: Instant,
}

impl Socket {
    /// Connects. Where the other end accepts nobody and its queue is full, that takes until the deadline (unix(7), an
    /// effect of `SO_SNDTIMEO`).
    pub(crate) fn connect(path: &Path, patience: Duration) -> Result<Self, BusError> {
        let deadline = Instant::now() + patience;
        let failed = |errno: Errno| BusError::Connect { path: path.to_owned(), source: errno.into() };
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(failed)?;
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        loop {
            set_socket_timeout(&socket, Timeout::Send, Some(left(deadline)?)).map_err(failed)?;
            match rustix::net::connect(&socket, &address) {
                Ok(()) => return Ok(Self { stream: socket.into(), deadline }),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(BusError::Late),
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Sends all bytes.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> Result<(), BusError> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(self.deadline)?)).map_err(BusError::Broken)?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(BusError::Broken(io::ErrorKind::WriteZero.into())),
                Ok(count) => bytes = &bytes[count..],
                Err(error) => interrupted(error)?,
            }
        }
        Ok(())
    }

    /// Fills the bytes.
    pub(crate) fn receive(&mut self, mut bytes: &mut [u8]) -> Result<(), BusError> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(Some(left(self.deadline)?)).map_err(BusError::Broken)?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(BusError::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) => interrupted(error)?,
            }
        }
        Ok(())
    }

    /// Reads a line that ends with CR and LF, without them.
    pub(crate) fn line(&mut self) -> Result<String, BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.receive(&mut byte)?;
            line.extend(byte);
            if line.len() > LONGEST_LINE {
                return Err(BusError::Malformed);
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

/// The time until a deadline.
fn left(deadline: Instant) -> Result<Duration, BusError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(BusError::Late) } else { Ok(left) }
}

/// Success when a call is to be made again.
fn interrupted(error: io::Error) -> Result<(), BusError> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(BusError::Late),
        _ => Err(BusError::Broken(error)),
    }
}
