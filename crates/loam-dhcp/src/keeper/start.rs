//! The start of a keeper that nobody waits for: a process that belongs to nobody, has nothing of its caller's open, and
//! says when it is ready.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command as Program, Stdio};

use super::arguments::Arguments;
use super::listener::{Listener, Opened};
use super::log::Log;
use super::run::Keeper;
use crate::place::Interfaces;

/// What a keeper says when it can be asked.
const READY: &str = "ready";
/// The longest complaint that is passed on.
const MAX_COMPLAINT: u64 = 4096;

/// Starts a keeper in the background and waits until it can be asked. It is no child of the caller's: this process ends.
pub(super) fn start(arguments: &Arguments) -> Result<(), String> {
    let program =
        std::env::current_exe().map_err(|cause| format!("this program's path is not known: {cause}"))?;
    let mut child = Program::new(&program)
        .arg0("loam-cni")
        .args(["dhcp", "background", "-socketpath"])
        .arg(&arguments.socket)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|cause| format!("`{}` can't be executed: {cause}", program.display()))?;
    let mut said = String::new();
    let stdout = child.stdout.take().ok_or("it has no output")?;
    stdout
        .take(MAX_COMPLAINT)
        .read_to_string(&mut said)
        .map_err(|cause| format!("reading from the keeper failed: {cause}"))?;
    match said.trim() {
        READY => Ok(()),
        "" => Err("the keeper ended early".into()),
        complaint => Err(complaint.to_owned()),
    }
}

/// The keeper in the background.
pub(super) fn background(arguments: &Arguments, interfaces: &'static dyn Interfaces) -> Result<(), String> {
    // Standard output is told the one word, and then closed like the rest.
    let opened = leave_the_caller().and_then(|()| Listener::open(&arguments.socket));
    let made = match opened {
        Ok(Opened::Taken) => return say(READY),
        Ok(Opened::Ours(listener, records)) => {
            let log = Log::File(records.path().join("log"));
            Keeper::new(arguments.clone(), listener, records, log, interfaces)
        }
        Err(told) => Err(told),
    };
    match made {
        Ok(mut keeper) => {
            say(READY)?;
            keeper.run(false)
        }
        Err(told) => say(&told),
    }
}

/// Nothing of the caller's is kept: descriptors, terminal and session, directory.
fn leave_the_caller() -> Result<(), String> {
    let failed = |cause: std::io::Error| format!("leaving the caller's session failed: {cause}");
    loam_sys::close_from(3).map_err(failed)?;
    rustix::process::setsid().map_err(|errno| failed(errno.into()))?;
    rustix::process::chdir("/").map_err(|errno| failed(errno.into()))
}

/// Says a word on standard output, and closes that.
fn say(word: &str) -> Result<(), String> {
    let said = rustix::io::write(rustix::stdio::stdout(), word.as_bytes());
    said.map_err(|errno| format!("answering failed: {errno}"))?;
    let nowhere = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let nowhere = nowhere.map_err(|cause| format!("opening `/dev/null` failed: {cause}"))?;
    rustix::stdio::dup2_stdout(&nowhere).map_err(|errno| format!("closing the output failed: {errno}"))
}
