//! Staying with a process, as `run`, `start`, `exec` and `attach` do.

use loam_engine::{Engine, RunningExec, StartOptions, Started};
use loam_model::{ErrorKind, ExitRecord, ExitStatus, Failure, OnStall, ProcessTarget, Streams, TerminalSize};

use super::Outcome;
use crate::exit::Exit;
use crate::flags::ForegroundFlags;
use crate::foreground::{self, Foreground, ForegroundOptions, Subject, WhenUnread};
use crate::wiring::hasten;
use crate::{render, terminal};

/// How a process is connected with this command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    /// Whether standard input goes to it.
    pub(super) stdin: bool,
    /// Whether it has a terminal.
    pub(super) terminal: bool,
}

/// A process that runs with our streams, and how its end is waited for.
pub(super) struct Process<W> {
    pub(super) container: String,
    pub(super) target: ProcessTarget,
    pub(super) when_unread: WhenUnread,
    pub(super) wait: W,
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// Whether the kernel killed something of the container because it had used up its memory.
    pub(super) out_of_memory: bool,
}

impl From<ExitRecord> for Ended {
    fn from(record: ExitRecord) -> Self {
        Self { status: record.status, out_of_memory: record.out_of_memory }
    }
}

/// The main process of a container that was started here.
pub(super) fn main_process(started: Started) -> Process<impl FnOnce() -> Result<Ended, Failure> + Send> {
    Process {
        container: started.id().to_string(),
        target: ProcessTarget::Main,
        when_unread: WhenUnread::Stop,
        wait: move || started.wait().map(Ended::from),
    }
}

/// A further process.
pub(super) fn further_process(
    running: RunningExec,
) -> Process<impl FnOnce() -> Result<Ended, Failure> + Send> {
    Process {
        container: running.container().to_string(),
        target: running.target(),
        when_unread: WhenUnread::Signal,
        wait: move || running.wait().map(|status| Ended { status, out_of_memory: false }),
    }
}

/// How a container is started that we stay with.
pub(super) fn start_options(streams: Streams, terminal_size: Option<TerminalSize>) -> StartOptions {
    StartOptions { streams: Some(streams), on_stall: OnStall::Block, terminal_size, own: true }
}

/// Starts a process with our streams and the size of our terminal, and stays with it.
pub(super) fn start_and_stay<W>(
    engine: &Engine,
    flags: &ForegroundFlags,
    connection: Connection,
    start: impl FnOnce(Streams, Option<TerminalSize>) -> Result<Process<W>, Failure>,
) -> Outcome
where
    W: FnOnce() -> Result<Ended, Failure> + Send + 'static,
{
    stay(engine, flags, connection, |streams| {
        let size = if connection.terminal { terminal::size() } else { None };
        hasten();
        start(streams, size)
    })
}

/// Connects our streams to a process, and stays with it until it ends or is left alone. Its exit code becomes ours.
pub(super) fn stay<W>(
    engine: &Engine,
    flags: &ForegroundFlags,
    connection: Connection,
    connect: impl FnOnce(Streams) -> Result<Process<W>, Failure>,
) -> Outcome
where
    W: FnOnce() -> Result<Ended, Failure> + Send + 'static,
{
    check_terminal(connection)?;
    let (foreground, streams) = Foreground::open(ForegroundOptions {
        stdin: connection.stdin,
        terminal: connection.terminal,
        keys: flags.detach_keys.clone(),
        proxy: flags.sig_proxy,
    })?;
    let Process { container, target, when_unread, wait } = connect(streams)?;
    let subject = Subject { engine, container, target, when_unread };
    match foreground.attend(&subject, wait)? {
        foreground::Outcome::Ended(ended) => {
            let Ended { status, out_of_memory } = ended?;
            if out_of_memory {
                render::warning(
                    "the container's memory was used up, and the kernel killed what used most of it",
                );
            }
            Ok(Exit::of_process(status))
        }
        foreground::Outcome::Left(exit) => Ok(exit),
    }
}

/// Refuses what Docker refuses too: a terminal in the container whose input is no terminal here.
pub(super) fn check_terminal(connection: Connection) -> Result<(), Failure> {
    if connection.stdin && connection.terminal && !terminal::is_interactive() {
        return Err(Failure::new(ErrorKind::Invalid, "standard input is not a terminal")
            .hint("leave out `--tty`, or run it from a terminal"));
    }
    Ok(())
}
