//! Loam.

use std::process::Command;

use anyhow::Result;

use super::{Arena, Net, Peer, REGISTRY};
use crate::shell::output;

/// This project's own.
pub(super) struct Loam {
    /// The program.
    pub(super) program: String,
}

impl Loam {
    fn command(&self, arena: &Arena) -> String {
        let state = arena.state.display();
        format!("{} --root {state}/root --run {state}/run/loam", self.program)
    }
}

impl Peer for Loam {
    fn name(&self) -> &'static str {
        "loam"
    }
    fn programs(&self) -> &'static [&'static str] {
        &[]
    }
    fn version(&self) -> String {
        output(Command::new(&self.program).arg("--version")).unwrap_or_default().trim().to_owned()
    }
    fn prepare(&self, arena: &mut Arena) -> Result<()> {
        let loam = self.command(arena);
        arena.sh(&format!("{loam} pull --quiet {REGISTRY}/small")).map(drop)
    }
    fn run(&self, arena: &Arena, net: Net) -> Option<String> {
        let network = if net == Net::None { "--network none " } else { "" };
        Some(format!("{} run --rm {network}{REGISTRY}/small true", self.command(arena)))
    }
    fn stay(&self, arena: &Arena, net: Net) -> Option<(String, String)> {
        let network = if net == Net::None { "--network none " } else { "" };
        let loam = self.command(arena);
        Some((
            format!("{loam} run -d --name c{{}} {network}{REGISTRY}/small sleep 1000000"),
            format!("{loam} rm -f c{{}}"),
        ))
    }
    fn exec(&self, arena: &Arena) -> Option<String> {
        Some(format!("{} exec c0 true", self.command(arena)))
    }
    fn pull(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        let loam = self.command(arena);
        Some((format!("{loam} pull --quiet {REGISTRY}/{image}"), format!("{loam} rmi -f {REGISTRY}/{image}")))
    }
    fn create(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        let loam = self.command(arena);
        Some((
            format!("{loam} create --network none --name made {image} true"),
            format!("{loam} rm -f made >/dev/null"),
        ))
    }
    fn load(&self, arena: &Arena, layout: &str) -> Option<String> {
        let (loam, state) = (self.command(arena), arena.state.display());
        Some(format!("id=$({loam} pull --quiet oci:{state}/{layout}:{layout}) && {loam} tag $id {layout}"))
    }
    fn import(&self, arena: &Arena) -> Option<String> {
        Some(format!("{} import - image{{}}", self.command(arena)))
    }
    fn prune(&self, arena: &Arena) -> Option<String> {
        Some(format!("{} image prune --all", self.command(arena)))
    }
}
