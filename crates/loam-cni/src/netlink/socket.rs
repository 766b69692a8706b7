//! The socket: one request, or a row of them, and the kernel's answers.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::message::{Message, Refusal, messages};

const NLM_F_DUMP_INTR: u16 = 0x10;
/// What fits into a socket's buffer on any kernel, with what the kernel adds.
const SMALL: usize = 64 << 10;
/// How often a listing is begun again when the kernel says that it changed underneath.
const DUMP_ATTEMPTS: u32 = 5;

/// Why talking to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket can't be opened.
    #[error("opening a netlink socket failed")]
    Open(#[source] io::Error),
    /// Sending failed.
    #[error("sending a netlink request failed")]
    Send(#[source] io::Error),
    /// Receiving failed.
    #[error("receiving a netlink answer failed")]
    Receive(#[source] io::Error),
    /// The kernel refused a request.
    #[error("{0}")]
    Refused(#[source] Refusal),
    /// The answer is not what the request asked for.
    #[error("the kernel's answer can't be read")]
    Malformed,
    /// A listing changed each time that it was read.
    #[error("the listing kept changing while it was read")]
    Unsteady,
}

impl NetlinkError {
    /// The error number of a refusal.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            NetlinkError::Refused(refusal) => Some(refusal.errno),
            _ => None,
        }
    }
}

/// A netlink socket of any protocol.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(crate) fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let mut inner = netlink_sys::Socket::new(protocol).map_err(NetlinkError::Open)?;
        inner.bind_auto().map_err(NetlinkError::Open)?;
        inner.set_ext_ack(true).map_err(NetlinkError::Open)?;
        Ok(Self { inner, sequence: 0, buffer: vec![0; 64 << 10] })
    }

    /// Takes the next `count` sequence numbers and gives the first.
    pub(crate) fn take_sequences(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        if bytes.len() > SMALL {
            // The kernel takes no message that is longer than the buffer.
            let room = bytes.len() + SMALL;
            let forced = sockopt::set_socket_send_buffer_size_force(&self.inner, room);
            forced
                .or_else(|_| sockopt::set_socket_send_buffer_size(&self.inner, room))
                .map_err(|errno| NetlinkError::Send(errno.into()))?;
        }
        loop {
            match self.inner.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(NetlinkError::Send(cause)),
            }
        }
    }

    /// Receives messages and hands each over until the function says that it was the last.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(&Message<'_>) -> bool) -> Result<(), NetlinkError> {
        loop {
            let mut slice = self.buffer.as_mut_slice();
            let length = match self.inner.recv(&mut slice, 0) {
                Ok(length) => length,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(NetlinkError::Receive(cause)),
            };
            let received = self.buffer.get(..length).ok_or(NetlinkError::Malformed)?;
            for message in messages(received) {
                if each(&message) {
                    return Ok(());
                }
            }
        }
    }

    /// Hears the notifications of a group from now on.
    pub(crate) fn join(&mut self, group: u32) -> Result<(), NetlinkError> {
        self.inner.add_membership(group).map_err(NetlinkError::Open)
    }

    /// Waits for notifications. `None` when the time is up before there are any; `Some(false)` when some were lost.
    pub(crate) fn wait(
        &mut self,
        limit: Option<Duration>,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<Option<bool>, NetlinkError> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let time = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            match poll(&mut [PollFd::new(&self.inner, PollFlags::IN)], time.as_ref()) {
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(NetlinkError::Receive(errno.into())),
                Ok(0) => return Ok(None),
                Ok(_) => {}
            }
            let mut slice = self.buffer.as_mut_slice();
            match self.inner.recv(&mut slice, 0) {
                Ok(length) => {
                    messages(self.buffer.get(..length).ok_or(NetlinkError::Malformed)?)
                        .for_each(|one| each(&one));
                    return Ok(Some(true));
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) if cause.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    return Ok(Some(false));
                }
                Err(cause) => return Err(NetlinkError::Receive(cause)),
            }
        }
    }

    /// Asks for a listing, by a request made for a sequence number, and gives what `read` takes out of the messages. The
    /// listing is begun again when the kernel says that it changed underneath.
    pub(crate) fn list<T>(
        &mut self,
        request: impl Fn(u32) -> Vec<u8>,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.take_sequences(1);
            self.send(&request(sequence))?;
            let (mut found, mut steady, mut verdict) = (Vec::new(), true, Ok(()));
            self.receive(|message| {
                if message.sequence != sequence {
                    return false;
                }
                steady &= message.flags & NLM_F_DUMP_INTR == 0;
                if let Some(end) = message.verdict() {
                    verdict = end;
                    return true;
                }
                found.extend(read(message));
                false
            })?;
            match verdict {
                // How nf_tables says that something changed.
                Err(refusal) if refusal.errno == Errno::INTR => continue,
                other => other.map_err(NetlinkError::Refused)?,
            }
            if steady {
                return Ok(found);
            }
        }
        Err(NetlinkError::Unsteady)
    }
}
