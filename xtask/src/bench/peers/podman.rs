//! Podman, with crun.

use std::process::Command;

use anyhow::Result;

use super::{Arena, Net, Peer, REGISTRY};
use crate::shell::output;

/// Podman.
pub(super) struct Podman;

impl Podman {
    fn command(arena: &Arena) -> String {
        let state = arena.state.display();
        format!(
            "podman --root {state}/storage --runroot /run/storage --cgroup-manager cgroupfs --events-backend file --runtime crun"
        )
    }
}

impl Peer for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }
    fn programs(&self) -> &'static [&'static str] {
        &["podman", "crun", "conmon"]
    }
    fn version(&self) -> String {
        let podman = output(Command::new("podman").arg("--version")).unwrap_or_default();
        let crun = output(Command::new("crun").arg("--version")).unwrap_or_default();
        format!("{}, {}", podman.trim(), crun.lines().next().unwrap_or_default())
    }
    fn prepare(&self, arena: &mut Arena) -> Result<()> {
        let podman = Self::command(arena);
        arena.sh(&format!("{podman} pull -q --tls-verify=false {REGISTRY}/small")).map(drop)
    }
    fn run(&self, arena: &Arena, net: Net) -> Option<String> {
        let network = if net == Net::None { "--network none " } else { "" };
        Some(format!("{} run --rm {network}{REGISTRY}/small true", Self::command(arena)))
    }
    fn stay(&self, arena: &Arena, net: Net) -> Option<(String, String)> {
        let network = if net == Net::None { "--network none " } else { "" };
        let podman = Self::command(arena);
        Some((
            format!("{podman} run -d --name c{{}} {network}{REGISTRY}/small sleep 1000000"),
            format!("{podman} rm -f -t 0 c{{}}"),
        ))
    }
    fn exec(&self, arena: &Arena) -> Option<String> {
        Some(format!("{} exec c0 true", Self::command(arena)))
    }
    fn pull(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        let podman = Self::command(arena);
        Some((
            format!("{podman} pull -q --tls-verify=false {REGISTRY}/{image}"),
            format!("{podman} rmi -f {REGISTRY}/{image}"),
        ))
    }
    fn create(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        let podman = Self::command(arena);
        Some((
            format!("{podman} create --network none --name made {image} true"),
            format!("{podman} rm -f made >/dev/null"),
        ))
    }
    fn load(&self, arena: &Arena, layout: &str) -> Option<String> {
        let (podman, state) = (Self::command(arena), arena.state.display());
        Some(format!(
            "skopeo copy -q oci:{state}/{layout}:{layout} docker-archive:{state}/{layout}.tar:{layout}:latest && \
             {podman} load -q -i {state}/{layout}.tar && rm {state}/{layout}.tar"
        ))
    }
    fn import(&self, arena: &Arena) -> Option<String> {
        Some(format!("{} import -q - image{{}}", Self::command(arena)))
    }
    fn prune(&self, arena: &Arena) -> Option<String> {
        Some(format!("{} image prune --all --force", Self::command(arena)))
    }
}
