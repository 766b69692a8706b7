//! `./x lint`: what a reviewer should never have to say.

use anyhow::Result;

use crate::programs::cargo;
use crate::shell::run;

/// Checks formatting, then runs clippy with warnings denied.
pub(crate) fn lint(_arguments: &[String]) -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}
