//! `./x lint`: what a reviewer should never have to say.

use anyhow::{Result, bail};

use crate::programs::cargo;
use crate::shell::{print, run};

const USAGE: &str = "\
usage: ./x lint [--format]

Checks formatting, then runs clippy with warnings denied.

  --format  checks formatting only
";

/// Checks formatting, then runs clippy with warnings denied.
pub(crate) fn lint(arguments: &[String]) -> Result<()> {
    let only_format = match arguments {
        [] => false,
        [option] if option == "--format" => true,
        [option] if option == "--help" || option == "-h" => return print(USAGE),
        [other, ..] => bail!("`{other}` is not an option\n{USAGE}"),
    };
    run(cargo().args(["fmt", "--all", "--check"]))?;
    if only_format {
        return Ok(());
    }
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
