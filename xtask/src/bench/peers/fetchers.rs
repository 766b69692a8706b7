//! Those that fetch images and run nothing.

use anyhow::Result;

use super::{Arena, Peer, REGISTRY};

/// skopeo and umoci.
pub(super) struct Umoci;

impl Peer for Umoci {
    fn name(&self) -> &'static str {
        "skopeo+umoci"
    }
    fn programs(&self) -> &'static [&'static str] {
        &["umoci", "skopeo"]
    }
    fn prepare(&self, _arena: &mut Arena) -> Result<()> {
        Ok(())
    }
    fn pull(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        let state = arena.state.display();
        Some((
            format!(
                "skopeo copy -q --src-tls-verify=false docker://{REGISTRY}/{image} oci:{state}/oci:x && \
                 umoci unpack --image {state}/oci:x {state}/bundle"
            ),
            format!("rm -rf {state}/oci {state}/bundle"),
        ))
    }
}

/// Buildah.
pub(super) struct Buildah;

impl Peer for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }
    fn programs(&self) -> &'static [&'static str] {
        &["buildah"]
    }
    fn prepare(&self, _arena: &mut Arena) -> Result<()> {
        Ok(())
    }
    fn pull(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        let state = arena.state.display();
        let buildah = format!("buildah --root {state}/storage --runroot /run/storage");
        Some((
            format!("{buildah} pull -q --tls-verify=false {REGISTRY}/{image}"),
            format!("{buildah} rmi -f {REGISTRY}/{image}"),
        ))
    }
}
