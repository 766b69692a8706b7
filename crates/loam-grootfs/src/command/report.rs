//! `stats`, `list`, `capacity` and `generate-volume-size-metadata`: what a store is asked.

use std::time::Instant;

use loam_model::shown;
use serde::Serialize;

use super::delete::id_of;
use super::{Outcome, Session};
use crate::arguments::Named;
use crate::error::GrootfsError;

#[derive(Serialize)]
struct Stats {
    disk_usage: DiskUsage,
}

#[derive(Serialize)]
struct DiskUsage {
    total_bytes_used: u64,
    exclusive_bytes_used: u64,
    quota_size_bytes: u64,
    committed_space_bytes: u64,
}

impl Session<'_> {
    /// What one image takes: an unknown id is an error, so that Garden asks its other store.
    pub(super) fn stats(&self, named: &Named) -> Outcome {
        let word = id_of(named)?;
        let began = Instant::now();
        let layout = self.layout();
        let unknown = || GrootfsError::said(format!("Image `{}` not found.", shown(&word)));
        let directory = layout.find(&word).ok_or_else(unknown)?;
        let usage = self.open()?.upkeep.snapshot(&directory.container())?;
        // While its disk file is mounted, only the mount tells.
        let mounted = || {
            let disk = directory.mounts().join("disk");
            let root = if self.host.is_mounted(&disk) { disk } else { directory.rootfs() };
            self.host.bytes_used(&root).unwrap_or(0)
        };
        let written = usage.written.unwrap_or_else(mounted);
        let quota = usage.limit.unwrap_or(0);
        let stats = Stats {
            disk_usage: DiskUsage {
                total_bytes_used: usage.layer_bytes.saturating_add(written),
                exclusive_bytes_used: written,
                quota_size_bytes: quota,
                committed_space_bytes: usage.layer_bytes.saturating_add(quota),
            },
        };
        self.metrics().duration("ImageStatsTime", began.elapsed());
        Ok(serde_json::to_string(&stats).unwrap_or_default())
    }

    /// The directories of all images.
    pub(super) fn list(&self) -> Outcome {
        let layout = self.layout();
        let ids = layout.ids().map_err(|error| {
            GrootfsError::said(format!("listing images of `{}`: {error}", layout.store.display()))
        })?;
        if ids.is_empty() {
            return Ok("Store empty".to_owned());
        }
        let paths: Vec<String> =
            ids.iter().map(|id| layout.images().join(id).display().to_string()).collect();
        Ok(paths.join("\n"))
    }

    /// What the configuration says that the store may take.
    pub(super) fn capacity(&self) -> String {
        serde_json::json!({ "capacity": self.config.init.store_size_bytes }).to_string()
    }

    /// Counts the layers anew. There are no files with their sizes here: the database has those.
    pub(super) fn recount(&self) -> Outcome {
        if !self.layout().is_initialized() {
            return Err(GrootfsError::said("Store path is not initialized. Please run init-store."));
        }
        let corrected = self.open()?.upkeep.recount()?;
        tracing::info!(corrected, "generate-volume-size-metadata.done");
        Ok(String::new())
    }
}
