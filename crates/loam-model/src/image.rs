//! The image seam: images, where they come from, and the snapshots that containers stand on.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{ContainerId, Digest, IdMapping, Result, RootfsPlan};

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// A registry: `[host[:port]/]path[:tag][@digest]`, as the person wrote it.
    Registry(String),
    /// `oci:DIR[:TAG]`: an OCI image layout directory (image specification, image-layout.md).
    OciLayout {
        /// The directory.
        directory: PathBuf,
        /// The `org.opencontainers.image.ref.name` to take; may be absent when there is one image.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: a tar of such a directory.
    OciArchive {
        /// The file.
        file: PathBuf,
        /// As for a layout.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:REF]`: what `docker save` writes.
    DockerArchive {
        /// The file.
        file: PathBuf,
        /// The entry of `RepoTags` to take; may be absent when there is one image.
        reference: Option<String>,
    },
    /// The tar of a root file system, by its path and the time of its last change: as long as both stay, the store takes
    /// what it has unpacked before and does not read the file again.
    RootfsTar(PathBuf),
}

/// How much of what a source says is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Sizes, digests and diff ids: always, unless a door's contract says otherwise.
    #[default]
    Full,
    /// Nothing of the layers of an OCI layout in a directory; everything of whatever else. Such layers are kept apart: no
    /// image that is verified ever stands on one.
    SkipLayers,
}

/// A user's name and password. The password shows nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What the layers of an OCI layout in a directory may ask for beyond the image specification, as Garden's do: to be
/// fetched from the `urls` of their descriptors where the layout lacks them, and to be unpacked below the directory that the
/// annotation `org.cloudfoundry.experimental.image.base-directory` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayoutExtensions {
    /// A directory with certificates for those URLs: authorities in `*.crt`, one's own in `*.cert` and `*.key`.
    pub certificates: Option<PathBuf>,
}

/// How an image is fetched.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// What to verify.
    pub verification: Verification,
    /// Speak plain HTTP, and accept any certificate, for the registry named in the source.
    pub insecure: bool,
    /// `OS/ARCH[/VARIANT]`; this machine's when absent.
    pub platform: Option<String>,
    /// The name that the image gets in the store; made from the source when absent.
    pub name: Option<String>,
    /// Give it no name, rather than make one.
    pub nameless: bool,
    /// A credentials file to use in place of the usual ones.
    pub credentials_file: Option<PathBuf>,
    /// Do not ask the source when the store already has an image of this name.
    pub only_if_missing: bool,
    /// The login for the registry, in place of all that files hold.
    pub credentials: Option<Credentials>,
    /// Registries, `host[:port]` as it stands in a reference, that are treated as [`insecure`](Self::insecure).
    pub insecure_registries: Vec<String>,
    /// The most bytes that the layers may take: of the compressed blobs, which is known beforehand, and unpacked.
    pub limit: Option<u64>,
    /// What a layout may ask for beyond the specification; nothing when absent.
    pub extensions: Option<LayoutExtensions>,
}

/// How a registry is spoken to.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// Speak plain HTTP, and accept any certificate.
    pub insecure: bool,
    /// A credentials file to use in place of the usual ones.
    pub credentials_file: Option<PathBuf>,
}

/// What a push came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PushedImage {
    /// Where the image is, whole.
    pub reference: String,
    /// The digest of its manifest there.
    pub digest: Digest,
    /// Its id there: another one when layers could not be packed as they came.
    pub id: Digest,
}

/// One layer's progress, into the store or out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerProgress {
    /// The store, or the registry, has the layer already.
    Present,
    /// Fetching and unpacking, or packing and sending, has begun; the size is that of the compressed blob, in bytes. What
    /// is packed anew may become somewhat shorter or longer.
    Started {
        /// Bytes to come.
        size: u64,
    },
    /// So many bytes of the blob have come, or gone, in all.
    Advanced {
        /// Bytes so far.
        bytes: u64,
    },
    /// The layer is verified and unpacked, or sent.
    Done,
}

/// Hears how a pull or a push gets on. Called from several threads.
pub trait PullProgress: Send + Sync {
    /// Hears that a layer, named by the digest of its blob, has got on.
    fn layer(&self, blob: &Digest, progress: LayerProgress);
    /// Hears a sentence worth showing, such as that a registry asks to wait.
    fn note(&self, sentence: &str);
}

impl fmt::Debug for dyn PullProgress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PullProgress")
    }
}

/// The part of an image's configuration that a container is made from (image specification, config.md).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `User`.
    pub user: Option<String>,
    /// `Env`.
    pub environment: Vec<String>,
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub command: Vec<String>,
    /// `WorkingDir`.
    pub working_directory: Option<String>,
    /// The keys of `Volumes`, in order.
    pub volumes: Vec<String>,
    /// The keys of `ExposedPorts`, in order.
    pub exposed_ports: Vec<String>,
    /// `Labels`.
    pub labels: BTreeMap<String, String>,
    /// `StopSignal`.
    pub stop_signal: Option<String>,
}

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The image id: the digest of the configuration's bytes.
    pub id: Digest,
    /// The digest of the manifest's bytes.
    pub manifest: Digest,
    /// The names that point to it.
    pub names: Vec<String>,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// What containers are made from.
    pub config: ImageConfig,
    /// The diff ids of the layers, the lowest first.
    pub layers: Vec<Digest>,
    /// When the image says it was made, RFC 3339.
    pub created: Option<String>,
    /// Bytes of all layers, unpacked.
    pub size: u64,
}

/// A line of `loam images`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageSummary {
    /// The image id.
    pub id: Digest,
    /// A name that points to it; an image without one has a line with `None`.
    pub name: Option<String>,
    /// The digest of the manifest's bytes.
    pub manifest: Digest,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// When the image says it was made, RFC 3339.
    pub created: Option<String>,
    /// Bytes of all layers, unpacked.
    pub size: u64,
}

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RemovedImage {
    /// Names that no longer point anywhere.
    pub untagged: Vec<String>,
    /// The image, when it is gone for good.
    pub deleted: Option<Digest>,
    /// Layers that nothing else used, by diff id.
    pub layers: Vec<Digest>,
}

/// The request for a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotRequest<'a> {
    /// The container it is for, which is also its name.
    pub container: &'a ContainerId,
    /// The image.
    pub image: &'a Digest,
    /// Whether it will be thrown away with the container (nothing need be synced).
    pub ephemeral: bool,
    /// The limit on what is written to it; none when absent.
    pub limit: Option<DiskLimit>,
}

/// The limit on what a container writes to its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLimit {
    /// Bytes. Less than a mechanism can keep apart is raised to the least that it can: 256 KiB, in a disk file 1 MiB.
    pub bytes: u64,
    /// What counts.
    pub scope: LimitScope,
    /// Whether the container can change the project ids of its files, so that a project quota would not hold it
    /// ([`ContainerSpec::can_change_projects`](crate::ContainerSpec::can_change_projects)).
    pub can_change_projects: bool,
}

impl DiskLimit {
    /// Whether the image's layers count.
    pub fn is_inclusive(&self) -> bool {
        self.scope == LimitScope::Inclusive
    }
}

/// What counts towards a disk limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitScope {
    /// What the container writes.
    #[default]
    Exclusive,
    /// What the container writes, and all layers of its image: what is enforced is the limit less the layers.
    Inclusive,
}

/// What enforces a disk limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaMechanism {
    /// Project quota of XFS or ext4 (quotactl(2), `PRJQUOTA`).
    Project,
    /// A btrfs subvolume and its quota group.
    BtrfsQgroup,
    /// A file of fixed size with an ext4 file system, on a loop device.
    DiskFile,
}

impl QuotaMechanism {
    /// The word, as `inspect` and `info` print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::BtrfsQgroup => "btrfs-qgroup",
            Self::DiskFile => "disk-file",
        }
    }

    /// The mechanism that a word names.
    pub fn named(word: &str) -> Option<Self> {
        [Self::Project, Self::BtrfsQgroup, Self::DiskFile].into_iter().find(|one| one.as_str() == word)
    }
}

/// What a container has written, where something counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DiskUsage {
    /// The limit in bytes; none when it is only counted.
    pub limit: Option<u64>,
    /// Bytes written, as the mechanism counts them. Absent when only the mounts of the running container tell.
    pub used: Option<u64>,
    /// What counts.
    pub mechanism: QuotaMechanism,
}

/// The image seam: images in a store, and snapshots of them for containers.
///
/// Vocabulary: a *layer* is one unpacked diff, shared by every image that has it and named by its diff id; an *image*
/// is a configuration and its layers; a *name* (`registry/path:tag`) points to an image; a *snapshot* is a container's
/// view: layers below, a writable directory on top.
///
/// Life: [`pull`](Self::pull) or [`import`](Self::import) makes an image whole or not at all, whatever happens in
/// between, and however many callers in however many processes ask for it at once. An image stays while a name or a
/// snapshot needs it. A snapshot is made by [`create_snapshot`](Self::create_snapshot), described for mounting by
/// [`rootfs`](Self::rootfs) (the store itself mounts nothing), and dropped by
/// [`remove_snapshot`](Self::remove_snapshot), which succeeds also when there is nothing to drop.
pub trait ImageStore: Send + Sync {
    /// Fetches an image, verifies it, and unpacks what the store lacks. Gives the image when it is durable.
    fn pull(&self, source: &ImageSource, options: &PullOptions, progress: &dyn PullProgress)
    -> Result<Image>;

    /// Puts an image, by a name or id as [`resolve`](Self::resolve) takes them, into a registry: where the destination
    /// says, else where its own name says. The image there has the same files and configuration; its digest is the same
    /// only where the registry has the layers as they came.
    fn push(
        &self,
        name: &str,
        destination: Option<&str>,
        options: &RegistryOptions,
        progress: &dyn PullProgress,
    ) -> Result<PushedImage>;

    /// Makes an image of one layer from a root file system tar (plain, gzip or zstd) under this name.
    fn import(&self, tar: &mut (dyn Read + Send), name: &str, config: &ImageConfig) -> Result<Image>;

    /// Finds the image with this name, id, or unambiguous prefix of an id (at least 4 digits). `debian` finds
    /// `docker.io/library/debian:latest`, and also an image that was given the plain name `debian` (then first).
    fn resolve(&self, name: &str) -> Result<Image>;

    /// Lists the images, a line for each name, newest first.
    fn list(&self) -> Result<Vec<ImageSummary>>;

    /// The configuration's bytes as they came, for `inspect`.
    fn raw_config(&self, image: &Digest) -> Result<Vec<u8>>;

    /// Points a further name to an image; takes it from another image when that has it.
    fn tag(&self, image: &Digest, name: &str) -> Result<()>;

    /// Removes a name, and the image with it when that was its last and no snapshot needs it. Asked with an id, all
    /// names go. An image in use is a conflict unless `force` is given; then the names go and the image when its last
    /// snapshot does.
    fn remove(&self, name: &str, force: bool) -> Result<RemovedImage>;

    /// Makes the snapshot; when it exists already for the same image, that is success. A limit holds from the first
    /// byte on and as long as the snapshot exists; [`crate::ErrorKind::Unsupported`] when this host can't enforce one, and
    /// [`Reason::LayersExceedLimit`](crate::Reason::LayersExceedLimit) when the layers alone are more than an inclusive one.
    fn create_snapshot(&self, request: &SnapshotRequest<'_>) -> Result<()>;

    /// Describes the snapshot's root file system, with these ids when the container has a user namespace.
    fn rootfs(&self, container: &ContainerId, mapping: Option<&IdMapping>) -> Result<RootfsPlan>;

    /// Bytes that the snapshot's writable directory holds; its files may have to be walked.
    fn snapshot_usage(&self, container: &ContainerId) -> Result<u64>;

    /// What a snapshot holds that the file system counts, as it does each with a limit, in a time that does not depend on
    /// how much that is; `None` when nothing counts it.
    fn disk_usage(&self, container: &ContainerId) -> Result<Option<DiskUsage>>;

    /// Changes the limit of a snapshot, or gives it its first, while it is in use; [`crate::ErrorKind::Unsupported`] where
    /// its mechanism can't.
    fn change_limit(&self, container: &ContainerId, limit: &DiskLimit) -> Result<()>;

    /// Drops the snapshot with all that was written to it. Success when there is none.
    fn remove_snapshot(&self, container: &ContainerId) -> Result<()>;

    /// The containers that have a snapshot.
    fn snapshots(&self) -> Result<Vec<ContainerId>>;

    /// Deletes what interrupted pulls and removals left. What somebody still works on is left alone, and so is what
    /// can't be deleted, for the next time.
    fn sweep(&self);
}
