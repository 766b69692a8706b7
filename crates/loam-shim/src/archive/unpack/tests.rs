//! Archives, some of them hostile, unpacked beside a canary.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tar::{Builder, Header};

use super::*;

/// A root with a directory `in` to unpack into, and a canary beside the root.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(base.path().join("root/in")).unwrap();
        std::fs::create_dir(base.path().join("canary")).unwrap();
        std::fs::write(base.path().join("canary/file"), "alive").unwrap();
        std::fs::set_permissions(base.path().join("canary"), PermissionsExt::from_mode(0o750)).unwrap();
        Self(base)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn unpack(&self, archive: &[u8]) -> Result<()> {
        let root = Root::of(&self.path("root"), None);
        let result = unpack(&root, "/in", archive);
        let canary = std::fs::metadata(self.path("canary")).unwrap();
        assert_eq!(canary.mode() & 0o7777, 0o750);
        assert_eq!(std::fs::read_dir(self.path("canary")).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(self.path("canary/file")).unwrap(), "alive");
        result
    }
}

fn entry(builder: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: Option<&str>, data: &str) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o777);
    header.set_uid(rustix::process::geteuid().as_raw().into());
    header.set_gid(rustix::process::getegid().as_raw().into());
    header.set_mtime(1_000_000_000);
    header.set_size(data.len() as u64);
    // Names as hostile as they are given, which the builder would not write.
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    if let Some(link) = link {
        header.set_link_name_literal(link).unwrap();
    }
    header.set_cksum();
    builder.append(&header, data.as_bytes()).unwrap();
}

fn archive(entries: &[(EntryType, &str, Option<&str>, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, link, data) in entries {
        entry(&mut builder, *kind, name, *link, data);
    }
    builder.into_inner().unwrap()
}

const FILE: EntryType = EntryType::Regular;
const DIRECTORY: EntryType = EntryType::Directory;
const SYMLINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

#[test]
fn what_an_archive_holds_is_made() {
    let tree = Tree::new();
    let entries = [
        (DIRECTORY, "d/", None, ""),
        (FILE, "d/f", None, "text"),
        (HARD, "d/h", Some("d/f"), ""),
        (SYMLINK, "d/s", Some("f"), ""),
        (FILE, "missing/parents/f", None, "x"),
        (EntryType::Fifo, "pipe", None, ""),
    ];
    tree.unpack(&archive(&entries)).unwrap();
    let file = std::fs::metadata(tree.path("root/in/d/h")).unwrap();
    assert_eq!((file.nlink(), file.mode() & 0o7777, file.mtime()), (2, 0o777, 1_000_000_000));
    assert_eq!(std::fs::metadata(tree.path("root/in/d")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(std::fs::read_to_string(tree.path("root/in/d/s")).unwrap(), "text");
    assert!(tree.path("root/in/missing/parents/f").exists());
    // Once more over what is there.
    tree.unpack(&archive(&entries)).unwrap();
}

#[test]
fn nothing_is_written_outside_the_root() {
    let outside = |tree: &Tree| tree.path("canary").display().to_string();
    type Shape = fn(&str) -> Vec<(EntryType, &'static str, Option<String>)>;
    let shapes: [Shape; 6] = [
        |_| vec![(FILE, "../../canary/evil", None)],
        |_| vec![(FILE, "/../../canary/evil", None)],
        |canary| vec![(SYMLINK, "d", Some(canary.to_owned())), (FILE, "d/evil", None)],
        |_| vec![(SYMLINK, "d", Some("../../../../canary".to_owned())), (FILE, "d/evil", None)],
        |canary| vec![(SYMLINK, "d", Some(canary.to_owned())), (DIRECTORY, "d", None)],
        |canary| vec![(HARD, "h", Some(format!("{canary}/file"))), (FILE, "h", None)],
    ];
    for shape in shapes {
        let tree = Tree::new();
        let canary = outside(&tree);
        let entries = shape(&canary);
        let entries: Vec<_> = entries
            .iter()
            .map(|(kind, name, link)| {
                (*kind, *name, link.as_deref(), if *kind == FILE { "evil" } else { "" })
            })
            .collect();
        // Whether it is refused or lands inside is all the same.
        match tree.unpack(&archive(&entries)) {
            Ok(()) | Err(_) => {}
        }
    }
}

#[test]
fn links_of_the_container_lead_nowhere_else() {
    let tree = Tree::new();
    symlink(tree.path("canary"), tree.path("root/in/d")).unwrap();
    symlink(tree.path("canary/file"), tree.path("root/in/f")).unwrap();
    // A file in place of a link replaces it; below a link that leads nowhere in the root nothing is made.
    tree.unpack(&archive(&[(FILE, "f", None, "new")])).unwrap();
    assert_eq!(std::fs::read_to_string(tree.path("root/in/f")).unwrap(), "new");
    assert!(tree.unpack(&archive(&[(FILE, "d/evil", None, "x")])).is_err());
    let root = Root::of(&tree.path("root"), None);
    let failure = unpack(&root, "/in/d", &[][..]).unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_not_meant_for_copying_is_refused() {
    let tree = Tree::new();
    for (entries, kind) in [
        ([(EntryType::Char, "null", None, "")], ErrorKind::Unsupported),
        ([(FILE, "..", None, "x")], ErrorKind::Invalid),
    ] {
        assert_eq!(tree.unpack(&archive(&entries)).unwrap_err().kind(), kind);
    }
    assert_eq!(tree.unpack(&[b'x'; 2048]).unwrap_err().kind(), ErrorKind::Invalid);
    let whole = archive(&[(FILE, "f", None, &"x".repeat(10_000))]);
    assert!(tree.unpack(&whole[..2048]).is_err());
    std::fs::create_dir(tree.path("root/in/taken")).unwrap();
    let failure = tree.unpack(&archive(&[(FILE, "taken", None, "x")])).unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Conflict);
}
