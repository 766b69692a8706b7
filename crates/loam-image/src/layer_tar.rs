//! The tar of a layer in the store, as it was when it came.

use std::fs::File;
use std::io::{self, Read};

use loam_model::{Digest, ErrorKind, Failure, Result};
use loam_unpack::Reassembled;

use crate::error::failed;
use crate::staging::open_directory;
use crate::{LayerStore, catalog};

impl LayerStore {
    /// The uncompressed tar of a layer, byte for byte: its digest is the diff id, unless the layer is damaged, which who
    /// reads it to its end has to check. [`ErrorKind::Unsupported`] for a layer in which a later entry replaced an
    /// earlier file, whose data nobody has any more.
    pub(crate) fn layer_tar(&self, diff_id: &Digest) -> Result<impl Read + use<>> {
        let row = self.database.read(|connection| catalog::layer(connection, diff_id))?;
        let Some(row) = row else {
            return Err(Failure::new(ErrorKind::NotFound, format!("there is no layer `{diff_id}`")));
        };
        let what = || format!("layer `{diff_id}` can't be read");
        let files =
            open_directory(&self.places.diff(&row.directory)).map_err(|error| failed(what(), error))?;
        let record = match File::open(self.places.split(&row.directory)) {
            Ok(record) => record,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = format!("the archive of layer `{diff_id}` can't be put together again");
                return Err(Failure::new(ErrorKind::Unsupported, what));
            }
            Err(error) => return Err(failed(what(), error)),
        };
        Reassembled::new(record, files).map_err(|error| failed(what(), error))
    }
}
