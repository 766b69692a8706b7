//! The store itself.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use loam_model::{
    ContainerId, Digest, DiskLimit, DiskUsage, ErrorKind, Failure, IdMapping, Image, ImageConfig,
    ImageSource, ImageStore, ImageSummary, LayerProgress, PullOptions, PullProgress, PushedImage,
    RegistryOptions, RemovedImage, Result, RootfsPlan, SnapshotRequest, StoreShare,
};
use loam_registry::ClientOptions;
use loam_state::{Database, Durability};
use loam_unpack::{Budget, Space, Unpacker};
use tokio::runtime::Runtime;

use crate::error::failed;
use crate::lease::{self, Holder};
use crate::record;
use crate::source::{Layout, Memory};
use crate::staging::{self, Places, make_directory, open_directory};
use crate::{blobs, catalog, layer_lock, names, partial, threads};

/// How many threads transfers have.
const TRANSFER_THREADS: usize = 2;

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The state directory, absolute.
    pub root: PathBuf,
    /// The most bytes that one image may unpack to; when absent, the free space decides.
    pub unpacked_limit: Option<u64>,
    /// How long a pull waits for another one that fetches the same layer and does not get on.
    pub lock_patience: Duration,
    /// The project ids that containers with a disk limit get on XFS and ext4. Others on the same file system (Docker and
    /// Kubernetes count up from low numbers) should have none of them; one that is in use all the same is left out.
    pub projects: Range<u32>,
    /// Whether the blobs of layers are kept beside their files.
    pub keep_blobs: bool,
    /// When layers and disk limits take more than this after a pull or an import, images that nothing needs go, those
    /// first that were used least recently; none when absent.
    pub prune_threshold: Option<StoreShare>,
    /// How long an image that this process has pulled is not pruned, as long as the process runs.
    pub lease: Duration,
    /// Who unpacks layers.
    pub unpacker: Unpacker,
    /// How registries are spoken to, as far as a pull or a push does not say.
    pub registries: ClientOptions,
}

/// The usual project ids.
const PROJECTS: Range<u32> = 0x1000_0000..0x2000_0000;

impl StoreConfig {
    /// The usual store in a state directory.
    pub fn new(root: impl Into<PathBuf>, unpacker: Unpacker) -> Self {
        let root = root.into();
        Self {
            root,
            unpacked_limit: None,
            lock_patience: Duration::from_secs(30),
            projects: PROJECTS,
            keep_blobs: false,
            prune_threshold: None,
            lease: Duration::from_secs(600),
            unpacker,
            registries: ClientOptions::default(),
        }
    }
}

/// Images in a directory: the image seam of Loam.
pub struct LayerStore {
    pub(crate) config: StoreConfig,
    pub(crate) places: Places,
    pub(crate) database: Arc<Database>,
    /// Made when a registry is first used.
    runtime: OnceLock<Runtime>,
    /// Made when an image is first pulled.
    holder: OnceLock<Holder>,
}

impl LayerStore {
    /// Opens the store of a state directory. Nothing is read or made before it is needed.
    pub fn open(config: StoreConfig, database: Arc<Database>) -> Self {
        let places = Places { root: config.root.clone() };
        Self { config, places, database, runtime: OnceLock::new(), holder: OnceLock::new() }
    }

    /// Makes an image from an OCI layout in a tar that the program carries, under this name. Quick when it is there
    /// already and the same.
    pub fn install_built_in(&self, layout_tar: &[u8], name: &str) -> Result<Image> {
        self.database.require_space()?;
        let layout = Layout::open(Memory::open(layout_tar)?, None)?;
        let options = PullOptions { name: Some(name.to_owned()), ..PullOptions::default() };
        let source = ImageSource::Registry(name.to_owned());
        self.pull_from(&layout, &source, &options, &Silent)
    }

    pub(crate) fn runtime(&self) -> Result<&Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = transfer_runtime()?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    /// What this process holds leases with.
    pub(crate) fn holder(&self) -> Result<&Holder> {
        if let Some(holder) = self.holder.get() {
            return Ok(holder);
        }
        let holder = Holder::new(&self.places)?;
        Ok(self.holder.get_or_init(|| holder))
    }

    /// What a pull may unpack: what is free, less a reserve, or what the configuration allows.
    pub(crate) fn budget(&self) -> Result<Budget> {
        self.budget_within(None)
    }

    /// The same, and no more than so many bytes.
    pub(crate) fn budget_within(&self, limit: Option<u64>) -> Result<Budget> {
        make_directory(&self.places.staging())?;
        let what = format!("the free space of `{}` can't be told", self.places.root.display());
        let root = open_directory(&self.places.root).map_err(|error| failed(what.clone(), error))?;
        let look = move || Space::look(&root).map_err(|error| failed(what.clone(), error));
        Budget::new(look, [limit, self.config.unpacked_limit].into_iter().flatten().min())
    }
}

impl fmt::Debug for LayerStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LayerStore").field("root", &self.places.root).finish_non_exhaustive()
    }
}

impl Drop for LayerStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Transfers end with the pull that asked for them: nothing is waited for.
            runtime.shutdown_background();
        }
    }
}

impl ImageStore for LayerStore {
    fn pull(
        &self,
        source: &ImageSource,
        options: &PullOptions,
        progress: &dyn PullProgress,
    ) -> Result<Image> {
        let image = self.pull_image(source, options, progress)?;
        self.prune_as_configured();
        Ok(image)
    }

    fn import(&self, tar: &mut (dyn Read + Send), name: &str, config: &ImageConfig) -> Result<Image> {
        let image = self.import_tar(tar, name, config)?;
        self.prune_as_configured();
        Ok(image)
    }

    fn resolve(&self, name: &str) -> Result<Image> {
        self.resolve_name(name)
    }

    fn push(
        &self,
        name: &str,
        destination: Option<&str>,
        options: &RegistryOptions,
        progress: &dyn PullProgress,
    ) -> Result<PushedImage> {
        self.push_image(name, destination, options, progress)
    }

    fn list(&self) -> Result<Vec<ImageSummary>> {
        self.database.read(catalog::list)
    }

    fn raw_config(&self, image: &Digest) -> Result<Vec<u8>> {
        let known = self.database.read(|connection| catalog::image(connection, &image.to_string()))?;
        match known {
            Some(_) => blobs::read(&self.places, image),
            None => Err(no_image(image)),
        }
    }

    fn tag(&self, image: &Digest, name: &str) -> Result<()> {
        let name = names::given(name)?;
        self.database.require_space()?;
        let id = image.to_string();
        let known = self.database.write(Durability::Synced, |transaction| {
            let known = catalog::image(transaction, &id)?.is_some();
            if known {
                record::point(transaction, &name, &id)?;
            }
            Ok(known)
        })?;
        if known { Ok(()) } else { Err(no_image(image)) }
    }

    fn remove(&self, name: &str, force: bool) -> Result<RemovedImage> {
        self.remove_image(name, force)
    }

    fn create_snapshot(&self, request: &SnapshotRequest<'_>) -> Result<()> {
        self.make_snapshot(request)
    }

    fn rootfs(&self, container: &ContainerId, mapping: Option<&IdMapping>) -> Result<RootfsPlan> {
        self.plan(container, mapping)
    }

    fn snapshot_usage(&self, container: &ContainerId) -> Result<u64> {
        let counted = self.snapshot_counted(container)?;
        Ok(self.written(container, counted)?.bytes)
    }

    fn disk_usage(&self, container: &ContainerId) -> Result<Option<DiskUsage>> {
        self.undo_limit_changes();
        self.counted_usage(container)
    }

    fn change_limit(&self, container: &ContainerId, limit: &DiskLimit) -> Result<()> {
        self.limit_anew(container, limit)
    }

    fn remove_snapshot(&self, container: &ContainerId) -> Result<()> {
        self.drop_snapshot(container)
    }

    fn snapshots(&self) -> Result<Vec<ContainerId>> {
        self.containers()
    }

    fn sweep(&self) {
        staging::sweep(&self.places, &|directory| {
            self.database.read(|connection| catalog::knows_directory(connection, directory))
        });
        self.sweep_replaced();
        self.undo_limit_changes();
        self.sweep_snapshots();
        self.sweep_templates();
        partial::sweep(&self.places, SystemTime::now());
        lease::sweep(&self.places);
        layer_lock::sweep(&self.places);
    }
}

/// The threads for transfers. Those are a fraction of a processor's work; unpacking has threads of its own.
pub(crate) fn transfer_runtime() -> Result<Runtime> {
    // The runtime panics where it can't have them.
    threads::could_start(TRANSFER_THREADS)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(TRANSFER_THREADS)
        .thread_name("transfer")
        .enable_all()
        .build()
        .map_err(|error| failed("the threads for transfers can't be started", error))
}

pub(crate) fn no_image(image: &Digest) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("there is no image `{image}`"))
}

/// Progress that nobody watches.
struct Silent;

impl PullProgress for Silent {
    fn layer(&self, _: &Digest, _: LayerProgress) {}
    fn note(&self, _: &str) {}
}
