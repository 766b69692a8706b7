//! Budgets on a file system of numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const BLOCK: u64 = 4096;

/// A file system with so many bytes and inodes, and how often it was asked.
struct Disk {
    free: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Disk {
    fn with(free: u64, inodes: Option<u64>, limit: Option<u64>) -> (Self, Budget) {
        let disk = Self { free: Arc::new(AtomicU64::new(free)), asked: Arc::default() };
        let (free, asked) = (Arc::clone(&disk.free), Arc::clone(&disk.asked));
        let look = move || {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(Space { block: BLOCK, bytes: free.load(Ordering::Relaxed), inodes })
        };
        let budget = Budget::new(look, limit).expect("a budget");
        (disk, budget)
    }

    fn use_up(&self, bytes: u64) {
        self.free.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn bytes(bytes: u64) -> Cost {
    Cost { bytes, inodes: 1 }
}

fn refusal<T>(result: Result<T, UnpackError>) -> String {
    result.err().expect("a refusal").to_string()
}

#[test]
fn what_takes_less_than_charged_is_given_back() {
    let (disk, budget) = Disk::with(100 * BLOCK, None, None);
    // Twice as many as there is space for by what is charged.
    for _ in 0..99 {
        drop(budget.take(bytes(2 * BLOCK)).expect("fits"));
        disk.use_up(BLOCK);
    }
    let told = refusal(budget.take(bytes(2 * BLOCK)));
    assert_eq!(told, "it needs more than the 409600 bytes that are free in the image store");
}

#[test]
fn what_is_not_written_yet_is_not_given_out_twice() {
    let (disk, budget) = Disk::with(100 * BLOCK, None, None);
    let mut large = budget.take(bytes(80 * BLOCK)).expect("fits");
    assert!(budget.take(bytes(21 * BLOCK)).is_err(), "80 are promised");
    for _ in 0..4 {
        disk.use_up(10 * BLOCK);
        large.spent(10 * 4096);
    }
    assert!(budget.take(bytes(21 * BLOCK)).is_err(), "40 are written, 40 promised");
    assert!(budget.take(bytes(20 * BLOCK)).is_ok());
    drop(large);
    assert!(budget.take(bytes(60 * BLOCK)).is_ok(), "it was given up");
}

#[test]
fn others_who_write_are_seen() {
    let (disk, budget) = Disk::with(1 << 30, None, None);
    let take = |cost| budget.take(cost).map(drop);
    take(bytes(BLOCK)).expect("fits");
    disk.use_up((1 << 30) - 10 * BLOCK);
    take(bytes(LOOK_BYTES)).expect("not seen yet");
    let told = refusal(take(bytes(11 * BLOCK)));
    assert_eq!(
        told,
        format!("it needs more than the {} bytes that are free in the image store", LOOK_BYTES + 11 * BLOCK)
    );
    let asked = disk.asked.load(Ordering::Relaxed);
    for _ in 0..2 * LOOK_ENTRIES {
        take(Cost { bytes: 1, inodes: 0 }).expect("fits");
    }
    assert_eq!(disk.asked.load(Ordering::Relaxed), asked + 1, "{LOOK_ENTRIES} entries at a time");
}

#[test]
fn inodes_are_counted_where_the_file_system_does() {
    let (_, budget) = Disk::with(1 << 30, Some(3), None);
    let kept: Vec<_> = (0..3).map(|_| budget.take(bytes(1)).expect("fits")).collect();
    assert_eq!(
        refusal(budget.take(bytes(1))),
        "it has more files and directories than the 3 inodes that are free in the image store"
    );
    assert!(budget.take(Cost { bytes: 1, inodes: 0 }).is_ok(), "a further name needs none");
    drop(kept);
    let (_, uncounted) = Disk::with(1 << 30, None, None);
    assert!(uncounted.take(Cost { bytes: 1, inodes: u64::MAX }).is_ok());
}

#[test]
fn what_is_read_is_never_given_back() {
    let (_, budget) = Disk::with(1000, None, None);
    budget.read(600).expect("fits");
    assert!(refusal(budget.read(401)).contains("more than the 1000 bytes"));
    let (_, limited) = Disk::with(1000, None, Some(500));
    assert_eq!(refusal(limited.read(501)), "it takes more than 500 bytes unpacked");
    drop(limited.take(bytes(300)).expect("fits"));
    assert_eq!(refusal(limited.take(bytes(300))), "it takes more than 500 bytes unpacked");
}
