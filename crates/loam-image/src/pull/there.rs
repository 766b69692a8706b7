//! A pull of an image that the store has already, just as it is and under the name that it shall have.
//!
//! All of it went to the disk before it was recorded. So no layer is opened, and the file system is not synced. Under a name
//! the database is synced all the same: whoever recorded the image may have been killed before that was done.

use loam_model::{Image, LayerProgress, PullProgress, Result};
use loam_state::Durability;

use super::describe::Wanted;
use crate::{LayerStore, blobs, catalog, record};

impl LayerStore {
    /// Takes a lease of the image. `None` when something of it has to be recorded or fetched.
    pub(super) fn lease_if_there(
        &self,
        wanted: &Wanted,
        progress: &dyn PullProgress,
    ) -> Result<Option<Image>> {
        let described = &wanted.described;
        let documents = [
            (&described.manifest.digest, described.manifest.bytes.len()),
            (&described.id, described.config_bytes.len()),
        ];
        let are_there = |(digest, length)| blobs::exists(&self.places, digest, length);
        if !self.database.read(|connection| catalog::knows_image(connection, &described.id))?
            || !documents.into_iter().all(are_there)
        {
            return Ok(None);
        }
        let holder = self.holder()?;
        let (id, manifest) = (described.id.to_string(), &described.manifest);
        // A lease ends with its process at the latest, and so does what is made of an image without a name.
        let durability = match described.name {
            Some(_) => Durability::Synced,
            None => Durability::Unsynced,
        };
        let image = self.database.write(durability, |transaction| {
            if let Some(name) = &described.name
                && catalog::named(transaction, name)?.as_deref() != Some(&id)
            {
                return Ok(None);
            }
            if !record::pulled_again(transaction, &id, &manifest.digest, &manifest.media_type)? {
                return Ok(None);
            }
            holder.hold(transaction, &described.id, self.config.lease)?;
            catalog::image(transaction, &id)
        })?;
        if image.is_some() {
            wanted.layers.iter().for_each(|layer| progress.layer(&layer.blob.digest, LayerProgress::Present));
        }
        Ok(image)
    }
}
