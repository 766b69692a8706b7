//! `create`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Instant;

use loam_model::{
    Credentials, Digest, DiskLimit, IdMapping, Image, LayerProgress, LayoutExtensions, LimitScope,
    PullOptions, PullProgress, SnapshotRequest, Verification,
};

use super::init_store::{make, own, set};
use super::{Outcome, Session};
use crate::arguments::Create;
use crate::config::Config;
use crate::error::GrootfsError;
use crate::host::OpenStore;
use crate::layout::ImageDirectory;
use crate::namespace::Namespace;
use crate::{image_source, runtime_spec};

impl Session<'_> {
    pub(super) fn create(self, flags: &Create) -> Outcome {
        let [image, id] = &flags.words[..] else {
            let what = "invalid arguments - usage: create [options] <image> <id>";
            return Err(GrootfsError::said(what));
        };
        let (Some(image), Some(id)) = (image.to_str(), id.to_str()) else {
            return Err(GrootfsError::said("invalid arguments: the image and the id have to be text"));
        };
        let session = Session { config: self.config.with_create(flags)?, host: self.host };
        let layout = session.layout();
        if !layout.is_initialized() {
            return Err(GrootfsError::said("Store path is not initialized. Please run init-store."));
        }
        let directory = layout.image(id)?;
        if directory.path.exists() {
            return Err(taken(&directory));
        }
        let mapping = Namespace::read(&layout)?.mapping()?;
        let began = Instant::now();
        let store = session.open()?;
        let line = session.make_image(&store, image, &directory, mapping.as_ref(), flags)?;
        let metrics = session.metrics();
        metrics.duration("ImageCreationTime", began.elapsed());
        if metrics.is_on()
            && let Ok(usage) = store.upkeep.recorded_usage()
        {
            metrics.store(&usage);
        }
        if session.config.create.with_clean
            && let Err(error) = session.start_clean()
        {
            // The root file system is made; the next creation cleans as well.
            tracing::error!(error = %error, "create.starting-clean-failed");
        }
        Ok(line)
    }

    /// Fetches the image and makes everything of the root file system, or nothing.
    fn make_image(
        &self,
        store: &OpenStore,
        image: &str,
        directory: &ImageDirectory,
        mapping: Option<&IdMapping>,
        flags: &Create,
    ) -> Outcome {
        let source = image_source::parse(image)?;
        let options = pull_options(&self.config, flags);
        let pulled = store
            .images
            .pull(&source, &options, &Log)
            .map_err(|failure| GrootfsError::of_create(failure, image))?;
        match fs::create_dir(&directory.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(directory)),
            made => made.map_err(|error| {
                GrootfsError::said(format!("making directory `{}`: {error}", directory.path.display()))
            })?,
        }
        self.fill(store, &pulled, image, directory, mapping).inspect_err(|_| {
            // The failure that counts is the one before; what is left `delete` removes.
            if let Err(undo) = self.remove(store, directory) {
                tracing::error!(error = %undo, "create.undoing-failed");
            }
        })
    }

    /// Makes the snapshot and mounts it, or says how to.
    fn fill(
        &self,
        store: &OpenStore,
        pulled: &Image,
        image: &str,
        directory: &ImageDirectory,
        mapping: Option<&IdMapping>,
    ) -> Outcome {
        let container = directory.container();
        let limit = disk_limit(&self.config);
        // Garden removes its containers when it starts: none of them outlives a power cut.
        let request = SnapshotRequest { container: &container, image: &pulled.id, ephemeral: true, limit };
        store.images.create_snapshot(&request).map_err(|failure| GrootfsError::of_create(failure, image))?;
        let plan = store.images.rootfs(&container, mapping)?;
        let rootfs = directory.rootfs();
        set(&directory.path, 0o700)?;
        own(&directory.path, mapping)?;
        make(&rootfs, 0o755)?;
        own(&rootfs, mapping)?;
        let environment = &pulled.config.environment;
        if !self.config.create.without_mount {
            self.host.mount(&plan, &rootfs)?;
            return Ok(runtime_spec::line(&rootfs, environment, None));
        }
        let mounts = directory.mounts();
        let is_plain = plan.mapping.is_none() && plan.disk.is_none();
        let exposed = if is_plain {
            plan
        } else {
            make(&mounts, 0o700)?;
            own(&mounts, mapping)?;
            self.host.expose(&plan, &mounts)?
        };
        let options = runtime_spec::overlay_options(&exposed)?;
        Ok(runtime_spec::line(&rootfs, environment, Some(&options)))
    }

    /// Starts a run of `clean` that nobody waits for.
    fn start_clean(&self) -> Result<(), GrootfsError> {
        let failed = |error: &dyn std::fmt::Display| GrootfsError::said(format!("starting clean: {error}"));
        let mut command = self.host.again()?;
        if let Some(file) = &self.config.file {
            command.arg("--config").arg(file);
        }
        command.arg("--store").arg(&self.config.store);
        if !self.config.log_level.is_empty() {
            command.args(["--log-level", &self.config.log_level]);
        }
        if let Some(endpoint) = &self.config.metron_endpoint {
            command.args(["--metron-endpoint", endpoint]);
        }
        let threshold = self.config.clean.threshold_bytes.to_string();
        command.args(["clean", "--threshold-bytes", &threshold]);
        let log = match &self.config.create.clean_log_file {
            None => Stdio::inherit(),
            Some(path) => File::options()
                .append(true)
                .create(true)
                .mode(0o644)
                .open(path)
                .map_err(|error| failed(&format!("`{}`: {error}", path.display())))?
                .into(),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        // It ends by itself, after this process.
        command.spawn().map(drop).map_err(|error| failed(&error))
    }
}

fn taken(directory: &ImageDirectory) -> GrootfsError {
    GrootfsError::said(format!("image for id `{}` already exists", loam_model::shown(&directory.id)))
}

/// The limit that the configuration asks for. Who runs a container without a user namespace trusts it, as GrootFS does.
fn disk_limit(config: &Config) -> Option<DiskLimit> {
    let bytes = u64::try_from(config.create.disk_limit_size_bytes).ok().filter(|bytes| *bytes > 0)?;
    let scope = match config.create.exclude_image_from_quota {
        true => LimitScope::Exclusive,
        false => LimitScope::Inclusive,
    };
    Some(DiskLimit { bytes, scope, can_change_projects: false })
}

fn pull_options(config: &Config, flags: &Create) -> PullOptions {
    let create = &config.create;
    let limit = disk_limit(config).filter(DiskLimit::is_inclusive);
    let password = flags.password.as_ref().map(|password| password.0.clone()).unwrap_or_default();
    let user = flags.username.clone().unwrap_or_default();
    let is_given = !user.is_empty() || !password.is_empty();
    PullOptions {
        verification: match create.skip_layer_validation {
            true => Verification::SkipLayers,
            false => Verification::Full,
        },
        nameless: true,
        credentials: is_given.then_some(Credentials { user, password }),
        insecure_registries: create.insecure_registries.clone(),
        limit: limit.map(|limit| limit.bytes),
        extensions: Some(LayoutExtensions {
            certificates: create.remote_layer_client_certificates_path.clone(),
        }),
        ..PullOptions::default()
    }
}

/// Lets the log hear what a person would.
struct Log;

impl PullProgress for Log {
    fn layer(&self, blob: &Digest, progress: LayerProgress) {
        match progress {
            LayerProgress::Started { size } => tracing::info!(digest = %blob, size, "create.fetching-layer"),
            LayerProgress::Done => tracing::info!(digest = %blob, "create.layer-unpacked"),
            LayerProgress::Present | LayerProgress::Advanced { .. } => {}
        }
    }

    fn note(&self, sentence: &str) {
        tracing::info!(sentence, "create.note");
    }
}
