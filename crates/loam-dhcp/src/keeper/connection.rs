//! A caller: its request on the way, and the caller itself while its lease is asked for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::Moment;
use crate::refusal::{Refusal, code};
use crate::wire::{
    Answer, Attachment, Call, Incoming, Progress, REFERENCE_ANSWER, REFERENCE_CALL, Request, VERSION,
    send_line,
};

/// How long a request may be on its way.
const LIMIT: Duration = Duration::from_secs(10);

/// A caller.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    incoming: Incoming,
    deadline: Moment,
    /// The attachment whose lease it waits for.
    pub(super) waits_for: Option<Attachment>,
}

/// What has come from a caller.
#[derive(Debug)]
pub(super) enum Arrived {
    /// Not enough yet.
    Nothing,
    /// A request.
    Call(Call, Option<OwnedFd>),
    /// Nothing more: the caller is gone, or was refused.
    End,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, now: Moment) -> Self {
        Self { stream, incoming: Incoming::default(), deadline: now + LIMIT, waits_for: None }
    }

    /// When it is given up; never while it waits for us.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.waits_for.is_none().then_some(self.deadline)
    }

    /// Reads what there is.
    pub(super) fn read(&mut self) -> Arrived {
        match self.incoming.read(self.stream.as_fd()) {
            // One who waits has nothing to say.
            Ok(Progress::Partial) if self.waits_for.is_none() => {
                if self.incoming.bytes.starts_with(REFERENCE_CALL) {
                    // One who is gone already needs no answer.
                    send_line(self.stream.as_fd(), REFERENCE_ANSWER, None).unwrap_or_default();
                    return Arrived::End;
                }
                Arrived::Nothing
            }
            Ok(Progress::Whole) if self.waits_for.is_none() => self.parse(),
            Err(rustix::io::Errno::AGAIN) => Arrived::Nothing,
            _ => Arrived::End,
        }
    }

    fn parse(&mut self) -> Arrived {
        if self.incoming.bytes.starts_with(REFERENCE_CALL) {
            // One who is gone already needs no answer.
            send_line(self.stream.as_fd(), REFERENCE_ANSWER, None).unwrap_or_default();
            return Arrived::End;
        }
        let told = match serde_json::from_slice::<Request>(&self.incoming.bytes) {
            Ok(request) if request.version == VERSION => {
                return Arrived::Call(request.call, self.incoming.descriptor.take());
            }
            Ok(request) => format!(
                "the keeper of DHCP leases speaks version {VERSION} of its protocol, not {}",
                request.version
            ),
            Err(cause) => format!("the keeper of DHCP leases does not understand the request: {cause}"),
        };
        self.answer(&Answer::Refused(Refusal::new(code::INTERNAL, told)));
        Arrived::End
    }

    /// Answers; says whether the caller was still there.
    pub(super) fn answer(&self, answer: &Answer) -> bool {
        let Ok(mut line) = serde_json::to_vec(answer) else { return false };
        line.push(b'\n');
        send_line(self.stream.as_fd(), &line, None).is_ok()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
