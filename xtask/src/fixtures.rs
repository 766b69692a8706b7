//! `./x fixtures`: images for tests and benchmarks, made once by other people's tools and kept.

use std::path::{Path, PathBuf};

use anyhow::Result;
use loam_testkit::images::{self, Fixture};
use loam_testkit::registry;

use crate::packages::{self, TEST};
use crate::shell::{cache, note, print};

/// Where the images are kept.
pub(crate) fn directory() -> PathBuf {
    std::env::var_os("LOAM_FIXTURES").map_or_else(|| cache().join("fixtures"), PathBuf::from)
}

/// Makes every image.
pub(crate) fn fixtures(_arguments: &[String]) -> Result<()> {
    packages::require(&[TEST])?;
    all()?;
    print(&format!("{}\n", directory().display()))
}

/// What the end-to-end tests run.
pub(crate) fn for_tests() -> Result<()> {
    note("making the fixture images, if they are not there");
    images::prepare(&directory(), &[Fixture::Small, Fixture::Python])
}

/// All of them: what the unit ring tries, and what the benchmarks run.
pub(crate) fn all() -> Result<()> {
    for_tests()?;
    images::prepare(&directory(), &[Fixture::Many])
}

/// What the benchmarks pull, as a name in the registry.
pub(crate) const BENCHMARK_IMAGES: &[&str] = &["small", "python:gzip", "python:zstd", "many"];

/// A registry's storage with all images in it.
pub(crate) fn registry_storage() -> Result<PathBuf> {
    images::registry_storage(&directory(), &[Fixture::Small, Fixture::Python, Fixture::Many])
}

/// The command that serves a storage at an address; its configuration is written into a directory.
pub(crate) fn registry_command(storage: &Path, address: &str, configuration: &Path) -> Result<Vec<String>> {
    registry::command(storage, address, configuration)
}
