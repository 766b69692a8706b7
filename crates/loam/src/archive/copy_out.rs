//! From a container to the host.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use loam_model::{ErrorKind, Failure};

use super::place::{Found, Place, split};
use super::unpack::Unpacker;
use super::{Naming, directory_over_file, invalid, missing_directory};
use crate::output;

/// A copy out of a container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyOut<'a> {
    /// What is copied.
    pub(crate) place: Place<'a>,
    /// Whether a link at the source is followed.
    pub(crate) follow_link: bool,
    /// Whether owners are kept; else everything belongs to whoever runs this.
    pub(crate) keep_owners: bool,
}

impl CopyOut<'_> {
    /// Copies to a path of the host.
    pub(crate) fn to(&self, destination: &Path) -> Result<(), Failure> {
        let place = &self.place;
        let mut path = place.clean();
        if self.follow_link || place.means_directory() {
            path = place.follow(path)?;
        }
        let missing = || Failure::new(ErrorKind::NotFound, format!("`{}` does not exist", place.shown()));
        let found = place.look(&path)?.ok_or_else(missing)?;
        let destination = followed(destination)?;
        let (directory, naming) = self.target(&destination, &path, &found)?;
        let unpacker = Unpacker::new(directory, naming, self.keep_owners).map_err(|error| {
            Failure::new(ErrorKind::Invalid, format!("`{}` can't be opened", directory.display()))
                .caused_by(error)
        })?;
        self.transfer(&path, unpacker)
    }

    /// The directory that the archive is unpacked into, and the name in it.
    fn target<'d>(
        &self,
        destination: &'d Path,
        path: &str,
        found: &Found,
    ) -> Result<(&'d Path, Naming), Failure> {
        let shown = destination.display().to_string();
        let named = |name: &OsStr| Naming::Named(name.to_owned());
        match destination.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let (_, name) = split(path);
                let contents = self.place.means_contents() || name.is_empty();
                let naming = if contents { Naming::ContentsOnly } else { named(OsStr::new(name)) };
                return Ok((destination, naming));
            }
            Ok(_) if *found == Found::Directory => return Err(directory_over_file(&shown)),
            Ok(metadata) if !metadata.is_file() => {
                let message = format!("`{shown}` is no file, and a file can't take its place");
                return Err(invalid(message));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if *found != Found::Directory && shown.ends_with('/') {
                    return Err(missing_directory(&shown));
                }
            }
            Err(error) => {
                let message = format!("`{shown}` can't be used");
                return Err(Failure::new(ErrorKind::Invalid, message).caused_by(error));
            }
        }
        let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty());
        let name = destination.file_name().ok_or_else(|| missing_directory(&shown))?;
        Ok((parent.unwrap_or(Path::new(".")), named(name)))
    }

    /// Unpacks while the container's side sends.
    fn transfer(&self, path: &str, mut unpacker: Unpacker) -> Result<(), Failure> {
        let (reader, writer) = io::pipe()
            .map_err(|error| Failure::new(ErrorKind::Internal, "a pipe can't be made").caused_by(error))?;
        let mut sink = Sink { writer, refused: false };
        thread::scope(|scope| {
            let sender = scope.spawn(move || {
                let sent = self.place.engine.copy_out(self.place.container, path, &mut sink);
                (sent, sink.refused)
            });
            let unpacked = unpacker.unpack(reader);
            match sender.join() {
                // It failed for another reason than that we stopped listening.
                Ok((Err(failure), false)) => Err(failure),
                _ => unpacked,
            }
        })
    }
}

/// What a destination that is a link leads to: it is the caller's, unlike those in what is copied. As it was given otherwise, a
/// slash at its end included.
fn followed(destination: &Path) -> Result<PathBuf, Failure> {
    if !destination.is_symlink() {
        return Ok(destination.to_owned());
    }
    loam_sys::follow_link(destination).map_err(|error| {
        let message = format!("`{}` can't be used", destination.display());
        Failure::new(ErrorKind::Invalid, message).caused_by(error)
    })
}

/// A sink that knows whether it was the other side that gave up.
struct Sink<W> {
    writer: W,
    refused: bool,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.writer.write(bytes);
        self.refused |= result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Sends a path of a container as a tar stream to standard output.
pub(crate) fn stream_out(place: &Place<'_>, stdout: File) -> Result<(), Failure> {
    let mut sink = Sink { writer: stdout, refused: false };
    let path = place.clean();
    match place.engine.copy_out(place.container, &path, &mut sink) {
        Err(_) if sink.refused => Err(output::failure(io::ErrorKind::BrokenPipe.into())),
        result => result,
    }
}
