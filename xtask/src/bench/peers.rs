//! The engines: how each is told to do the same thing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::arena::Arena;
use super::bare::Bare;
use crate::shell::{have, output};

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
    let floor = Floor { program: programs.join("loam-floor").display().to_string() };
    let all: Vec<Box<dyn Peer>> = vec![
        Box::new(loam),
        Box::new(floor),
        Box::new(Podman),
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

struct Loam {
    program: String,
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

/// The kernel's own price, see `xtask/src/bin/loam-floor/main.rs`.
struct Floor {
    program: String,
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
}

struct Podman;

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

struct Containerd;

impl Containerd {
    fn command(arena: &Arena) -> String {
        format!("ctr --address {}/run/containerd.sock", arena.state.display())
    }
}

impl Peer for Containerd {
    fn name(&self) -> &'static str {
        "ctr"
    }
    fn programs(&self) -> &'static [&'static str] {
        &["ctr", "containerd", "containerd-shim-runc-v2", "runc"]
    }
    fn version(&self) -> String {
        output(Command::new("containerd").arg("--version")).unwrap_or_default().trim().to_owned()
    }
    fn prepare(&self, arena: &mut Arena) -> Result<()> {
        let state = arena.state.display().to_string();
        let config = format!(
            "version = 2\nroot = \"{state}/containerd\"\nstate = \"{state}/run/containerd\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.zfs\"]\n\
             [grpc]\naddress = \"{state}/run/containerd.sock\"\n"
        );
        std::fs::write(arena.state.join("containerd.toml"), config)?;
        std::fs::create_dir_all(arena.state.join("cni/net.d"))?;
        std::fs::write(arena.state.join("cni/net.d/10-bench.conflist"), CNI)?;
        let argv = ["containerd", "--config", &format!("{state}/containerd.toml"), "--log-level", "fatal"];
        arena.daemon(&argv.map(str::to_owned))?;
        let ctr = Self::command(arena);
        arena
            .sh(&format!("for i in $(seq 100); do {ctr} version >/dev/null 2>&1 && break; sleep 0.1; done; {ctr} images pull --plain-http {REGISTRY}/small:latest"))
            .context("containerd did not come up")
            .map(drop)
    }
    fn run(&self, arena: &Arena, net: Net) -> Option<String> {
        let network = if net == Net::None { "" } else { "--cni " };
        // `--cni` has no way to name a second attachment of the same id, so that every run has an id of its own.
        Some(format!("{} run --rm {network}{REGISTRY}/small:latest r$$ true", Self::command(arena)))
    }
    fn stay(&self, arena: &Arena, net: Net) -> Option<(String, String)> {
        let network = if net == Net::None { "" } else { "--cni " };
        let ctr = Self::command(arena);
        // What has no `--rm` never gives its address back.
        Some((
            format!("{ctr} run -d {network}{REGISTRY}/small:latest c{{}} sleep 1000000"),
            format!(
                "{ctr} task kill -s KILL c{{}}; {ctr} task delete -f c{{}} ; {ctr} container delete c{{}}; \
                 rm -f $(grep -ls default-c{{}} /var/lib/cni/networks/*/* /var/lib/cni/results/*)"
            ),
        ))
    }
    fn exec(&self, arena: &Arena) -> Option<String> {
        Some(format!("{} task exec --exec-id e$$ c0 true", Self::command(arena)))
    }
    fn pull(&self, arena: &Arena, image: &str) -> Option<(String, String)> {
        let ctr = Self::command(arena);
        let image = if image.contains(':') { image.to_owned() } else { format!("{image}:latest") };
        Some((
            format!("{ctr} images pull --plain-http {REGISTRY}/{image}"),
            format!("{ctr} images rm --sync {REGISTRY}/{image}; {ctr} content prune references"),
        ))
    }
}

struct Umoci;

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

struct Buildah;

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

/// Peers of the Podman family, skopeo among them, want their configuration in `/etc/containers`.
pub(crate) fn configure(arena: &Arena) -> Result<()> {
    // Root without CAP_SYS_RESOURCE may not raise limits, and Podman's own defaults do.
    let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=4096:4096\"]\n";
    std::fs::write(arena.state.join("containers/containers.conf"), limits)?;
    let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
    Ok(std::fs::write(arena.state.join("containers/policy.json"), policy)?)
}

const CNI: &str = r#"{"cniVersion":"0.4.0","name":"bench","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"10.85.0.0/16"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
"#;
