//! From the host into a container.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::{self, PipeWriter, Read};
use std::path::{Path, absolute};
use std::thread;

use loam_model::{ErrorKind, Failure};

use super::pack::Packer;
use super::place::{Found, Place, split};
use super::{Naming, directory_over_file, invalid, missing_directory};

/// A copy into a container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyIn<'a> {
    /// What is copied.
    pub(crate) source: &'a Path,
    /// Whether a link at the source is followed.
    pub(crate) follow_link: bool,
    /// Whether owners are kept; else everything belongs to root.
    pub(crate) keep_owners: bool,
}

impl CopyIn<'_> {
    /// Copies to a place.
    pub(crate) fn to(&self, place: &Place<'_>) -> Result<(), Failure> {
        let contents = ends_with_dot(self.source);
        let metadata = self.metadata(contents)?;
        let (directory, naming) = self.target(place, &metadata, contents)?;
        let (mut reader, writer) = io::pipe()
            .map_err(|error| Failure::new(ErrorKind::Internal, "a pipe can't be made").caused_by(error))?;
        thread::scope(|scope| {
            let packer = thread::Builder::new().spawn_scoped(scope, move || self.pack(writer, &naming));
            let packer = packer.map_err(|error| {
                Failure::new(ErrorKind::Exhausted, "a thread can't be started").caused_by(error)
            })?;
            let unpacked = place.engine.copy_in(place.container, &directory, &mut reader);
            drop(reader);
            match packer.join() {
                // When the other side gives up, the packer only hears that nobody listens.
                Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(self.unreadable(error)),
                _ => unpacked,
            }
        })
    }

    fn metadata(&self, contents: bool) -> Result<Metadata, Failure> {
        let metadata = match self.follow_link || contents {
            true => self.source.metadata(),
            false => self.source.symlink_metadata(),
        };
        metadata.map_err(|error| self.unreadable(error))
    }

    /// The directory of the container that the archive is unpacked into, and the name in it.
    fn target(
        &self,
        place: &Place<'_>,
        source: &Metadata,
        contents: bool,
    ) -> Result<(String, Naming), Failure> {
        let path = place.clean();
        if place.is_directory(&path)? {
            let naming = match contents {
                true => Naming::ContentsOnly,
                false => Naming::Named(self.name()?.to_owned()),
            };
            return Ok((path, naming));
        }
        let found = place.look(&path)?;
        match (found, source.is_dir()) {
            (Some(Found::Other), true) => return Err(directory_over_file(&place.shown())),
            (Some(Found::Other), false) if place.means_directory() => {
                return Err(invalid(format!("`{}` is not a directory", place.shown())));
            }
            (None, false) if place.means_directory() => return Err(missing_directory(&place.shown())),
            _ => {}
        }
        let (directory, name) = split(&path);
        Ok((directory.to_owned(), Naming::Named(name.into())))
    }

    /// The name of the source.
    fn name(&self) -> Result<&OsStr, Failure> {
        let name = self.source.file_name();
        name.ok_or_else(|| invalid(format!("`{}` has no name to be copied under", self.source.display())))
    }

    fn pack(&self, writer: PipeWriter, naming: &Naming) -> io::Result<()> {
        // A link that is followed is opened by its own name, which the kernel then resolves.
        let source = absolute(self.source)?;
        let mut packer = Packer::new(writer, self.keep_owners);
        match naming {
            Naming::Named(name) => packer.tree(&source, Path::new(name), self.follow_link)?,
            Naming::ContentsOnly => packer.contents(&source, Path::new(""))?,
        }
        packer.finish()
    }

    fn unreadable(&self, error: io::Error) -> Failure {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        };
        Failure::new(kind, format!("`{}` can't be read", self.source.display())).caused_by(error)
    }
}

/// Unpacks a tar stream into a directory of a container.
pub(crate) fn unpack_in(place: &Place<'_>, stream: &mut (dyn Read + Send)) -> Result<(), Failure> {
    place.engine.copy_in(place.container, &place.clean(), stream)
}

/// Whether a path ends with `/.`, which [`Path`] hides.
fn ends_with_dot(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes == b"." || bytes.ends_with(b"/.")
}
