//! A worker's process, seen from outside.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use loam_sys::without_error_numbers;
use serde::de::DeserializeOwned;

use crate::worker::{Request, Setup, Task};

/// How long the kernel takes for the namespace of an attachment when a worker ends with many of them.
pub(super) const TEARDOWN: Duration = Duration::from_millis(5);
/// How long an answer may take beyond what hanging plugins and growth may take.
const GRACE: Duration = Duration::from_secs(120);
/// How many hanging calls fit into an answer.
const HANGING: u32 = 12;

/// A worker. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    /// The contender's name.
    pub(super) name: String,
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    limit: Duration,
    /// Why it can't be asked any more.
    lost: Option<String>,
}

impl Worker {
    /// Executes this program as worker. One that can't have its place says so when it is asked.
    pub(super) fn start(words: &[String], setup: &Setup) -> io::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            for line in lines {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let plan = &setup.plan;
        let mut worker = Self {
            name: setup.contender.name.clone(),
            input: child.stdin.take(),
            child,
            answers,
            limit: plan.time_limit * HANGING + plan.growth_limit + GRACE,
            lost: None,
        };
        let line = serde_json::to_string(setup)?;
        if let Err(failure) = worker.exchange::<()>(&line) {
            worker.lost = Some(failure);
        }
        Ok(worker)
    }

    /// Asks for something to be done with a list.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, list: usize, task: Task) -> Result<T, String> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        let line = serde_json::to_string(&Request { list, task }).map_err(|error| error.to_string())?;
        self.exchange(&line)
    }

    fn exchange<T: DeserializeOwned>(&mut self, line: &str) -> Result<T, String> {
        let input = self.input.as_mut().ok_or("the worker has no input")?;
        let sent = writeln!(input, "{line}").and_then(|()| input.flush());
        let received = match sent {
            Ok(()) => self.answers.recv_timeout(self.limit).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let Ok(answer) = received else {
            let lost = self.lose();
            return Err(lost);
        };
        let answer: Result<serde_json::Value, String> = serde_json::from_str(&answer)
            .map_err(|error| format!("the worker's answer is not valid: {error}"))?;
        let answer = answer.map_err(|said| without_error_numbers(&said).into_owned())?;
        serde_json::from_value(answer).map_err(|error| format!("the worker's answer is not valid: {error}"))
    }

    /// What has become of a worker that does not answer; it is not asked again.
    fn lose(&mut self) -> String {
        let ended = match self.child.try_wait() {
            Ok(Some(status)) => format!("the worker ended ({status})"),
            _ => format!("the worker did not answer within {} s", self.limit.as_secs()),
        };
        let _ended_already = self.child.kill().is_err();
        self.lost = Some(ended.clone());
        ended
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.input.take());
        let _was_ours = self.child.wait().is_err();
    }
}
