//! Removing images.

use loam_model::{ErrorKind, Failure, ImageStore as _, RemovedImage, Result};
use loam_state::Durability;
use rusqlite::Transaction;

use crate::mounts::mount_count;
use crate::record::{self, Dropped};
use crate::resolve::{Found, find, not_found};
use crate::{LayerStore, blobs, catalog};

/// What the database says to a removal.
enum Outcome {
    Removed(RemovedImage, Dropped),
    Nothing(Found),
    InUse { image: String, containers: Vec<String> },
    Mounted { image: String },
}

impl LayerStore {
    pub(crate) fn remove_image(&self, name: &str, force: bool) -> Result<RemovedImage> {
        self.forget_stale_mounts()?;
        let outcome = self
            .database
            .write(Durability::Synced, |transaction| self.forget_image(transaction, name, force))?;
        match outcome {
            Outcome::Removed(removed, dropped) => {
                self.delete_dropped(&dropped)?;
                self.sweep();
                Ok(removed)
            }
            Outcome::Nothing(found) => Err(not_found(name, &found)),
            Outcome::InUse { image, containers } => Err(in_use(name, &image, &containers)),
            Outcome::Mounted { image } => {
                let shown = if is_showable(name) { name } else { &image };
                Err(Failure::new(ErrorKind::Conflict, format!("the image `{shown}` is mounted"))
                    .hint(format!("unmount it first: loam image unmount {shown}")))
            }
        }
    }

    fn forget_image(
        &self,
        transaction: &Transaction<'_>,
        name: &str,
        force: bool,
    ) -> rusqlite::Result<Outcome> {
        let (image, by_name) = match find(transaction, name, &|word| self.stands_for(word))? {
            Found::Image { id, name } => (id, name),
            other => return Ok(Outcome::Nothing(other)),
        };
        let names = catalog::names(transaction, &image)?;
        let untagged: Vec<String> = match by_name {
            Some(name) => vec![name],
            None => names.clone(),
        };
        let last = untagged.len() == names.len();
        let containers = catalog::users(transaction, &image)?;
        let mounted = mount_count(transaction, &image)?.is_some();
        if last && !force {
            if !containers.is_empty() {
                return Ok(Outcome::InUse { image, containers });
            }
            if mounted {
                return Ok(Outcome::Mounted { image });
            }
        }
        for name in &untagged {
            transaction.execute("DELETE FROM image_name WHERE name = ?1", [name])?;
        }
        let mut removed = RemovedImage { untagged, ..RemovedImage::default() };
        let mut dropped = Dropped::default();
        if last && containers.is_empty() && !mounted {
            dropped = record::drop_image(transaction, &image)?;
            removed.deleted = image.parse().ok();
            removed.layers = dropped.layers.iter().map(|(diff_id, _)| diff_id.clone()).collect();
        } else if last {
            transaction.execute("UPDATE image SET condemned = 1 WHERE id = ?1", [&image])?;
        }
        Ok(Outcome::Removed(removed, dropped))
    }

    /// Deletes from the disk what the database has dropped. A crash before the end leaves layers to the next sweep.
    pub(crate) fn delete_dropped(&self, dropped: &Dropped) -> Result<()> {
        let mut failures: Vec<Failure> = Vec::new();
        for (_, directory) in &dropped.layers {
            failures.extend(self.places.discard(&self.places.layer(directory)).err());
        }
        failures.extend(blobs::collect(&self.places, &self.database, &dropped.blobs).err());
        Failure::join(failures).map_or(Ok(()), Err)
    }
}

/// The failure for an image that containers stand on.
fn in_use(name: &str, image: &str, containers: &[String]) -> Failure {
    let shown: Vec<&str> = containers.iter().take(3).map(|id| &id[..id.len().min(12)]).collect();
    let more = if containers.len() > 3 { " and others" } else { "" };
    let what = format!(
        "the image `{}` is in use by container {}{more}",
        if is_showable(name) { name } else { image },
        shown.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
    );
    Failure::new(ErrorKind::Conflict, what)
        .hint("remove the containers first, or force the removal of the name")
}

/// Whether a name can be shown as it was given.
fn is_showable(name: &str) -> bool {
    name.len() <= 200 && !name.chars().any(char::is_control)
}
