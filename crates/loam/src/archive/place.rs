//! A path in a container, and what is there.

use std::io::{self, Write};

use loam_engine::Engine;
use loam_model::{ErrorKind, Failure};
use tar::{Archive, Builder, EntryType};

/// More than the headers of one entry take.
const HEADERS: usize = 1024 * 1024;

/// As many links as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;

/// A path in a container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The engine.
    pub(crate) engine: &'a Engine,
    /// The container's name or id.
    pub(crate) container: &'a str,
    /// The path as it was given.
    pub(crate) path: &'a str,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Directory,
    Link(String),
    Other,
}

impl Place<'_> {
    /// The path, absolute, without what it ends with to say how it is meant.
    pub(super) fn clean(&self) -> String {
        absolute(self.path)
    }

    /// Whether only what is in the directory is meant: the path ends with `/.`.
    pub(super) fn means_contents(&self) -> bool {
        self.path == "." || self.path.ends_with("/.")
    }

    /// Whether a directory is meant.
    pub(super) fn means_directory(&self) -> bool {
        self.path.ends_with('/') || self.means_contents()
    }

    /// As a person names it.
    pub(super) fn shown(&self) -> String {
        format!("{}:{}", self.container, self.path)
    }

    /// What is at a path; `None` when nothing is.
    pub(super) fn look(&self, path: &str) -> Result<Option<Found>, Failure> {
        let mut probe = Probe::default();
        let result = self.engine.copy_out(self.container, path, &mut probe);
        match (probe.found, result) {
            // The stream was cut off on purpose.
            (Some(found), _) => Ok(Some(found)),
            (None, Err(failure)) if failure.kind() == ErrorKind::NotFound => {
                // The container itself may be what was not found.
                self.engine.resolve(self.container).map(|_| None)
            }
            (None, Err(failure)) => Err(failure),
            (None, Ok(())) => Ok(None),
        }
    }

    /// Whether a path, links followed, is a directory: an archive of nothing can be unpacked into it.
    pub(super) fn is_directory(&self, path: &str) -> Result<bool, Failure> {
        let mut nothing = Vec::new();
        Builder::new(&mut nothing).finish().map_err(|error| {
            Failure::new(ErrorKind::Internal, "an empty archive can't be made").caused_by(error)
        })?;
        match self.engine.copy_in(self.container, path, &mut nothing.as_slice()) {
            Ok(()) => Ok(true),
            Err(failure) if matches!(failure.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => {
                self.engine.resolve(self.container).map(|_| false)
            }
            Err(failure) => Err(failure),
        }
    }

    /// The path that links at `path` lead to.
    pub(super) fn follow(&self, path: String) -> Result<String, Failure> {
        let mut path = path;
        for _ in 0..LINKS {
            match self.look(&path)? {
                Some(Found::Link(target)) if target.starts_with('/') => path = absolute(&target),
                Some(Found::Link(target)) => path = absolute(&format!("{}/{target}", split(&path).0)),
                _ => return Ok(path),
            }
        }
        Err(super::invalid(format!("`{}` has too many links one after another", self.shown())))
    }
}

/// A path as an absolute one, without `.` and repeated slashes. `..` stays: what it means depends on links, and the
/// engine resolves it.
fn absolute(path: &str) -> String {
    let components = path.split('/').filter(|component| !matches!(*component, "" | "."));
    let path: String = components.flat_map(|component| ["/", component]).collect();
    if path.is_empty() { "/".to_owned() } else { path }
}

/// An absolute path's directory and last component.
pub(super) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((directory, name)) => (directory, name),
        None => ("/", path),
    }
}

/// Takes a stream up to its first entry.
#[derive(Default)]
struct Probe {
    bytes: Vec<u8>,
    found: Option<Found>,
}

impl Write for Probe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.found.is_some() || self.bytes.len() > HEADERS {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.bytes.extend_from_slice(bytes);
        self.found = first_entry(&self.bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first entry of an archive, if these bytes of its beginning are enough to know it.
fn first_entry(bytes: &[u8]) -> Option<Found> {
    let mut archive = Archive::new(bytes);
    let entry = archive.entries().ok()?.next()?.ok()?;
    match entry.header().entry_type() {
        EntryType::Directory => Some(Found::Directory),
        EntryType::Symlink => {
            let target = entry.link_name_bytes()?;
            Some(Found::Link(String::from_utf8_lossy(&target).into_owned()))
        }
        _ => Some(Found::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            (".", "/"),
            ("a/b/", "/a/b"),
            ("//a/./b/.", "/a/b"),
            ("a/../b", "/a/../b"),
        ] {
            assert_eq!(absolute(path), expected, "{path}");
        }
        assert_eq!(split("/a/b"), ("/a", "b"));
        assert_eq!(split("/a"), ("/", "a"));
        assert_eq!(split("/"), ("/", ""));
    }

    #[test]
    fn the_first_entry_is_known_as_soon_as_it_can_be() {
        let mut builder = Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        let target = format!("/{}", "long/".repeat(50));
        builder.append_link(&mut header, "name", &target).expect("written");
        let bytes = builder.into_inner().expect("finished");
        assert_eq!(first_entry(&bytes[..512]), None);
        let mut probe = Probe::default();
        for piece in bytes.chunks(100) {
            if probe.write(piece).is_err() {
                break;
            }
        }
        assert_eq!(probe.found, Some(Found::Link(target)));
    }
}
