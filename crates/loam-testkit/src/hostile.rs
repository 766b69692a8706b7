//! A registry that does what a test tells it: an HTTP server over bare sockets, so that it can break every rule.
//!
//! [`Server`] runs a function for each request and does what the [`Answer`] says, byte for byte. [`Image`] is a small
//! image in memory that answers honestly; [`Liar`] serves one and tells one [`Lie`], until told to be honest again. [`Cutter`] stands between a
//! client and a server, and breaks their connections; [`Proxy`] is a proxy.

mod answer;
mod cutter;
mod image;
mod liar;
mod listener;
mod proxy;
mod server;

pub use answer::Answer;
pub use cutter::Cutter;
pub use image::{Image, asked, digest};
pub use liar::{Liar, Lie};
pub use proxy::Proxy;
pub use server::{Request, Server};
