//! `./x test`: all the rings, on this machine, and on guests for what it lacks.

use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::fixtures;
use crate::packages::{self, RUN, TEST, VM};
use crate::programs::{Build, cargo};
use crate::shell::{Stopwatch, cache, is_root, note, print, run};
use crate::tiers::{self, Tier};
use crate::vm;

const USAGE: &str = "\
usage: ./x test [--host] [FILTER]…

Passes the unit tests; then, as root, the end-to-end tests on this machine; then all of them once more on a Debian kernel in an
emulated machine, with control groups of version 2, quotas and AppArmor, but for those that an emulator takes minutes for; then
under systemd, and with control groups of version 1, what has run nowhere yet. A table at the end says where each test ran; one
that ran nowhere is a failure.

  --host  stays on this machine; tests that only a guest can run are named and counted
  FILTER  runs the tests whose names contain it, on this machine alone; ./x vm-test FILTER runs them in a guest
";

/// The fewest tests at a time: with one, the harness would run it on its main thread, which has no test's name.
const FEWEST_THREADS: usize = 2;

/// Runs the unit ring, then as root the end-to-end ring. Words are handed on as filters for the names of tests.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let (options, filters): (Vec<String>, Vec<String>) =
        arguments.iter().cloned().partition(|word| word.starts_with('-'));
    let mut host_only = !filters.is_empty();
    for option in &options {
        match option.as_str() {
            "--host" => host_only = true,
            "--help" | "-h" => return print(USAGE),
            other => bail!("`{other}` is not an option\n{USAGE}"),
        }
    }
    if !is_root() {
        note("the unit ring first; tests in it that need root say so by name");
        run(&mut unit_ring(&filters))?;
        bail!(
            "the end-to-end ring was refused: it makes namespaces, mounts and cgroups and so needs root; \
             run `sudo ./x test`"
        );
    }
    if !host_only && !vm::is_possible() {
        note("the guests are x86-64 machines, which run none of this machine's programs, and are left out");
        host_only = true;
    }
    packages::require(if host_only { &[RUN, TEST] } else { &[RUN, TEST, VM] })?;
    // Both mostly wait for packages, and so are done beside the building.
    let guest = (!host_only).then(|| thread::spawn(vm::prepare));
    let images = thread::spawn(fixtures::all);
    let mut watch = Stopwatch::start();
    // The programs first: tests of single crates start them too.
    let build = Build::make()?;
    watch.lap("building");
    images.join().map_err(|_| anyhow!("the making of the fixture images panicked"))??;
    watch.lap("waiting for the fixture images");
    run(unit_ring(&filters).env("LOAM_PROGRAMS", &build.programs))?;
    watch.lap("the unit ring");
    let mut passed = vec![on_host(&build, &filters)?];
    watch.lap("the end-to-end ring on this machine");
    if let Some(guest) = guest {
        guest.join().map_err(|_| anyhow!("the making of the guests panicked"))??;
        passed.extend(vm::complete(&build)?);
        watch.lap("the guests");
    }
    tiers::report(&build, &filters, &passed)
}

/// Passes the end-to-end ring on this machine and keeps its record.
fn on_host(build: &Build, filters: &[String]) -> Result<Tier> {
    let tier = Tier::host();
    let record = cache().join(format!("record.{}", std::process::id()));
    std::fs::write(&record, "").with_context(|| format!("`{}` can't be written", record.display()))?;
    let threads =
        std::thread::available_parallelism().map_or(FEWEST_THREADS, |n| n.get().max(FEWEST_THREADS));
    let passed = run(Command::new(&build.tests)
        .args(["--test-threads", &threads.to_string()])
        .args(filters)
        .env("LOAM_PROGRAMS", &build.programs)
        .env("LOAM_FIXTURES", fixtures::directory())
        .env("LOAM_TEST_RECORD", &record));
    let said = std::fs::read_to_string(&record).unwrap_or_default();
    std::fs::remove_file(&record)?;
    passed?;
    tiers::keep(&tier, build, &said)?;
    Ok(tier)
}

/// All tests but those that drive the built programs end to end.
fn unit_ring(filters: &[String]) -> Command {
    let mut command = cargo();
    command
        // Not the documentation's tests, of which there are none: looking for them reads all crates once more.
        .args([
            "test",
            "--quiet",
            "--locked",
            "--workspace",
            "--exclude",
            "loam-tests",
            "--all-targets",
            "--",
        ])
        .args(filters);
    command
}
