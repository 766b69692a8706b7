//! The OCI distribution client: references, credentials, transfers.
//!
//! What comes in: a name as a person writes it ([`Reference`]), and how to speak to the registry
//! ([`ClientOptions`], [`SettingsFiles`]). What goes out: manifests, verified ([`Client::manifest`]), and blobs as streams of bytes
//! ([`Client::blob`]), which the image store hashes while it unpacks them. And the other way: blobs that are made while
//! they are sent ([`Client::push_blob`]), and manifests ([`Client::push_manifest`]).
//!
//! Everything that a registry sends is taken for hostile: bodies are bounded before they are read, silence and
//! trickling end in an error, names, digests and media types are checked before they reach a path or a URL, and text
//! that reaches a person is escaped. Credentials are bound to the registry they are stored for: they go to it and to
//! the token service it names, never to the target of a redirect, and never over plain HTTP unless the registry is on
//! this machine or was called insecure.
//!
//! The crate is async and needs a tokio runtime with input, output and time. Only a large blob starts tasks, which end
//! with its stream. It reads, beside the network, only credential files, settings of registries, certificates and the
//! variables that say where those and proxies are.

mod ask;
mod auth;
mod blob;
mod body;
mod challenge;
mod client;
mod credentials;
mod endpoint;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod helper;
mod home;
mod login;
mod manifest;
mod outgoing;
mod patience;
mod probe;
mod push;
mod reference;
mod refusal;
mod remote_file;
mod secret;
mod settings;
mod tags;
mod tls;
mod token;
mod transport;

pub use blob::BlobStream;
pub use bytes::Bytes;
pub use client::{Client, ClientOptions, Notes};
pub use credentials::{Keeper, Login, forget_login, keep_login, login_key};
pub use error::RegistryError;
pub use manifest::Manifest;
pub use outgoing::Piece;
pub use push::Upload;
pub use reference::{InvalidReference, Reference};
pub use remote_file::RemoteFile;
pub use secret::Secret;
pub use settings::SettingsFiles;
