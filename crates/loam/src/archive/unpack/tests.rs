//! Trees that come out as they went in, and hostile archives.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tar::{Builder, Header};

use super::super::pack::Packer;
use super::*;

fn unpack(directory: &Path, naming: Naming, bytes: &[u8]) -> Result<(), Failure> {
    Unpacker::new(directory, naming, false).expect("a directory").unpack(bytes)
}

fn named(name: &str) -> Naming {
    Naming::Named(name.into())
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let from = directory.path().join("from");
    fs::create_dir_all(from.join("sub/empty")).expect("made");
    fs::write(from.join("sub/file"), "content").expect("written");
    fs::hard_link(from.join("sub/file"), from.join("sub/other")).expect("linked");
    fs::set_permissions(from.join("sub/file"), Permissions::from_mode(0o6751)).expect("changed");
    fs::set_permissions(from.join("sub"), Permissions::from_mode(0o500)).expect("changed");
    symlink("/etc/passwd", from.join("link")).expect("linked");
    let moment = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    for directory in ["sub/empty", "sub", ""] {
        File::open(from.join(directory)).and_then(|file| file.set_modified(moment)).expect("changed");
    }
    let mut bytes = Vec::new();
    let mut packer = Packer::new(&mut bytes, false);
    packer.tree(&from, Path::new("from"), false).expect("packed");
    packer.finish().expect("finished");

    unpack(directory.path(), named("to"), &bytes).expect("unpacked");
    let to = directory.path().join("to");
    assert_eq!(fs::read_to_string(to.join("sub/file")).expect("read"), "content");
    assert_eq!(fs::read_link(to.join("link")).expect("read"), Path::new("/etc/passwd"));
    let (file, other) = (to.join("sub/file"), to.join("sub/other"));
    let (file, other) = (file.metadata().expect("there"), other.metadata().expect("there"));
    assert_eq!(file.ino(), other.ino());
    assert_eq!(file.mode() & 0o7777, 0o751, "no set-user-id on the host");
    assert_eq!(to.join("sub").metadata().expect("there").mode() & 0o7777, 0o500);
    assert!(to.join("sub/empty").is_dir());
    for directory in ["sub/empty", "sub", ""] {
        let modified = to.join(directory).metadata().and_then(|metadata| metadata.modified());
        assert_eq!(modified.expect("there"), moment, "`{directory}`: set when all in it is there");
    }
    // Once more over what is there, and only the contents.
    unpack(directory.path(), named("to"), &bytes).expect("unpacked again");
    unpack(&to, Naming::ContentsOnly, &bytes).expect("unpacked");
}

#[test]
fn a_whole_root_keeps_its_directories() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = archive(&[
        ("./", EntryType::Directory, ""),
        ("etc/", EntryType::Directory, ""),
        ("etc/file", EntryType::Regular, ""),
        ("etc/other", EntryType::Link, "etc/file"),
    ]);
    unpack(directory.path(), named("new"), &root).expect("unpacked");
    assert!(directory.path().join("new/etc/other").is_file());
    unpack(directory.path(), Naming::ContentsOnly, &root).expect("unpacked");
    assert!(directory.path().join("etc/file").is_file());
    assert!(!directory.path().join("file").exists());
}

/// An archive of hostile entries, which the builder would refuse to make.
fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, link) in entries {
        let mut header = Header::new_gnu();
        let raw = header.as_gnu_mut().expect("a GNU header");
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        builder.append(&header, io::empty()).expect("written");
    }
    builder.into_inner().expect("finished")
}

#[test]
fn nothing_leaves_the_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = directory.path().join("in");
    fs::create_dir(&target).expect("made");
    fs::write(directory.path().join("secret"), "kept").expect("written");
    use EntryType as Is;
    for entries in [
        &[("top/../../bad", Is::Regular, "")][..],
        &[("top/link", Is::Symlink, "/"), ("top/link/bad", Is::Regular, "")],
        &[("top/link", Is::Symlink, ".."), ("top/link", Is::Directory, "")],
        &[("top/hard", Is::Link, "top/../../secret")],
        &[("top/link", Is::Symlink, "../.."), ("top/hard", Is::Link, "top/link/secret")],
    ] {
        let bytes = archive(&[&[("top", Is::Directory, "")], entries].concat());
        assert!(unpack(&target, named("top"), &bytes).is_err(), "{entries:?}");
        fs::remove_dir_all(target.join("top")).expect("only this was made");
        assert_eq!(fs::read_dir(&target).expect("read").count(), 0, "{entries:?}");
    }
    assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 2);
}

#[test]
fn a_file_takes_the_place_of_a_link_and_does_not_follow_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    fs::write(&secret, "kept").expect("written");
    symlink(&secret, directory.path().join("file")).expect("linked");
    let bytes = archive(&[("whatever", EntryType::Regular, "")]);
    unpack(directory.path(), named("file"), &bytes).expect("unpacked");
    assert_eq!(fs::read_to_string(&secret).expect("read"), "kept");
    assert!(directory.path().join("file").symlink_metadata().expect("there").is_file());
}

#[test]
fn devices_are_left_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = archive(&[("null", EntryType::Char, "")]);
    unpack(directory.path(), named("null"), &bytes).expect("unpacked");
    assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 0);
}

#[test]
fn only_the_directories_that_the_archive_is_in_are_remembered() {
    use EntryType::Directory as Is;
    let directory = tempfile::tempdir().expect("a directory");
    let mut unpacker = Unpacker::new(directory.path(), named("top"), false).expect("a directory");
    let mut most = 0;
    let names: Vec<String> = (0..100).map(|number| format!("top/{number}")).collect();
    for name in [&["top".to_owned(), "top".to_owned()][..], &names].concat() {
        let path = unpacker.path(name.as_bytes()).expect("inside");
        unpacker.leave_all_but_parents_of(&path).expect("left");
        let bytes = archive(&[(&name, Is, "")]);
        let mut archive = Archive::new(&bytes[..]);
        let mut entry = archive.entries().expect("an archive").next().expect("one").expect("an entry");
        unpacker.entry(&mut entry, &path).expect("made");
        most = most.max(unpacker.entered.len());
    }
    assert_eq!(most, 2);
    // Whatever the archive comes back to is found all the same.
    let again = archive(&[("top", Is, ""), ("top/a", Is, ""), ("top/b", Is, ""), ("top/a/c", Is, "")]);
    unpack(directory.path(), named("top"), &again).expect("unpacked");
    assert!(directory.path().join("top/a/c").is_dir());
}

fn file_header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_path("top/file").expect("short");
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

#[test]
fn blocks_of_zeros_become_holes() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut content = vec![0; 32 << 20];
    for at in [0, 4095, 4096, 1_000_000, 8 << 20, (32 << 20) - 9000] {
        content[at] = 7;
    }
    let mut builder = Builder::new(Vec::new());
    builder.append(&file_header(content.len() as u64), content.as_slice()).expect("written");
    let bytes = builder.into_inner().expect("finished");
    // In pieces that fit no block.
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(5000);
            self.0.read(&mut buffer[..length])
        }
    }
    let mut unpacker = Unpacker::new(directory.path(), named("file"), false).expect("a directory");
    let top = archive(&[("top", EntryType::Directory, "")]);
    unpacker.unpack(Slow(&[&top[..512], &bytes].concat())).expect("unpacked");
    let path = directory.path().join("file/file");
    assert!(fs::read(&path).expect("read") == content);
    let taken = path.metadata().expect("there").blocks() * 512;
    assert!(taken < 1 << 20, "{taken}");
}

#[test]
fn a_file_larger_than_the_disk_has_room_for_is_named_and_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kept");
    fs::write(&file, "before").expect("written");
    let top = archive(&[("top", EntryType::Directory, "")]);
    // 8 EiB of zeros, which nobody could read to their end.
    let header = file_header(8 << 60);
    let stream = top[..512].chain(&header.as_bytes()[..]).chain(io::repeat(0));
    let mut unpacker = Unpacker::new(directory.path(), named("to"), false).expect("a directory");
    let failure = unpacker.unpack(stream).expect_err("too large");
    assert_eq!(failure.kind(), ErrorKind::Exhausted);
    assert!(failure.chain().starts_with("`to/file` can't be written: it needs 9223372036854775808 bytes"));
    assert_eq!(fs::read_dir(directory.path().join("to")).expect("made").count(), 0);
    assert_eq!(fs::read_to_string(&file).expect("read"), "before");
}

#[test]
fn many_files_together_take_no_more_than_there_is_room_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = File::open(directory.path()).expect("opened");
    let mut room = Room::default();
    room.take(&place, 0).expect("some");
    let status = rustix::fs::fstatvfs(&place).expect("known");
    let third = status.f_bavail.saturating_mul(status.f_frsize) / 3;
    // Holes take nothing of the disk, and are counted all the same.
    assert_eq!((0..3).filter(|_| room.take(&place, third).is_ok()).count(), 2);
    room.take(&place, 0).expect("a small file still has room");
}
