//! Unpacking one layer into a directory of its own, in the form that overlayfs wants (image specification, layer.md).
//!
//! Nothing here ever uses a path: an entry's directory is looked up beneath the layer's root by the kernel (openat2),
//! the entry itself is made anew in it (never opened when it exists), and owner, mode, attributes and times are set on
//! the descriptor. A whiteout becomes a character device 0:0. What takes more rights than to own files (that a directory is
//! opaque stands in a trusted attribute) is done by a function that whoever unpacks brings along ([`MarkOpaque`]). What
//! can only be known beside the layers below (owners of directories that the archive does not list, hard links to
//! files of a lower layer) is left to [`settle`](crate::settle()).
//!
//! The thread that unpacks needs no working directory, no root directory and no name of the store: only the
//! descriptor of the layer's root, so that it works as well where there is nothing else ([`confined`](crate::confined)).

mod attributes;
mod budget;
mod cost;
mod directories;
mod entry;
mod error;
mod file;
mod link;
mod name;
mod node;
mod opaque;
mod tree;
mod whiteout;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

pub(crate) use attributes::{Attributes, take_note_of_umask};
pub use attributes::{allowed as is_allowed_attribute, copy_attributes};
pub use budget::{Budget, Charge};
pub(crate) use budget::{LOOK_BYTES, Spent};
pub(crate) use cost::Cost;
pub use error::UnpackError;
pub use name::parent_and_name;
pub(crate) use name::relative;
pub(crate) use opaque::{MarkOpaque, mark_opaque};

use crate::archive::{Archive, Entry};
use crate::blocks::Blocks;
use tree::Tree;

/// The most entries that one layer may have.
const ENTRY_LIMIT: u64 = 1 << 24;

/// A hard link whose target the layer does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DanglingLink {
    /// Its path below the layer's root.
    pub path: Vec<u8>,
    /// The path of the file that it is to be another name of.
    pub target: Vec<u8>,
}

/// What was unpacked.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// Bytes of all files.
    pub size: u64,
    /// Entries made.
    pub entries: u64,
    /// Directories that had to be made although the archive does not list them, the root included (as an empty path).
    pub implicit: Vec<Vec<u8>>,
    /// Hard links to files that only a lower layer can have.
    pub dangling: Vec<DanglingLink>,
    /// Whether a file of an earlier entry is gone, or not to be found under its name, because a later one replaced it or a
    /// link on the way to it.
    pub lossy: bool,
}

/// One layer being unpacked.
struct Unpacking<'a> {
    tree: Tree,
    budget: &'a Budget,
    mark_opaque: MarkOpaque<'a>,
    /// Directories, whose attributes are set when everything is in them; `None` for those that the archive does not list.
    directories: BTreeMap<Vec<u8>, Option<Attributes>>,
    /// How many bytes have been put by until the end: paths, links' targets, directories' extended attributes.
    kept: usize,
    done: Unpacked,
}

/// Unpacks an archive into the directory `root`, which must be empty, and reads it to its end.
pub(crate) fn unpack<B: Blocks>(
    archive: &mut Archive<B>,
    root: OwnedFd,
    budget: &Budget,
    mark_opaque: MarkOpaque<'_>,
) -> Result<Unpacked, UnpackError> {
    let mut unpacking = Unpacking {
        tree: Tree::new(root),
        budget,
        mark_opaque,
        directories: BTreeMap::from([(Vec::new(), None)]),
        kept: 0,
        done: Unpacked::default(),
    };
    let mut entry = Entry::default();
    // How far into the stream it is paid for.
    let mut paid = 0;
    while archive.next_entry(&mut entry)? {
        if unpacking.done.entries == ENTRY_LIMIT {
            return Err(UnpackError::malformed(format!("it has more than {ENTRY_LIMIT} entries")));
        }
        unpacking.done.entries += 1;
        // The data beforehand, so that nothing is written of a file that is too large.
        let until = archive.offset().saturating_add(entry.size);
        budget.read(until.saturating_sub(paid))?;
        paid = until;
        unpacking.entry(archive, &entry)?;
    }
    archive.drain()?;
    budget.read(archive.offset().saturating_sub(paid))?;
    unpacking.finish()
}

#[cfg(test)]
mod tests;
