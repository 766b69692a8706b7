//! Fixture images, made by other people's tools from the recipes in `recipes/`, once, and kept.
//!
//! They live in one directory, [`directory`] unless the caller names another:
//!
//! ```text
//! lock                held while something is made
//! small/              OCI layout: `latest`
//! python/             OCI layout: `gzip`, `zstd`, `index`
//! many/               OCI layout: `latest`
//! registry/           what a registry serves: small:latest, python:{gzip,zstd,docker,index}, many:latest
//! NAME.recipe         the digest of the recipe that NAME was made from; another one is made anew
//! work/               there while something is made
//! ```
//!
//! What is half made is under `work/`, which is emptied before anything is made; a directory gets its name when it is
//! whole. The recipes run in a mount namespace of their own, so that a recipe that is killed leaves no mount.

mod recipe;
mod store;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::registry::Registry;
use store::Store;

/// An image that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixture {
    /// Debian's static busybox, one layer, two megabytes.
    Small,
    /// A Debian system with Python and an application in six layers, some 500 megabytes: a web server on port 8000,
    /// run by the user `app`, which answers `/who` with what it finds itself to be.
    Python,
    /// 60,000 small files in two layers.
    Many,
}

impl Fixture {
    /// The name of its directory, and of its repository in a registry.
    pub fn name(self) -> &'static str {
        match self {
            Fixture::Small => "small",
            Fixture::Python => "python",
            Fixture::Many => "many",
        }
    }

    /// What is pushed of it: a tag of its layout, the tag in the registry, options of `skopeo copy`.
    fn variants(self) -> &'static [(&'static str, &'static str, &'static [&'static str])] {
        // Without it, skopeo gives the registry layers that it has already in place of the same ones compressed
        // in another way.
        const AS_THEY_ARE: &str = "--preserve-digests";
        match self {
            Fixture::Small | Fixture::Many => &[("latest", "latest", &[AS_THEY_ARE])],
            Fixture::Python => &[
                ("gzip", "gzip", &[AS_THEY_ARE]),
                ("gzip", "docker", &["--format", "v2s2"]),
                ("zstd", "zstd", &[AS_THEY_ARE]),
                ("index", "index", &[AS_THEY_ARE, "--all"]),
            ],
        }
    }
}

/// Where fixtures are kept: `$LOAM_FIXTURES`, else `.cache/fixtures` in the workspace.
pub fn directory() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    std::env::var_os("LOAM_FIXTURES").map_or_else(|| workspace.join(".cache/fixtures"), PathBuf::from)
}

/// Makes those of the fixtures that are missing or were made from another recipe. Needs root.
pub fn prepare(directory: &Path, fixtures: &[Fixture]) -> Result<()> {
    let store = Store::open(directory)?;
    fixtures.iter().try_for_each(|fixture| store.make(*fixture))
}

/// Makes the storage of a registry that serves these fixtures, and gives its directory. See
/// [`crate::registry::command`] and [`Registry::serving`].
pub fn registry_storage(directory: &Path, fixtures: &[Fixture]) -> Result<PathBuf> {
    let store = Store::open(directory)?;
    store.make_registry(fixtures)
}

/// The OCI layout of the small image (tag `latest`), made when it is missing.
pub fn small() -> PathBuf {
    layout(Fixture::Small)
}

/// The OCI layout of the Python image (tags `gzip`, `zstd`, `index`), made when it is missing.
pub fn python() -> PathBuf {
    layout(Fixture::Python)
}

/// The OCI layout of the image of many files (tag `latest`), made when it is missing.
pub fn many() -> PathBuf {
    layout(Fixture::Many)
}

/// Pushes the small image as `small:latest`.
pub fn push_small(registry: &Registry) {
    push(registry, &directory(), Fixture::Small).expect("the small image is pushed");
}

/// Pushes the Python image as `python:gzip`, `python:zstd`, `python:docker` (Docker's schema 2) and `python:index` (an
/// index of two platforms).
pub fn push_python(registry: &Registry) {
    push(registry, &directory(), Fixture::Python).expect("the Python image is pushed");
}

fn layout(fixture: Fixture) -> PathBuf {
    let directory = directory();
    prepare(&directory, &[fixture]).expect("the fixture image is made");
    directory.join(fixture.name())
}

/// Pushes every variant of a fixture, which is made when it is missing.
pub fn push(registry: &Registry, directory: &Path, fixture: Fixture) -> Result<()> {
    prepare(directory, &[fixture])?;
    push_into(registry, directory, fixture)
}

fn push_into(registry: &Registry, directory: &Path, fixture: Fixture) -> Result<()> {
    let layout = directory.join(fixture.name());
    for (tag, name, options) in fixture.variants() {
        let source = format!("oci:{}:{tag}", layout.display());
        registry.push(&source, &format!("{}:{name}", fixture.name()), options)?;
    }
    Ok(())
}
