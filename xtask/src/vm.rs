//! `./x vm-test` and `./x vm-shell`: the end-to-end tests on another kernel than the host's.
//!
//! A Debian kernel boots in qemu, emulated, so that no acceleration is needed, with a Debian system whose only job is to
//! run the tests. It sees four disks: its root (read-only, covered by memory), the built programs, the fixture images, and
//! an empty journalled file system on `/tmp`. Its first serial line is the person's terminal; on the second one it says how
//! the job ended. Nothing of a run outlives it.

mod archive;
mod debian;
mod disk;
mod initramfs;
mod machine;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::fixtures;
use crate::packages::{self, RUN, TEST, VM};
use crate::programs::{self, Profile};
use crate::shell::{cache, is_root, note, output};
use debian::{Guest, Kernel};
use machine::Machine;

/// Runs the end-to-end tests in a guest. Words are filters for the names of tests.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let (kernel, filters) = options(arguments)?;
    let guest = prepare(kernel)?;
    let programs = programs::build(Profile::Dev)?;
    let tests = programs::end_to_end_tests()?;
    fixtures::for_tests()?;
    let words: Vec<String> = filters.iter().map(|word| quote(word)).collect();
    let job = format!(
        "export LOAM_PROGRAMS=/loam/programs LOAM_FIXTURES=/loam/fixtures\n\
         exec /loam/programs/e2e --test-threads 2 {}\n",
        words.join(" ")
    );
    let code = run(&guest, &programs, Some(&tests), &job)?;
    ensure!(code == 0, "the tests failed in the guest with {code}");
    Ok(())
}

/// Opens a prompt in a guest, with the built programs in `PATH`.
pub(crate) fn shell(arguments: &[String]) -> Result<()> {
    let (kernel, rest) = options(arguments)?;
    ensure!(rest.is_empty(), "`{}` is no option of vm-shell", rest.join(" "));
    let guest = prepare(kernel)?;
    let programs = programs::build(Profile::Dev)?;
    note("the guest ends when the shell does; `exit` or ctrl-d");
    run(&guest, &programs, None, "cd /tmp; exec setsid --ctty --wait bash --norc -i\n").map(drop)
}

fn options(arguments: &[String]) -> Result<(Kernel, Vec<String>)> {
    let mut kernel = Kernel::default();
    let mut rest = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--kernel" => kernel = Kernel::named(words.next().context("`--kernel` needs a version")?)?,
            "--help" => bail!("usage: ./x vm-test [--kernel {}] [FILTER]…", Kernel::NAMES.join("|")),
            other => rest.push(other.to_owned()),
        }
    }
    Ok((kernel, rest))
}

fn prepare(kernel: Kernel) -> Result<Guest> {
    ensure!(
        is_root(),
        "guests are made from packages, with their owners and devices, and so need root: run `sudo ./x vm-test`"
    );
    packages::require(&[RUN, TEST, VM])?;
    Guest::prepare(kernel, &cache().join("vm"))
}

/// Boots the guest and gives the job's exit code.
fn run(guest: &Guest, programs: &std::path::Path, tests: Option<&PathBuf>, job: &str) -> Result<i32> {
    let place = output(Command::new("mktemp").args(["--directory", "--tmpdir", "loam-vm.XXXXXX"]))?;
    let place = PathBuf::from(place.trim());
    let result =
        Machine::new(guest, &place, programs, tests.map(PathBuf::as_path), job).and_then(Machine::run);
    std::fs::remove_dir_all(&place).with_context(|| format!("`{}` can't be removed", place.display()))?;
    result
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
