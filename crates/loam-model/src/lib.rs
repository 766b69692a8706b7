//! The words and the seams of Loam.
//!
//! Everything that more than one room talks about is named here once: ids, what a container shall be
//! ([`ContainerSpec`]), what an image is ([`Image`]), how a root file system is put together ([`RootfsPlan`]), what
//! went wrong ([`Failure`]). The seams are traits: [`ImageStore`], [`Network`], [`Runtime`] and [`Bundler`], and
//! [`Supervisor`] with [`Shim`], the process that stays with a container. Adapters implement them and are named only
//! where a binary wires them to the engine.
//!
//! What comes in: nothing; what goes out: plain types, most of them with serde, so that they can be written to the
//! state database or sent to a shim. This crate does no input or output. Behind the feature `conformance` it has what every
//! implementation of a seam must pass.

mod archives;
mod cgroup;
#[cfg(feature = "conformance")]
pub mod conformance;
mod container;
mod copy;
mod disk;
mod egress;
mod error;
mod id;
mod image;
mod network;
mod process;
mod registry;
mod rootfs;
mod runtime;
mod stats;
mod supervisor;
mod text;
mod trees;
mod upkeep;

pub use archives::{ArchivedImage, ImageArchives};
pub use cgroup::{CgroupDriver, CgroupPlace, InvalidCgroup, Slice};
pub use container::{
    BlockThrottle, BlockWeight, CapabilityChange, ContainerSpec, LabelMap, Limits, MountKind, MountSpec,
    Namespace, NetworkMode, Propagation, RuntimeChoice, SeccompChoice, Security, SelinuxOptions, Throttled,
    UserNamespace,
};
pub use copy::{CopiedImage, CopyRequest, ImageCopies};
pub use egress::{
    AddressRange, ConnectionRate, EgressAction, EgressList, EgressPolicy, EgressProtocol, EgressRule,
    IcmpMessages, NetworkRules, PortRange,
};
pub use error::{ErrorKind, Failure, Reason, Result, out_of_files};
pub use id::{ContainerId, ContainerName, Digest, DigestAlgorithm, InvalidName, NetworkName};
pub use image::{
    Credentials, DiskLimit, DiskUsage, Image, ImageConfig, ImageSource, ImageStore, ImageSummary,
    LayerProgress, LayoutExtensions, LimitScope, PullOptions, PullProgress, PushedImage, QuotaMechanism,
    RegistryOptions, RemovedImage, SnapshotRequest, Verification,
};
pub use network::{
    AddressDriver, AttachExtras, AttachRequest, AttachedInterface, Attachment, Collected, ConnectRequest,
    ContainerMetadata, DetachRequest, DisconnectRequest, InvalidMac, InvalidSubnet, KnownAttachment,
    MacAddress, Network, NetworkChoice, NetworkDescription, NetworkListing, NetworkOptions, NetworkSource,
    NetworkSpec, NetworkerSpec, PortMapping, Protocol, SubnetSpec, SubnetWish,
};
pub use process::{ExitRecord, ExitStatus, ProcessSpec, ProcessTarget, TerminalSize};
pub use registry::{LoginKeeper, Registries};
pub use rootfs::{IdMapping, IdRange, MountOwner, MountPreparation, RootfsLimit, RootfsPlan};
pub use runtime::{
    BegunProcess, Bundle, BundleInput, Bundler, CreateRequest, CreatedProcess, EngineFile, ExecRequest,
    ProcessStdio, Runtime, StartingProcess,
};
pub use stats::{MemoryEvents, Pressure, PressureStall, Stats};
pub use supervisor::{
    ArchiveDirection, ArchiveHold, ArchiveRequest, OnStall, Shim, ShimLaunch, ShimStatus, Streams, Supervisor,
};
pub use text::{escaped, shown, shown_bytes};
pub use trees::{
    ChangeKind, CopiedOwners, FileChange, ImageMounts, ImageTrees, MountedImage, TreeOf, Unmounted,
};
pub use upkeep::{
    CheckedLayer, ImageUpkeep, LayerDetail, LayerState, PruneRequest, Pruned, RepairedLayer, SnapshotUsage,
    StoreShare, StoreUsage,
};

/// The types of the OCI specifications, as one version for the whole workspace.
pub use oci_spec;
