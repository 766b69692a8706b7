//! `./x fuzz`: libFuzzer on the targets of `fuzz/`, with the toolchain that everything else is built with.
//!
//! ```text
//! target/fuzz/TARGET/seeds     inputs to begin with, made by code each time
//! target/fuzz/TARGET/words     its dictionary, likewise
//! target/fuzz/TARGET/corpus    inputs that found something new; kept for the next time
//! target/fuzz/TARGET/findings  inputs that broke a promise
//! target/fuzz/TARGET/log       what libFuzzer said last
//! ```

mod round;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::packages::{self, FUZZ};
use crate::programs::{cargo, target_directory};
use crate::shell::{is_root, note, output, print, run, workspace};
use round::Round;

const USAGE: &str = "\
usage: ./x fuzz [--seconds N] [TARGET…]
       ./x fuzz TARGET --input FILE

Feeds the parsers of what comes from strangers with inputs that libFuzzer makes up, for 60 seconds each target, two targets at a
time. Without TARGET, all of them. An input that breaks a promise is kept, and the exit code is 1.

  --seconds N   how long each target runs
  --input FILE  runs a target once, on a kept input
";

/// How long a target runs, in seconds, when nothing else is said.
const SECONDS: u64 = 60;
/// How many targets run at a time.
const AT_A_TIME: usize = 2;

/// What is asked for.
#[derive(Debug, Default)]
struct Asked {
    targets: Vec<String>,
    seconds: Option<u64>,
    input: Option<PathBuf>,
}

/// Builds the targets and runs them.
pub(crate) fn fuzz(arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|word| matches!(word.as_str(), "--help" | "-h")) {
        return print(USAGE);
    }
    let asked = parse(arguments)?;
    packages::require(&[FUZZ])?;
    let program = build()?;
    let known = write_seeds(&program)?;
    for target in &asked.targets {
        ensure!(known.contains(target), "`{target}` is no target; there are {}", known.join(", "));
    }
    let scratch = Scratch::new()?;
    if let Some(input) = &asked.input {
        let [target] = &asked.targets[..] else { bail!("--input needs one target\n{USAGE}") };
        return run(round::program(&program, target, &scratch.0).arg(input));
    }
    if !is_root() {
        note("without root's rights layers are unpacked without devices and owners");
    }
    let targets = if asked.targets.is_empty() { known } else { asked.targets };
    let rounds = run_all(&program, &targets, asked.seconds.unwrap_or(SECONDS), &scratch.0)?;
    print(&round::table(&rounds))?;
    let findings: Vec<String> = rounds.iter().filter_map(Round::finding).collect();
    ensure!(findings.is_empty(), "{}", findings.join("\nx: "));
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Asked> {
    let mut asked = Asked::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "--seconds" => {
                let seconds = value()?.parse().ok().filter(|seconds| *seconds > 0);
                asked.seconds = Some(seconds.context("--seconds needs a number of seconds")?);
            }
            "--input" => {
                let path = value()?;
                let unreadable = || format!("`{path}` can't be read");
                fs::metadata(path).with_context(unreadable)?;
                asked.input = Some(std::path::absolute(path).with_context(unreadable)?);
            }
            option if option.starts_with('-') => bail!("`{option}` is not an option\n{USAGE}"),
            target => asked.targets.push(target.to_owned()),
        }
    }
    Ok(asked)
}

/// Builds the program with all targets. Only the workspace's own crates are instrumented and so built anew; others come from
/// the build that the tests make, which is why everything is selected.
fn build() -> Result<PathBuf> {
    let mut build = cargo();
    build
        .args(["build", "--quiet", "--locked", "--workspace", "--bin", "loam-fuzz"])
        .args(["--features", "loam-fuzz/libfuzzer"])
        .env("RUSTC_WORKSPACE_WRAPPER", workspace().join("fuzz/instrument"));
    run(&mut build)?;
    Ok(target_directory().join("debug/loam-fuzz"))
}

/// Where all that is kept between runs lies.
fn directory() -> PathBuf {
    target_directory().join("fuzz")
}

/// Writes the seeds of all targets anew; the targets' names.
fn write_seeds(program: &Path) -> Result<Vec<String>> {
    let directory = directory();
    let said = output(Command::new(program).env("LOAM_FUZZ_WRITE", &directory))?;
    let targets: Vec<String> = said.lines().map(str::to_owned).collect();
    for target in &targets {
        for kept in ["corpus", "findings"] {
            let path = directory.join(target).join(kept);
            fs::create_dir_all(&path).with_context(|| format!("`{}` can't be made", path.display()))?;
        }
    }
    Ok(targets)
}

/// Runs the targets, some at a time.
fn run_all(program: &Path, targets: &[String], seconds: u64, scratch: &Path) -> Result<Vec<Round>> {
    let waiting: Mutex<VecDeque<&String>> = Mutex::new(targets.iter().collect());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || -> Result<Vec<Round>> {
        let mut rounds = Vec::new();
        while let Some(target) = next() {
            note(&format!("{target} for {seconds} seconds"));
            rounds.push(Round::run(program, target, seconds, scratch)?);
        }
        Ok(rounds)
    };
    let mut rounds = Vec::new();
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            rounds.extend(worker.join().map_err(|_| anyhow!("a worker panicked"))??);
        }
        Ok(())
    })?;
    rounds.sort_by_key(|round| targets.iter().position(|target| *target == round.target));
    Ok(rounds)
}

/// A directory in memory, for what the targets write. It goes with this, also what a target that ended badly left in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = parent.join(format!("loam-fuzz.{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("`{}` can't be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            note(&format!("`{}` is left: {error}", self.0.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn arguments_are_read() {
        let parse =
            |words: &[&str]| super::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let asked = parse(&["unpack", "--seconds", "5", "names"]).expect("fine");
        assert_eq!((asked.targets, asked.seconds), (vec!["unpack".to_owned(), "names".to_owned()], Some(5)));
        assert!(parse(&["x", "--input", "/"]).expect("fine").input.is_some());
        for bad in [&["--seconds"][..], &["--seconds", "0"], &["--input", "/no/such/file"], &["--jobs"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
