//! The image seam: blobs, layers, snapshots, and the places images come from.
//!
//! # The tree
//!
//! ```text
//! ROOT/                          the state directory, which others use too; it holds the database
//!   blobs/sha256/HEX             manifests and configurations as they came; not layers
//!   layers/ID/diff               an unpacked layer in overlayfs' form, with the container's ids; ID is random
//!   layers/ID/split              what its tar had beside the files' data; see `loam_unpack`
//!   layers/ID/blob               what it was unpacked from, where blobs are kept
//!   snapshots/CONTAINER/upper    what a container has written; its root carries the image's root's attributes
//!   snapshots/CONTAINER/work     overlayfs' own
//!   snapshots/CONTAINER/disk     with a disk limit, on a file system without quotas: the file system with both
//!   snapshots/CONTAINER/shifted  empty, written by the shim: the files carry the host's ids; with a disk file it lies in that
//!   disk-templates/BYTES         what such files are copied from, one for each limit
//!   staging/ID/diff              a layer being unpacked
//!   trash/ID                     something being deleted
//!   trash/group-FILESYSTEM-SUBVOLUME    on btrfs: a quota group that is to go when the kernel lets it
//!   partial/HEX                  the beginning of a large blob, for a pull that is killed; see `partial`
//!   mounts/HEX                   an image that is mounted for people, by the digits of its id; see `mounts`
//!   layer-locks/HEX              the lock of a layer being fetched, by the digits of its diff id
//!   leases/HOLDER                locked by a process that has pulled images; see `lease`
//!   empty                        stands for the layers of an image without any
//! ```
//!
//! All of them are 0700: only real root mounts layers, so nobody else needs to enter. The
//! tables of [`SCHEMA`] say what counts: **a layer, an image or a snapshot exists when it has a row**, and rows are
//! written when everything they speak of is on the disk (`syncfs` once for a whole image, then one synced
//! transaction). Layers are kept by diff id, not by chain: one that many images have is there once, and all layers of
//! an image are unpacked at the same time.
//!
//! # What stays
//!
//! The roots are names, pins, snapshots, mounts, and the leases of processes that pull. An image goes with its last name, or,
//! when it was removed by force while snapshots or a mount needed it, with the last of these; a layer goes with the last
//! image that has it; a blob likewise. An
//! image whose name another one took stays, without a name, until it is removed by its id or pruned
//! ([`ImageUpkeep`](loam_model::ImageUpkeep)). A pin keeps an image from pruning, and so does a lease: what a process has
//! pulled stays until that process ends, so that it can make a container from it. Layers that are not
//! verified, or lie below a directory, have keys of their own in place of diff ids (`pull::keys`).
//!
//! # Locks
//!
//! - `layer-locks/HEX`, flock(2): held from before a layer is fetched until its image is committed, so that a layer is
//!   fetched once however many processes ask. Several are taken in ascending order of the diff ids. The file is
//!   removed by its holder; who gets a lock checks that the file is still there. The holder touches the file as its
//!   pull gets on; who sees nothing of that for half a minute, or has waited for longer than the layer is worth,
//!   fetches the layer without the lock. Of two copies the first that is committed stays.
//! - the directory of a staged layer, flock(2): held by the process that unpacks it, also after it was renamed into
//!   `layers`, until its row is committed.
//! - the database's write lock: blobs are removed under it, and a commit looks for its blobs and layers under it.
//!
//! No lock is held against readers, and none but a layer's own while something is transferred.
//!
//! # What a crash leaves
//!
//! Locks vanish with their process. Directories in `staging`, and directories in `layers` without a row, that nobody
//! has locked, directories in `snapshots` without a row, files of locks and leases that nobody holds, and everything in
//! `trash` are garbage; every import and removal of an image, every pull of one that gets a name, and every other pull
//! that has something to fetch first sweeps them up. Files in `partial` are what the next pull of the same blob begins with; they
//! are swept up when they are old. Starting a container sweeps nothing. A snapshot has its row before its
//! directories, and keeps it until they are gone; only a power cut can take the row of one that is thrown away with its
//! container, which is not synced. `shifted` is made before the first file is given to the container's users: a shift that
//! was cut short is gone through again at the next start. A row in
//! `changing_limit` is of a process that died changing a limit: the file system may have another one than the row, and is set
//! back by whoever looks, or sweeps. Blobs that no image has may stay behind; they are small, and are
//! used again by the same image.
//!
//! # In and out
//!
//! What comes in: bytes from strangers ([`ImageStore::pull`](loam_model::ImageStore::pull)), each held against a size
//! and two digests before it counts, and unpacked by a confined process (crate [`loam_unpack`]). What goes out:
//! [`RootfsPlan`](loam_model::RootfsPlan)s, and images into registries ([`ImageStore::push`](loam_model::ImageStore::push));
//! the store itself mounts nothing.

mod backing_file;
mod base_directory;
mod blobs;
mod catalog;
mod copy;
mod disk;
mod document;
#[cfg(test)]
mod fixture;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod import;
mod intake;
mod layer_lock;
mod layer_tar;
mod lease;
mod mounts;
mod names;
mod output_file;
mod pack;
mod partial;
mod platform;
mod pull;
mod push;
mod quota;
mod record;
mod registries;
mod remove;
mod resolve;
mod save;
mod schema;
mod snapshot;
mod source;
mod source_text;
mod staging;
mod store;
mod stream;
mod trees;
mod upkeep;

// What is below the store, and shared with it.
use loam_unpack::{delete, error, hashing, measure, threads};

pub use backing_file::BackingFile;
pub use copy::ImageCopier;
pub use loam_unpack::Unpacker;
pub use output_file::OutputFile;
pub use quota::quota_mechanism;
pub use registries::RemoteRegistries;
pub use schema::SCHEMA;
pub use source_text::parse_source;
pub use store::{LayerStore, StoreConfig};
