//! The network under test, with files of its own, and what tests say of it.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use loam_model::{
    AttachExtras, AttachRequest, Attachment, ContainerId, DetachRequest, Failure, Network, NetworkChoice,
    PortMapping, Protocol,
};
use loam_network::{CniNetwork, NetworkConfig};
use loam_testkit::lab::{Sandbox, eventually, succeed};

pub(crate) struct Engine {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) network: CniNetwork,
}

impl Engine {
    pub(crate) fn new() -> Self {
        // In memory: on a file system of the host, files that others delete meanwhile would be measured.
        let directory = tempfile::tempdir_in("/run").expect("a temporary directory");
        let network = CniNetwork::new(Self::config(directory.path()));
        Self { directory, network }
    }

    pub(crate) fn config(directory: &Path) -> NetworkConfig {
        let mut config = NetworkConfig::below(&directory.join("root"), &directory.join("run"));
        config.plugin_dirs.insert(0, directory.join("plugins"));
        // Long for a script on a busy machine, and short for a test that waits for it.
        config.time_limit = Duration::from_secs(3);
        config.patience = Duration::from_secs(10);
        config
    }

    pub(crate) fn attach(
        &self,
        id: &ContainerId,
        sandbox: &Sandbox,
        ports: &[PortMapping],
    ) -> Result<Attachment, Failure> {
        self.attach_to(&["loam"], id, sandbox, ports)
    }

    pub(crate) fn attach_to(
        &self,
        networks: &[&str],
        id: &ContainerId,
        sandbox: &Sandbox,
        ports: &[PortMapping],
    ) -> Result<Attachment, Failure> {
        let choices: Vec<NetworkChoice> = networks.iter().map(|name| name.parse().expect("valid")).collect();
        self.attach_as(&choices, id, sandbox, ports)
    }

    pub(crate) fn attach_as(
        &self,
        networks: &[NetworkChoice],
        id: &ContainerId,
        sandbox: &Sandbox,
        ports: &[PortMapping],
    ) -> Result<Attachment, Failure> {
        self.network.attach(&AttachRequest {
            container: id,
            name: "test",
            namespace: sandbox.path(),
            networks,
            ports,
            extras: AttachExtras::default(),
        })
    }

    /// Writes a file into the directory of networks.
    pub(crate) fn configure(&self, file: &str, text: &str) {
        let path = self.directory.path().join("root/networks").join(file);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
        std::fs::write(path, text).expect("writable");
    }

    /// Makes a plugin of a shell script, which finds a directory for itself in `$HERE`.
    pub(crate) fn plugin(&self, name: &str, script: &str) {
        let plugins = self.directory.path().join("plugins");
        std::fs::create_dir_all(&plugins).expect("writable");
        let path = plugins.join(name);
        let text = format!("#!/bin/sh\nHERE={}\n{script}\n", self.directory.path().display());
        std::fs::write(&path, text).expect("writable");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    }

    /// What a plugin wrote into its directory.
    pub(crate) fn said(&self, file: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(file)).unwrap_or_default()
    }

    /// The names in a directory of its own.
    pub(crate) fn files(&self, directory: &str) -> Vec<String> {
        names(&self.directory.path().join(directory))
    }

    pub(crate) fn detach(&self, id: &ContainerId, sandbox: Option<&Sandbox>) {
        let namespace = sandbox.map(Sandbox::path);
        self.network.detach(&DetachRequest { container: id, namespace }).expect("detachable");
    }

    /// Fails when anything of any container is left in files or in the kernel.
    pub(crate) fn assert_nothing_left(&self, when: &str) {
        assert_eq!(self.network.attached().expect("readable"), [], "{when}");
        let root = self.directory.path();
        for directory in [
            "root/network/attachments",
            "root/network/results",
            "run/cni/ports",
            "run/cni/admissions",
            "run/cni/egress",
        ] {
            assert_eq!(names(&root.join(directory)), Vec::<String>::new(), "{when}: {directory}");
        }
        for network in names(&root.join("root/network/addresses")) {
            let directory = root.join("root/network/addresses").join(network);
            let addresses = names(&directory);
            let addresses: Vec<_> = addresses.iter().filter(|name| name.parse::<IpAddr>().is_ok()).collect();
            assert!(addresses.is_empty(), "{when}: {addresses:?}");
            assert_eq!(names(&directory.join(".owners")), Vec::<String>::new(), "{when}");
        }
        let rules = succeed(&["nft", "list", "ruleset"]);
        assert!(!rules.contains("comment"), "{when}: {rules}");
        eventually(&format!("{when}: no veth is left"), || {
            !succeed(&["ip", "-o", "link"]).contains("master loam")
        });
    }
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect()
}

pub(crate) fn id(number: u8) -> ContainerId {
    ContainerId::from_random([number; 32])
}

pub(crate) fn port(host: u16, container: u16, protocol: Protocol) -> PortMapping {
    PortMapping { host_address: None, host_port: host, container_port: container, protocol }
}

pub(crate) fn addresses(attachment: &Attachment) -> (IpAddr, IpAddr) {
    let interface = &attachment.interfaces[0];
    assert_eq!(interface.addresses.len(), 2, "{interface:?}");
    (interface.addresses[0].addr(), interface.addresses[1].addr())
}

pub(crate) fn at(address: &str) -> SocketAddr {
    address.parse().expect("a socket address")
}
