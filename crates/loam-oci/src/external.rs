//! Runtime programs: `runc`, `crun`, or any other that speaks the same command line.
//!
//! What they keep and are told lies in the container's run directory, and goes with the container:
//!
//! ```text
//! runtime/            the program's own state (its `--root`)
//! runtime.log         what the last call had to say
//! runtime.pid         the process that the last call made
//! runtime.json        the process that the last `exec` was asked for
//! runtime.sock        where a terminal is handed over, only during a call
//! ```
//!
//! One call runs at a time. The program's standard streams are the new process's own, so that what it has to say of
//! itself is in its log. After a crash [`Runtime::delete`] of a new [`ExecRuntime`] for the same directory finds and
//! removes everything.

mod call;
mod compatibility;
mod console;
mod explain;
mod program;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use loam_model::oci_spec::runtime::{BoxBuilder, LinuxResources, Process};
use loam_model::{
    CgroupDriver, CgroupPlace, ContainerId, CreateRequest, CreatedProcess, ErrorKind, ExecRequest, Failure,
    ProcessStdio, Result, Runtime, Stats, TerminalSize,
};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::cgroup::Cgroup;
use crate::character_device::{NULL, is_character_device};
use call::{Call, Streams};
use console::Console;

/// How long a program may take to make a container: a hook may wait for something far away.
const CREATE: Duration = Duration::from_secs(120);
/// How long it may take for everything that only tells a process something.
const TELL: Duration = Duration::from_secs(10);
/// How long it may take for the rest.
const WORK: Duration = Duration::from_secs(30);
/// A process id and a line end.
const MAX_PID_BYTES: u64 = 32;

/// A program that speaks the OCI runtime command line.
#[derive(Debug)]
pub struct ExecRuntime {
    program: PathBuf,
    /// Where it is looked for, and what it gets as `PATH`.
    search_path: String,
    id: ContainerId,
    directory: PathBuf,
    /// Where its cgroup is, as the configuration has it, once it was made.
    cgroup: Option<String>,
    /// The first word of its command, once it was made.
    command: String,
}

impl ExecRuntime {
    /// Names the program, by path or by a name to be looked for in a search path, such as the environment's `PATH`, when
    /// it is first needed; and the container's run directory.
    pub fn new(program: PathBuf, search_path: Option<String>, id: ContainerId, run_dir: PathBuf) -> Self {
        let search_path = search_path.filter(|path| !path.is_empty());
        let search_path = search_path.unwrap_or_else(|| program::DEFAULT_SEARCH_PATH.to_owned());
        Self { program, search_path, id, directory: run_dir, cgroup: None, command: String::new() }
    }

    /// Begins a call. The id goes last, behind the verb's arguments.
    fn call(&self, verb: &'static str) -> Result<Call> {
        let program = program::find(&self.program, &self.search_path)?;
        let place = self.cgroup.as_deref().and_then(|place| place.parse::<CgroupPlace>().ok());
        let driver = place.map_or(CgroupDriver::Cgroupfs, |place| place.driver());
        Ok(Call::new(program, self.search_path.clone(), &self.directory, driver, verb))
    }

    /// Makes a process: `create` or `exec`.
    fn spawn(&self, mut call: Call, stdio: ProcessStdio, command: &str) -> Result<CreatedProcess> {
        let pid_file = self.directory.join("runtime.pid");
        remove(&pid_file)?;
        call.argument("--pid-file").argument(&pid_file);
        let mut terminal = None;
        let mut listener = None;
        let streams = match stdio {
            ProcessStdio::Terminal(size) => {
                let console = Console::listen(&self.directory, size)?;
                call.argument("--console-socket").argument(console.path());
                listener = Some(console);
                Streams::None
            }
            ProcessStdio::Descriptors { stdin, stdout, stderr } => {
                Streams::These(of_its_own(stdin)?, stdout, stderr)
            }
        };
        call.argument(self.id.as_str());
        match listener {
            Some(console) => terminal = Some(call.run_with_console(CREATE, streams, console, command)?),
            None => call.run(CREATE, streams, Some(command))?,
        }
        let (pid, pidfd) = self.made(&pid_file)?;
        Ok(CreatedProcess { pid, pidfd, terminal })
    }

    /// The process that a call made, from the file it wrote.
    fn made(&self, pid_file: &Path) -> Result<(i32, OwnedFd)> {
        let strange = |why: &str| {
            let message =
                format!("runtime `{}` did not say which process it made: {why}", self.program.display());
            Failure::new(ErrorKind::Internal, message)
        };
        let text =
            read_small(pid_file).map_err(|error| strange("its file can't be read").caused_by(error))?;
        let pid = text.trim().parse().ok().filter(|&pid: &i32| pid > 1).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| strange("its file holds no process id"))?;
        let pidfd = loam_sys::open_process(pid)
            .map_err(|error| strange("the process is gone").caused_by(io::Error::from(error)))?;
        // Only a child of ours has an end that we hear of.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd)), look).map_err(|error| {
            strange("the process is not the shim's child").caused_by(io::Error::from(error))
        })?;
        Ok((pid.as_raw_nonzero().get(), pidfd))
    }

    /// A call that only needs the id.
    fn tell(&self, verb: &'static str, limit: Duration) -> Result<()> {
        let mut call = self.call(verb)?;
        call.argument(self.id.as_str());
        call.run(limit, Streams::None, None)
    }

    fn open_cgroup(&self) -> Result<Cgroup> {
        let path = self.cgroup.as_deref().ok_or_else(|| {
            Failure::new(ErrorKind::Conflict, format!("container `{}` was not created", self.id.short()))
        })?;
        Cgroup::open(path)
    }

    /// Removes what the program may have left: its state, the cgroup and what runs there, the files of the calls.
    fn clean_up(&self) -> Result<()> {
        let mut failures = Vec::new();
        if let Some(path) = self.cgroup.as_deref() {
            failures.extend(Cgroup::remove_path(path).err());
        }
        for name in ["runtime.log", "runtime.pid", "runtime.json", "runtime.sock"] {
            failures.extend(remove(&self.directory.join(name)).err());
        }
        let state = self.directory.join("runtime");
        match fs::remove_dir_all(&state) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => failures.push(
                Failure::new(ErrorKind::Internal, format!("removing `{}` failed", state.display()))
                    .caused_by(error),
            ),
            _ => {}
        }
        Failure::join(failures).map_or(Ok(()), Err)
    }
}

impl Runtime for ExecRuntime {
    fn create(
        &mut self,
        request: CreateRequest<'_>,
        namespaces_ready: &mut dyn FnMut(i32),
    ) -> Result<CreatedProcess> {
        let linux = request.spec.linux().as_ref();
        self.cgroup = linux
            .and_then(|linux| linux.cgroups_path().as_ref())
            .and_then(|path| path.to_str())
            .map(str::to_owned);
        self.command = first_word(request.spec.process().as_ref());
        let mut call = self.call("create")?;
        call.argument("--bundle").argument(request.bundle);
        match self.spawn(call, request.stdio, &self.command) {
            Ok(created) => {
                namespaces_ready(created.pid);
                Ok(created)
            }
            Err(failure) => {
                // What it could not finish it may not have undone either. The first failure is the one to tell.
                let _told_already = self.delete();
                Err(failure)
            }
        }
    }

    fn start(&mut self) -> Result<()> {
        let mut call = self.call("start")?;
        call.argument(self.id.as_str());
        call.run(TELL, Streams::None, Some(&self.command))
    }

    fn exec(&mut self, request: ExecRequest<'_>) -> Result<CreatedProcess> {
        let file = self.directory.join("runtime.json");
        let mut process = request.process.clone();
        if let ProcessStdio::Terminal(TerminalSize { rows, columns }) = request.stdio
            && rows > 0
            && columns > 0
        {
            // The program may run before the master arrives here: the runtime has to set the size.
            let size = BoxBuilder::default().height(u64::from(rows)).width(u64::from(columns)).build();
            process.set_console_size(size.ok());
        }
        write_private(&file, &process)?;
        let mut call = self.call("exec")?;
        call.argument("--process").argument(&file).argument("--detach");
        let created = self.spawn(call, request.stdio, &first_word(Some(request.process)));
        remove(&file)?;
        created
    }

    fn signal(&mut self, signal: i32, all: bool) -> Result<()> {
        let mut call = self.call("kill")?;
        if all {
            call.argument("--all");
        }
        call.argument(self.id.as_str()).argument(signal.to_string());
        call.run(TELL, Streams::None, None)
    }

    fn pause(&mut self) -> Result<()> {
        self.tell("pause", TELL)
    }

    fn resume(&mut self) -> Result<()> {
        self.tell("resume", TELL)
    }

    fn update(&mut self, resources: &LinuxResources) -> Result<()> {
        let text = serde_json::to_vec(resources).expect("limits are plain data");
        let mut call = self.call("update")?;
        call.argument("--resources").argument("-").argument(self.id.as_str());
        call.run(TELL, Streams::Input(text), None)
    }

    fn stats(&mut self) -> Result<Stats> {
        self.open_cgroup()?.stats()
    }

    fn delete(&mut self) -> Result<()> {
        // A program that keeps nothing knows of no container.
        let known =
            fs::read_dir(self.directory.join("runtime")).is_ok_and(|mut entries| entries.next().is_some());
        let deleted = if known {
            let mut call = self.call("delete")?;
            call.argument("--force").argument(self.id.as_str());
            match call.run(WORK, Streams::None, None) {
                Err(failure) if failure.kind() == ErrorKind::NotFound => Ok(()),
                other => other,
            }
        } else {
            Ok(())
        };
        let cleaned = self.clean_up();
        Failure::join([deleted.err(), cleaned.err()].into_iter().flatten().collect()).map_or(Ok(()), Err)
    }
}

fn first_word(process: Option<&Process>) -> String {
    process.and_then(|process| process.args().as_ref()?.first().cloned()).unwrap_or_default()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::new(ErrorKind::Internal, format!("removing `{}` failed", path.display()))
                .caused_by(error))
        }
        _ => Ok(()),
    }
}

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(fs::File::open(path)?, MAX_PID_BYTES), &mut text)?;
    Ok(text)
}

/// Writes what holds secrets, such as the environment.
fn write_private(path: &Path, process: &Process) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    remove(path)?;
    let text = serde_json::to_vec(process).expect("a process is plain data");
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, &text));
    written.map_err(|error| {
        Failure::new(ErrorKind::Internal, format!("writing `{}` failed", path.display())).caused_by(error)
    })
}

/// Standard input; in place of the null device, which is the whole host's, [nothing] from a pipe.
fn of_its_own(stdin: OwnedFd) -> Result<OwnedFd> {
    let made = match is_character_device(stdin.as_fd(), NULL) {
        Ok(false) => Ok(stdin),
        Ok(true) => nothing(),
        Err(errno) => Err(errno),
    };
    made.map_err(|errno| {
        Failure::new(ErrorKind::Internal, "the process's standard input can't be made").caused_by(errno)
    })
}

/// A pipe that has ended. Some programs give their standard streams to the container's root, as crun does.
fn nothing() -> rustix::io::Result<OwnedFd> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map(|(ended, _)| ended)
}
