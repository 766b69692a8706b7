//! Running a program to its end, within a time and with a bound on what it says.
//!
//! One loop waits for the program's end and for its pipes. When it has ended, what is in the pipes is taken and the call
//! is over, whoever else holds them; one that closed its pipes and runs on is waited for like any other. When its time is
//! up, or it says too much, its process group is killed. Whatever happens, it has been waited for in the end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often the program's end is looked for where the kernel does not tell of it.
const LOOK: Duration = Duration::from_millis(5);
/// How much is read at once.
const PART: usize = 64 << 10;

/// What a program may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it may run.
    pub time: Duration,
    /// How many bytes it may say, to standard output and to standard error.
    pub output: usize,
}

/// What a program left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it gave.
    pub stdout: Vec<u8>,
    /// What it said.
    pub stderr: Vec<u8>,
}

/// Runs a program in a process group of its own, so that nothing of it is left when its time is up. A failure says, after
/// the program's name, what was wrong.
pub(crate) fn run(mut program: Command, input: &[u8], limits: Limits) -> Result<Output, String> {
    program.stdin(Stdio::piped());
    execute(program, input, limits)
}

/// Does the same with a file to read, from where it stands. Whoever the program starts and lends the file to has its
/// locks, too.
pub fn run_reading(mut program: Command, input: File, limits: Limits) -> Result<Output, String> {
    program.stdin(input);
    execute(program, &[], limits)
}

fn execute(mut program: Command, input: &[u8], limits: Limits) -> Result<Output, String> {
    program.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    loam_sys::unblock_signals_in_child(&mut program);
    let deadline = Instant::now() + limits.time;
    let mut child = program.spawn().map_err(|cause| format!("can't be executed: {cause}"))?;
    // Where a sandbox refuses this, or there are no more descriptors, its end is looked for.
    let end = loam_sys::open_process(Pid::from_child(&child)).ok();
    let mut reaped = false;
    let output = Execution::new(&mut child, input, limits.output)
        .and_then(|run| run.finish(end.as_ref(), deadline, &mut reaped));
    if output.is_err() && !reaped {
        // It may have ended by itself meanwhile. The group exists as long as its leader has not been waited for.
        kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap_or_default();
        child.wait().map_err(|cause| format!("can't be waited for: {cause}"))?;
    }
    output
}

/// A program that runs.
struct Execution<'a> {
    child: &'a mut Child,
    /// Where its input goes, and what of that it has not taken yet.
    input: Option<(File, &'a [u8])>,
    outputs: [Stream; 2],
}

impl<'a> Execution<'a> {
    fn new(child: &'a mut Child, input: &'a [u8], most: usize) -> Result<Self, String> {
        let stdin = child.stdin.take().map(OwnedFd::from);
        let outputs = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        for pipe in stdin.iter().chain(outputs.iter().flatten()) {
            ioctl_fionbio(pipe, true).map_err(|errno| format!("can't be listened to: {errno}"))?;
        }
        let input = stdin.map(|pipe| (File::from(pipe), input));
        let outputs = outputs.map(|pipe| Stream { pipe: pipe.map(File::from), said: Vec::new(), most });
        Ok(Self { child, input, outputs })
    }

    /// Attends to the program until it has ended.
    fn finish(
        mut self,
        end: Option<&OwnedFd>,
        deadline: Instant,
        reaped: &mut bool,
    ) -> Result<Output, String> {
        loop {
            let status = self.child.try_wait().map_err(|cause| format!("can't be waited for: {cause}"))?;
            if let Some(status) = status {
                *reaped = true;
                // What it has said is in the pipes by now; what others say who hold them is nobody's.
                for stream in &mut self.outputs {
                    stream.drain()?;
                }
                let [stdout, stderr] = self.outputs.map(|stream| stream.said);
                return Ok(Output { status, stdout, stderr });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("did not finish within its time".to_owned());
            }
            self.wait(end, left)?;
            self.feed();
            for stream in &mut self.outputs {
                stream.read(PART)?;
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self, end: Option<&OwnedFd>, left: Duration) -> Result<(), String> {
        let mut waited = Vec::with_capacity(4);
        waited.extend(end.map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        waited.extend(self.input.iter().map(|(pipe, _)| PollFd::new(pipe, PollFlags::OUT)));
        let pipes = self.outputs.iter().filter_map(|stream| stream.pipe.as_ref());
        waited.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let left = if end.is_some() { left } else { left.min(LOOK) };
        let limit =
            Timespec::try_from(left).map_err(|_| "may run for longer than can be waited".to_owned())?;
        match poll(&mut waited, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(format!("can't be waited for: {errno}")),
        }
    }

    /// Hands over what the program takes of its input. That it does not read it to the end is no error.
    fn feed(&mut self) {
        let Some((pipe, left)) = &mut self.input else { return };
        match pipe.write(left) {
            Ok(length) => *left = left.get(length..).unwrap_or_default(),
            Err(cause) if is_transient(&cause) => return,
            Err(_) => *left = &[],
        }
        if left.is_empty() {
            self.input = None;
        }
    }
}

/// One of the program's outputs.
struct Stream {
    /// The pipe, until its end was read.
    pipe: Option<File>,
    said: Vec<u8>,
    most: usize,
}

impl Stream {
    /// Reads what is there, of that so much, without waiting.
    fn read(&mut self, most: usize) -> Result<(), String> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let before = self.said.len();
        self.said.resize(before + most, 0);
        let read = pipe.read(&mut self.said[before..]);
        self.said.truncate(before + read.as_ref().map_or(0, |length| *length));
        match read {
            Ok(0) => self.pipe = None,
            Ok(_) => {}
            Err(cause) if is_transient(&cause) => {}
            Err(cause) => return Err(format!("can't be read: {cause}")),
        }
        if self.said.len() > self.most {
            return Err(format!("says more than {} bytes", self.most));
        }
        Ok(())
    }

    /// Reads what is there at this moment, all of it.
    fn drain(&mut self) -> Result<(), String> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        let there = ioctl_fionread(pipe.as_fd()).map_err(|errno| format!("can't be read: {errno}"))?;
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(self.most.saturating_add(1));
        if there == 0 { Ok(()) } else { self.read(there) }
    }
}

fn is_transient(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
