//! Layers on one another, read as overlayfs would show them, without a mount.
//!
//! Which layers have a part in a directory is found on the way down from the root: a directory is the union of those of
//! its name, from the topmost layer down to the first that has something else there, a whiteout or an opaque directory.
//! Two stacks that have a directory from the same layers have the same in it, which is what makes comparing them quick.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use loam_model::{Failure, Result, shown_bytes};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::failed;
use crate::pack::{BENEATH, is_opaque, join, names_in};

/// The layers of a tree, the topmost first.
pub(super) struct Stack {
    layers: Vec<Layer>,
    /// Whether somebody writes to the topmost one meanwhile: what is no longer there is no failure.
    live: bool,
}

struct Layer {
    root: OwnedFd,
    /// Device and inode of the root.
    identity: (u64, u64),
}

/// A directory of the tree.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its path without a leading slash; empty for the root.
    pub(super) path: Vec<u8>,
    /// The layers that may have a part in it, the topmost first; that one does.
    parts: Vec<usize>,
}

/// What a directory holds.
#[derive(Debug)]
pub(super) struct Listing {
    /// The directory in each layer that has it.
    directories: Vec<(usize, OwnedFd)>,
    /// By name, in order.
    pub(super) entries: Vec<Entry>,
}

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) status: Stat,
    /// The layers that may have a part in it; the topmost is what it is.
    parts: Vec<usize>,
    /// Whether what lies below belongs to it.
    open: bool,
}

impl Stack {
    /// Puts layers on one another, the topmost first.
    pub(super) fn new(roots: Vec<OwnedFd>) -> io::Result<Self> {
        let mut layers: Vec<Layer> = Vec::with_capacity(roots.len());
        for root in roots {
            let status = rustix::fs::fstat(&root)?;
            let identity = (status.st_dev, status.st_ino);
            // A layer that is there twice is hidden by itself.
            if !layers.iter().any(|known| known.identity == identity) {
                layers.push(Layer { root, identity });
            }
        }
        Ok(Self { layers, live: false })
    }

    /// The same, with a topmost layer that somebody may write to.
    pub(super) fn live(self) -> Self {
        Self { live: true, ..self }
    }

    /// The root of the tree.
    pub(super) fn root(&self) -> Place {
        Place { path: Vec::new(), parts: (0..self.layers.len()).collect() }
    }

    /// Whether a directory comes from the same layers in both stacks, and so has the same in it.
    pub(super) fn is_same(&self, place: &Place, other: &Self, there: &Place) -> bool {
        let here = place.parts.iter().map(|part| self.layers[*part].identity);
        !self.live && !other.live && here.eq(there.parts.iter().map(|part| other.layers[*part].identity))
    }

    /// Whether two entries are one file of one layer.
    pub(super) fn is_same_file(&self, entry: &Entry, other: &Self, there: &Entry) -> bool {
        let key = |stack: &Self, entry: &Entry| {
            (stack.layers[entry.parts[0]].identity, entry.status.st_dev, entry.status.st_ino)
        };
        key(self, entry) == key(other, there)
    }

    /// Lists a directory.
    pub(super) fn list(&self, place: &Place) -> Result<Listing> {
        let bad = |errno: Errno| unreadable(&place.path, errno);
        let mut entries: BTreeMap<Vec<u8>, Option<Entry>> = BTreeMap::new();
        let mut directories = Vec::with_capacity(1);
        for &part in &place.parts {
            let directory = match self.open(part, &place.path) {
                Ok(directory) => directory,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if self.is_live(part) => continue,
                Err(errno) => return Err(bad(errno)),
            };
            for name in names_in(&directory).map_err(bad)? {
                let status = match rustix::fs::statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(status) => status,
                    Err(Errno::NOENT) if self.is_live(part) => continue,
                    Err(errno) => return Err(unreadable(&join(&place.path, &name), errno)),
                };
                add(&mut entries, part, name, status);
            }
            let ends_here = is_opaque(&directory);
            directories.push((part, directory));
            if ends_here {
                break;
            }
        }
        Ok(Listing { directories, entries: entries.into_values().flatten().collect() })
    }

    /// Opens a directory in the topmost of its layers: that one's attributes are the directory's.
    pub(super) fn top(&self, place: &Place) -> Result<OwnedFd> {
        self.open(place.parts[0], &place.path).map_err(|errno| unreadable(&place.path, errno))
    }

    fn is_live(&self, part: usize) -> bool {
        self.live && part == 0
    }

    fn open(&self, part: usize, path: &[u8]) -> std::result::Result<OwnedFd, Errno> {
        let path = if path.is_empty() { &b"."[..] } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loam_sys::openat2(&self.layers[part].root, path, flags, Mode::empty(), BENEATH)
    }
}

/// Adds what a layer has under a name to what the layers above it have.
fn add(entries: &mut BTreeMap<Vec<u8>, Option<Entry>>, part: usize, name: Vec<u8>, status: Stat) {
    let kind = FileType::from_raw_mode(status.st_mode);
    let is_directory = kind == FileType::Directory;
    match entries.get_mut(&name) {
        // A whiteout hides it.
        Some(None) => {}
        Some(Some(above)) if above.open && is_directory => above.parts.push(part),
        Some(Some(above)) => above.open = false,
        None if kind == FileType::CharacterDevice && status.st_rdev == 0 => drop(entries.insert(name, None)),
        None => {
            let entry = Entry { name: name.clone(), status, parts: vec![part], open: is_directory };
            entries.insert(name, Some(entry));
        }
    }
}

impl Listing {
    /// The listing of a directory that is not there.
    pub(super) fn empty() -> Self {
        Self { directories: Vec::new(), entries: Vec::new() }
    }

    /// The directory that an entry of it really lies in.
    pub(super) fn directory_of(&self, entry: &Entry) -> &OwnedFd {
        let found = self.directories.iter().find(|(part, _)| *part == entry.parts[0]);
        &found.expect("an entry comes from a directory that was listed").1
    }
}

impl Entry {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.status.st_mode)
    }

    /// The directory that it is, when it is one.
    pub(super) fn place(&self, parent: &Place) -> Option<Place> {
        let is_directory = self.kind() == FileType::Directory;
        is_directory.then(|| Place { path: join(&parent.path, &self.name), parts: self.parts.clone() })
    }
}

/// The failure for a path that can't be read.
pub(super) fn unreadable(path: &[u8], errno: Errno) -> Failure {
    failed(format!("`/{}` can't be read", shown_bytes(path)), errno)
}
