//! `./x vm-test` and `./x vm-shell`: the end-to-end tests on another kernel than the host's.
//!
//! A Debian kernel boots in qemu, emulated, so that no acceleration is needed, with a Debian system whose only job is to
//! run the tests, under a process 1 of our own or under systemd, with control groups of version 2 or 1. It sees four disks: its root (read-only, covered by
//! memory), the built programs, the fixture images, and an empty journalled file system on `/tmp`. Its first serial line is
//! the person's terminal; on the second one the job says when it begins, the tests whether they ran, and the guest how the job ended. Nothing of
//! a run outlives it but that record.

mod archive;
mod debian;
mod disk;
mod first_test;
mod initramfs;
mod machine;
mod target;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};

use crate::fixtures;
use crate::packages::{self, RUN, TEST, VM};
use crate::programs::{self, Build, Profile};
use crate::shell::{cache, is_root, note, output, print};
use crate::tiers::{self, Tier};
use debian::System;
use machine::{Ended, Machine};
use target::Options;
pub(crate) use target::Target;

const USAGE: &str = "\
usage: ./x vm-test [--kernel 6.12|6.1] [--flavour bare|systemd|v1] [FILTER]…
       ./x vm-test --all [FILTER]…
       ./x vm-shell [--kernel 6.12|6.1] [--flavour bare|systemd|v1]

  --kernel   the guest's kernel: Debian's stable one, 6.1, or the backported one, 6.12 (the default, but for v1)
  --flavour  bare: control groups of version 2, nothing runs beside the tests (the default)
             systemd: the same Debian under systemd, with its tree of control groups and D-Bus
             v1: as bare, with control groups of version 1, a hierarchy a controller; with the kernel 6.1 alone
  --all      passes every guest tier: 6.12 bare, 6.12 systemd, 6.1 bare, 6.1 v1
  FILTER     runs the tests whose names contain it

AppArmor is switched on in every guest. At the end a table says on which tiers each test has run, the host's included
when `./x test` passed with the same programs.
";

/// How often a guest is booted that goes down before its job is done.
const BOOTS: u32 = 3;

/// How many tests a guest runs. A boot takes seconds, and what a guest has done that goes down is done again.
const TESTS_A_BOOT: usize = 64;

/// Runs the end-to-end tests in guests. Words are filters for the names of tests.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let mut since = SystemTime::now();
    let options = Options::parse(arguments)?;
    if options.help {
        return print(USAGE);
    }
    require()?;
    let targets = if options.all { Target::ALL.to_vec() } else { vec![options.target] };
    let build = Build::make()?;
    check_filters(&build.list(&[])?, &options.rest)?;
    let tests = build.list(&options.rest)?;
    fixtures::for_tests()?;
    let (mut passed, mut failures) = (Vec::new(), Vec::new());
    for target in targets {
        for some in tests.chunks(TESTS_A_BOOT) {
            match pass(target, &build, some, since) {
                Ok(tier) => passed.push(tier),
                Err(failure) => failures.push(format!("{failure:#}")),
            }
            since = SystemTime::now();
        }
    }
    failures.extend(tiers::report(&build, &options.rest, &passed).err().map(|failure| failure.to_string()));
    ensure!(failures.is_empty(), "{}", failures.join("\nx: "));
    Ok(())
}

/// Opens a prompt in a guest, with the built programs in `PATH`.
pub(crate) fn shell(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    if options.help {
        return print(USAGE);
    }
    ensure!(options.rest.is_empty() && !options.all, "vm-shell opens one guest and takes no tests\n{USAGE}");
    require()?;
    fixtures::for_tests()?;
    let programs = programs::build(Profile::Dev)?;
    note("the guest ends when the shell does; `exit` or ctrl-d");
    // The guest's root is an overlay, which can't hold another one's upper directory; `/tmp` is a file system of its own.
    let job = "cd /tmp; export LOAM_ROOT=/tmp/loam; exec setsid --ctty --wait bash --norc -i\n";
    run(options.target, &programs, None, job).map(drop)
}

/// After the host's tests: all of them in the first guest, then those that have not run anywhere yet, each in the first one
/// that can run it.
pub(crate) fn complete(build: &Build) -> Result<Vec<Tier>> {
    let mut passed = Vec::new();
    for target in Target::ALL {
        let left = tiers::left_to(build, &target.tier())?;
        for some in left.chunks(TESTS_A_BOOT) {
            passed.push(pass(target, build, some, SystemTime::now())?);
        }
    }
    Ok(passed)
}

/// Makes the system of the guests that [`complete`] boots, where it is not there.
pub(crate) fn prepare() -> Result<()> {
    System::prepare(&cache().join("vm")).map(drop)
}

/// Whether this machine can run guests: they have the programs that are built for it.
pub(crate) fn is_possible() -> bool {
    cfg!(target_arch = "x86_64")
}

fn require() -> Result<()> {
    ensure!(
        is_root(),
        "guests are made from packages, with their owners and devices, and so need root: run `sudo ./x vm-test`"
    );
    ensure!(is_possible(), "the guests are x86-64 machines and run programs that are built on one");
    packages::require(&[RUN, TEST, VM])
}

/// Refuses a word that is in no test's name: a guest that runs nothing has no failure to tell.
fn check_filters(tests: &[String], filters: &[String]) -> Result<()> {
    match filters.iter().find(|word| !tests.iter().any(|test| test.contains(word.as_str()))) {
        Some(word) => bail!("no end-to-end test has `{word}` in its name"),
        None => Ok(()),
    }
}

/// Runs these tests on one tier, keeps its record, and tells how long after `since` they began.
fn pass(target: Target, build: &Build, tests: &[String], since: SystemTime) -> Result<Tier> {
    let tier = target.tier();
    note(&format!("the end-to-end tests in a guest: {}", tier.name));
    let words: Vec<String> = tests.iter().map(|word| quote(word)).collect();
    let job = format!(
        "export LOAM_PROGRAMS=/loam/programs LOAM_FIXTURES=/loam/fixtures LOAM_TEST_RECORD=/dev/ttyS1\n\
         date '+{}%s.%N' > $LOAM_TEST_RECORD\n\
         /loam/programs/e2e --test-threads 2 --exact {} && exit\n\
         code=$?\n\
         echo \"guest: the kernel's warnings:\"\n\
         dmesg --level=emerg,alert,crit,err,warn | tail -n 100\n\
         exit $code\n",
        first_test::BEGUN,
        words.join(" ")
    );
    let ended = run(target, &build.programs, Some(&build.tests), &job)?;
    ensure!(ended.code == 0, "the tests failed in the guest {} with {}", tier.name, ended.code);
    let (begun, record) = first_test::split(&ended.record);
    note(&first_test::tell(&tier.name, begun.and_then(|at| at.duration_since(since).ok())));
    tiers::keep(&tier, build, &record)?;
    Ok(tier)
}

/// Boots a guest, which is made when it is not there, and tells how its job ended.
fn run(target: Target, programs: &Path, tests: Option<&Path>, job: &str) -> Result<Ended> {
    let system = System::prepare(&cache().join("vm"))?;
    // The emulator's processors sometimes run what the kernel of the other one is just patching, and the kernel goes down
    // (`Oops: int3`): mostly while it boots, seldom later, when the first container switches one of the kernel's features on.
    // A kernel that tests bring down goes down each time.
    for _ in 0..BOOTS {
        let place = output(Command::new("mktemp").args(["--directory", "--tmpdir", "loam-vm.XXXXXX"]))?;
        let place = PathBuf::from(place.trim());
        let result = Machine::new(&system, target, &place, programs, tests, job).and_then(Machine::run);
        std::fs::remove_dir_all(&place).with_context(|| format!("`{}` can't be removed", place.display()))?;
        match result? {
            Some(ended) => return Ok(ended),
            None => note("the guest went down before its job was done, and is booted again"),
        }
    }
    bail!("the guest went down {BOOTS} times before its job was done")
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_in_no_test_s_name_is_refused() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let check = |filters: &str| check_filters(&words("limits::memory::one run::two"), &words(filters));
        for filters in ["", "limits::", "two", "memory run"] {
            check(filters).unwrap();
        }
        let error = check("memory mermory").unwrap_err().to_string();
        assert_eq!(error, "no end-to-end test has `mermory` in its name");
    }
}
