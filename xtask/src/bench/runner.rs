//! The process inside an arena that starts the measured commands, so that no measurement pays for entering the
//! namespaces and cgroups. It reads one JSON request a line and answers each with one line.

use std::io::{BufRead as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// A command to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// How often the command runs at once; the answer's time is until the last has ended. Word `{}` becomes a number.
    pub(crate) parallel: usize,
    /// How many runs in all.
    pub(crate) total: usize,
    /// Leaves the process running and answers at once.
    pub(crate) background: bool,
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Microseconds from before the first start to after the last end.
    pub(crate) wall_us: u64,
    /// The first exit code that is not 0.
    pub(crate) code: i32,
    /// What was printed, the last of it.
    pub(crate) output: String,
}

/// Serves requests until standard input ends; then ends what it left running in the background.
pub(crate) fn serve() -> Result<()> {
    let mut background = Vec::new();
    let mut stdout = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let answer = if request.background {
            background.push(command(&request.argv, 0).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
            Answer { wall_us: 0, code: 0, output: String::new() }
        } else {
            run(&request)?
        };
        writeln!(stdout, "{}", serde_json::to_string(&answer)?)?;
        stdout.flush()?;
    }
    for mut child in background {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

fn run(request: &Request) -> Result<Answer> {
    let mut answer = Answer { wall_us: 0, code: 0, output: String::new() };
    let begin = Instant::now();
    let mut next = 0;
    let mut running = std::collections::VecDeque::new();
    while next < request.total || !running.is_empty() {
        while next < request.total && running.len() < request.parallel {
            let child = command(&request.argv, next).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            running.push_back(child.with_context(|| format!("`{}` can't be run", request.argv[0]))?);
            next += 1;
        }
        let Some(child) = running.pop_front() else { break };
        let output = child.wait_with_output()?;
        if !output.status.success() && answer.code == 0 {
            answer.code = output.status.code().unwrap_or(255);
        }
        answer.output =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    }
    answer.wall_us = u64::try_from(begin.elapsed().as_micros())?;
    Ok(answer)
}

fn command(argv: &[String], number: usize) -> Command {
    let mut words = argv.iter().map(|word| word.replace("{}", &number.to_string()));
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdin(Stdio::null());
    command
}
