//! Unpacking a layer into a directory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use loam_testkit::archives::Tar;
use loam_unpack::fuzzing;

use super::{archive, seed, selected};
use crate::{Target, checksums, sentence, shape};

/// The target. The first byte says what the rest is, a program for [`shape`] or (odd) an archive whose checksums are mended,
/// and how much is free on the disk.
pub const TARGET: Target = Target { name: "unpack", run, seeds, words: archive::TARGET.words };

/// Bytes and inodes that are free.
const DISKS: [(u64, u64); 4] = [(1 << 30, 1 << 20), (128 << 10, 1 << 20), (1 << 30, 8), (64 << 10, 32)];

/// A directory to unpack into, beside what must stay as it is.
struct Place {
    directory: tempfile::TempDir,
    before: Vec<String>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let canary = directory.path().join("canary");
        fs::create_dir(&canary).expect("a directory");
        fs::write(canary.join("file"), "untouched").expect("a file");
        fs::set_permissions(&canary, fs::Permissions::from_mode(0o751)).expect("its mode");
        for name in ["below/a", "below/b/c"].map(|name| directory.path().join(name)) {
            fs::create_dir_all(&name).expect("a directory");
            fs::write(name.join("d"), "of a lower layer").expect("a file");
        }
        symlink("canary", directory.path().join("link")).expect("a link");
        fs::create_dir(directory.path().join("layer")).expect("a directory");
        fs::write(directory.path().join("record"), "").expect("a file");
        let mut place = Self { directory, before: Vec::new() };
        place.before = place.look();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self, name: &str) -> OwnedFd {
        File::open(self.at(name)).expect("it is there").into()
    }

    /// All that is not the layer's.
    fn look(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for directory in ["", "canary", "below", "below/a", "below/b", "below/b/c"].map(|name| self.at(name))
        {
            for entry in fs::read_dir(&directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                let metadata = fs::symlink_metadata(&path).expect("it is there");
                // What is written to counts neither its size nor its times.
                let own = path.ends_with("layer") || path.ends_with("record");
                let state = (metadata.mode(), metadata.uid(), metadata.nlink());
                let more = (metadata.size(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime_nsec());
                seen.push(if own { format!("{path:?}") } else { format!("{path:?} {state:?} {more:?}") });
            }
        }
        seen.push(fs::read_to_string(self.at("canary/file")).expect("a file"));
        seen.sort();
        seen
    }
}

fn run(bytes: &[u8]) {
    let Some((how, rest)) = selected(bytes) else { return };
    let place = Place::new();
    let outside = place.at("canary").display().to_string();
    let archive = if how & 1 == 1 { checksums::mended(rest) } else { shape::archive(rest, &outside) };
    let free = DISKS[usize::from(how >> 1 & 3)];
    let record = File::create(place.at("record")).expect("a file");
    let result = fuzzing::unpack(&archive, place.open("layer"), place.open("below"), record, free);
    assert_eq!(place.look(), place.before, "something outside of the layer has changed");
    let (taken, inodes) = taken(&place.at("layer"));
    assert!(taken <= free.0 && inodes <= free.1, "{taken} bytes and {inodes} inodes were taken of {free:?}");
    match result {
        Err(failure) => sentence::check(&failure),
        Ok(unpacked) if unpacked.is_recorded => {
            let record = File::open(place.at("record")).expect("it is there");
            let mut again = Vec::new();
            let read = fuzzing::reassemble(record, place.open("layer"))
                .and_then(|mut stream| stream.read_to_end(&mut again));
            assert!(read.is_ok(), "the archive can't be put together again: {read:?}");
            assert!(again == archive, "another archive was put together");
        }
        Ok(_) => {}
    }
    fuzzing::delete(place.open(""), "layer").expect("the layer can be deleted");
}

/// Bytes and inodes that what is below a directory takes.
fn taken(root: &Path) -> (u64, u64) {
    let (mut bytes, mut known, mut left) = (0, HashSet::new(), vec![root.to_owned()]);
    while let Some(directory) = left.pop() {
        // A path may have become too long to be looked at.
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if known.insert(metadata.ino()) {
                bytes += metadata.blocks() * 512;
            }
            if metadata.is_dir() {
                left.push(path);
            }
        }
    }
    (bytes, known.len() as u64)
}

fn seeds() -> Vec<Vec<u8>> {
    let archives = [
        Tar::default().symlink("a", "b").directory("b", 0o755).file("a/c", b"1").file("a", b"2").end(),
        Tar::default().symlink("a", "..").file("a/canary/new", b"x").end(),
        Tar::default().symlink("a", "/etc").directory("a", 0o777).file("a/x", b"").end(),
        Tar::default().file("a/b/c", b"x").file("a/.wh..wh..opq", b"").file(".wh.a", b"").end(),
        Tar::default().file("a", b"x").link("b", "a").link("c", "lower").file("a", b"y").end(),
        Tar::default().file(&"d/".repeat(40), b"").end(),
        Tar::default().file("big", &[7; 70_000]).end(),
    ];
    // Files, directories, links and what takes their place: `kind, name…, more`.
    let programs: [&[u8]; 6] = [
        &[6, 0, 0, 0, 0, 1, 4, 0, 1, 0, 0, 1, 0, 2, 9, 65, 6, 0, 0, 0, 0, 3, 4, 0, 3, 0, 0, 1, 3, 2, 9, 66],
        &[0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 2, 0, 0, 1, 3, 4],
        &[6, 0, 0, 0xff, 0, 1, 0, 2, 9, 65, 4, 0, 0, 7, 9, 0, 1, 0, 0],
        &[13, 0, 0, 2, 9, 9, 200, 8, 1, 12, 0, 1, 0, 1, 3, 11, 0, 2],
        &[14, 0, 0, 3, 1, 15, 1, 0, 1, 0, 0, 1, 9, 9],
        &[0, 1, 0, 9, 3, 3, 0, 0, 11, 0, 0, 4, 0, 0, 0, 9, 0, 1, 0, 2, 10, 0, 2, 0, 1],
    ];
    let mut seeds: Vec<Vec<u8>> = archives.iter().map(|archive| seed(1, archive)).collect();
    seeds.extend(programs.iter().zip(0..).map(|(program, number)| seed(number % 4 * 2, program)));
    seeds
}
