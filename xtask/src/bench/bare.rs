//! An OCI runtime by itself, on a bundle of the small image: no image store, no state, no log.

use anyhow::Result;

use super::arena::Arena;
use super::peers::{Net, Peer, REGISTRY};

/// Where a runtime in its arena finds its bundle: the user of a container may not pass every directory above the arena's.
const BUNDLE: &str = "/run/bundle";

/// A runtime and its bundle.
pub(super) struct Bare {
    name: &'static str,
    runtime: &'static str,
    /// The program whose bundle it is; without one it is what `runc spec` writes: no user namespace, no filter of system calls, no
    /// files of the container's own in `/etc`.
    loam: Option<String>,
}

impl Bare {
    /// A runtime on a bundle that asks of it what Loam's runtime is asked for: Loam's own, on a root file system with its ids.
    pub(super) fn equal(runtime: &'static str, loam: &str) -> Self {
        Self { name: runtime, runtime, loam: Some(loam.to_owned()) }
    }

    /// A runtime on what `runc spec` writes.
    pub(super) fn plain(name: &'static str, runtime: &'static str) -> Self {
        Self { name, runtime, loam: None }
    }

    /// Writes the specification, `base.json`, and says to `umoci` whose the files are to be.
    fn specify(&self, arena: &mut Arena) -> Result<String> {
        let Some(loam) = &self.loam else {
            arena.sh(&format!(
                "cd {BUNDLE} && runc spec && jq 'del(.process.rlimits)' config.json > base.json"
            ))?;
            return Ok(String::new());
        };
        let loam = format!("{loam} --root {}/loam --run /run/loam", arena.state.display());
        let image = format!("{REGISTRY}/small");
        arena.sh(&format!(
            "set -e; {loam} pull --quiet {image}; id=$({loam} run -d --network none {image} sleep 1000000); \
             made=/run/loam/containers/$id; cp $made/config.json {BUNDLE}/base.json; \
             cp $made/hosts {BUNDLE}/0; cp $made/resolv.conf {BUNDLE}/1; cp $made/hostname {BUNDLE}/2; {loam} rm -f $id"
        ))?;
        let maps = arena.sh(&format!(
            "jq -r '.linux | \"--uid-map 0:\\(.uidMappings[0] | \"\\(.hostID):\\(.size)\") --gid-map 0:\\(.gidMappings[0] | \"\\(.hostID):\\(.size)\")\"' {BUNDLE}/base.json"
        ))?;
        Ok(maps.output.trim().to_owned())
    }
}

impl Peer for Bare {
    fn name(&self) -> &'static str {
        self.name
    }
    fn programs(&self) -> &'static [&'static str] {
        match (self.runtime, &self.loam) {
            ("crun", Some(_)) => &["crun", "umoci", "skopeo", "jq"],
            ("crun", None) => &["crun", "runc", "umoci", "skopeo", "jq"],
            _ => &["runc", "umoci", "skopeo", "jq"],
        }
    }
    fn is_engine(&self) -> bool {
        false
    }
    fn prepare(&self, arena: &mut Arena) -> Result<()> {
        let state = arena.state.display().to_string();
        arena.sh(&format!("mkdir {state}/bundle {BUNDLE} && mount --bind {state}/bundle {BUNDLE}"))?;
        let maps = self.specify(arena)?;
        let change = format!(
            ".process.terminal=false | .process.args=[\"true\"] | .root={{path:\"{BUNDLE}/tree/rootfs\",readonly:false}} | \
             .linux.cgroupsPath=\"/bare\" | (.mounts[] | select(.type==\"bind\") | .source) |= \"{BUNDLE}/\"+(split(\"/\")|last)"
        );
        // umoci unpacks the image; namespaces, cgroup and program are as the engines have them.
        arena
            .sh(&format!(
                "set -e; cd {BUNDLE}; skopeo copy -q --src-tls-verify=false docker://{REGISTRY}/small:latest oci:oci:x; \
                 umoci unpack {maps} --image oci:x tree >/dev/null; chmod 755 . tree; jq '{change}' base.json > config.json; \
                 mkdir stay; jq '.process.args=[\"sleep\",\"1000000\"] | .linux.cgroupsPath=\"/stay\"' config.json > stay/config.json"
            ))
            .map(drop)
    }
    fn run(&self, _arena: &Arena, net: Net) -> Option<String> {
        (net == Net::None).then(|| format!("{} --root /run/rt run --bundle {BUNDLE} r$$", self.runtime))
    }
    fn stay(&self, _arena: &Arena, _net: Net) -> Option<(String, String)> {
        let runtime = self.runtime;
        Some((
            format!(
                "{runtime} --root /run/rt run -d --bundle {BUNDLE}/stay c{{}} </dev/null >/dev/null 2>&1"
            ),
            format!("{runtime} --root /run/rt delete -f c{{}}"),
        ))
    }
    fn exec(&self, _arena: &Arena) -> Option<String> {
        Some(format!("{} --root /run/rt exec c0 true", self.runtime))
    }
}
