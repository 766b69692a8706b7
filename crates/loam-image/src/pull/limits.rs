//! Limits on what the layers of an image may take.

use std::error::Error as _;

use loam_model::{ErrorKind, Failure, Reason, Result};
use loam_unpack::UnpackError;

use super::held::Held;
use super::layers::NeededLayer;
use crate::document::Manifest;
use crate::{LayerStore, catalog};

/// Refuses an image whose blobs alone are too large, before any of them is fetched.
pub(super) fn check_blobs(manifest: &Manifest, limit: Option<u64>, shown: &str) -> Result<()> {
    let bytes = manifest.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    match limit {
        Some(limit) if bytes > limit => {
            let what = format!("the layers of {shown} are {bytes} bytes long where {limit} are allowed");
            Err(Failure::new(ErrorKind::Exhausted, what).because(Reason::BlobsExceedLimit { bytes, limit }))
        }
        _ => Ok(()),
    }
}

/// Names the reason when a layer unpacks to more than is allowed.
pub(super) fn explain(failure: Failure) -> Failure {
    let cause = failure.source().and_then(|cause| cause.downcast_ref::<UnpackError>());
    match cause {
        Some(UnpackError::TooLarge { .. }) => failure.because(Reason::UnpackedExceedsLimit),
        _ => failure,
    }
}

impl LayerStore {
    /// What a limit leaves beside the layers that the store has, or that this pull has unpacked.
    pub(super) fn rest_of_limit(
        &self,
        needed: &[NeededLayer],
        held: &Held,
        limit: Option<u64>,
    ) -> Result<Option<u64>> {
        let Some(limit) = limit else { return Ok(None) };
        let mut rest = limit;
        for layer in needed {
            let bytes = match held.layers.get(&layer.diff_id) {
                Some(held) => Some(held.record().size),
                None => self.database.read(|connection| catalog::layer_size(connection, &layer.diff_id))?,
            };
            rest = rest.saturating_sub(bytes.unwrap_or(0));
        }
        Ok(Some(rest))
    }
}
