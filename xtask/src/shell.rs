//! Running commands and printing, the way a build script in a shell would.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

/// The workspace's root.
pub(crate) fn workspace() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask lies in the workspace").to_owned()
}

/// Where things that take long to make are kept: fixture images, downloaded packages.
pub(crate) fn cache() -> PathBuf {
    workspace().join(".cache")
}

/// Prints on standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// Tells the person what is going on, on standard error.
pub(crate) fn note(sentence: &str) {
    // A closed standard error is no reason to stop working.
    let _closed = writeln!(std::io::stderr(), "x: {sentence}").is_err();
}

/// Tells how long each part of a task takes.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins with the first part.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Tells of the part that has just ended, and begins with the next one.
    pub(crate) fn lap(&mut self, part: &str) {
        note(&format!("{part} took {} s", self.0.elapsed().as_secs()));
        self.0 = Instant::now();
    }
}

/// Runs a command with the person's streams; a failure names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} can't be run", describe(command)))?;
    ensure!(status.success(), "{} failed: {status}", describe(command));
    Ok(())
}

/// Runs a command and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} can't be run", describe(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}: {}{}",
            describe(command),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether this process has root's rights.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    uids.split_whitespace().nth(1) == Some("0")
}

/// Whether a program is found in `PATH`, or where root's programs are.
pub(crate) fn have(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"])
        .any(|dir| PathBuf::from(dir).join(program).is_file())
}

/// A command as a person would type it.
fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    format!("`{}`", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
}
