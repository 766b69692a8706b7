//! Lists of layouts and archives that are too long, or that speak of what is not there.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::fixture::Tar;

/// What a layout in this directory, and an archive with the same files, are refused with.
fn refusals(directory: &Path) -> [String; 2] {
    let told = |result: Result<()>| result.expect_err("refused").chain();
    let layout = Layout::open(Directory(directory.to_owned()), None).map(drop);
    let archive = DockerArchive::open(Directory(directory.to_owned()), None).map(drop);
    [told(layout), told(archive)]
}

#[test]
fn lists_without_end_are_refused_before_they_are_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in ["index.json", "manifest.json"] {
        let file = File::create(directory.path().join(name)).expect("a file");
        file.set_len(1 << 30).expect("a hole");
    }
    let begun = Instant::now();
    for told in refusals(directory.path()) {
        assert!(told.ends_with("it is 1073741824 bytes long where at most 4194304 are allowed"), "{told}");
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn lists_of_nonsense_get_a_sentence() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let deep = "[".repeat(100_000);
    for text in [
        "",
        "[",
        "{}",
        "[{}]",
        "null",
        r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:../x"}]}"#,
        &deep,
    ] {
        for name in ["index.json", "manifest.json"] {
            fs::write(directory.path().join(name), text).expect("written");
        }
        for told in refusals(directory.path()) {
            assert!(told.len() < 1000 && told.contains("`/"), "{told}");
        }
    }
}

#[test]
fn an_index_of_many_images_is_gone_through_once() {
    let entry = |number: u32| format!(r#"{{"digest":"sha256:{number:064x}"}}"#);
    let entries: Vec<String> = (0..40_000).map(entry).collect();
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
    let tar = Tar::default().file("oci-layout", b"{}").file("index.json", index.as_bytes()).end();
    let begun = Instant::now();
    let (_, images) = contents::names_in(&Memory::open(&tar).expect("a tar")).expect("a layout");
    assert_eq!(images.len(), 40_000);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
