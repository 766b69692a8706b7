//! The files that the engine gives a container: `hosts`, `hostname`, `resolv.conf`, and process 1.
//!
//! They are mounted read-only, so that a container can't fill the run directory. What the networks add is written in
//! place after the attachment, before the container's program runs.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use loam_model::{EngineFile, ErrorKind, Failure, NetworkMode, Result};

use crate::directories::{failure, write_file};
use crate::engine::Core;
use crate::peers::{Peer, write_over};
use crate::record::{NetworkFacts, Record};
use crate::resolv::Resolver;

/// Where process 1 is mounted in containers that ask for one.
pub(crate) const INIT_TARGET: &str = "/dev/loam-init";

/// The names under which containers find the host, as other engines have them.
const HOST_NAMES: &str = "host.containers.internal host.docker.internal";

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTNAME: &str = "/etc/hostname";

/// The engine's files of one container.
pub(crate) struct EtcFiles {
    resolver: Resolver,
    hosts: bool,
    resolv_conf: bool,
}

impl EtcFiles {
    /// The engine's files of a container, as they are already or are to be.
    pub(crate) fn of(core: &Core, record: &Record) -> Self {
        let host_network = record.spec.network == NetworkMode::Host;
        Self {
            resolver: Resolver::of_host(&core.config.resolver_files, host_network),
            hosts: is_free(record, HOSTS),
            resolv_conf: is_free(record, RESOLV_CONF),
        }
    }

    /// Writes the files with what is known before the attachment, and says what to mount where. A target that the
    /// spec mounts something at is left to it.
    pub(crate) fn write(core: &Core, record: &Record, run: &Path) -> Result<(Self, Vec<EngineFile>)> {
        let is_free = |target: &str| is_free(record, target);
        let files = Self::of(core, record);
        files.fill(record, &NetworkFacts::default(), &[], run)?;
        let mut mounts = Vec::with_capacity(4);
        let mut mount = |name: &str, target: &str| {
            mounts.push(EngineFile { source: run.join(name), target: target.to_owned(), read_only: true });
        };
        if files.hosts {
            mount("hosts", HOSTS);
        }
        if files.resolv_conf {
            mount("resolv.conf", RESOLV_CONF);
        }
        if is_free(HOSTNAME) {
            write_file(&run.join("hostname"), 0o644, format!("{}\n", record.hostname()).as_bytes())?;
            mount("hostname", HOSTNAME);
        }
        if record.spec.init {
            write_init(core)?;
            let source = core.directories.init().to_owned();
            mounts.push(EngineFile { source, target: INIT_TARGET.to_owned(), read_only: true });
        }
        Ok((files, mounts))
    }

    /// Writes `hosts` and `resolv.conf` in place, before anything runs that reads them.
    pub(crate) fn fill(
        &self,
        record: &Record,
        network: &NetworkFacts,
        peers: &[Peer],
        run: &Path,
    ) -> Result<()> {
        self.each(record, network, peers, |name, text| write_file(&run.join(name), 0o644, text.as_bytes()))
    }

    /// Writes them over while the container runs.
    pub(crate) fn write_over(&self, record: &Record, peers: &[Peer], run: &Path) -> Result<()> {
        self.each(record, &record.network, peers, |name, text| write_over(&run.join(name), text.as_bytes()))
    }

    fn each(
        &self,
        record: &Record,
        network: &NetworkFacts,
        peers: &[Peer],
        write: impl Fn(&str, &str) -> Result<()>,
    ) -> Result<()> {
        if self.hosts {
            write("hosts", &hosts(record, network, peers))?;
        }
        if self.resolv_conf {
            write("resolv.conf", &self.resolver.text(network))?;
        }
        Ok(())
    }
}

/// Whether nothing of the spec is mounted at a target.
fn is_free(record: &Record, target: &str) -> bool {
    !record.spec.mounts.iter().any(|mount| mount.target == target)
}

/// The text of `/etc/hosts` (hosts(5)).
pub(crate) fn hosts(record: &Record, network: &NetworkFacts, peers: &[Peer]) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    let (host, name) = (record.hostname(), record.name.as_str());
    let own = if host == name { host.to_owned() } else { format!("{host} {name}") };
    let mut line = |address: &dyn std::fmt::Display, names: &str| {
        writeln!(text, "{address} {names}").expect("writing to a string does not fail");
    };
    for interface in &network.interfaces {
        let aliases = record.network_options(&interface.network).map(|options| options.aliases.join(" "));
        let names = format!("{own} {}", aliases.unwrap_or_default());
        interface.addresses.iter().for_each(|address| line(&address.addr(), names.trim_end()));
    }
    if network.interfaces.iter().all(|interface| interface.addresses.is_empty()) {
        line(&"127.0.1.1", &own);
    }
    for gateway in network.interfaces.first().iter().flat_map(|interface| &interface.gateways) {
        line(gateway, HOST_NAMES);
    }
    for (address, names) in peers {
        line(address, names);
    }
    text
}

/// Puts process 1 into the run directory, unless it is there already.
fn write_init(core: &Core) -> Result<()> {
    let (path, bytes) = (core.directories.init(), core.config.init_program);
    let is_there = fs::metadata(path)
        .is_ok_and(|found| found.len() == bytes.len() as u64 && found.permissions().mode() & 0o777 == 0o755);
    if is_there {
        return Ok(());
    }
    let aside = path.with_extension(std::process::id().to_string());
    write_file(&aside, 0o755, bytes)?;
    fs::rename(&aside, path).map_err(|error| failure(path, "can't be put in place", error))
}

/// Refuses to make a process 1 that this build does not have.
pub(crate) fn check_init(core: &Core, wanted: bool) -> Result<()> {
    if wanted && core.config.init_program.is_empty() {
        return Err(Failure::new(ErrorKind::Unsupported, "this build has no init program"));
    }
    Ok(())
}
