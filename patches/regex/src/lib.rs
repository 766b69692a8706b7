//! What `oci-spec` uses of the crate `regex`, from `regex-lite`.
//!
//! It asks for one expression, the list of processors of `execCPUAffinity` (OCI runtime specification, config.md), and for that
//! `regex` brings tables of all of Unicode, ten thousand pointers in them. Where a program is placed at an address of the kernel's
//! choice, each of them is adjusted at its start, and each page of them copied: in every shim. `docs/decisions/0031-small-expressions.md`
//! has the figures. In `regex-lite` `\d` is an ASCII digit, which is what that list is made of.

pub use regex_lite::Regex;
