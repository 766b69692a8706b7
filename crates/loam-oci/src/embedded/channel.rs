//! The socket between the shim and a process that it sets up.
//!
//! One message is one packet: a letter, then what belongs to it. The new process's end is close-on-exec, so that its
//! end of file tells that the user's program runs.

mod encoding;

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use loam_model::{ErrorKind, Failure, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use super::container::KILL;
use super::explain::Explain;
use crate::CgroupMount;
use encoding::{decode, encode};

/// What the two say to each other.
#[derive(Debug)]
pub(super) enum Message {
    /// To the new process: its ids are mapped.
    Mapped,
    /// To the new process: it is in its cgroup, which is shown like this; and its process id on the host.
    Joined { pid: i32, mounts: Vec<CgroupMount> },
    /// From the new process: the hooks of the runtime's side are due.
    Hooks,
    /// To the new process: they have run.
    HooksDone,
    /// From the new process: all is made; the master of its terminal comes along.
    Ready(Option<OwnedFd>),
    /// To the new process: run the program.
    Start,
    /// From the new process: it gives up.
    Failed(Failure),
}

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

/// The longest message: a failure's text is cut to fit, the list of cgroup mounts is far shorter.
const MAX_MESSAGE: usize = 16 * 1024;

/// `SIGCONT`.
const CONTINUE: i32 = 18;
/// How often a process that is waited for is told to go on.
const NUDGE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

impl Channel {
    /// Makes both ends.
    pub(super) fn pair() -> Result<(Self, Self)> {
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .explain(|| "making a socket to the new process failed".to_owned())?;
        Ok((Self(one), Self(other)))
    }

    /// The end with this descriptor.
    pub(super) fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// The descriptor.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Gives up the descriptor.
    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.0
    }

    /// Sends a message. A peer that is gone is no error: what it had to say is still to be received.
    pub(super) fn send(&self, message: &Message) -> Result<()> {
        let (bytes, descriptor) = encode(message);
        let descriptors = descriptor.as_ref().map(AsFd::as_fd);
        match send_packet(&self.0, &bytes, descriptors.as_slice()) {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(errno).explain(|| "writing to the new process failed".to_owned()),
        }
    }

    /// Receives the next message; `None` when the peer is gone or has become the user's program.
    pub(super) fn receive(&self) -> Result<Option<Message>> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let length = loop {
            let mut buffers = [IoSliceMut::new(&mut bytes)];
            match rustix::net::recvmsg(&self.0, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received.bytes,
                // A peer that went away without reading everything is told of first; what it said comes after.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(errno) => {
                    return Err(errno).explain(|| "reading from the new process failed".to_owned());
                }
            }
        };
        let mut descriptor = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                descriptor = descriptors.last();
            }
        }
        if length == 0 {
            return Ok(None);
        }
        decode(&bytes[..length], descriptor)
            .map(Some)
            .ok_or_else(|| Failure::new(ErrorKind::Internal, "the new process said something strange"))
    }

    /// Receives the next message from the process `from`, which is killed when none has come after `limit`. The
    /// container's processes may stop a process that is among them already, so it is told to go on meanwhile.
    pub(super) fn receive_within(&self, limit: Duration, from: BorrowedFd<'_>) -> Result<Option<Message>> {
        let deadline = Instant::now() + limit;
        loop {
            let mut poll = [PollFd::new(&self.0, PollFlags::IN)];
            match rustix::event::poll(&mut poll, Some(&NUDGE)) {
                Ok(0) => {}
                Ok(_) => return self.receive(),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).explain(|| "waiting for the new process failed".to_owned()),
            }
            if Instant::now() >= deadline {
                loam_sys::send_signal(from, KILL).ok();
                let message = format!("the new process was not ready within {} s", limit.as_secs());
                return Err(Failure::new(ErrorKind::Unavailable, message)
                    .hint("something in the container may be stopping it"));
            }
            loam_sys::send_signal(from, CONTINUE).ok();
        }
    }
}

fn send_packet(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CgroupVersion;
    use std::path::PathBuf;

    #[test]
    fn a_failure_arrives_as_it_was() {
        let (one, other) = Channel::pair().unwrap();
        let failure =
            Failure::new(ErrorKind::CommandNotFound, "`x` is not there").caused_by("gone").hint("look");
        one.send(&Message::Failed(failure)).unwrap();
        let Some(Message::Failed(failure)) = other.receive().unwrap() else { panic!("no failure") };
        assert_eq!(failure.kind(), ErrorKind::CommandNotFound);
        assert_eq!(failure.chain(), "`x` is not there: gone");
        assert_eq!(failure.hint_text(), Some("look"));
    }

    #[test]
    fn a_process_that_says_nothing_is_killed() {
        let line = "while :; do kill -STOP $$; done";
        let mut silent = std::process::Command::new("sh").args(["-c", line]).spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&silent);
        let pidfd = loam_sys::open_process(pid).unwrap();
        let (ours, theirs) = Channel::pair().unwrap();
        let failure = ours.receive_within(Duration::from_millis(300), pidfd.as_fd()).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        assert!(!silent.wait().unwrap().success());
        theirs.send(&Message::Start).unwrap();
        let said = ours.receive_within(Duration::from_secs(10), pidfd.as_fd()).unwrap();
        assert!(matches!(said, Some(Message::Start)));
    }

    #[test]
    fn cgroup_mounts_arrive_as_they_were() {
        let (one, other) = Channel::pair().unwrap();
        let sent = vec![CgroupMount {
            version: CgroupVersion::V1,
            source: PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/a"),
            target: "cpu,cpuacct".to_owned(),
            options: "cpu,cpuacct".to_owned(),
            links: vec!["cpu".to_owned(), "cpuacct".to_owned()],
        }];
        one.send(&Message::Joined { pid: 7, mounts: sent.clone() }).unwrap();
        drop(one);
        let Some(Message::Joined { pid, mounts }) = other.receive().unwrap() else { panic!("not joined") };
        assert_eq!((pid, mounts), (7, sent));
        assert!(other.receive().unwrap().is_none());
    }
}
