//! What plugin and keeper say to each other: over a stream socket, one request and one answer, each a line of JSON. The
//! descriptor of the namespace comes with the first byte of a request that needs one.
//!
//! ```text
//! {"loam-dhcp":1,"do":"take","attachment":{…},"namespace":"/run/netns/x","options":[[61,[0,…]]],"patience":100000}
//! {"lease":{"address":"10.0.0.9/24","gateway":"10.0.0.1","routes":[…]}}
//! ```
//!
//! Neither side trusts the other with more than a line of limited length.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::terms::Route;

/// The protocol's version.
pub(crate) const VERSION: u32 = 1;
/// The longest line.
pub(crate) const MAX_LINE: usize = 4 << 20;
/// How the reference plugin begins a call (Go's net/rpc over HTTP).
pub(crate) const REFERENCE_CALL: &[u8] = b"CONNECT ";
/// The answer to it, whose first line the reference plugin shows.
pub(crate) const REFERENCE_ANSWER: &[u8] =
    b"HTTP/1.0 501 this keeper of DHCP leases is Loam's and serves its dhcp plugin alone\r\n\r\n";

/// Whose lease it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's id.
    pub container: String,
    /// The network's name.
    pub network: String,
    /// The interface's name in the container.
    pub interface: String,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    #[serde(rename = "loam-dhcp")]
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) call: Call,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Call {
    /// A lease, which is kept from then on. The namespace comes along.
    Take(Take),
    /// The lease as it is held.
    Look {
        /// Whose it is.
        attachment: Attachment,
    },
    /// The end of a lease, held or not.
    Release {
        /// Whose it is.
        attachment: Attachment,
    },
    /// The end of all leases of a network but those of these containers and interfaces.
    Retain {
        /// The network's name.
        network: String,
        /// Containers and interfaces.
        valid: Vec<(String, String)>,
    },
    /// That a lease of another keeper's is kept from now on. The namespace comes along when the other one has it open. The
    /// answer is the lease that is held for the attachment already, if there is one.
    Adopt {
        /// The lease as it lies on disk, see `keeper::records`.
        record: serde_json::Value,
    },
    /// Whether somebody is there.
    Status,
}

/// A lease that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Take {
    /// Whose it will be.
    pub attachment: Attachment,
    /// The path of the namespace, which is gone when the container is.
    pub namespace: PathBuf,
    /// Options of all requests to the server.
    pub options: Vec<(u8, Vec<u8>)>,
    /// How long a server is waited for, in milliseconds.
    pub patience: u64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The lease.
    Lease(Granted),
    /// It is done.
    Done,
    /// It can't be done.
    Refused(Refusal),
}

/// A lease as the plugin needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The address, and the length of its network's prefix.
    pub address: Ipv4Net,
    /// The first router.
    pub gateway: Option<Ipv4Addr>,
    /// What is to be reached over the link.
    pub routes: Vec<Route>,
}

/// Writes a line, with a descriptor beside its first byte. On a socket that does not wait, a line that does not fit is an
/// error.
pub(crate) fn send_line(
    socket: BorrowedFd<'_>,
    line: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    let mut rest = line;
    while !rest.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let is_first = rest.len() == line.len();
        if is_first && !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors))
        {
            return Err(Errno::NOBUFS);
        }
        match sendmsg(socket, &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A line that is on its way.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptor: Option<OwnedFd>,
}

/// How far a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It is whole.
    Whole,
    /// More must come.
    Partial,
    /// The other side has closed the connection.
    Closed,
    /// It is longer than lines are.
    TooLong,
}

impl Incoming {
    /// Reads what there is, once.
    pub(crate) fn read(&mut self, socket: BorrowedFd<'_>) -> Result<Progress, Errno> {
        let mut buffer = [0; 16 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            match recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                received => break received?.bytes,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut rights) = message {
                // Those that nobody asked for are closed.
                self.descriptor = self.descriptor.take().or_else(|| rights.next());
            }
        }
        if received == 0 {
            return Ok(Progress::Closed);
        }
        self.bytes.extend_from_slice(buffer.get(..received).unwrap_or_default());
        Ok(match self.bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                self.bytes.truncate(end);
                Progress::Whole
            }
            None if self.bytes.len() > MAX_LINE => Progress::TooLong,
            None => Progress::Partial,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn requests_have_the_form_that_is_documented() {
        let attachment = Attachment { container: "c".into(), network: "n".into(), interface: "eth0".into() };
        let call = Call::Take(Take {
            attachment,
            namespace: "/run/netns/x".into(),
            options: vec![(61, vec![0, 99])],
            patience: 100_000,
        });
        let request = Request { version: VERSION, call };
        let text = serde_json::to_string(&request).expect("JSON");
        assert_eq!(
            text,
            r#"{"loam-dhcp":1,"do":"take","attachment":{"container":"c","network":"n","interface":"eth0"},"namespace":"/run/netns/x","options":[[61,[0,99]]],"patience":100000}"#
        );
        assert_eq!(serde_json::from_str::<Request>(&text).expect("a request"), request);
        assert_eq!(serde_json::to_string(&Answer::Done).expect("JSON"), "\"done\"");
    }

    #[test]
    fn lines_come_with_their_descriptor_and_not_without_end() {
        let (left, right) = UnixStream::pair().expect("a pair");
        let (read, _write) = rustix::pipe::pipe().expect("a pipe");
        send_line(left.as_fd(), b"abc", Some(read.as_fd())).expect("sent");
        let mut incoming = Incoming::default();
        assert_eq!(incoming.read(right.as_fd()), Ok(Progress::Partial));
        send_line(left.as_fd(), b"def\nrest", None).expect("sent");
        assert_eq!(incoming.read(right.as_fd()), Ok(Progress::Whole));
        assert_eq!(incoming.bytes, b"abcdef");
        assert!(incoming.descriptor.is_some());
        drop(left);
        assert_eq!(Incoming::default().read(right.as_fd()), Ok(Progress::Closed));

        let (left, right) = UnixStream::pair().expect("a pair");
        let sender = std::thread::spawn(move || {
            let mut sent = 0;
            while sent <= MAX_LINE && send_line(left.as_fd(), &[b'x'; 65536], None).is_ok() {
                sent += 65536;
            }
        });
        let mut incoming = Incoming::default();
        let progress = loop {
            match incoming.read(right.as_fd()).expect("readable") {
                Progress::Partial => {}
                other => break other,
            }
        };
        assert_eq!(progress, Progress::TooLong);
        drop(right);
        sender.join().expect("it ends");
    }
}
