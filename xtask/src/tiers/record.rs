//! The record of one tier: what the tests wrote to the file that `LOAM_TEST_RECORD` names.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::Tier;
use crate::programs::Build;
use crate::shell::cache;

/// What a test said of where it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ran.
    Ran,
    /// It did not, for lack of these.
    Lacks(Vec<String>),
}

/// What each test said.
pub(super) type Record = BTreeMap<String, Outcome>;

/// Keeps what the tests said on a tier that has passed, beside what others said there of the same programs.
pub(crate) fn keep(tier: &Tier, build: &Build, said: &str) -> Result<()> {
    let mut record = kept(tier, build);
    record.extend(parse(said));
    let path = path(tier);
    let unfinished = path.with_extension(format!("unfinished.{}", std::process::id()));
    fs::create_dir_all(path.parent().context("records lie in a directory")?)?;
    fs::write(&unfinished, format!("build {}\n{}", build.digest, format(&record)))
        .and_then(|()| fs::rename(&unfinished, &path))
        .with_context(|| format!("the record `{}` can't be written", path.display()))
}

/// What is kept of a tier, of these programs.
pub(super) fn kept(tier: &Tier, build: &Build) -> Record {
    let text = fs::read_to_string(path(tier)).unwrap_or_default();
    match text.strip_prefix(&format!("build {}\n", build.digest)) {
        Some(lines) => parse(lines),
        None => Record::new(),
    }
}

fn path(tier: &Tier) -> PathBuf {
    cache().join("tiers").join(tier.name.replace(' ', "-"))
}

/// A test that ran in part lacked something.
fn parse(text: &str) -> Record {
    let mut record = Record::new();
    for (name, what) in text.lines().filter_map(|line| line.trim_end().split_once('\t')) {
        let lacks = what.strip_prefix("lacks ").map(|needs| needs.split(", ").map(str::to_owned).collect());
        match lacks {
            Some(needs) => drop(record.insert(name.to_owned(), Outcome::Lacks(needs))),
            None => drop(record.entry(name.to_owned()).or_insert(Outcome::Ran)),
        }
    }
    record
}

fn format(record: &Record) -> String {
    let line = |(name, outcome): (&String, &Outcome)| match outcome {
        Outcome::Ran => format!("{name}\tran\n"),
        Outcome::Lacks(needs) => format!("{name}\tlacks {}\n", needs.join(", ")),
    };
    record.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let said = "a::one\tran\r\na::two\tlacks btrfs, systemd\r\nb::three\tran\nb::three\tlacks apparmor\n";
        let record = parse(said);
        assert_eq!(record["a::one"], Outcome::Ran);
        assert_eq!(record["a::two"], Outcome::Lacks(vec!["btrfs".to_owned(), "systemd".to_owned()]));
        assert_eq!(record["b::three"], Outcome::Lacks(vec!["apparmor".to_owned()]), "it ran in part");
        assert_eq!(parse(&format(&record)), record);
    }
}
