//! Leases: images that a process has pulled and may yet make a container from, which pruning leaves alone.
//!
//! A lease is a row of `image_lease` and the file `leases/HOLDER`, which its process holds locked with flock(2) as long
//! as it has the store open. A row whose time has passed, or whose holder has no locked file, is out of date; whoever
//! prunes removes it.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use loam_model::{Digest, Result};
use rusqlite::{Transaction, params};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::failed;
use crate::record::now;
use crate::staging::{Places, is_at, make_directory, random_id};

/// What a process holds leases with. They end with it.
#[derive(Debug)]
pub(crate) struct Holder {
    path: PathBuf,
    name: String,
    /// Open, and locked.
    _file: OwnedFd,
}

impl Holder {
    /// Becomes one.
    pub(crate) fn new(places: &Places) -> Result<Self> {
        let directory = places.leases();
        make_directory(&directory)?;
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let name = random_id();
            let path = directory.join(&name);
            let what = |error: Errno| failed(format!("the lease `{}` can't be made", path.display()), error);
            let file = match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST) => continue,
                opened => opened.map_err(what)?,
            };
            // Somebody may take it for one whose holder is gone before it is locked.
            let is_locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            if is_locked && is_at(&file, &path) {
                return Ok(Self { path, name, _file: file });
            }
        }
    }

    /// Takes a lease of an image.
    pub(crate) fn hold(
        &self,
        transaction: &Transaction<'_>,
        image: &Digest,
        time: Duration,
    ) -> rusqlite::Result<()> {
        transaction.execute(
            "INSERT INTO image_lease (holder, image, until) VALUES (?1, ?2, ?3)
             ON CONFLICT (holder, image) DO UPDATE SET until = ?3",
            params![self.name, image.to_string(), now().saturating_add_unsigned(time.as_secs())],
        )?;
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Its rows are out of date with that.
        fs::remove_file(&self.path).ok();
    }
}

/// Forgets the leases that are out of date.
pub(crate) fn expire(transaction: &Transaction<'_>, places: &Places) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM image_lease WHERE until <= ?1", [now()])?;
    let mut statement = transaction.prepare("SELECT DISTINCT holder FROM image_lease")?;
    let holders: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for holder in holders.iter().filter(|holder| matches!(held(places, holder), Held::No(_))) {
        transaction.execute("DELETE FROM image_lease WHERE holder = ?1", [holder])?;
    }
    Ok(())
}

/// Removes the files of holders that were killed.
pub(crate) fn sweep(places: &Places) {
    for path in crate::staging::entries(&places.leases()) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // Held until it is gone, so that nobody takes it for one's own meanwhile.
        if let Held::No(Some(file)) = held(places, name)
            && is_at(&file, &path)
        {
            fs::remove_file(&path).ok();
        }
    }
}

/// Whether a holder's file is locked.
enum Held {
    /// It is, or that can't be told.
    Yes,
    /// It is not; with the file, locked, if there is one.
    No(Option<OwnedFd>),
}

fn held(places: &Places, holder: &str) -> Held {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(places.leases().join(holder), flags, Mode::empty()) {
        Ok(file) => match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Held::No(Some(file)),
            Err(_) => Held::Yes,
        },
        Err(Errno::NOENT) => Held::No(None),
        Err(_) => Held::Yes,
    }
}
