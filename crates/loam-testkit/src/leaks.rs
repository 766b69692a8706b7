//! What a host has, before and after: mounts, network namespaces, links, rules, cgroups, processes, files.
//!
//! A test takes a [`Snapshot`] of what it cares about (a [`Scope`]), works, and asks the snapshot whether everything
//! is as it was. The answer to no is a list that says what is new and what is gone.

mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often a host that is not yet as it was is looked at again.
const PAUSE: Duration = Duration::from_millis(20);

/// One kind of thing that can be left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Mount,
    NetworkNamespace,
    Link,
    Table,
    Cgroup,
    Process,
    File,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::Mount => "mount",
            Kind::NetworkNamespace => "network namespace",
            Kind::Link => "link",
            Kind::Table => "nftables table",
            Kind::Cgroup => "cgroup",
            Kind::Process => "process",
            Kind::File => "file",
        })
    }
}

/// What is looked at. Everything is seen from the namespaces of the calling thread.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    kinds: BTreeSet<Kind>,
    cgroups: String,
    processes: Vec<String>,
    directories: Vec<PathBuf>,
}

impl Scope {
    /// Looks at nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the mounts of this mount namespace.
    #[must_use]
    pub fn mounts(self) -> Self {
        self.with(Kind::Mount)
    }

    /// Looks at network namespaces: those that a process is in, and those with a name in `/run/netns`. Those of other
    /// tests that run at the same time are seen too.
    #[must_use]
    pub fn network_namespaces(self) -> Self {
        self.with(Kind::NetworkNamespace)
    }

    /// Looks at the links and the nftables tables of this network namespace.
    #[must_use]
    pub fn network(self) -> Self {
        self.with(Kind::Link).with(Kind::Table)
    }

    /// Looks at cgroups with this text in their names, in every hierarchy.
    #[must_use]
    pub fn cgroups(mut self, text: &str) -> Self {
        text.clone_into(&mut self.cgroups);
        self.with(Kind::Cgroup)
    }

    /// Looks at processes with this text in their command lines, such as a directory of the test's own.
    #[must_use]
    pub fn processes(mut self, text: impl Into<String>) -> Self {
        self.processes.push(text.into());
        self.with(Kind::Process)
    }

    /// Looks at everything below a directory, which need not be there.
    #[must_use]
    pub fn files(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directories.push(directory.into());
        self.with(Kind::File)
    }

    fn with(mut self, kind: Kind) -> Self {
        self.kinds.insert(kind);
        self
    }
}

/// What was there.
#[derive(Clone, Debug)]
pub struct Snapshot {
    scope: Scope,
    found: BTreeMap<Kind, BTreeSet<String>>,
}

impl Snapshot {
    /// Looks at the host.
    pub fn take(scope: Scope) -> Self {
        let found = scope.kinds.iter().map(|kind| (*kind, look::at(*kind, &scope))).collect();
        Self { scope, found }
    }

    /// What differs now, a line each; nothing when all is as it was.
    pub fn differences(&self) -> Vec<String> {
        let now = Self::take(self.scope.clone());
        let nothing = BTreeSet::new();
        let mut lines = Vec::new();
        for (kind, before) in &self.found {
            let after = now.found.get(kind).unwrap_or(&nothing);
            lines.extend(after.difference(before).map(|thing| format!("{kind} left behind: {thing}")));
            lines.extend(before.difference(after).map(|thing| format!("{kind} gone: {thing}")));
        }
        lines
    }

    /// Waits until all is as it was; panics with a list of what is not when that takes longer than `limit`.
    #[track_caller]
    pub fn assert_unchanged(&self, limit: Duration) {
        let end = Instant::now() + limit;
        loop {
            let differences = self.differences();
            if differences.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "the host is not as it was:\n  {}", differences.join("\n  "));
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn new_and_gone_things_are_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path();
        fs::create_dir(path.join("d")).expect("made");
        fs::write(path.join("d/old"), "").expect("written");
        let scope = Scope::new()
            .files(path)
            .processes(path.display().to_string())
            .mounts()
            .network()
            .cgroups("loam-none");
        let before = Snapshot::take(scope);
        before.assert_unchanged(Duration::ZERO);
        fs::rename(path.join("d/old"), path.join("d/new")).expect("renamed");
        let script = format!("read line # {}", path.display());
        let mut child =
            Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().expect("sh runs");
        let differences = before.differences();
        child.kill().expect("killed");
        child.wait().expect("waited for");
        assert_eq!(differences.len(), 3, "{differences:?}");
        assert!(
            differences[0].starts_with(&format!("process left behind: {} ", child.id())),
            "{differences:?}"
        );
        assert_eq!(differences[1], format!("file left behind: {}", path.join("d/new").display()));
        assert_eq!(differences[2], format!("file gone: {}", path.join("d/old").display()));
        fs::rename(path.join("d/new"), path.join("d/old")).expect("renamed");
        before.assert_unchanged(Duration::from_secs(5));
    }

    #[test]
    fn every_kind_can_be_looked_at() {
        let scope =
            Scope::new().mounts().network_namespaces().network().cgroups("").processes("").files("/nowhere");
        let seen = Snapshot::take(scope);
        for kind in [Kind::Mount, Kind::NetworkNamespace, Kind::Link, Kind::Process] {
            assert!(!seen.found[&kind].is_empty(), "{kind}");
        }
        assert!(seen.found[&Kind::File].is_empty());
    }
}
