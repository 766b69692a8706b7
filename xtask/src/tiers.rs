//! Where each end-to-end test ran.
//!
//! A tier is a machine that runs the end-to-end tests: the host, or one of the guests. All tiers run the same tests; a test
//! that needs what a tier lacks says so and is left to another one. The record of what ran, of a run that passed, is kept:
//!
//! ```text
//! .cache/tiers/TIER    `build` and the digest of the tested programs, then a line a test: its name, a tab, and `ran` or
//!                      `lacks` and the needs that were not met
//! ```
//!
//! Records of other programs than the ones at hand count for nothing, and are replaced. A file gets its name when it is
//! whole. The [`Summary`] joins the records.

mod record;
mod summary;

use anyhow::{Result, ensure};
use loam_tests::Need;

use crate::programs::Build;
use crate::shell::print;
use crate::vm::Target;
pub(crate) use record::keep;
use summary::Summary;

/// A machine that runs the end-to-end tests.
#[derive(Clone, Debug)]
pub(crate) struct Tier {
    /// Its name.
    pub(crate) name: String,
    /// What tests may count on here. A tier that lacks some of it is broken.
    pub(crate) provides: Vec<Need>,
}

impl Tier {
    /// The machine that we are on, of which nothing is known beforehand.
    pub(crate) fn host() -> Self {
        Self { name: "host".to_owned(), provides: Vec::new() }
    }

    fn provides(&self, need: &str) -> bool {
        self.provides.iter().any(|provided| provided.to_string() == need)
    }

    /// All there are.
    fn all() -> Vec<Self> {
        std::iter::once(Self::host()).chain(Target::ALL.map(Target::tier)).collect()
    }
}

/// Prints on which tiers the tests with these words in their names ran, and fails when one ran on none although one of
/// the tiers that were passed just now should have run it.
pub(crate) fn report(build: &Build, filters: &[String], passed: &[Tier]) -> Result<()> {
    let summary = Summary::of(build, filters)?;
    print(&summary.text())?;
    let problems = summary.problems(passed);
    ensure!(problems.is_empty(), "{}", problems.join("\nx: "));
    Ok(())
}

/// What a guest is asked for after the host: all tests, when none of the guests has been asked for them, then those that have
/// run on no tier and that this one can run.
pub(crate) fn left_to(build: &Build, tier: &Tier) -> Result<Vec<String>> {
    let summary = Summary::of(build, &[])?;
    let mut left = summary.left_to(tier);
    left.extend(summary.tried_in_no_guest());
    left.sort();
    left.dedup();
    Ok(left)
}
