//! Names of containers in each other's `/etc/hosts`.
//!
//! Containers on a network that somebody made find each other by name, short id and aliases; those on the default
//! network do not, as with other engines: there they are strangers to each other, and a start there need not look at
//! anybody else.
//!
//! Whoever changes who is there writes the files of all that are left anew, under `flock` on `RUN/names.lock`, from the
//! rows as they are then. So the last one to write has seen everybody. A command that dies in between leaves the files
//! to the next.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use loam_model::{NetworkMode, NetworkName, NetworkOptions, Result};
use rustix::fs::{FlockOperation, flock};

use crate::directories::failure;
use crate::engine::Core;
use crate::etc::hosts;
use crate::record::{NetworkFacts, Record};
use crate::store;

/// A name that others have.
pub(crate) type Peer = (IpAddr, String);

impl Record {
    /// How it was asked to be on a network.
    pub(crate) fn network_options(&self, network: &NetworkName) -> Option<&NetworkOptions> {
        let NetworkMode::Networks(choices) = &self.spec.network else { return None };
        choices.iter().find(|choice| choice.name == *network).map(|choice| &choice.options)
    }
}

impl NetworkFacts {
    /// The networks on which names are known, that it is on.
    pub(crate) fn named_networks(&self) -> impl Iterator<Item = &NetworkName> {
        self.interfaces.iter().map(|interface| &interface.network).filter(|network| !network.is_default())
    }

    fn shares(&self, networks: &[NetworkName]) -> bool {
        self.named_networks().any(|network| networks.contains(network))
    }
}

/// The names of those on the same networks as `facts` are of, but for the container itself.
fn peers(record: &Record, facts: &NetworkFacts, all: &[Record]) -> Vec<Peer> {
    let mine: Vec<NetworkName> = facts.named_networks().cloned().collect();
    let mut found = Vec::new();
    for other in all.iter().filter(|other| other.id != record.id && other.state.is_live()) {
        for interface in other.network.interfaces.iter().filter(|one| mine.contains(&one.network)) {
            let aliases = other.network_options(&interface.network).map(|options| options.aliases.join(" "));
            let names = format!("{} {} {}", other.name, other.id.short(), aliases.unwrap_or_default());
            found.extend(interface.addresses.iter().map(|net| (net.addr(), names.trim_end().to_owned())));
        }
    }
    // In the order of addresses: who was there first does not matter.
    found.sort();
    found
}

impl Core {
    /// The names that a container finds others by, when it is about to be on these networks.
    pub(crate) fn peers_of(&self, record: &Record, facts: &NetworkFacts) -> Result<Vec<Peer>> {
        if facts.named_networks().next().is_none() {
            return Ok(Vec::new());
        }
        Ok(peers(record, facts, &store::all(&self.database)?))
    }

    /// Writes the files of all running containers on these networks anew, after somebody came or went. What can't be
    /// written is told in the log: nobody's life depends on it.
    pub(crate) fn names_changed(&self, networks: &[NetworkName]) {
        let networks: Vec<NetworkName> =
            networks.iter().filter(|network| !network.is_default()).cloned().collect();
        if networks.is_empty() {
            return;
        }
        if let Err(error) = self.write_names(&networks) {
            tracing::warn!(error = %error.chain(), "names can't be brought up to date");
        }
    }

    fn write_names(&self, networks: &[NetworkName]) -> Result<()> {
        let path = self.directories.names_lock();
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(|error| failure(&path, "can't be opened", error))?;
        while let Err(errno) = flock(&lock, FlockOperation::LockExclusive) {
            if errno != rustix::io::Errno::INTR {
                return Err(failure(&path, "can't be locked", errno.into()));
            }
        }
        let all = store::all(&self.database)?;
        for record in all.iter().filter(|record| record.state.is_live() && record.network.shares(networks)) {
            let text = hosts(record, &record.network, &peers(record, &record.network, &all));
            let path = self.directories.run(&record.id).join("hosts");
            write_over(&path, text.as_bytes())?;
        }
        Ok(())
    }
}

/// Writes a file that is there over, in place because it is mounted. At no time it is shorter than what it had in
/// common before and after. One that is not there is somebody else's to make.
pub(crate) fn write_over(path: &Path, contents: &[u8]) -> Result<()> {
    replace_contents(path, contents).map_err(|error| failure(path, "can't be written", error))
}

fn replace_contents(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut before = Vec::new();
    file.read_to_end(&mut before)?;
    if before == contents {
        return Ok(());
    }
    file.rewind()?;
    file.write_all(contents)?;
    file.set_len(contents.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_over_in_place_and_not_made() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("hosts");
        write_over(&path, b"x").expect("nothing to do");
        assert!(!path.exists());
        std::fs::write(&path, "long before").expect("written");
        let open = std::fs::File::open(&path).expect("there");
        write_over(&path, b"short").expect("written");
        let mut seen = String::new();
        (&open).read_to_string(&mut seen).expect("readable");
        assert_eq!(seen, "short");
    }
}
