//! Layers that the program `loam-unpack` unpacks.

use std::io::Write;
use std::path::Path;

use loam_image::{LayerStore, SCHEMA, StoreConfig, Unpacker};
use loam_model::{
    Digest, Image, ImageArchives, ImageConfig, ImageStore, LayerProgress, PullOptions, PullProgress, Result,
};
use loam_state::Database;
use loam_testkit::archives::Tar;
use loam_testkit::is_root;

fn import(root: &Path, program: &Path, tar: &[u8]) -> Result<Image> {
    let database = Database::open(&root.join("loam.db"), &[SCHEMA]).expect("a database");
    let config = StoreConfig::new(root, Unpacker::Confined(program.to_owned()));
    LayerStore::open(config, database).import(&mut &tar[..], "x", &ImageConfig::default())
}

/// What gzip makes of bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

/// Progress that nobody watches.
struct Silent;

impl PullProgress for Silent {
    fn layer(&self, _: &Digest, _: LayerProgress) {}
    fn note(&self, _: &str) {}
}

/// A store in a directory of this one, with this unpacker.
fn open(root: &Path, name: &str, program: &Path) -> LayerStore {
    let root = root.join(name);
    std::fs::create_dir_all(&root).expect("a directory");
    let database = Database::open(&root.join("loam.db"), &[SCHEMA]).expect("a database");
    LayerStore::open(StoreConfig::new(root, Unpacker::Confined(program.to_owned())), database)
}

/// Names of what is in the place for unfinished things of such a store.
fn leftovers(root: &Path, name: &str) -> Vec<std::ffi::OsString> {
    let staging = std::fs::read_dir(root.join(name).join("staging")).into_iter().flatten();
    staging.map(|entry| entry.expect("an entry").file_name()).collect()
}

#[test]
fn archives_of_images_are_looked_through_by_the_program_and_by_nobody_else() {
    if !is_root("archives_of_images_are_looked_through_by_the_program_and_by_nobody_else") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let program = &loam_testkit::own_program("loam-unpack");
    let store = open(root, "one", program);
    let tar = Tar::default().file("a", b"").end();
    let image = store.import(&mut &tar[..], "h.example/x:1", &ImageConfig::default()).expect("imported");
    let mut saved = Vec::new();
    store.save(std::slice::from_ref(&image), &mut saved).expect("saved");
    std::fs::write(root.join("plain"), &saved).expect("written");
    std::fs::write(root.join("gzip"), gzip(&saved)).expect("written");
    std::fs::write(root.join("zstd"), zstd::encode_all(&saved[..], 1).expect("to memory")).expect("written");
    let without = open(root, "without", Path::new("/bin/false"));
    for form in ["plain", "gzip", "zstd"] {
        let name = format!("to-{form}");
        let target = open(root, &name, program);
        let found = target.contents(&root.join(form)).expect("an archive");
        assert_eq!(found[0].names, ["h.example/x:1"], "{form}");
        let pulled = target.pull(&found[0].source, &PullOptions::default(), &Silent).expect("pulled");
        assert_eq!(pulled.id, image.id, "{form}");
        assert_eq!(leftovers(root, &name), [""; 0], "{form}");
        let failure = without.contents(&root.join(form)).expect_err("nobody reads it").chain();
        assert!(failure.contains("the unpacker `/bin/false` gave no answer: "), "{failure}");
        assert_eq!(leftovers(root, "without"), [""; 0]);
    }
    // What makes no sense is told in one sentence, whoever has found it out.
    let cases = [
        ("cut", saved[..saved.len() / 2 + 100].to_vec(), "it ends in the middle"),
        ("cut in the gzip", gzip(&saved)[..300].to_vec(), ""),
        ("noise", b"noise".repeat(512), "checksum is wrong"),
        ("xz", b"\xfd7zXZ\0 and so on".to_vec(), "compressed with xz"),
    ];
    for (name, bytes, expected) in cases {
        std::fs::write(root.join("bad"), bytes).expect("written");
        let failure = store.contents(&root.join("bad")).expect_err(name).chain();
        let beginning = format!("the archive `{}` can't be read: ", root.join("bad").display());
        assert!(failure.starts_with(&beginning) && failure.contains(expected), "{name}: {failure}");
    }
    assert_eq!(leftovers(root, "one"), [""; 0]);
}

#[test]
fn a_program_that_is_no_unpacker_is_named() {
    if !is_root("a_program_that_is_no_unpacker_is_named") {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let tar = Tar::default().file("a", b"").end();
    let failure = import(root.path(), Path::new("/bin/false"), &tar).expect_err("no unpacker").chain();
    assert!(failure.contains("the unpacker `/bin/false` gave no answer: "), "{failure}");
    for place in ["layers", "staging", "trash"] {
        let left = std::fs::read_dir(root.path().join(place)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{place}");
    }
}
