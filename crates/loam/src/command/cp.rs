//! `loam cp`.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use clap::Args;
use loam_model::{ErrorKind, Failure};
use rustix::stdio::{stdin, stdout};

use super::Outcome;
use crate::archive::{self, CopyIn, CopyOut, Place};
use crate::exit::Exit;
use crate::wiring::Wiring;

/// The flags of `cp`.
#[derive(Args, Debug)]
pub(crate) struct Cp {
    /// Keep owners; otherwise what is copied belongs to root in the container, or to you here
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link at the source points to, rather than the link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// CONTAINER:PATH, a path here, or - for a tar on standard input
    source: String,
    /// CONTAINER:PATH, a path here, or - for a tar on standard output
    destination: String,
}

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    /// A path of a container.
    Container(&'a str, &'a str),
    /// A path here.
    Here(&'a str),
    /// A standard stream.
    Stream,
}

impl Cp {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        match (end(&self.source), end(&self.destination)) {
            (End::Container(container, path), End::Stream) => {
                let place = Place { engine: wiring.engine()?, container, path };
                archive::stream_out(&place, standard(stdout())?)?;
            }
            (End::Stream, End::Container(container, path)) => {
                let place = Place { engine: wiring.engine()?, container, path };
                archive::unpack_in(&place, &mut standard(stdin())?)?;
            }
            (End::Container(container, path), End::Here(target)) => {
                let place = Place { engine: wiring.engine()?, container, path };
                let copy = CopyOut { place, follow_link: self.follow_link, keep_owners: self.archive };
                copy.to(Path::new(target))?;
            }
            (End::Here(source), End::Container(container, path)) => {
                let place = Place { engine: wiring.engine()?, container, path };
                let source = PathBuf::from(source);
                let copy =
                    CopyIn { source: &source, follow_link: self.follow_link, keep_owners: self.archive };
                copy.to(&place)?;
            }
            _ => {
                let message =
                    "one of source and destination must be CONTAINER:PATH, and the other a path or `-`";
                return Err(Failure::new(ErrorKind::Invalid, message));
            }
        }
        Ok(Exit::SUCCESS)
    }
}

/// A standard stream without a buffer.
fn standard(stream: BorrowedFd<'static>) -> Result<File, Failure> {
    stream.try_clone_to_owned().map(File::from).map_err(|error| {
        Failure::new(ErrorKind::Internal, "the standard streams can't be used").caused_by(error)
    })
}

/// What an argument means: a path here begins with `/` or `.`, or has no colon.
fn end(text: &str) -> End<'_> {
    if text == "-" {
        return End::Stream;
    }
    match text.split_once(':') {
        Some((container, path)) if !text.starts_with(['/', '.']) && !container.is_empty() => {
            End::Container(container, path)
        }
        _ => End::Here(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_container_unless_a_path_begins() {
        for (text, expected) in [
            ("-", End::Stream),
            ("web:/etc", End::Container("web", "/etc")),
            ("web:", End::Container("web", "")),
            ("./web:/etc", End::Here("./web:/etc")),
            ("/a:b", End::Here("/a:b")),
            ("file", End::Here("file")),
            (":x", End::Here(":x")),
        ] {
            assert_eq!(end(text), expected, "{text}");
        }
    }
}
