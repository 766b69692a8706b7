//! A process of the container and its streams.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use loam_model::{
    CreatedProcess, ErrorKind, ExitStatus, Failure, OnStall, ProcessStdio, Result, Streams, TerminalSize,
};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use rustix::termios::Winsize;

use crate::log::{Log, StreamName};
use crate::relay::{Buffer, Input, Output, Pollable};

/// The shim's ends of a process's streams.
#[derive(Debug, Default)]
pub(super) struct StreamEnds {
    stdin: Option<OwnedFd>,
    outputs: Vec<(OwnedFd, StreamName)>,
}

/// Makes the streams of a process: a terminal, or three pipes of which the first may be `/dev/null`.
pub(super) fn make_streams(
    terminal: Option<TerminalSize>,
    open_stdin: bool,
) -> Result<(ProcessStdio, StreamEnds)> {
    if let Some(size) = terminal {
        return Ok((ProcessStdio::Terminal(size), StreamEnds::default()));
    }
    make_pipes(open_stdin).map_err(|errno| {
        Failure::new(ErrorKind::Exhausted, "the pipes of the process can't be made").caused_by(errno)
    })
}

fn make_pipes(open_stdin: bool) -> std::result::Result<(ProcessStdio, StreamEnds), Errno> {
    let (stdin, input) = if open_stdin {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        (read, Some(write))
    } else {
        (rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, None)
    };
    let (out, stdout) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (err, stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let outputs = vec![(out, StreamName::Stdout), (err, StreamName::Stderr)];
    Ok((ProcessStdio::Descriptors { stdin, stdout, stderr }, StreamEnds { stdin: input, outputs }))
}

/// A process that a runtime made for us.
#[derive(Debug)]
pub(super) struct Process {
    pid: i32,
    /// `None` when it has ended and was let go.
    pidfd: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    input: Input,
    outputs: Vec<Output>,
    /// Whether the user's program runs or ran: before that there is no output.
    pub(super) started: bool,
    pub(super) exit: Option<ExitStatus>,
}

impl Process {
    pub(super) fn new(created: CreatedProcess, ends: StreamEnds, started: bool) -> Result<Self> {
        Self::assemble(created, ends, started).map_err(|errno| {
            Failure::new(ErrorKind::Internal, "the streams of the process can't be used").caused_by(errno)
        })
    }

    fn assemble(
        created: CreatedProcess,
        ends: StreamEnds,
        started: bool,
    ) -> std::result::Result<Self, Errno> {
        let CreatedProcess { pid, pidfd, terminal } = created;
        let mut input = Input::default();
        let mut outputs = Vec::new();
        if let Some(master) = &terminal {
            let duplicate = || rustix::io::fcntl_dupfd_cloexec(master, 3);
            input = Input::new(Pollable::own(duplicate()?)?, true);
            outputs.push(Output::new(Pollable::own(duplicate()?)?, StreamName::Stdout));
        }
        if let Some(stdin) = ends.stdin {
            input = Input::new(Pollable::own(stdin)?, false);
        }
        for (end, name) in ends.outputs {
            outputs.push(Output::new(Pollable::own(end)?, name));
        }
        Ok(Self { pid, pidfd: Some(pidfd), terminal, input, outputs, started, exit: None })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Attaches a client's streams. With a terminal there is no second output.
    pub(super) fn attach(&mut self, streams: Streams, on_stall: OnStall) {
        if let Some(stdin) = streams.stdin {
            self.input.attach(stdin);
        }
        for (output, sink) in self.outputs.iter_mut().zip([streams.stdout, streams.stderr]) {
            if let Some(sink) = sink {
                output.attach(sink, on_stall);
            }
        }
    }

    pub(super) fn resize(&self, size: TerminalSize) -> Result<()> {
        let Some(terminal) = &self.terminal else {
            return Err(Failure::new(ErrorKind::Conflict, "the process has no terminal"));
        };
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(terminal, size).map_err(|errno| {
            Failure::new(ErrorKind::Internal, "the terminal's size can't be set").caused_by(errno)
        })
    }

    /// Sends a signal to this process alone.
    pub(super) fn signal(&self, signal: i32) -> Result<()> {
        let ended = || Failure::new(ErrorKind::Conflict, "the process has ended already");
        let pidfd = self.pidfd.as_ref().ok_or_else(ended)?;
        loam_sys::send_signal(pidfd.as_fd(), signal).map_err(|error| {
            let failure = match error.raw_os_error() {
                Some(raw) if raw == Errno::SRCH.raw_os_error() => ended(),
                _ => Failure::new(ErrorKind::Invalid, format!("signal {signal} can't be sent")),
            };
            failure.caused_by(error)
        })
    }

    pub(super) fn is(&self, pid: Pid) -> bool {
        self.pid == pid.as_raw_nonzero().get() && self.exit.is_none()
    }

    /// Notes how the process ended.
    pub(super) fn ended(&mut self, status: ExitStatus) {
        self.exit = Some(status);
        self.input.close();
        self.outputs.iter_mut().for_each(Output::process_ended);
    }

    /// How it ended, once all that it wrote has been handed on.
    pub(super) fn outcome(&self) -> Option<ExitStatus> {
        self.exit.filter(|_| self.outputs.iter().all(Output::is_settled))
    }

    pub(super) fn has_work(&self) -> bool {
        self.outputs.iter().any(Output::has_work)
    }

    /// Once it has ended and was heard out: lets go of all descriptors, and gives the streams that others still hold
    /// open.
    pub(super) fn let_go(&mut self) -> Vec<Output> {
        if self.outcome().is_none() {
            return Vec::new();
        }
        (self.pidfd, self.terminal) = (None, None);
        std::mem::take(&mut self.outputs).into_iter().filter(Output::is_open).collect()
    }

    pub(super) fn interest<'a>(&'a self, polls: &mut Vec<PollFd<'a>>) {
        self.input.interest(polls);
        for output in &self.outputs {
            output.interest(self.started, polls);
        }
    }

    pub(super) fn polled(&mut self, events: &mut impl Iterator<Item = PollFlags>) {
        self.input.polled(events);
        for output in &mut self.outputs {
            output.polled(self.started, events);
        }
    }

    pub(super) fn work(&mut self, buffer: &mut Buffer, log: &mut Option<Log>) {
        self.input.work(buffer);
        for output in &mut self.outputs {
            output.work(self.exit.is_some(), buffer, log);
        }
    }

    pub(super) fn drop_stalled(&mut self, now: Instant) -> Option<Instant> {
        self.outputs.iter_mut().filter_map(|output| output.drop_stalled(now)).min()
    }
}
