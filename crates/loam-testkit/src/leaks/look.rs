//! Looking at one kind of thing. What goes away while we look is not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Kind, Scope};
use crate::program;

/// Where cgroup hierarchies are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Everything of a kind that the scope asks for.
pub(super) fn at(kind: Kind, scope: &Scope) -> BTreeSet<String> {
    match kind {
        Kind::Mount => mounts(),
        Kind::NetworkNamespace => network_namespaces(),
        Kind::Link => links(),
        Kind::Table => tables(),
        Kind::Cgroup => cgroups(&scope.cgroups),
        Kind::Process => processes(&scope.processes),
        Kind::File => scope.directories.iter().flat_map(|directory| below(directory)).collect(),
    }
}

/// Mount point, type and source of each mount (proc_pid_mountinfo(5)).
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let line = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let (point, mut after) = (before.split(' ').nth(4)?, after.split(' '));
        Some(format!("{point} ({}, {})", after.next()?, after.next()?))
    };
    table.lines().filter_map(line).collect()
}

fn network_namespaces() -> BTreeSet<String> {
    let mut found: BTreeSet<String> =
        names("/run/netns").into_iter().map(|name| format!("/run/netns/{name}")).collect();
    for pid in pids() {
        let link = fs::read_link(format!("/proc/{pid}/ns/net"));
        found.extend(link.map(|link| link.display().to_string()));
    }
    found
}

/// The links of this thread's network namespace; `/sys/class/net` would show those of whoever mounted it.
fn links() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

fn tables() -> BTreeSet<String> {
    let listed = program::words("nft", &["list", "tables"]).unwrap_or_default();
    listed.lines().map(str::to_owned).collect()
}

fn cgroups(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = vec![PathBuf::from(CGROUPS)];
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(text) {
                    found.insert(entry.path().display().to_string());
                }
                rest.push(entry.path());
            }
        }
    }
    found
}

/// Process id and command line of processes that have one of the texts in it, but not of this one.
fn processes(texts: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for pid in pids().into_iter().filter(|pid| *pid != std::process::id()) {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        // A process that has ended and is not waited for has no command line; it is not counted.
        if !line.is_empty() && texts.iter().any(|text| line.contains(text.as_str())) {
            found.insert(format!("{pid} {}", line.trim()));
        }
    }
    found
}

fn below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(below(&entry.path()));
        }
    }
    found
}

fn pids() -> Vec<u32> {
    names("/proc").iter().filter_map(|name| name.parse().ok()).collect()
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
