//! Images and snapshots in memory.

use std::io::Read;

use loam_model::{
    ContainerId, Digest, DiskLimit, DiskUsage, ErrorKind, Failure, IdMapping, Image, ImageConfig,
    ImageSource, ImageStore, ImageSummary, PullOptions, PullProgress, PushedImage, QuotaMechanism,
    RegistryOptions, RemovedImage, Result, RootfsPlan, SnapshotRequest,
};

use super::{Step, World};

/// An image of this name that runs `/bin/main run`.
pub(super) fn image(name: &str) -> Image {
    let mut hash = [0; 32];
    for (index, byte) in name.bytes().enumerate() {
        hash[index % 32] ^= byte;
    }
    let id = Digest::sha256(&hash);
    Image {
        manifest: id.clone(),
        id,
        names: vec![name.to_owned()],
        platform: "linux/amd64".to_owned(),
        config: ImageConfig {
            entrypoint: vec!["/bin/main".to_owned()],
            command: vec!["run".to_owned()],
            environment: vec!["PATH=/bin".to_owned()],
            ..ImageConfig::default()
        },
        layers: Vec::new(),
        created: None,
        size: 0,
    }
}

fn missing(name: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("no image `{name}`"))
}

impl ImageStore for World {
    fn pull(
        &self,
        source: &ImageSource,
        _options: &PullOptions,
        _progress: &dyn PullProgress,
    ) -> Result<Image> {
        let ImageSource::Registry(name) = source else {
            return Err(Failure::new(
                ErrorKind::Unsupported,
                "the simulated store pulls from registries only",
            ));
        };
        let image = image(name);
        self.lock().images.insert(name.clone(), image.clone());
        Ok(image)
    }

    fn push(
        &self,
        name: &str,
        destination: Option<&str>,
        _options: &RegistryOptions,
        _progress: &dyn PullProgress,
    ) -> Result<PushedImage> {
        let Image { id, manifest, .. } = self.resolve(name)?;
        let reference = destination.unwrap_or(name).to_owned();
        Ok(PushedImage { reference, digest: manifest, id })
    }

    fn import(&self, _tar: &mut (dyn Read + Send), name: &str, config: &ImageConfig) -> Result<Image> {
        let image = Image { config: config.clone(), ..image(name) };
        self.lock().images.insert(name.to_owned(), image.clone());
        Ok(image)
    }

    fn resolve(&self, name: &str) -> Result<Image> {
        self.lock().images.get(name).cloned().ok_or_else(|| missing(name))
    }

    fn list(&self) -> Result<Vec<ImageSummary>> {
        let state = self.lock();
        Ok(state
            .images
            .iter()
            .map(|(name, image)| ImageSummary {
                id: image.id.clone(),
                name: Some(name.clone()),
                manifest: image.manifest.clone(),
                platform: image.platform.clone(),
                created: None,
                size: 0,
            })
            .collect())
    }

    fn raw_config(&self, _image: &Digest) -> Result<Vec<u8>> {
        Ok(b"{}".to_vec())
    }

    fn tag(&self, image: &Digest, name: &str) -> Result<()> {
        let mut state = self.lock();
        let found = state.images.values().find(|known| known.id == *image).cloned();
        state.images.insert(name.to_owned(), found.ok_or_else(|| missing(image.hex()))?);
        Ok(())
    }

    fn remove(&self, name: &str, _force: bool) -> Result<RemovedImage> {
        self.lock().images.remove(name).ok_or_else(|| missing(name))?;
        Ok(RemovedImage { untagged: vec![name.to_owned()], ..RemovedImage::default() })
    }

    fn create_snapshot(&self, request: &SnapshotRequest<'_>) -> Result<()> {
        self.call(Step::CreateSnapshot, |state| {
            state.snapshots.insert(request.container.clone());
            if let Some(limit) = request.limit {
                state.limits.insert(request.container.clone(), limit.bytes);
            }
            Ok(())
        })
    }

    fn rootfs(&self, container: &ContainerId, mapping: Option<&IdMapping>) -> Result<RootfsPlan> {
        self.call(Step::Rootfs, |state| {
            if !state.snapshots.contains(container) {
                return Err(Failure::new(ErrorKind::NotFound, format!("no snapshot `{container}`")));
            }
            Ok(RootfsPlan {
                lower: vec!["/layers/1".into()],
                upper: Some("/upper".into()),
                work: Some("/work".into()),
                disk: None,
                limit: None,
                mapping: mapping.cloned(),
                volatile: true,
            })
        })
    }

    fn snapshot_usage(&self, _container: &ContainerId) -> Result<u64> {
        Ok(0)
    }

    fn disk_usage(&self, container: &ContainerId) -> Result<Option<DiskUsage>> {
        let mechanism = QuotaMechanism::Project;
        Ok(self.disk_limit(container).map(|bytes| DiskUsage { limit: Some(bytes), used: Some(0), mechanism }))
    }

    fn change_limit(&self, container: &ContainerId, limit: &DiskLimit) -> Result<()> {
        self.call(Step::ChangeLimit, |state| {
            if !state.snapshots.contains(container) {
                return Err(Failure::new(ErrorKind::NotFound, format!("no snapshot `{container}`")));
            }
            state.limits.insert(container.clone(), limit.bytes);
            Ok(())
        })
    }

    fn remove_snapshot(&self, container: &ContainerId) -> Result<()> {
        self.call(Step::RemoveSnapshot, |state| {
            assert!(!state.shims.contains_key(container), "a snapshot is removed under a live shim");
            state.snapshots.remove(container);
            state.limits.remove(container);
            Ok(())
        })
    }

    fn snapshots(&self) -> Result<Vec<ContainerId>> {
        Ok(self.lock().snapshots.iter().cloned().collect())
    }

    fn sweep(&self) {}
}
