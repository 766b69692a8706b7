//! Unpacking, of hostile archives too, beside a tree that must stay as it is.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::fixture::{Tar, is_root, unpack_into};
use crate::open_directory;
use crate::space::Space;

/// A file system on which everything fits.
const PLENTY: Space = Space { block: 4096, bytes: 1 << 50, inodes: None };

/// A directory to unpack into, beside a tree that must stay as it is.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let canary = directory.path().join("canary");
        fs::create_dir(&canary).expect("canary");
        fs::write(canary.join("file"), "untouched").expect("canary");
        fs::set_permissions(&canary, fs::Permissions::from_mode(0o751)).expect("canary");
        fs::create_dir(directory.path().join("layer")).expect("layer");
        symlink("canary", directory.path().join("link")).expect("canary");
        Self { directory }
    }

    fn layer(&self) -> PathBuf {
        self.directory.path().join("layer")
    }

    fn canary(&self) -> String {
        self.directory.path().join("canary").display().to_string()
    }

    fn unpack(&self, tar: &[u8]) -> Result<Unpacked, UnpackError> {
        self.unpack_within(tar, 1 << 40)
    }

    fn unpack_within(&self, tar: &[u8], limit: u64) -> Result<Unpacked, UnpackError> {
        self.unpack_on(tar, &Budget::new(|| Ok(PLENTY), Some(limit)).expect("a budget"))
    }

    fn unpack_on(&self, tar: &[u8], budget: &Budget) -> Result<Unpacked, UnpackError> {
        unpack_into(&self.layer(), tar, budget)
    }

    fn state_of_canary(&self) -> (u32, i64, Vec<String>, String) {
        let path = self.directory.path().join("canary");
        let metadata = fs::metadata(&path).expect("canary");
        let names = fs::read_dir(&path)
            .expect("canary")
            .map(|e| e.expect("entry").file_name().display().to_string())
            .collect();
        let text = fs::read_to_string(path.join("file")).expect("canary");
        (metadata.mode(), metadata.mtime(), names, text)
    }
}

fn is_whiteout(path: &Path) -> bool {
    let metadata = fs::symlink_metadata(path).expect("exists");
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    let fd = open_directory(path).expect("opens");
    let mut value = [0; 8];
    rustix::fs::fgetxattr(fd.as_fd(), "trusted.overlay.opaque", &mut value[..]) == Ok(1) && value[0] == b'y'
}

#[test]
fn contents_owners_modes_times_links_and_attributes_are_kept() {
    if !is_root("contents_owners_modes_times_links_and_attributes_are_kept") {
        return;
    }
    let place = Place::new();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::default()
        .raw(b'5', b"./", b"", b"", |h| h.set_mode(0o751))
        .raw(b'5', b"d", b"", b"", |h| {
            h.set_mode(0o2775);
            h.set_gid(7);
        })
        .raw(b'0', b"d/set-id", b"", b"#!", |h| {
            h.set_mode(0o6755);
            h.set_uid(1000);
            h.set_gid(70_000);
        })
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.k", b"v"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/x"),
            ("mtime", b"1.5"),
        ])
        .raw(b'0', b"d/capable", b"", b"", |h| h.set_uid(5))
        .link("d/hard", "d/set-id")
        .raw(b'2', b"soft", b"/nowhere", b"", |h| h.set_uid(9))
        .raw(b'6', b"fifo", b"", b"", |h| h.set_mode(0o622))
        .raw(b'3', b"null", b"", b"", |h| {
            h.set_mode(0o666);
            h.set_device_major(1).expect("gnu");
            h.set_device_minor(3).expect("gnu");
        })
        .end();
    let unpacked = place.unpack(&tar).expect("unpacks");
    assert_eq!((unpacked.size, unpacked.implicit.len(), unpacked.dangling.len()), (2, 0, 0));
    let at = |name: &str| fs::symlink_metadata(place.layer().join(name)).expect("exists");
    assert_eq!((at("").mode() & 0o7777, at("").mtime()), (0o751, 1_000_000_000));
    assert_eq!((at("d").mode() & 0o7777, at("d").gid(), at("d").mtime()), (0o2775, 7, 1_000_000_000));
    let set_id = at("d/set-id");
    assert_eq!(
        (set_id.mode() & 0o7777, set_id.uid(), set_id.gid(), set_id.nlink()),
        (0o6755, 1000, 70_000, 2)
    );
    assert_eq!(at("d/hard").ino(), set_id.ino());
    assert_eq!((at("d/capable").uid(), at("d/capable").gid()), (5, 0));
    assert_eq!((at("d/capable").mtime(), at("d/capable").mtime_nsec()), (1, 500_000_000));
    assert_eq!((at("soft").uid(), at("soft").mtime()), (9, 1_000_000_000));
    assert_eq!(at("fifo").mode(), 0o010_622);
    assert_eq!((at("null").mode(), at("null").rdev()), (0o020_666, rustix::fs::makedev(1, 3)));
    let capable = fs::File::open(place.layer().join("d/capable")).expect("opens");
    let mut value = [0; 64];
    let length = rustix::fs::fgetxattr(&capable, "security.capability", &mut value[..]).expect("kept");
    assert_eq!(value[..length], capability);
    assert!(rustix::fs::fgetxattr(&capable, "trusted.overlay.redirect", &mut value[..]).is_err());
}

#[test]
fn nothing_outside_is_reached() {
    if !is_root("nothing_outside_is_reached") {
        return;
    }
    let shapes: Vec<(&str, Tar)> = {
        let place = Place::new();
        let canary = place.canary();
        vec![
            ("up", Tar::default().file("../canary/new", b"x")),
            ("up from below", Tar::default().file("a/../../canary/new", b"x")),
            ("absolute", Tar::default().file("/canary/new", b"x")),
            ("through an absolute link", Tar::default().symlink("d", &canary).file("d/new", b"x")),
            ("through a climbing link", Tar::default().symlink("d", "../canary").file("d/new", b"x")),
            (
                "through two links",
                Tar::default().symlink("a", "..").symlink("b", "a/canary").file("b/new", b"x"),
            ),
            ("a hard link out", Tar::default().link("h", "../canary/file").file("h", b"x")),
            ("an absolute hard link", Tar::default().link("h", &format!("{canary}/file"))),
            (
                "a hard link through a link",
                Tar::default().symlink("d", &canary).link("h", "d/file").file("h", b"x"),
            ),
            ("a whiteout out", Tar::default().file("../canary/.wh.file", b"")),
            ("a whiteout through a link", Tar::default().symlink("d", &canary).file("d/.wh.file", b"")),
            (
                "an opaque mark through a link",
                Tar::default().symlink("d", &canary).file("d/.wh..wh..opq", b""),
            ),
            ("the root as a file", Tar::default().file("./", b"x").symlink(".", &canary)),
        ]
    };
    for (shape, tar) in shapes {
        let place = Place::new();
        let before = place.state_of_canary();
        let result = place.unpack(&tar.end());
        assert!(result.is_err(), "{shape}");
        assert_eq!(place.state_of_canary(), before, "{shape}");
    }
}

#[test]
fn links_are_replaced_not_followed() {
    if !is_root("links_are_replaced_not_followed") {
        return;
    }
    let place = Place::new();
    let canary = place.canary();
    let before = place.state_of_canary();
    let tar = Tar::default()
        .symlink("d", &canary)
        .directory("d", 0o777)
        .file("d/inside", b"x")
        .symlink("f", &format!("{canary}/file"))
        .file("f", b"mine")
        .symlink("n", &format!("{canary}/file"))
        .raw(b'6', b"n", b"", b"", |h| h.set_mode(0o777))
        .end();
    place.unpack(&tar).expect("unpacks");
    assert_eq!(place.state_of_canary(), before);
    assert!(place.layer().join("d/inside").exists());
    assert!(
        is_opaque(&place.layer().join("d")),
        "whatever lower layers have below `d` was hidden by the link"
    );
    assert_eq!(fs::read(place.layer().join("f")).expect("a file"), b"mine");
}

#[test]
fn links_within_the_layer_are_followed_to_parents() {
    if !is_root("links_within_the_layer_are_followed_to_parents") {
        return;
    }
    let place = Place::new();
    let tar = Tar::default().directory("usr", 0o755).directory("usr/lib", 0o755).symlink("lib", "usr/lib");
    place.unpack(&tar.clone().file("lib/a", b"x").end()).expect("unpacks");
    assert!(place.layer().join("usr/lib/a").exists());
    assert!(fs::symlink_metadata(place.layer().join("lib")).expect("link").is_symlink());
}

#[test]
fn the_last_entry_of_a_name_wins_and_types_may_change() {
    if !is_root("the_last_entry_of_a_name_wins_and_types_may_change") {
        return;
    }
    let place = Place::new();
    let tar = Tar::default()
        .file("a", b"first")
        .file("a", b"second")
        .directory("d", 0o755)
        .file("d/x", b"x")
        .directory("d/e", 0o755)
        .file("d", b"file now")
        .file("h1", b"1")
        .link("h2", "h1")
        .file("h2", b"2")
        .end();
    place.unpack(&tar).expect("unpacks");
    let text = |name: &str| fs::read_to_string(place.layer().join(name)).expect("a file");
    assert_eq!(
        (text("a"), text("d"), text("h1"), text("h2")),
        ("second".into(), "file now".into(), "1".into(), "2".into())
    );
}

#[test]
fn whiteouts_hide_lower_layers_only_in_any_order() {
    if !is_root("whiteouts_hide_lower_layers_only_in_any_order") {
        return;
    }
    let place = Place::new();
    let tar = Tar::default()
        .file(".wh.gone", b"")
        .file("kept", b"x")
        .file(".wh.kept", b"")
        .file(".wh.later", b"")
        .file("later", b"x")
        .directory("renewed", 0o755)
        .file("renewed/x", b"")
        .file(".wh.renewed", b"")
        .file(".wh.again", b"")
        .directory("again", 0o755)
        .file(".wh.implied", b"")
        .file("implied/x", b"")
        .file("opaque/x", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file(".wh..wh.plnk", b"")
        .end();
    let unpacked = place.unpack(&tar).expect("unpacks");
    let at = |name: &str| place.layer().join(name);
    assert!(is_whiteout(&at("gone")));
    assert!(at("kept").is_file() && at("later").is_file());
    for name in ["renewed", "again", "implied", "opaque"] {
        assert!(is_opaque(&at(name)), "{name}");
    }
    assert!(at("renewed/x").exists() && at("implied/x").exists() && at("opaque/x").exists());
    assert_eq!(fs::read_dir(place.layer()).expect("layer").count(), 7);
    assert_eq!(unpacked.implicit, [b"".to_vec(), b"implied".to_vec(), b"opaque".to_vec()]);
}

#[test]
fn what_no_layer_may_hold_is_refused_by_name() {
    if !is_root("what_no_layer_may_hold_is_refused_by_name") {
        return;
    }
    let device = |path: &[u8]| {
        Tar::default().raw(b'3', path, b"", b"", |h| {
            h.set_device_major(0).expect("gnu");
            h.set_device_minor(0).expect("gnu");
        })
    };
    for (tar, message) in [
        (device(b"forged"), "entry `forged` is the device 0:0, which would be a forged whiteout"),
        (Tar::default().file("a/.wh.", b""), "entry `a/.wh.` is a whiteout of nothing"),
        (Tar::default().file(".wh...", b""), "entry `.wh...` is a whiteout of nothing"),
        (
            Tar::default().file("f", b"").file("f/x", b""),
            "entry `f/x` lies below something that is no directory",
        ),
        (
            Tar::default().symlink("s", "nowhere").file("s/x", b""),
            "entry `s/x` lies behind a link that leads nowhere",
        ),
        (
            Tar::default().symlink("s", "/etc").file("s/x", b""),
            "entry `s/x` lies behind a link that leaves the layer",
        ),
        (Tar::default().directory("d", 0o755).link("h", "d"), "entry `h` is a hard link to a directory"),
        (Tar::default().link("h", "h"), "entry `h` is a hard link to itself or to the root"),
        (Tar::default().link("h", "../x"), "entry `h` is a hard link to `../x`, outside the layer"),
        (
            Tar::default().pax(&[("uid", b"4294967295")]).file("x", b""),
            "entry `x` has the user id 4294967295, which is out of range",
        ),
        (Tar::default().file("a\x1b[2J/../b", b""), "entry `a\\u{1b}[2J/../b` leaves the layer with `..`"),
    ] {
        let error = Place::new().unpack(&tar.end()).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_layer_larger_than_allowed_stops_early() {
    if !is_root("a_layer_larger_than_allowed_stops_early") {
        return;
    }
    let place = Place::new();
    let tar = Tar::default().file("a", &[0; 400_000]).file("b", &[0; 700_000]).end();
    let error = place.unpack_within(&tar, 1_000_000).expect_err("too large");
    assert_eq!(error.to_string(), "it takes more than 1000000 bytes unpacked");
    assert!(!place.layer().join("b").exists(), "nothing of it is written");
}

#[test]
fn small_things_are_charged_what_they_take() {
    if !is_root("small_things_are_charged_what_they_take") {
        return;
    }
    let many = |entry: &dyn Fn(Tar, usize) -> Tar| (0..200).fold(Tar::default(), entry).end();
    let (long, value) = ("x".repeat(99), vec![b'x'; 3000]);
    let cases = [
        ("files", many(&|tar, i| tar.file(&format!("f{i}"), b"x")), 2),
        ("directories", many(&|tar, i| tar.directory(&format!("d{i}"), 0o755)), 2),
        ("links", many(&|tar, i| tar.symlink(&format!("l{i}"), &long)), 2),
        ("directories not listed", many(&|tar, i| tar.file(&format!("d{i}/a/b/f"), b"")), 7),
        ("whiteouts", many(&|tar, i| tar.file(&format!(".wh.w{i}"), b"")), 1),
        (
            "attributes",
            many(&|tar, i| tar.pax(&[("SCHILY.xattr.user.k", &value)]).file(&format!("f{i}"), b"")),
            2,
        ),
    ];
    for (case, tar, blocks) in cases {
        // On a file system that never tells how much is left after the first time.
        let disk = |blocks: u64, inodes| {
            let space = Space { bytes: blocks * 4096, inodes, ..PLENTY };
            let first = std::sync::Once::new();
            let look = move || {
                let bytes = if inodes.is_some() { space.bytes } else { 0 };
                let mut now = Space { bytes, inodes: Some(0), ..space };
                first.call_once(|| now = space);
                Ok(now)
            };
            Place::new().unpack_on(&tar, &Budget::new(look, None).expect("a budget"))
        };
        disk(200 * blocks + 10, None).unwrap_or_else(|error| panic!("{case}: {error}"));
        let error = disk(200 * blocks - 10, None).expect_err(case);
        assert!(matches!(error, UnpackError::NoSpace { .. }), "{case}: {error}");
        let error = disk(10_000, Some(150)).expect_err(case);
        assert!(matches!(error, UnpackError::NoInodes { free: 150 }), "{case}: {error}");
    }
}

#[test]
fn a_sparse_file_takes_what_its_islands_take() {
    if !is_root("a_sparse_file_takes_what_its_islands_take") {
        return;
    }
    let tar = Tar::default()
        .pax(&[("GNU.sparse.size", b"1099511627776"), ("GNU.sparse.map", b"0,3,1000000000000,4")])
        .file("s", b"abcdefg")
        .end();
    let space = Space { bytes: 5 * 4096, ..PLENTY };
    let budget = Budget::new(move || Ok(space), None).expect("a budget");
    Place::new().unpack_on(&tar, &budget).expect("five blocks are enough for a terabyte of holes");
}

#[test]
fn what_is_no_entry_s_data_is_charged_too() {
    if !is_root("what_is_no_entry_s_data_is_charged_too") {
        return;
    }
    let budget = || Budget::new(|| Ok(Space { bytes: 1 << 20, ..PLENTY }), None).expect("a budget");
    let comment = vec![b'x'; 60_000];
    let global =
        Tar::default().raw(b'g', b"g", b"", &[b"60011 comment=", &comment[..59_996], b"\n"].concat(), |_| {});
    let chatty = Tar(global.0.repeat(20)).file("f", b"").end();
    let hidden = Tar::default().raw(b'0', b".wh.x", b"", &vec![0; 2 << 20], |_| {}).end();
    for (case, tar) in [("extensions", chatty), ("data of a whiteout", hidden)] {
        Place::new().unpack(&tar).unwrap_or_else(|error| panic!("{case}: {error}"));
        let error = Place::new().unpack_on(&tar, &budget()).expect_err(case);
        assert!(matches!(error, UnpackError::NoSpace { free: 1_048_576 }), "{case}: {error}");
    }
}

#[test]
fn what_must_be_kept_until_the_end_is_bounded() {
    if !is_root("what_must_be_kept_until_the_end_is_bounded") {
        return;
    }
    let name = "n".repeat(200);
    let target = format!("{name}/").repeat(20);
    let link = Tar::default().pax(&[("linkpath", target.as_bytes())]).link("h", "");
    let xattr = [("SCHILY.xattr.user.much", &[b'x'; 60_000][..])];
    let unpacked = Place::new().unpack(&Tar(link.0.repeat(1000)).end()).expect("unpacks");
    assert_eq!(unpacked.dangling.len(), 1000);
    for (entry, times) in [
        (link, 17_000),
        (Tar::default().pax(&xattr).directory("d", 0o755), 1200),
        (Tar::default().pax(&xattr).directory("./", 0o755), 1200),
    ] {
        let error = Place::new().unpack(&Tar(entry.0.repeat(times)).end()).expect_err("too much");
        assert_eq!(
            error.to_string(),
            "the archive is malformed: its directories and its hard links to other layers take more than 67108864 \
             bytes of memory"
        );
    }
}

#[test]
fn sparse_files_get_their_holes() {
    if !is_root("sparse_files_get_their_holes") {
        return;
    }
    let place = Place::new();
    let tar = Tar::default()
        .pax(&[
            ("GNU.sparse.size", b"1048576"),
            ("GNU.sparse.map", b"0,3,1000000,4"),
            ("GNU.sparse.name", b"s"),
        ])
        .file("GNUSparseFile.0/s", b"abcdefg")
        .end();
    place.unpack(&tar).expect("unpacks");
    let bytes = fs::read(place.layer().join("s")).expect("a file");
    assert_eq!(
        (bytes.len(), &bytes[..4], &bytes[1_000_000..1_000_005]),
        (1 << 20, &b"abc\0"[..], &b"defg\0"[..])
    );
}

#[test]
fn many_files_and_deep_paths_are_no_matter() {
    if !is_root("many_files_and_deep_paths_are_no_matter") {
        return;
    }
    let place = Place::new();
    let deep = "d/".repeat(1500);
    let tar = (0..2000)
        .fold(Tar::default(), |tar, i| tar.file(&format!("dir{}/file{i}", i % 37), &[b'x'; 600]))
        .pax(&[("path", format!("{deep}end").as_bytes())])
        .file("x", b"deep")
        .end();
    let unpacked = place.unpack(&tar).expect("unpacks");
    assert_eq!((unpacked.entries, unpacked.implicit.len()), (2001, 1 + 37 + 1500));
    let layer = open_directory(place.directory.path()).expect("opens");
    crate::delete::tree(&layer, "layer").expect("deletes");
}
