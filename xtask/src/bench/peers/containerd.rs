//! containerd, by `ctr`.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Arena, Net, Peer, REGISTRY};
use crate::shell::output;

/// containerd.
pub(super) struct Containerd;

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

const CNI: &str = r#"{"cniVersion":"0.4.0","name":"bench","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"10.85.0.0/16"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
"#;
