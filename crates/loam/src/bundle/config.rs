//! The bundle's `config.json`.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loam_model::oci_spec::runtime::{Mount, RootBuilder, Spec};
use loam_model::{
    BundleInput, Bundler, CgroupPlace, ContainerId, ContainerSpec, ErrorKind, Failure, IdMapping, Image,
    Namespace, SelinuxOptions, shown,
};
use loam_oci::{OciBundler, finish_process, id_mappings, resolve_user};
use serde::Deserialize;

use super::{BundleMaker, working_directory};
use crate::render;

/// The host name when nobody says.
const HOSTNAME: &str = "bundle";

/// What the person wants to be otherwise than the image says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// Replaces the image's entry point, and drops its command.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub(crate) command: Option<Vec<String>>,
    /// The host name.
    pub(crate) hostname: Option<String>,
    /// Whether the process gets a terminal.
    pub(crate) terminal: bool,
    /// Whether the root file system is read-only.
    pub(crate) read_only: bool,
}

/// What an image's configuration says that only annotations repeat (image specification, conversion.md, "Annotation
/// Fields").
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Described {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features")]
    os_features: Option<Vec<String>>,
    author: Option<String>,
    created: Option<String>,
}

impl BundleMaker<'_> {
    /// The configuration's bytes; `document` is the image's.
    pub(super) fn config(
        &self,
        image: &Image,
        document: &[u8],
        root: &OwnedFd,
        volumes: Vec<Mount>,
    ) -> Result<Vec<u8>, Failure> {
        let bundle = self.bundle(image)?;
        bundle.warnings.iter().for_each(|warning| render::warning(warning));
        let mut config = bundle.config;
        let relative = RootBuilder::default().path("rootfs").readonly(self.wishes.read_only).build();
        config.set_root(Some(relative.expect("every member of the root has a default")));
        config.mounts_mut().get_or_insert_default().extend(volumes);
        if let Some(linux) = config.linux_mut() {
            // Runtimes choose one by the container's name.
            linux.set_cgroups_path(None);
            if let Some(users) = &self.owners.users {
                linux.set_uid_mappings(Some(id_mappings(users)));
            }
        }
        self.finish_user(&mut config, root, bundle.user.as_deref())?;
        if let Some(process) = config.process() {
            working_directory::make(root, process.cwd(), &self.owners)?;
        }
        annotate(&mut config, image, document)?;
        serde_json::to_vec_pretty(&config).map_err(|error| {
            Failure::new(ErrorKind::Internal, "the bundle's configuration can't be written").caused_by(error)
        })
    }

    fn bundle(&self, image: &Image) -> Result<loam_model::Bundle, Failure> {
        let mut spec = ContainerSpec {
            entrypoint: self.wishes.entrypoint.clone(),
            command: self.wishes.command.clone(),
            hostname: Some(self.wishes.hostname.clone().unwrap_or_else(|| HOSTNAME.to_owned())),
            terminal: self.wishes.terminal,
            read_only: self.wishes.read_only,
            ..ContainerSpec::default()
        };
        spec.security.apparmor = Some("unconfined".to_owned());
        spec.security.selinux = SelinuxOptions { disable: true, ..SelinuxOptions::default() };
        let id = ContainerId::from_random([0; 32]);
        OciBundler::default().bundle(&BundleInput {
            id: &id,
            spec: &spec,
            image: &image.config,
            directory: Path::new("/"),
            // What is written by it beside the mappings themselves is about groups.
            mapping: self.owners.groups.as_ref(),
            network: Namespace::New,
            cgroup: &CgroupPlace::Path("/bundle".to_owned()),
            files: &[],
            init_program: None,
        })
    }

    /// Looks the user up in the copied files.
    fn finish_user(&self, config: &mut Spec, root: &OwnedFd, user: Option<&str>) -> Result<(), Failure> {
        let user = resolve_user(root.as_fd(), user)?;
        let has = |mapping: &Option<IdMapping>, id: u32| {
            mapping.as_ref().is_none_or(|mapping| mapping.to_host(id).is_some())
        };
        if !has(&self.owners.users, user.uid) || !has(&self.owners.groups, user.gid) {
            let ids = format!("{}:{}", user.uid, user.gid);
            let message = format!("the image's user {ids} has no id in the mapping");
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        if let Some(process) = config.process_mut() {
            finish_process(process, user);
        }
        Ok(())
    }
}

/// Adds the implicit annotations, which labels go before, and says which labels were left out.
fn annotate(config: &mut Spec, image: &Image, document: &[u8]) -> Result<(), Failure> {
    let described: Described = serde_json::from_slice(document).map_err(|error| {
        Failure::new(ErrorKind::Internal, "the image's configuration can't be read").caused_by(error)
    })?;
    let annotations: &mut HashMap<String, String> = config.annotations_mut().get_or_insert_default();
    let features = described.os_features.filter(|features| !features.is_empty());
    for (key, value) in [
        ("os", described.os),
        ("architecture", described.architecture),
        ("variant", described.variant),
        ("os.version", described.os_version),
        ("os.features", features.map(|features| features.join(","))),
        ("author", described.author),
        ("created", described.created),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            annotations.entry(format!("org.opencontainers.image.{key}")).or_insert(value);
        }
    }
    for label in image.config.labels.keys().filter(|label| !annotations.contains_key(*label)) {
        render::warning(&format!(
            "the image's label `{}` is left out: it would command the runtime",
            shown(label)
        ));
    }
    Ok(())
}
