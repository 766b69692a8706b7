//! The floor.

use std::process::Command;

use anyhow::Result;

use super::{Arena, Net, Peer, REGISTRY};
use crate::fixtures;
use crate::shell::output;

/// What the machine takes at least, see `xtask/floor`.
pub(super) struct Floor {
    /// The program.
    pub(super) program: String,
}

impl Peer for Floor {
    fn name(&self) -> &'static str {
        "floor"
    }
    fn programs(&self) -> &'static [&'static str] {
        &[]
    }
    fn version(&self) -> String {
        output(Command::new("uname").arg("-sr")).unwrap_or_default().trim().to_owned()
    }
    fn prepare(&self, arena: &mut Arena) -> Result<()> {
        let state = arena.state.display();
        arena.sh(&format!(
            "mkdir -p {state}/layer && skopeo copy -q --src-tls-verify=false docker://{REGISTRY}/small:latest oci:{state}/oci:x && \
             umoci unpack --image {state}/oci:x {state}/bundle >/dev/null"
        ))?;
        Ok(())
    }
    fn run(&self, arena: &Arena, net: Net) -> Option<String> {
        let network = if net == Net::None { "none" } else { "bridge" };
        let state = arena.state.display();
        Some(format!("{} {network} {state}/bundle/rootfs {state}/layer /bin/true", self.program))
    }
    fn pull(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        Some(pass(&self.program, "files", arena, image))
    }
}

/// A part of what the floor does of a pull. A kind of its own, so that it has a row of its own.
pub(super) struct Pass {
    name: &'static str,
    step: &'static str,
    program: String,
}

impl Pass {
    /// Reading and inflating the layers.
    pub(super) fn inflate(program: &str) -> Self {
        Self { name: "floor-inflate", step: "inflate", program: program.to_owned() }
    }

    /// The same, and taking the digests.
    pub(super) fn hash(program: &str) -> Self {
        Self { name: "floor-hash", step: "hash", program: program.to_owned() }
    }
}

impl Peer for Pass {
    fn name(&self) -> &'static str {
        self.name
    }
    fn programs(&self) -> &'static [&'static str] {
        &[]
    }
    fn version(&self) -> String {
        format!("the floor up to `{}`", self.step)
    }
    fn prepare(&self, _arena: &mut Arena) -> Result<()> {
        Ok(())
    }
    fn pull(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        Some(pass(&self.program, self.step, arena, image))
    }
}

/// One pass over an image's layers up to a step, from the layout that the registry's image was copied from.
fn pass(program: &str, step: &str, arena: &Arena, image: &str) -> (String, String) {
    let (name, tag) = image.split_once(':').unwrap_or((image, "latest"));
    let (layout, target) = (fixtures::directory().join(name), arena.state.join("pulled"));
    let target = target.display();
    (format!("{program} pull {step} {} {tag} {target}", layout.display()), format!("rm -rf {target}"))
}
