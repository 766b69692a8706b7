//! Images that are mounted for people to look into: `mounts/HEX`, by the digits of the image's id, and a row for each with
//! a count.
//!
//! The row is written before the mount and deleted after it is gone, both under the lock of `mounts` (flock(2)), which
//! also covers the mounting itself. So, under the lock, a row without a mount is one that a crash, a reboot or somebody's
//! umount(8) has left, and is forgotten. The directory is root's alone: set-user-id programs of images are nobody else's
//! to run.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use loam_model::{Digest, ErrorKind, Failure, ImageMounts, MountedImage, Result, RootfsPlan, Unmounted};
use loam_state::Durability;
use rusqlite::{Connection, OptionalExtension, params};
use rustix::fs::{AtFlags, CWD, FlockOperation, StatxAttributes, StatxFlags};

use crate::error::failed;
use crate::staging::{make_directory, open_directory};
use crate::store::no_image;
use crate::{LayerStore, catalog, record};

/// The rows' changes need not survive a power cut: the mounts do not.
const DURABILITY: Durability = Durability::Unsynced;

impl ImageMounts for LayerStore {
    fn mount(
        &self,
        image: &Digest,
        mount: &mut dyn FnMut(&RootfsPlan, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let _lock = self.lock_mounts()?;
        self.forget_stale()?;
        self.database.require_space()?;
        let Some(count) = self.count_up(image)? else { return Err(no_image(image)) };
        let path = self.places.mount(image);
        if count == 1
            && let Err(failure) = self.mount_new(image, &path, mount)
        {
            self.forget_mount(image, &path)?;
            return Err(failure);
        }
        Ok(path)
    }

    fn unmount(
        &self,
        image: &Digest,
        force: bool,
        unmount: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<Unmounted> {
        let _lock = self.lock_mounts()?;
        self.forget_stale()?;
        let count = self.database.read(|connection| mount_count(connection, &image.to_string()))?;
        match count {
            None => Err(Failure::new(
                ErrorKind::NotFound,
                format!("the image `{}` is not mounted", image.short()),
            )),
            Some(count) if count > 1 && !force => {
                self.database.write(DURABILITY, |transaction| {
                    let query = "UPDATE image_mount SET count = count - 1 WHERE image = ?1";
                    transaction.execute(query, [image.to_string()])
                })?;
                Ok(Unmounted::Held(count - 1))
            }
            Some(_) => {
                let path = self.places.mount(image);
                unmount(&path)?;
                self.forget_mount(image, &path)?;
                Ok(Unmounted::Gone)
            }
        }
    }

    fn mounted(&self) -> Result<Vec<MountedImage>> {
        self.forget_stale_mounts()?;
        let rows = self.database.read(all)?;
        let mounted = |(image, count): (Digest, u64)| {
            let names = self.database.read(|connection| catalog::names(connection, &image.to_string()))?;
            let path = self.places.mount(&image);
            Ok(MountedImage { image, names, path, count })
        };
        rows.into_iter().map(mounted).collect()
    }
}

impl LayerStore {
    /// Forgets images that are no longer mounted, although the records say so.
    pub(crate) fn forget_stale_mounts(&self) -> Result<()> {
        // Most stores have no mount, and then there is nothing to lock.
        if self.database.read(all)?.is_empty() {
            return Ok(());
        }
        let _lock = self.lock_mounts()?;
        self.forget_stale()
    }

    /// Waits until nobody else mounts or unmounts.
    fn lock_mounts(&self) -> Result<OwnedFd> {
        let path = self.places.mounts();
        make_directory(&path)?;
        let what = |error: io::Error| failed(format!("`{}` can't be locked", path.display()), error);
        let directory = open_directory(&path).map_err(what)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&directory, FlockOperation::LockExclusive))
            .map_err(|errno| what(errno.into()))?;
        Ok(directory)
    }

    fn forget_stale(&self) -> Result<()> {
        for (image, _) in self.database.read(all)? {
            let path = self.places.mount(&image);
            if !is_mounted(&path)? {
                self.forget_mount(&image, &path)?;
            }
        }
        Ok(())
    }

    /// Writes a mount down; gives the new count, `None` when there is no such image.
    fn count_up(&self, image: &Digest) -> Result<Option<u64>> {
        let id = image.to_string();
        self.database.write(DURABILITY, |transaction| {
            if !transaction.prepare("SELECT 1 FROM image WHERE id = ?1")?.exists([&id])? {
                return Ok(None);
            }
            transaction.execute(
                "INSERT INTO image_mount (image, count) VALUES (?1, 1)
                 ON CONFLICT (image) DO UPDATE SET count = count + 1",
                [&id],
            )?;
            record::used(transaction, &id)?;
            mount_count(transaction, &id)
        })
    }

    fn mount_new(
        &self,
        image: &Digest,
        path: &Path,
        mount: &mut dyn FnMut(&RootfsPlan, &Path) -> Result<()>,
    ) -> Result<()> {
        let plan = self.image_plan(image)?;
        make_directory(path)?;
        mount(&plan, path)
    }

    /// Deletes what is left of a mount, and its row; the image, too, when it waited for that.
    fn forget_mount(&self, image: &Digest, path: &Path) -> Result<()> {
        match fs::remove_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(format!("`{}` can't be removed", path.display()), error));
            }
            _ => {}
        }
        let id = image.to_string();
        let dropped = self.database.write(DURABILITY, |transaction| {
            transaction.execute("DELETE FROM image_mount WHERE image = ?1", [&id])?;
            record::drop_condemned(transaction, &id)
        })?;
        dropped.map_or(Ok(()), |dropped| self.delete_dropped(&dropped))
    }
}

/// Whether something is mounted at a path.
fn is_mounted(path: &Path) -> Result<bool> {
    match rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()) {
        Ok(status) => Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(failed(format!("`{}` can't be looked at", path.display()), errno)),
    }
}

/// How often an image is mounted; `None` when it is not.
pub(crate) fn mount_count(connection: &Connection, image: &str) -> rusqlite::Result<Option<u64>> {
    let count = connection
        .prepare_cached("SELECT count FROM image_mount WHERE image = ?1")?
        .query_row([image], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(count.map(i64::unsigned_abs))
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<(Digest, u64)>> {
    let mut statement = connection.prepare_cached("SELECT image, count FROM image_mount ORDER BY image")?;
    let rows = statement
        .query_map(params![], |row| Ok((catalog::parsed(row, 0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
    rows.collect()
}

#[cfg(test)]
mod tests;
