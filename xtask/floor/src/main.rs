//! The floor of the benchmark: what the machine takes at least, without anything that makes an engine of it. Nothing is
//! checked, written down or made safe: a container engine that came this low would be one that does not do its job.
//!
//! - `loam-floor none|bridge ROOTFS SCRATCH PROGRAM`: one container, see [`container`].
//! - `loam-floor pull inflate|hash|files LAYOUT TAG TARGET`: an image's layers, see [`pull`].

mod container;
mod network;
mod pull;

use std::path::Path;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["pull", step, layout, tag, target] => {
            pull::pull(step.parse()?, Path::new(layout), tag, Path::new(target))
        }
        [network @ ("none" | "bridge"), rootfs, scratch, program] => {
            container::run(network == "bridge", rootfs, scratch, program)
        }
        _ => bail!(
            "usage: loam-floor none|bridge ROOTFS SCRATCH PROGRAM, or pull inflate|hash|files LAYOUT TAG TARGET"
        ),
    }
}
