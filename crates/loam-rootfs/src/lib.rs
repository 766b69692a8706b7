//! A [`RootfsPlan`](loam_model::RootfsPlan) in, a mounted root file system out.
//!
//! The image store describes how a root file system is put together and mounts nothing; whoever wants to see the files
//! calls [`mount_root`], in the mount namespace where they shall appear: the shim in its own, commands for people in
//! the host's. Layers are given to the kernel by descriptor where it takes them, and idmapped where ids are to be shifted,
//! so that nothing is copied or chown'ed; both have fallbacks, tried in order. [`MountWays`] says which ways a host has.
//!
//! What comes in: a plan, and the paths in it, which are the store's and trusted; what is *in* the layers is not, and
//! never followed. What goes out: one mount at the target, nothing else that outlasts the call, but the file `shifted`
//! beside the writable directory where the ids had to be changed on the disk, and, when the process dies in it, a disk limit that
//! is raised until the next mount.

mod container_root;
mod disk;
mod exposed;
mod headroom;
mod id_maps;
mod layers;
mod mount_ways;
mod overlay;
mod shift;
mod standard_directories;
mod unmount;
mod volume_directories;

pub use container_root::as_container_root;
pub use exposed::{MOUNT_POINTS, expose};
pub use id_maps::IdMaps;
use loam_model::ErrorKind;
pub use mount_ways::MountWays;
pub use overlay::{mount_root, move_to};
use rustix::io::Errno;
pub use standard_directories::make_standard_directories;
pub use unmount::{is_mount_point, unmount_all};
pub use volume_directories::make_volume_directories;

/// The class of a refusal of the kernel's, of a path that somebody named or of a mount.
pub fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => ErrorKind::NotFound,
        // A file system that the kernel does not have.
        Errno::NODEV | Errno::OPNOTSUPP => ErrorKind::Unsupported,
        _ => ErrorKind::of_io(&errno.into()),
    }
}
