//! Finishing unpacked layers by the layers below them.

use std::collections::HashSet;

use loam_model::{Digest, Result};
use loam_unpack::settle;

use crate::pull::Held;
use crate::staging::open_directory;
use crate::{LayerStore, catalog};

impl LayerStore {
    /// Finishes new layers with what only the layers below them tell, the lowest first. False when one of those has
    /// been removed.
    pub(crate) fn settle(&self, diff_ids: &[Digest], held: &mut Held) -> Result<bool> {
        let budget = self.budget()?;
        let mut below = Vec::new();
        let mut seen = HashSet::new();
        for diff_id in diff_ids.iter().filter(|diff_id| seen.insert(*diff_id)) {
            let directory = match held.layers.get_mut(diff_id) {
                Some(layer) => {
                    let directory = layer.staged.diff()?;
                    if !layer.settled {
                        if let Some(base) = &layer.base {
                            base.check(&below)?;
                        }
                        let what = format!("layer `{diff_id}` can't be finished");
                        settle(&directory, &layer.unpacked, &below, &budget)
                            .map_err(|error| error.into_failure(what))?;
                        layer.settled = true;
                    }
                    directory
                }
                None => {
                    let row = self.database.read(|connection| catalog::layer(connection, diff_id))?;
                    let opened = row.and_then(|row| open_directory(&self.places.diff(&row.directory)).ok());
                    let Some(directory) = opened else { return Ok(false) };
                    directory
                }
            };
            below.insert(0, directory);
        }
        Ok(true)
    }
}
