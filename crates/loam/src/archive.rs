//! Copying files between a container and the host, by Docker's rules, as tar streams that the engine makes and takes.
//!
//! | the source is | and the destination | then |
//! |---|---|---|
//! | a file | does not exist | it gets that name; not when the destination ends with `/` |
//! | a file | is a file | it takes its place |
//! | anything | is a directory | it goes into it, under its own name |
//! | a directory | does not exist | its contents go into a new directory of that name |
//! | a directory | is a file | refused |
//! | a directory, ending with `/.` | is a directory | its contents go into it |
//!
//! What comes out of a container is hostile: it is unpacked beneath a directory descriptor, through no link.

mod copy_in;
mod copy_out;
mod pack;
mod place;
mod unpack;

use std::ffi::OsString;

use loam_model::{ErrorKind, Failure};

pub(crate) use copy_in::{CopyIn, unpack_in};
pub(crate) use copy_out::{CopyOut, stream_out};
pub(crate) use place::Place;

/// What the top of a copied tree is called where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Naming {
    /// This.
    Named(OsString),
    /// Nothing: only what is in it is copied.
    ContentsOnly,
}

fn invalid(message: String) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}

fn directory_over_file(destination: &str) -> Failure {
    invalid(format!("`{destination}` is not a directory, and a directory can't take its place"))
}

fn missing_directory(destination: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("the directory `{destination}` does not exist"))
}
