//! A look at the disk before the database is used.
//!
//! SQLite shares the index of its log by a mapped file, and a process that writes to a mapped page for which the file system has
//! no block is killed by SIGBUS: on a full disk with blocks smaller than a page, and on file systems that write elsewhere what
//! is written again. So whoever opens the database first tries whether what it needs can be allocated, and takes it from the
//! [`Reserve`] when it can't. As long as [`PLENTY`] is free, that is two system calls. Everybody who looks holds a portion for a
//! moment: who finds nothing, and no reserve, asks again until its [`Patience`] has ended.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use loam_model::Result;
use loam_sys::btrfs;
use rustix::fs::{Mode, OFlags};

use crate::failure::{directory_of, full, refused};
use crate::patience::Patience;
use crate::reserve::Reserve;
use crate::trial::{is_lack, is_lack_of_space, try_out, was_full};

/// With so many bytes free nothing more is looked at.
const PLENTY: u64 = 16 << 20;

/// The magic numbers of statfs(2) of file systems that write elsewhere what is written again.
const BTRFS: u64 = 0x9123_683e;
const BCACHEFS: u64 = 0xca45_1a4e;

/// The space that a database has.
#[derive(Debug)]
pub(crate) struct Space {
    directory: PathBuf,
    reserve: Reserve,
    /// Whether the reserve was needed.
    is_short: AtomicBool,
    patience: Patience,
    /// Whether a page that has its block needs another one.
    is_moving: bool,
}

impl Space {
    /// Looks whether a database can be opened and a small transaction written; fails when there is no space for that.
    pub(crate) fn look(database: &Path) -> Result<Self> {
        let directory = directory_of(database).to_owned();
        let free = Free::of(&directory);
        let space = Self {
            reserve: Reserve::of(database),
            directory,
            is_short: AtomicBool::new(false),
            patience: Patience::new(),
            is_moving: free.is_moving,
        };
        if free.is_plenty && (space.reserve.is_whole() || !is_lack(&space.reserve.fill())) {
            return Ok(space);
        }
        space.make_room()?;
        Ok(space)
    }

    /// Looks again where a process can't rely on the blocks that it had.
    pub(crate) fn look_again(&self) -> Result<()> {
        if !self.is_moving || Free::of(&self.directory).is_plenty { Ok(()) } else { self.make_room() }
    }

    /// Gives up some of the reserve, when it was the disk that something failed for. Whether it is worth another attempt.
    pub(crate) fn yield_for(&self, error: &rusqlite::Error) -> bool {
        if !was_full(&self.directory, error) {
            return false;
        }
        self.is_short.store(true, Ordering::Relaxed);
        self.give_up() || self.patience.waits()
    }

    /// Something could be written.
    pub(crate) fn has_sufficed(&self) {
        self.patience.renew();
    }

    /// Fails when the disk is full, and what there is left is kept for what ends things.
    pub(crate) fn require(&self) -> Result<()> {
        if self.is_short.load(Ordering::Relaxed) { Err(refused(&self.directory)) } else { Ok(()) }
    }

    fn give_up(&self) -> bool {
        let given = self.reserve.give_up();
        if given {
            self.is_short.store(true, Ordering::Relaxed);
            tracing::debug!(directory = %self.directory.display(), "the disk is full: a part of the reserve is given up");
        }
        given
    }

    /// Gives up as much of the reserve as it takes to have a portion free. When that came of itself, because somebody has given it
    /// back, the reserve is made whole as ever.
    fn make_room(&self) -> Result<()> {
        loop {
            let held = match try_out(&self.directory) {
                Ok(held) => held,
                Err(error) if is_lack_of_space(&error) => {
                    if self.give_up() || self.patience.waits() {
                        continue;
                    }
                    return Err(full(&self.directory, error));
                }
                // What can't be tried out is not known to be missing.
                Err(error) => {
                    tracing::debug!(directory = %self.directory.display(), %error, "its space is not looked at");
                    return Ok(());
                }
            };
            // While the portion is held, so that the reserve does not take it.
            let is_taken = self.is_short.load(Ordering::Relaxed);
            if !is_taken && !self.reserve.is_whole() && is_lack(&self.reserve.fill()) {
                self.is_short.store(true, Ordering::Relaxed);
            }
            drop(held);
            self.patience.renew();
            return Ok(());
        }
    }
}

/// What the file system says at once.
struct Free {
    is_plenty: bool,
    is_moving: bool,
}

impl Free {
    fn of(directory: &Path) -> Self {
        // One that can't be asked says what is wrong when the database is opened.
        let Ok(status) = rustix::fs::statfs(directory) else {
            return Self { is_plenty: true, is_moving: false };
        };
        let number = |number| u64::try_from(number).unwrap_or(0);
        let is_plenty =
            status.f_blocks == 0 || status.f_bavail.saturating_mul(number(status.f_bsize)) >= PLENTY;
        let kind = u64::try_from(status.f_type).unwrap_or(0);
        Self {
            // btrfs does not say here what quota groups leave.
            is_plenty: is_plenty && !(kind == BTRFS && has_quota_groups(directory)),
            is_moving: matches!(kind, BTRFS | BCACHEFS),
        }
    }
}

/// Whether quotas are switched on, one of which this directory may be under.
fn has_quota_groups(directory: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty()).map_err(io::Error::from);
    opened.and_then(|directory| btrfs::quota_groups(directory.as_fd())).is_ok_and(|groups| groups.exists())
}

#[cfg(test)]
mod tests;
