//! Freestanding static programs, carried as bytes: `hello`, which the built-in image is made of, and `loam-init`,
//! process 1 of a container that asks for one.
//!
//! ```text
//! programs/ground/   what both stand on: the entry point, system calls, memory routines, text; no C library
//! programs/hello/    `hello`: prints what a container sees, or serves it over HTTP
//! programs/init/     `loam-init`: starts a program, passes signals on, reaps
//! build.rs           compiles both for the target with the toolchain at hand, and makes the image layout
//! ```
//!
//! What comes in: nothing. What goes out: constants. The programs have no dependencies, need no further target of the
//! toolchain, and are, beside `loam-sys`, the one place where unsafe code is allowed (in `programs/ground`).

/// `loam-init`, a static ELF program: `loam-init -- PROGRAM ARGUMENTS…`.
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/loam-init"));

/// `hello`, a static ELF program.
pub const HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

/// The built-in image: an OCI image layout (image specification 1.1, image-layout.md) as a tar, with one image whose
/// reference name is `latest`.
pub const HELLO_LAYOUT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello.tar"));

// The parts of the programs that are pure functions are tested here, by the ordinary test harness.
#[cfg(test)]
#[path = "../programs/ground/text.rs"]
#[expect(dead_code, unreachable_pub, reason = "a part of the programs, here only to be tested")]
mod text;

#[cfg(test)]
#[path = "../programs/hello/netlink.rs"]
#[expect(dead_code, unreachable_pub, reason = "a part of the programs, here only to be tested")]
mod netlink;

#[cfg(test)]
#[path = "../programs/hello/proc_text.rs"]
#[expect(dead_code, unreachable_pub, reason = "a part of the programs, here only to be tested")]
mod proc_text;

// Never compiled here: `cargo fmt` finds the programs' files through these lines.
#[cfg(any())]
#[path = "../programs/hello/main.rs"]
mod hello;
#[cfg(any())]
#[path = "../programs/init/main.rs"]
mod init;
