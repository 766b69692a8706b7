//! One target running for a while, and what is told of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::directory;

/// The longest input, in bytes.
const LONGEST: u32 = 16 * 1024;
/// How long one input may take, in seconds.
const PATIENCE: u32 = 10;
/// As much memory a target may take, in mebibytes: a zstd window has 128.
const MEMORY: u32 = 1024;

/// What came of a target.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) target: String,
    /// How many inputs were run.
    executions: String,
    seconds: u64,
    /// How many places of the code were reached.
    coverage: String,
    /// The input that broke a promise, or the log when there is none, and what was said.
    finding: Option<(PathBuf, String)>,
}

/// The program, told to run a target.
pub(super) fn program(program: &Path, target: &str, scratch: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("LOAM_FUZZ_TARGET", target)
        .env("TMPDIR", scratch)
        .args([format!("-timeout={PATIENCE}"), format!("-rss_limit_mb={MEMORY}")]);
    command
}

impl Round {
    /// Runs a target to its end.
    pub(super) fn run(path: &Path, target: &str, seconds: u64, scratch: &Path) -> Result<Self> {
        let place = directory().join(target);
        let log = place.join("log");
        let written =
            fs::File::create(&log).with_context(|| format!("`{}` can't be written", log.display()))?;
        let began = Instant::now();
        let status = program(path, target, scratch)
            .args([format!("-max_total_time={seconds}"), format!("-max_len={LONGEST}")])
            .args(["-print_final_stats=1", "-reload=0"])
            .arg(format!("-dict={}", place.join("words").display()))
            .arg(format!("-artifact_prefix={}/", place.join("findings").display()))
            .args([place.join("corpus"), place.join("seeds")])
            .stdout(written.try_clone()?)
            .stderr(written)
            .status()
            .with_context(|| format!("`{}` can't be run", path.display()))?;
        let seconds = began.elapsed().as_secs();
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let after =
            |word: &str| said.lines().rev().find_map(|line| Some(line.split_once(word)?.1.trim().to_owned()));
        let first = |text: String| text.split_whitespace().next().unwrap_or("-").to_owned();
        let finding = (!status.success()).then(|| {
            let input = after("Test unit written to ").map_or_else(|| log.clone(), PathBuf::from);
            (input, reason(&said).unwrap_or_else(|| status.to_string()))
        });
        Ok(Self {
            target: target.to_owned(),
            executions: after("stat::number_of_executed_units:").map_or_else(|| "-".to_owned(), first),
            seconds,
            coverage: after(" cov: ").map_or_else(|| "-".to_owned(), first),
            finding,
        })
    }

    /// What a person needs to know of a finding.
    pub(super) fn finding(&self) -> Option<String> {
        let (input, reason) = self.finding.as_ref()?;
        let (target, input) = (&self.target, input.display());
        Some(format!("{target} broke: {reason}\n   to repeat it: ./x fuzz {target} --input {input}"))
    }
}

/// Why a target ended: the panic and its message, or libFuzzer's own words.
fn reason(said: &str) -> Option<String> {
    let mut lines = said.lines();
    while let Some(line) = lines.next() {
        if line.contains(" panicked at ") {
            let place = line.split(" panicked at ").nth(1).unwrap_or_default();
            let message: Vec<&str> =
                lines.by_ref().take(3).take_while(|line| !line.starts_with("note: ")).collect();
            return Some(format!("{place} {}", message.join(" ")));
        }
        if let Some((_, words)) = line.split_once("ERROR: libFuzzer: ") {
            return Some(words.to_owned());
        }
    }
    None
}

/// All rounds in a table.
pub(super) fn table(rounds: &[Round]) -> String {
    let mut text =
        format!("\n{:<14} {:>12} {:>8} {:>9}  result\n", "target", "executions", "seconds", "coverage");
    for round in rounds {
        let result = if round.finding.is_some() { "broke a promise" } else { "held" };
        let Round { target, executions, seconds, coverage, .. } = round;
        text.push_str(&format!("{target:<14} {executions:>12} {seconds:>8} {coverage:>9}  {result}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_panic_or_libfuzzer_s() {
        let panic = "#9 NEW cov: 5\n\nthread '<unnamed>' (7) panicked at fuzz/src/x.rs:4:9:\nassertion failed: a\nnote: run with\n==7== ERROR: libFuzzer: deadly signal\n";
        assert_eq!(reason(panic).as_deref(), Some("fuzz/src/x.rs:4:9: assertion failed: a"));
        let slow = "==7== ERROR: libFuzzer: timeout after 10 seconds\n";
        assert_eq!(reason(slow).as_deref(), Some("timeout after 10 seconds"));
        assert_eq!(reason("Done 9 runs"), None);
    }

    #[test]
    fn a_finding_says_how_it_is_repeated() {
        let round = Round {
            target: "names".to_owned(),
            executions: "12".to_owned(),
            seconds: 3,
            coverage: "45".to_owned(),
            finding: Some(("crash-1".into(), "it broke".to_owned())),
        };
        let told = round.finding().expect("a finding");
        assert_eq!(told, "names broke: it broke\n   to repeat it: ./x fuzz names --input crash-1");
        assert!(table(&[round]).ends_with("          12        3        45  broke a promise\n"));
    }
}
