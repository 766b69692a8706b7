//! File systems that are full.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use loam_model::ErrorKind;
use loam_testkit::lab::{inside, succeed};
use rusqlite::ffi;

use super::*;
use crate::reserve::{PORTION, SIZE};
use crate::{Database, Durability, Schema};

const FRUIT: Schema = Schema { component: "fruit", versions: &["CREATE TABLE fruit (name BLOB) STRICT"] };

/// Runs a test with a directory on a btrfs; says by name when there is none.
fn on_btrfs(name: &str, test: impl FnOnce(&Path)) {
    let is_known = fs::read_to_string("/proc/filesystems").is_ok_and(|kinds| kinds.contains("\tbtrfs\n"));
    if !is_known || !Path::new("/usr/bin/btrfs").exists() {
        println!("skipped: {name}: needs btrfs");
        return;
    }
    inside(name, || {
        let (disk, mount) = ("/run/disk", "/run/btrfs");
        succeed(&["truncate", "-s", "128M", disk]);
        succeed(&["mkfs.btrfs", "-q", disk]);
        fs::create_dir(mount).expect("made");
        succeed(&["mount", "-o", "loop", disk, mount]);
        test(Path::new(mount));
        succeed(&["umount", mount]);
    });
}

/// Writes until there is no space.
fn fill(directory: &Path) {
    let mut file = File::options().append(true).create(true).open(directory.join("ballast")).expect("opens");
    for length in [1 << 20, 64 << 10, 4 << 10] {
        let piece = vec![1; length];
        let mut write = || file.write_all(&piece).and_then(|()| file.sync_data());
        let error = loop {
            if let Err(error) = write() {
                break error;
            }
        };
        assert!(is_lack_of_space(&error), "{error}");
    }
}

#[test]
fn on_btrfs_each_portion_is_free_when_it_is_given_up() {
    on_btrfs("space::tests::on_btrfs_each_portion_is_free_when_it_is_given_up", |directory| {
        let reserve = Reserve::of(&directory.join("loam.db"));
        reserve.fill().expect("there is space");
        fill(directory);
        assert!(is_lack(&try_out(directory)), "it is full");
        let mut held = Vec::new();
        for portion in 0..SIZE / PORTION {
            assert!(reserve.give_up(), "portion {portion}");
            held.push(try_out(directory).expect("what was given up is free"));
        }
        assert!(!reserve.give_up());
    });
}

/// Runs a test with a directory on a small file system in memory.
fn in_memory(name: &str, test: impl FnOnce(&Path)) {
    inside(name, || {
        let directory = Path::new("/run/state");
        fs::create_dir(directory).expect("made");
        succeed(&["mount", "-t", "tmpfs", "-o", "size=4M", "state", "/run/state"]);
        test(directory);
    });
}

#[test]
fn what_another_one_holds_for_a_moment_is_waited_for() {
    in_memory("space::tests::what_another_one_holds_for_a_moment_is_waited_for", |directory| {
        let held = try_out(directory).expect("there is space");
        fill(directory);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let looking = scope.spawn(move || {
                sender.send(rustix::thread::gettid()).expect("it listens");
                Space::look(&directory.join("loam.db")).and_then(|space| {
                    assert!(space.reserve.is_whole(), "it was made whole");
                    space.require()
                })
            });
            let task = format!("/proc/self/task/{}/stat", receiver.recv().expect("it says so"));
            // Asleep, it has looked and found nothing.
            while !fs::read_to_string(&task).is_ok_and(|status| status.contains(") S ")) {
                assert!(!looking.is_finished(), "it did not wait");
                std::thread::yield_now();
            }
            fs::remove_file(directory.join("ballast")).expect("removed");
            drop(held);
            looking.join().expect("it returns").expect("it found the space");
        });
    });
}

// A quota on files in memory or on a disk does not hold for root, and on btrfs SQLite's index of the log is not safe from this:
// a full file system in memory, and SQLite's word for a quota.
#[test]
fn what_sqlite_calls_an_io_error_is_no_space_where_there_is_none() {
    let name = "space::tests::what_sqlite_calls_an_io_error_is_no_space_where_there_is_none";
    in_memory(name, |directory| {
        let database = Database::open(&directory.join("loam.db"), &[FRUIT]).expect("opens");
        let failing = |is_full: bool| {
            let result: loam_model::Result<()> = database.write(Durability::Unsynced, |_| {
                if is_full {
                    fill(directory);
                }
                Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_WRITE), None))
            });
            result.expect_err("it fails")
        };
        assert_eq!(failing(false).kind(), ErrorKind::Internal);
        let error = failing(true);
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{}", error.chain());
        assert_eq!(error.to_string(), "no space is left for the state database `/run/state/loam.db`");
    });
}
