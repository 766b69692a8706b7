//! `clean`.

use std::time::Instant;

use loam_model::PruneRequest;

use super::{Outcome, Session};
use crate::arguments::Clean;

impl Session<'_> {
    /// Removes everything that no image needs, once layers and limits together come to the threshold.
    pub(super) fn clean(self, flags: &Clean) -> Outcome {
        let config = self.config.with_threshold(flags.threshold_bytes)?;
        let session = Session { config, host: self.host };
        if !session.layout().is_initialized() {
            return Ok("no store found: skipping clean".to_owned());
        }
        let (began, metrics) = (Instant::now(), session.metrics());
        let store = session.open()?;
        let upkeep = &store.upkeep;
        let threshold = u64::try_from(session.config.clean.threshold_bytes).unwrap_or(0);
        let committed = upkeep.recorded_usage()?.committed_bytes();
        let is_reached = threshold == 0 || committed >= threshold;
        if is_reached {
            let pruned = upkeep.prune(&PruneRequest { named: true, ..PruneRequest::default() })?;
            tracing::info!(bytes = pruned.bytes, layers = pruned.layers.len() as u64, "clean.removed");
        } else {
            // What killed commands have left goes in any case: a `create` of a cached image sweeps nothing.
            store.images.sweep();
        }
        metrics.duration("ImageCleanTime", began.elapsed());
        if metrics.is_on() {
            metrics.store(&upkeep.recorded_usage()?);
        }
        let said = if is_reached { "clean completed" } else { "threshold not reached: skipping clean" };
        Ok(said.to_owned())
    }
}
