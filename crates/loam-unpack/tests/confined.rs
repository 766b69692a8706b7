//! What the program `loam-unpack` makes of layers and archives.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use loam_model::{DigestAlgorithm, Failure};
use loam_testkit::archives::Tar;
use loam_testkit::is_root;
use loam_unpack::{
    Budget, Destination, Means, Reassembled, Space, UnpackedLayer, Unpacker, list_members, open_archive,
    open_directory, sniff, unpack_layer,
};

fn program() -> Unpacker {
    Unpacker::Confined(env!("CARGO_BIN_EXE_loam-unpack").into())
}

/// A directory for a layer, and a file for its record.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        fs::create_dir(place.layer()).expect("a directory");
        place
    }

    fn layer(&self) -> PathBuf {
        self.0.path().join("layer")
    }

    fn record(&self) -> PathBuf {
        self.0.path().join("record")
    }

    fn unpack(&self, blob: &[u8], unpacker: &Unpacker) -> Result<UnpackedLayer, Failure> {
        let space = Space { block: 4096, bytes: 1 << 30, inodes: None };
        let budget = Budget::new(move || Ok(space), None)?;
        let means = Means {
            budget: &budget,
            stop: &AtomicBool::new(false),
            algorithm: DigestAlgorithm::Sha256,
            own_thread: false,
            unpacker,
        };
        let destination = Destination {
            files: open_directory(&self.layer()).expect("opens"),
            split: File::create(self.record()).expect("a file"),
        };
        let what = "the layer can't be unpacked";
        unpack_layer(&mut { blob }, sniff(blob)?, destination, means, what)
            .map_err(|error| error.into_failure(what.to_owned()))
    }
}

/// What gzip makes of bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

#[test]
fn a_layer_comes_out_as_it_does_without_the_program() {
    if !is_root("a_layer_comes_out_as_it_does_without_the_program") {
        return;
    }
    let tar = Tar::default()
        .directory("./", 0o711)
        .file("a", &vec![3; 300_000])
        .link("b", "below/x")
        .file("d/e", b"x")
        .end();
    for blob in [tar.clone(), gzip(&tar), zstd::encode_all(&tar[..], 1).expect("to memory")] {
        let (there, here) = (Place::new(), Place::new());
        let confined = there.unpack(&blob, &program()).expect("unpacked");
        let own = here.unpack(&blob, &Unpacker::InProcess).expect("unpacked");
        assert_eq!(format!("{confined:?}"), format!("{own:?}"));
        assert_eq!((confined.length, confined.unpacked.dangling.len()), (tar.len() as u64, 1));
        let record = File::open(there.record()).expect("there");
        let mut again = Vec::new();
        Reassembled::new(record, open_directory(&there.layer()).expect("opens"))
            .and_then(|mut tar| std::io::copy(&mut tar, &mut again))
            .expect("read");
        assert!(again == tar, "every byte comes back");
    }
}

#[test]
fn any_number_of_directories_may_be_opaque() {
    if !is_root("any_number_of_directories_may_be_opaque") {
        return;
    }
    let tar =
        (0..1000).fold(Tar::default(), |tar, number| tar.file(&format!("d{number}/.wh..wh..opq"), b"")).end();
    let place = Place::new();
    place.unpack(&tar, &program()).expect("unpacked");
    for number in 0..1000 {
        let mut value = [0; 4];
        let path = place.layer().join(format!("d{number}"));
        assert_eq!(rustix::fs::getxattr(&path, "trusted.overlay.opaque", &mut value[..]), Ok(1), "{number}");
    }
}

#[test]
fn a_program_that_is_no_unpacker_is_named() {
    let false_one = Unpacker::Confined("/bin/false".into());
    let told = Place::new().unpack(&[0; 1024], &false_one).expect_err("no unpacker").chain();
    assert!(told.contains("the unpacker `/bin/false` gave no answer: "), "{told}");
}

/// Where the members of an archive are, as somebody finds them; nothing stays where it was decompressed.
fn members(
    root: &Path,
    bytes: &[u8],
    unpacker: &Unpacker,
) -> Result<(HashMap<String, (u64, u64)>, File), Failure> {
    let (path, spool) = (root.join("archive"), root.join("spool"));
    fs::write(&path, bytes).expect("written");
    fs::create_dir_all(&spool).expect("a directory");
    let listed = open_archive(File::open(&path).expect("opens"), &path, &spool, unpacker);
    assert_eq!(fs::read_dir(&spool).expect("listed").count(), 0);
    listed.map(|listed| (listed.members, listed.plain))
}

#[test]
fn archives_are_looked_through_by_the_program_and_by_nobody_else() {
    if !is_root("archives_are_looked_through_by_the_program_and_by_nobody_else") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let saved = Tar::default()
        .file("manifest.json", b"[]")
        .file("x/layer.tar", &vec![7; 100_000])
        .link("y", "x/layer.tar");
    let saved = saved.end();
    let expected = list_members(std::io::Cursor::new(&saved), "x").expect("well formed");
    assert_eq!(expected.len(), 3);
    let zstd = zstd::encode_all(&saved[..], 1).expect("to memory");
    for (form, bytes) in [("plain", saved.clone()), ("gzip", gzip(&saved)), ("zstd", zstd)] {
        let (found, mut plain) = members(root, &bytes, &program()).expect(form);
        assert_eq!(found, expected, "{form}");
        let mut read = Vec::new();
        std::io::Seek::rewind(&mut plain).expect("moves");
        std::io::Read::read_to_end(&mut plain, &mut read).expect("read");
        assert!(read == saved, "{form}");
        let told =
            members(root, &bytes, &Unpacker::Confined("/bin/false".into())).expect_err("nobody").chain();
        assert!(told.contains("the unpacker `/bin/false` gave no answer: "), "{told}");
    }
    // What makes no sense is told in one sentence, whoever has found it out.
    let cases = [
        ("cut", saved[..saved.len() / 2].to_vec(), "it ends in the middle"),
        ("cut in the gzip", gzip(&saved)[..100].to_vec(), ""),
        ("noise", b"noise".repeat(512), "checksum is wrong"),
        ("xz", b"\xfd7zXZ\0 and so on".to_vec(), "compressed with xz"),
    ];
    for (name, bytes, expected) in cases {
        let told = members(root, &bytes, &program()).expect_err(name).chain();
        let beginning = format!("the archive `{}` can't be read: ", root.join("archive").display());
        assert!(told.starts_with(&beginning) && told.contains(expected), "{name}: {told}");
    }
}
