//! The engines: how each is told to do the same thing.

mod containerd;
mod fetchers;
mod floor;
mod grootfs;
mod loam;
mod podman;

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::arena::Arena;
use super::bare::Bare;
use crate::shell::{have, output};
use containerd::Containerd;
use fetchers::{Buildah, Umoci};
use floor::{Floor, Pass};
use grootfs::Grootfs;
use loam::Loam;
use podman::Podman;

/// The registry in each arena.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";

/// A network for the container or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    None,
    Bridge,
}

/// What an engine is asked for. `None` is "it has no such thing". `{}` in a word becomes a number.
pub(crate) trait Peer {
    /// The name in the table.
    fn name(&self) -> &'static str;
    /// The programs that must be there, the first of which tells its version.
    fn programs(&self) -> &'static [&'static str];
    /// Version, one line.
    fn version(&self) -> String {
        let program = self.programs().first().copied().unwrap_or_default();
        let text = output(Command::new(program).arg("--version")).unwrap_or_default();
        text.lines().next().unwrap_or("unknown").to_owned()
    }
    /// Makes the engine ready and brings the small image in.
    fn prepare(&self, arena: &mut Arena) -> Result<()>;
    /// Runs `true` in a container of the small image and removes the container.
    fn run(&self, _arena: &Arena, _net: Net) -> Option<String> {
        None
    }
    /// Whether it keeps anything of its own beside a container, and so has starts and memory that can be compared.
    fn is_engine(&self) -> bool {
        true
    }
    /// Starts a container that stays, named by number, and one command to remove it.
    fn stay(&self, _arena: &Arena, _net: Net) -> Option<(String, String)> {
        None
    }
    /// Runs `true` in the container with number 0 that [`Peer::stay`] started.
    fn exec(&self, _arena: &Arena) -> Option<String> {
        None
    }
    /// The small image's name.
    fn small(&self) -> String {
        format!("{REGISTRY}/small")
    }
    /// Makes a container of an image, without a network, and takes it back.
    fn create(&self, _arena: &Arena, _image: &str) -> Option<(String, String)> {
        None
    }
    /// Brings the image of a layout in the state directory in, under the layout's name.
    fn load(&self, _arena: &Arena, _layout: &str) -> Option<String> {
        None
    }
    /// Makes an image, named by number, of the tar on standard input.
    fn import(&self, _arena: &Arena) -> Option<String> {
        None
    }
    /// Removes all images that no container needs.
    fn prune(&self, _arena: &Arena) -> Option<String> {
        None
    }
    /// Fetches an image from the registry; and a command line that makes the store forget it.
    fn pull(&self, _arena: &Arena, _image: &str) -> Option<(String, String)> {
        None
    }
}

/// All peers that are on the machine, and the names of those that are not.
pub(crate) fn present(wanted: &[String], programs: &Path) -> (Vec<Box<dyn Peer>>, Vec<&'static str>) {
    let program = programs.join("loam").display().to_string();
    let loam = Loam { program: program.clone() };
    let bare = programs.join("loam-floor").display().to_string();
    let all: Vec<Box<dyn Peer>> = vec![
        Box::new(loam),
        Box::new(Floor { program: bare.clone() }),
        Box::new(Pass::inflate(&bare)),
        Box::new(Pass::hash(&bare)),
        Box::new(Podman),
        Box::new(Grootfs::of_loam(&program)),
        Box::new(Grootfs::original()),
        Box::new(Containerd),
        Box::new(Bare::equal("crun", &program)),
        Box::new(Bare::equal("runc", &program)),
        Box::new(Bare::plain("crun-plain", "crun")),
        Box::new(Bare::plain("runc-plain", "runc")),
        Box::new(Umoci),
        Box::new(Buildah),
    ];
    let asked = |peer: &dyn Peer| wanted.is_empty() || wanted.iter().any(|name| name == peer.name());
    let (there, missing): (Vec<_>, Vec<_>) =
        all.into_iter().filter(|peer| asked(peer.as_ref())).partition(|peer| {
            peer.programs().iter().all(|program| have(program) || Path::new(program).is_file())
        });
    (there, missing.iter().map(|peer| peer.name()).collect())
}

/// Peers of the Podman family, skopeo among them, want their configuration in `/etc/containers`.
pub(crate) fn configure(arena: &Arena) -> Result<()> {
    // Root without CAP_SYS_RESOURCE may not raise limits, and Podman's own defaults do.
    let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=4096:4096\"]\n";
    std::fs::write(arena.state.join("containers/containers.conf"), limits)?;
    let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
    Ok(std::fs::write(arena.state.join("containers/policy.json"), policy)?)
}
