//! Layers that the program `loam-unpack` unpacks.
#![expect(clippy::print_stdout, reason = "a test that can't run says so by name")]

use std::path::Path;

use loam_image::{LayerStore, SCHEMA, StoreConfig, Unpacker};
use loam_model::{Image, ImageConfig, ImageStore, Result};
use loam_state::Database;

fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: {test}: needs root");
    }
    is_root
}

fn import(root: &Path, program: &str, tar: &[u8]) -> Result<Image> {
    let database = Database::open(&root.join("loam.db"), &[SCHEMA]).expect("a database");
    let config = StoreConfig::new(root, Unpacker::Confined(program.into()));
    LayerStore::open(config, database).import(&mut &tar[..], "x", &ImageConfig::default())
}

/// A tar of empty files.
fn tar(names: impl Iterator<Item = String>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for name in names {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).expect("a path");
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, &[][..]).expect("to memory");
    }
    builder.into_inner().expect("to memory")
}

#[test]
fn any_number_of_directories_may_be_opaque() {
    if !is_root("any_number_of_directories_may_be_opaque") {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let tar = tar((0..1000).map(|number| format!("d{number}/.wh..wh..opq")));
    import(root.path(), env!("CARGO_BIN_EXE_loam-unpack"), &tar).expect("imported");
    let layer = std::fs::read_dir(root.path().join("layers")).expect("layers").next();
    let layer = layer.expect("a layer").expect("an entry").path().join("diff");
    for number in 0..1000 {
        let mut value = [0; 4];
        let path = layer.join(format!("d{number}"));
        assert_eq!(rustix::fs::getxattr(&path, "trusted.overlay.opaque", &mut value[..]), Ok(1), "{number}");
    }
}

#[test]
fn a_program_that_is_no_unpacker_is_named() {
    if !is_root("a_program_that_is_no_unpacker_is_named") {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let tar = tar(["a".to_owned()].into_iter());
    let failure = import(root.path(), "/bin/false", &tar).expect_err("no unpacker").chain();
    assert!(failure.contains("the unpacker `/bin/false` gave no answer: "), "{failure}");
    for place in ["layers", "staging", "trash"] {
        let left = std::fs::read_dir(root.path().join(place)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{place}");
    }
}
