//! `./x test`: all the rings that this machine can run.

use std::process::Command;

use anyhow::{Result, bail};

use crate::fixtures;
use crate::packages::{self, RUN, TEST};
use crate::programs::{self, Profile, cargo};
use crate::shell::{is_root, note, run};

/// Runs the unit ring, then as root the end-to-end ring. Words are handed on as filters for the names of tests.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    if !is_root() {
        note("the unit ring first; tests in it that need root say so by name");
        run(&mut unit_ring(arguments))?;
        bail!(
            "the end-to-end ring was refused: it makes namespaces, mounts and cgroups and so needs root; \
             run `sudo ./x test`"
        );
    }
    packages::require(&[RUN, TEST])?;
    // The programs first: tests of single crates start them too.
    let programs = programs::build(Profile::Dev)?;
    run(unit_ring(arguments).env("LOAM_PROGRAMS", &programs))?;
    fixtures::for_tests()?;
    // Asked of the whole workspace, so that it is built with the same features as everything before.
    run(cargo()
        .args(["test", "--locked", "--workspace", "--test", "e2e", "--"])
        .args(arguments)
        .env("LOAM_PROGRAMS", &programs)
        .env("LOAM_FIXTURES", fixtures::directory()))
}

/// All tests but those that drive the built programs end to end.
fn unit_ring(arguments: &[String]) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--quiet", "--locked", "--workspace", "--exclude", "loam-tests", "--"])
        .args(arguments);
    command
}
