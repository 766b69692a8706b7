//! The system calls of Loam's programs as strace(1) sees them: what was asked of the kernel, not what came of it.
//!
//! A line a call: the process's id, then the call with its arguments, a descriptor as `7</path/of/the/file>`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Host, program, until};

/// A trace that goes on.
#[derive(Debug)]
pub struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    /// Runs `loam` with these environment variables, and traces it with all that it starts: its shim, and the container.
    pub fn of(host: &Host, calls: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let (root, run) = (host.root().display().to_string(), host.run_directory().display().to_string());
        let loam = program("loam");
        let command = [&["-qq", "--", &loam, "--root", &root, "--run", &run], arguments].concat();
        Self::begin(host, calls, variables, &command, Stdio::inherit())
    }

    /// Traces a process that is there, and all that it starts from now on.
    pub fn attach(host: &Host, calls: &str, pid: u64) -> Self {
        let mut trace = Self::begin(host, calls, &[], &["-p", &pid.to_string()], Stdio::piped());
        let mut line = String::new();
        let said = trace.strace.stderr.as_mut().expect("piped");
        BufReader::new(said).read_line(&mut line).expect("strace says what it does");
        assert!(line.contains("attached"), "{line}");
        trace
    }

    fn begin(
        host: &Host,
        calls: &str,
        variables: &[(&str, &str)],
        arguments: &[&str],
        errors: Stdio,
    ) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = host.scratch().join(format!("trace-{number}"));
        let mut strace = host.command("strace");
        strace.args(["-f", "-y", "-s", "256", "-e", "signal=none", "-e", &format!("trace={calls}"), "-o"]);
        strace.arg(&file).args(arguments).envs(variables.iter().copied());
        let strace = strace.stdout(Stdio::null()).stderr(errors).spawn().expect("strace runs");
        Self { strace, file }
    }

    /// Waits until everything that is traced has ended, and gives what it has called.
    pub fn end(mut self) -> Vec<String> {
        until("everything that is traced has ended", || self.strace.try_wait().expect("a child"));
        let text = fs::read(&self.file).expect("a trace");
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // After a failure; what was traced goes on.
        if !matches!(self.strace.try_wait(), Ok(Some(_))) {
            let _ended = self.strace.kill().and_then(|()| self.strace.wait()).is_ok();
        }
    }
}

/// The calls in a trace whose line has all of these words.
pub fn with_words<'a>(calls: &'a [String], words: &[&str]) -> Vec<&'a str> {
    calls.iter().map(String::as_str).filter(|call| words.iter().all(|word| call.contains(word))).collect()
}
