//! One call of a runtime program.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use loam_model::{CgroupDriver, ErrorKind, Failure, Result, shown};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::console::Console;
use super::{compatibility, explain, nothing, remove};

/// More than a program has to say when it fails.
const MAX_OUTPUT: u64 = 64 * 1024;
/// How long a terminal may still be on its way when the program has ended well.
const LATE_TERMINAL: Duration = Duration::from_secs(1);

/// The standard streams of a call.
#[derive(Debug)]
pub(super) enum Streams {
    /// Nothing comes in; what comes out is kept for the error message.
    None,
    /// This comes in.
    Input(Vec<u8>),
    /// These, which the new process inherits.
    These(OwnedFd, OwnedFd, OwnedFd),
}

/// A call being put together.
#[derive(Debug)]
pub(super) struct Call {
    program: PathBuf,
    /// What the program gets as `PATH`.
    search_path: String,
    verb: &'static str,
    log: PathBuf,
    arguments: Vec<OsString>,
}

/// A program that runs.
struct Running {
    child: Child,
    pidfd: OwnedFd,
    output: Option<File>,
    deadline: Instant,
}

impl Call {
    /// Begins a call whose state and log are in the directory.
    pub(super) fn new(
        program: PathBuf,
        search_path: String,
        directory: &Path,
        driver: CgroupDriver,
        verb: &'static str,
    ) -> Self {
        let log = directory.join("runtime.log");
        let mut call = Self { program, search_path, verb, log: log.clone(), arguments: Vec::new() };
        call.argument("--root").argument(directory.join("runtime"));
        call.argument("--log").argument(log).argument("--log-format").argument("json");
        if driver == CgroupDriver::Systemd {
            call.argument("--systemd-cgroup");
        }
        call.argument(verb);
        call
    }

    /// Adds an argument.
    pub(super) fn argument(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Runs the program to its end. `command` is the user's program, if the call is about to run it.
    pub(super) fn run(&self, limit: Duration, streams: Streams, command: Option<&str>) -> Result<()> {
        let mut running = self.begin(limit, streams)?;
        self.wait(&mut running, None)?;
        self.finish(running, command)
    }

    /// The same for a process with a terminal, whose master comes over the console meanwhile.
    pub(super) fn run_with_console(
        &self,
        limit: Duration,
        streams: Streams,
        console: Console,
        command: &str,
    ) -> Result<OwnedFd> {
        let mut running = self.begin(limit, streams)?;
        if self.wait(&mut running, Some(console.listener()))? {
            let received = console.receive(running.deadline);
            self.wait(&mut running, None)?;
            self.finish(running, Some(command))?;
            return received;
        }
        self.finish(running, Some(command))?;
        console.receive(Instant::now() + LATE_TERMINAL)
    }

    fn begin(&self, limit: Duration, streams: Streams) -> Result<Running> {
        remove(&self.log)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().env("PATH", &self.search_path).current_dir("/");
        // A group of its own, so that what it starts can be killed with it.
        command.process_group(0);
        compatibility::prepare(&self.program, &mut command);
        let mut output = None;
        let prepared = match streams {
            Streams::These(stdin, stdout, stderr) => {
                command.stdin(stdin).stdout(stdout).stderr(stderr);
                Ok(())
            }
            Streams::None => nothing().map_err(io::Error::from).and_then(|nothing| {
                command.stdin(nothing);
                keep_output(&mut command, &mut output)
            }),
            Streams::Input(text) => keep_output(&mut command, &mut output).and_then(|()| {
                let mut file = memory("input")?;
                file.write_all(&text)?;
                file.rewind()?;
                command.stdin(file);
                Ok(())
            }),
        };
        let started = prepared.and_then(|()| {
            let mut child = command.spawn()?;
            let pid =
                i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id is positive");
            let pidfd = match loam_sys::open_process(pid) {
                Ok(pidfd) => pidfd,
                Err(error) => {
                    child.kill()?;
                    child.wait()?;
                    return Err(error.into());
                }
            };
            Ok(Running { child, pidfd, output, deadline: Instant::now() + limit })
        });
        started.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => ErrorKind::NotFound,
                _ => ErrorKind::Internal,
            };
            Failure::new(kind, format!("runtime `{}` can't be run", self.program.display())).caused_by(error)
        })
    }

    /// Waits until the program ends, or something else can be read: then it answers true. At the deadline everything
    /// that the program has started is killed.
    fn wait(&self, running: &mut Running, other: Option<BorrowedFd<'_>>) -> Result<bool> {
        loop {
            let left = running.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.kill(running));
            }
            let left = Timespec::try_from(left).expect("two minutes fit");
            let mut descriptors = vec![PollFd::new(&running.pidfd, PollFlags::IN)];
            descriptors.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
            match rustix::event::poll(&mut descriptors, Some(&left)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => {
                    self.kill(running);
                    return Err(self.failed("waiting for it", error.into()));
                }
            }
            let ready = |at: usize| descriptors.get(at).is_some_and(|one| !one.revents().is_empty());
            if ready(1) {
                return Ok(true);
            }
            if ready(0) {
                return Ok(false);
            }
        }
    }

    fn kill(&self, running: &mut Running) -> Failure {
        let group =
            i32::try_from(running.child.id()).ok().and_then(Pid::from_raw).expect("a process id is positive");
        // It may have ended this moment; reaping it succeeds either way.
        let _ended_already = rustix::process::kill_process_group(group, Signal::KILL);
        let _reaped_already = running.child.wait();
        let message = format!("{} did not end in time and was killed", self.name());
        Failure::new(ErrorKind::Unavailable, message)
    }

    fn finish(&self, mut running: Running, command: Option<&str>) -> Result<()> {
        let status = running.child.wait().map_err(|error| self.failed("waiting for it", error))?;
        if status.success() {
            return Ok(());
        }
        let said = running.output.as_mut().map(take_output).unwrap_or_default();
        Err(self.explain(status, &said, command))
    }

    /// Makes the failure of a call from what the program said.
    fn explain(&self, status: ExitStatus, output: &str, command: Option<&str>) -> Failure {
        let log = File::open(&self.log).map(|file| read_bounded(file, MAX_OUTPUT)).unwrap_or_default();
        let said = explain::message(&log, output);
        let kind = explain::kind(&said, command.is_some());
        let message = match (kind, command) {
            (ErrorKind::CommandNotFound, Some(command)) => {
                format!("`{}` does not exist in the container", shown(command))
            }
            (ErrorKind::CommandNotExecutable, Some(command)) => {
                format!("`{}` can't be executed", shown(command))
            }
            _ => format!("{} failed", self.name()),
        };
        let said = if said.is_empty() { status.to_string() } else { said };
        Failure::new(kind, message).caused_by(io::Error::other(said))
    }

    fn failed(&self, step: &str, error: io::Error) -> Failure {
        Failure::new(ErrorKind::Internal, format!("{}: {step} failed", self.name())).caused_by(error)
    }

    fn name(&self) -> String {
        format!("`{} {}`", self.program.display(), self.verb)
    }
}

fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?))
}

/// Sends both outputs to memory that can't grow: a program that talks without end gets an error, and one that leaves a
/// process behind with the descriptors keeps nobody waiting.
fn keep_output(command: &mut Command, output: &mut Option<File>) -> io::Result<()> {
    let file = memory("output")?;
    file.set_len(MAX_OUTPUT)?;
    rustix::fs::fcntl_add_seals(file.as_fd(), SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    command.stdout(file.try_clone()?).stderr(file.try_clone()?);
    *output = Some(file);
    Ok(())
}

/// What was written: up to the position that the program's descriptors share with ours.
fn take_output(file: &mut File) -> String {
    let length = file.stream_position().unwrap_or(0).min(MAX_OUTPUT);
    if file.seek(SeekFrom::Start(0)).is_err() {
        return String::new();
    }
    read_bounded(file, length)
}

fn read_bounded(file: impl Read, most: u64) -> String {
    let mut bytes = Vec::new();
    // Half a message is better than none.
    let _as_far_as_it_goes = file.take(most).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
