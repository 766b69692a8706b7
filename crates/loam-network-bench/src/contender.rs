//! Who is measured.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A set of plugins and a way of calling them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contender {
    /// Its name in the report.
    pub name: String,
    /// Where its plugins are.
    pub(crate) plugins: Plugins,
}

/// Where a contender's plugins are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Plugins {
    /// Our own, called as functions.
    InProcess,
    /// Our own program, which is each plugin by the name that it is called by.
    MultiCall(PathBuf),
    /// Programs in a directory.
    Directory(PathBuf),
}

impl Contender {
    /// Our plugins, called as functions, as Loam's own runtime does.
    pub fn in_process() -> Self {
        Self { name: "loam".into(), plugins: Plugins::InProcess }
    }

    /// Our plugins as programs, as any other runtime calls them: `program` is `loam-cni`.
    pub fn multi_call(program: PathBuf) -> Self {
        Self { name: "loam-cni".into(), plugins: Plugins::MultiCall(program) }
    }

    /// The programs of a directory; it is named by its path.
    pub fn directory(directory: PathBuf) -> Self {
        Self { name: directory.display().to_string(), plugins: Plugins::Directory(directory) }
    }

    /// Whether its plugins are called as functions.
    pub(crate) fn is_in_process(&self) -> bool {
        self.plugins == Plugins::InProcess
    }

    /// The file or directory that it needs.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        match &self.plugins {
            Plugins::InProcess => None,
            Plugins::MultiCall(path) | Plugins::Directory(path) => Some(path),
        }
    }
}
