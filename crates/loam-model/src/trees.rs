//! The files of images as trees: compared, copied, taken in, mounted.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{ContainerId, Digest, IdMapping, Image, ImageConfig, Result, RootfsPlan};

/// A tree of files in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeOf<'a> {
    /// All that an image has.
    Image(&'a Digest),
    /// What an image has without its topmost layer.
    BelowTopOf(&'a Digest),
    /// What a container finds at its root: its image, and what it has written.
    Container(&'a ContainerId),
}

/// What has become of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is another one, or has other attributes; or something below it is.
    Changed,
    /// It is gone, with all that was below it.
    Deleted,
}

impl ChangeKind {
    /// The letter that Docker and Podman print for it.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Deleted => 'D',
        }
    }
}

/// A path that differs between two trees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileChange {
    /// The path as bytes, which need not be text; it begins with a slash.
    pub path: Vec<u8>,
    /// What has become of it.
    pub kind: ChangeKind,
}

/// Whose the files of a copy are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiedOwners {
    /// The host's ids for the image's users; the same ones when absent.
    pub users: Option<IdMapping>,
    /// Likewise for its groups.
    pub groups: Option<IdMapping>,
}

/// The part of an image store that has to do with single files.
pub trait ImageTrees: Send + Sync {
    /// What differs from one tree to another, in the order of the paths. A directory below which something differs has
    /// changed itself; the root is left out. Files are the same when type, mode, owner, attributes, contents and, but for
    /// directories, the time of their last change are. Of a container that runs, what it changes meanwhile may be missed;
    /// [`crate::ErrorKind::Unsupported`] where what it has written can't be reached or told apart. The paths in
    /// `passed_over`, which begin with a slash, are not looked at.
    fn changes(
        &self,
        before: TreeOf<'_>,
        after: TreeOf<'_>,
        passed_over: &[&Path],
    ) -> Result<Vec<FileChange>>;

    /// Copies the files of an image into an empty directory, which gets the attributes of the image's root: with owners,
    /// modes, times, extended attributes, hard links, holes and devices.
    fn copy_files(&self, image: &Digest, directory: BorrowedFd<'_>, owners: &CopiedOwners) -> Result<()>;

    /// Copies what lies in one directory into another, empty one in the same way, with the same owners. The directories
    /// are no layers.
    fn copy_directory(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()>;

    /// Makes an image of one layer from a directory that holds a root file system. Other file systems that are mounted
    /// below it are left out, their mount points are not.
    fn import_directory(&self, directory: &Path, name: &str, config: &ImageConfig) -> Result<Image>;
}

/// An image whose files can be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountedImage {
    /// The image.
    pub image: Digest,
    /// Its names.
    pub names: Vec<String>,
    /// Where its files are.
    pub path: PathBuf,
    /// How often it was mounted and not unmounted since.
    pub count: u64,
}

/// What came of an unmounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// Nothing is mounted any more.
    Gone,
    /// It stays, for others who have mounted it: so many times.
    Held(u64),
}

/// The part of an image store that knows which images are mounted for people to look into. It mounts nothing itself: how
/// that is done is handed in.
///
/// An image that is mounted is not removed and not pruned. Mounts are counted: the path is there until the image was
/// unmounted as often as it was mounted. A mount that is gone, by a reboot or by somebody's umount(8), counts no longer.
pub trait ImageMounts: Send + Sync {
    /// Sees to it that an image is mounted, read-only, and gives the path. `mount` gets a plan and an empty directory; it is
    /// called only when the image is not mounted yet.
    fn mount(
        &self,
        image: &Digest,
        mount: &mut dyn FnMut(&RootfsPlan, &Path) -> Result<()>,
    ) -> Result<PathBuf>;

    /// Takes one mount back, or all with `force`. [`crate::ErrorKind::NotFound`] when the image is not mounted.
    fn unmount(
        &self,
        image: &Digest,
        force: bool,
        unmount: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<Unmounted>;

    /// The images that are mounted.
    fn mounted(&self) -> Result<Vec<MountedImage>>;
}
