//! Unpacking strangers' layers and archives, by a process that can do nothing else.
//!
//! A layer's bytes are decompressed, read as an archive and made into files of any owner. All three are done by the program
//! `loam-unpack`, one process for each layer, which this crate builds ([`serve_unpacker`]); and the process that pulls starts,
//! feeds and watches it with the rest of the crate. Nothing here knows a store, a registry or a database: there are open files
//! and directories, streams of bytes, and sentences.
//!
//! # What is handed in
//!
//! - To [`unpack_layer`]: the blob's bytes as a reader (compressed, [`sniff`] tells how), a [`Destination`] (an empty directory,
//!   and a file for the record of the tar), and the [`Means`]: who unpacks ([`Unpacker`]), a [`Budget`] that all layers of a
//!   pull share, the digest's algorithm, and a flag that ends it. The directory is a stranger's until the layer is given up
//!   or kept: it lies where only root enters.
//! - To [`settle`](settle()): an unpacked layer and the layers below it, once all of them are there. This is done by the process that pulls.
//! - To [`open_archive`]: a file that holds whole images, and a directory where a file without a name can be made.
//! - The program finds its work at standard input: a socket (crate `loam-packet`) with a job and three descriptors. Both sides
//!   are of one release.
//!
//! # What comes out
//!
//! - [`UnpackedLayer`]: the digest and the length of the decompressed stream, the size and number of what was made, what only the
//!   layers below can tell ([`Unpacked`]), and whether the tar can be put together again from files and record
//!   ([`Reassembled`], byte for byte).
//! - [`Listed`]: where the members of an archive are, by name.
//! - The digest of the *blob* and its size are the caller's to hold against what was promised: they pass through its reader.
//!
//! # Errors
//!
//! [`UnpackError`] says why a layer can't be unpacked, and becomes the seam's failure with
//! [`UnpackError::into_failure`]. A failure that the reader gives inside an [`io::Error`](std::io::Error) comes out as it
//! was. Kinds: *invalid* for bytes that break a format or name what no layer may hold, *exhausted* for space, inodes and limits,
//! *unavailable* for a program that can't be run or gets on no more, *conflict* when the pull was given up, *internal* for
//! a program that ended without an answer. After any error the directory holds anything, and is the caller's to delete
//! ([`delete`]).
//!
//! # What is trusted
//!
//! The bytes are not, and neither is the program once it has read one of them. It can fill its directory with what it likes,
//! within what the budget sees to be free, and lie about what it made of the blob: the digest of the stream and the
//! record are its word. It reaches neither the host, nor the network, nor other layers. Lengths, counts and positions that it tells
//! are held against what was seen from outside before they count. [`Unpacker::InProcess`] and [`Reassembled`] read
//! with the rights of whoever calls them. The caller, the layers below and the kernel are trusted.
//!
//! # What the store uses as well
//!
//! [`delete`], [`measure`], [`error`], [`hashing`] and [`threads`] are the store's as much as this crate's, and are here because it is the lower
//! one; likewise [`Space`], [`copy_attributes`], [`is_allowed_attribute`], [`parent_and_name`] and [`open_directory`].

mod archive;
mod blocks;
mod confined;
mod decompress;
pub mod delete;
mod directory;
pub mod error;
#[cfg(test)]
mod fixture;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod hashing;
pub mod measure;
mod members;
mod settle;
mod space;
mod split;
mod stream;
pub mod threads;
mod unpack;

pub use confined::{Unpacker, serve_unpacker};
pub use decompress::{Compression, decoder, sniff};
pub use directory::open_directory;
pub use members::{Listed, list_members, open_archive};
pub use settle::settle;
pub use space::Space;
pub use split::Reassembled;
pub use stream::{Destination, Means, UnpackResult, UnpackedLayer, unpack_layer};
pub use unpack::{
    Budget, Charge, DanglingLink, UnpackError, Unpacked, copy_attributes, is_allowed_attribute,
    parent_and_name,
};
