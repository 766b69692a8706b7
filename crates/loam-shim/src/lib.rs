//! The process that stays with a container: stdio, terminal, log, exit status, exec.
//!
//! What comes in: a [`loam_model::ShimLaunch`] and then requests over a Unix socket; what goes out: mounts and
//! processes (through a [`loam_model::Runtime`]), a log, an exit record, and answers. The engine uses
//! [`ShimSupervisor`], which speaks the protocol for it. The program `loam-shim` is [`serve`] with the runtimes wired
//! in; in another role, [`archive_out`] and [`archive_in`], it copies files out of and into a container's file system.

mod archive;
mod client;
mod log;
mod protocol;
mod relay;
mod rootfs;
mod serve;
mod socket;

pub use archive::{archive_in, archive_out};
pub use client::ShimSupervisor;
pub use serve::{Equipment, FinishProcess, serve};
