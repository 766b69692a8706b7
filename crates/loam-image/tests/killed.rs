//! An import that is killed in the middle leaves nothing that the next one does not clean up.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loam_image::{LayerStore, SCHEMA, StoreConfig, Unpacker};
use loam_model::{ImageConfig, ImageStore};
use loam_state::Database;

/// Where the child's store is.
const ROOT: &str = "LOAM_TEST_IMPORT_ROOT";

fn store(root: &Path) -> LayerStore {
    let database = Database::open(&root.join("loam.db"), &[SCHEMA]).expect("a database");
    LayerStore::open(
        StoreConfig::new(root, Unpacker::Confined(loam_testkit::own_program("loam-unpack"))),
        database,
    )
}

fn tar() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for number in 0..50 {
        let mut header = tar::Header::new_gnu();
        header.set_size(40_000);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        builder
            .append_data(&mut header, format!("d/{number}"), std::io::repeat(7).take(40_000))
            .expect("to memory");
    }
    builder.into_inner().expect("to memory")
}

/// Files below a directory.
fn count(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            if path.is_dir() { count(&path) } else { 1 }
        })
        .sum()
}

/// Not a test of its own: what the test below runs, and kills.
#[test]
fn child() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let imported = store(Path::new(&root)).import(&mut std::io::stdin(), "half", &ImageConfig::default());
    panic!("the import should not end: {imported:?}");
}

#[test]
fn a_killed_import_is_swept_up_by_the_next() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a_killed_import_is_swept_up_by_the_next: needs root");
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let tar = tar();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "child", "--nocapture"])
        .env(ROOT, root.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&tar[..tar.len() * 3 / 4]).expect("the child reads");
    let staging = root.path().join("staging");
    let begun = Instant::now();
    while count(&staging) < 10 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the child unpacks nothing");
        std::thread::yield_now();
    }
    // While it lives, another import leaves it alone.
    let store = store(root.path());
    store.import(&mut &tar[..], "whole", &ImageConfig::default()).expect("imports");
    assert!(count(&staging) >= 10);
    child.kill().expect("kills");
    child.wait().expect("is dead");
    assert!(count(&staging) >= 10, "nobody has cleaned up yet");
    assert_eq!(store.list().expect("lists").len(), 1);
    store.import(&mut &tar[..], "again", &ImageConfig::default()).expect("imports");
    assert_eq!(std::fs::read_dir(&staging).expect("there").count(), 0);
    assert_eq!(
        std::fs::read_dir(root.path().join("layers")).expect("there").count(),
        1,
        "one layer for both"
    );
}
