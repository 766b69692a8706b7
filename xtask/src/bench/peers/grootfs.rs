//! GrootFS, and Loam under its command line: both take the same words.

use std::process::Command;

use anyhow::Result;

use super::{Arena, Peer, REGISTRY};
use crate::fixtures;
use crate::shell::output;

/// Bytes of the file that a store is in.
const STORE: u64 = 8 << 30;

/// A program with GrootFS's command line.
pub(super) struct Grootfs {
    name: &'static str,
    programs: &'static [&'static str],
    /// The program, and what comes before the words.
    call: Vec<String>,
}

impl Grootfs {
    /// GrootFS itself. Its stores are XFS with project quotas.
    pub(super) fn original() -> Self {
        Self {
            name: "grootfs",
            programs: &["grootfs", "tardis", "mkfs.xfs", "newuidmap", "newgidmap"],
            call: vec!["grootfs".into()],
        }
    }

    /// Loam's door for those who call GrootFS.
    pub(super) fn of_loam(program: &str) -> Self {
        Self { name: "loam-grootfs", programs: &[], call: vec![program.into(), "grootfs".into()] }
    }

    fn command(&self, arena: &Arena) -> String {
        format!("{} --store {}/groot", self.call.join(" "), arena.state.display())
    }
}

impl Peer for Grootfs {
    fn name(&self) -> &'static str {
        self.name
    }
    fn programs(&self) -> &'static [&'static str] {
        self.programs
    }
    fn version(&self) -> String {
        let text = output(Command::new(&self.call[0]).args(&self.call[1..]).arg("--version"));
        text.unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
    }
    fn is_engine(&self) -> bool {
        false
    }
    /// The first `create` takes the small image in, which is not counted.
    fn prepare(&self, arena: &mut Arena) -> Result<()> {
        let line = format!("{} init-store --store-size-bytes {STORE}", self.command(arena));
        arena.sh(&line).map(drop)
    }
    fn small(&self) -> String {
        format!("oci://{}:latest", fixtures::directory().join("small").display())
    }
    fn create(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        let groot = self.command(arena);
        Some((format!("{groot} create {} made", located(arena, image)), format!("{groot} delete made")))
    }
    fn load(&self, arena: &Arena, layout: &str) -> Option<String> {
        let groot = self.command(arena);
        Some(format!("{groot} create {} loaded && {groot} delete loaded", located(arena, layout)))
    }
    /// It has no way to pull an image without making a container of it.
    fn pull(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        let groot = self.command(arena);
        Some((
            format!("{groot} create --insecure-registry {REGISTRY} docker://{REGISTRY}/{image} pulled"),
            format!("{groot} delete pulled; {groot} clean"),
        ))
    }
}

/// An image by its address, or a layout in the state directory by its name.
fn located(arena: &Arena, image: &str) -> String {
    if image.contains("://") {
        return image.to_owned();
    }
    format!("oci://{}/{image}:{image}", arena.state.display())
}
