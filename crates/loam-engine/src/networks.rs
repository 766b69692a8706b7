//! Networks and who is on them.

use std::path::PathBuf;

use ipnet::IpNet;
use loam_model::{
    Collected, ContainerId, ContainerName, DetachRequest, ErrorKind, Failure, NetworkDescription,
    NetworkListing, NetworkMode, NetworkName, NetworkSource, Result,
};
use serde::Serialize;

use crate::record::Record;
use crate::{ContainerState, Engine, store};

/// A network with the containers on it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NetworkDetail {
    /// What its configuration says.
    #[serde(flatten)]
    pub network: NetworkDescription,
    /// The containers that are on it now.
    pub containers: Vec<NetworkMember>,
}

/// A container on a network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NetworkMember {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Its interface.
    pub interface: String,
    /// The hardware address, if known.
    pub mac: Option<String>,
    /// The addresses.
    pub addresses: Vec<IpNet>,
}

/// What a check of a network found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkFinding {
    /// The container whose attachment is not as it was made; absent for the network itself.
    pub container: Option<ContainerName>,
    /// What is wrong.
    pub problem: String,
}

impl Engine {
    /// All networks.
    pub fn networks(&self) -> Result<NetworkListing> {
        self.core.seams.network.networks()
    }

    /// A network with who is on it.
    pub fn inspect_network(&self, name: &NetworkName) -> Result<NetworkDetail> {
        let network = self.core.seams.network.network(name)?;
        let rows = self.current_rows()?;
        let containers =
            rows.iter().filter(|record| record.state.is_live()).flat_map(|record| members(record, name));
        Ok(NetworkDetail { network, containers: containers.collect() })
    }

    /// Makes a network.
    pub fn create_network(&self, source: &NetworkSource) -> Result<NetworkDescription> {
        self.core.seams.network.create_network(source)
    }

    /// Removes a network that no container runs on. Containers that don't run and would be on it at their next start
    /// keep it, unless `force` says that they may be left without.
    pub fn remove_network(&self, name: &NetworkName, force: bool) -> Result<()> {
        self.core.seams.network.network(name)?;
        // What dead commands left does not count.
        self.remove_orphans()?;
        let rows = self.current_rows()?;
        let users: Vec<&Record> = rows.iter().filter(|record| record.wants(name)).collect();
        let running = users.iter().find(|record| !is_idle(record));
        if let Some(record) = running {
            let message = format!("network `{name}` is in use by container `{}`", record.name);
            return Err(Failure::new(ErrorKind::Conflict, message)
                .hint("stop it, or take it off with `loam network disconnect`"));
        }
        match users.first().filter(|_| !force) {
            Some(record) => {
                let message =
                    format!("container `{}` would be on network `{name}` when it is started", record.name);
                Err(Failure::new(ErrorKind::Conflict, message).hint("remove it first, or say `--force`"))
            }
            None => self.core.seams.network.remove_network(name),
        }
    }

    /// Removes all networks that no container is meant to be on, but for the default one; gives their names.
    pub fn prune_networks(&self) -> Result<Vec<NetworkName>> {
        let listing = self.networks()?;
        let (mut removed, mut failures) = (Vec::new(), Vec::new());
        for network in listing.networks.into_iter().filter(|network| !network.name.is_default()) {
            match self.remove_network(&network.name, false) {
                Ok(()) => removed.push(network.name),
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                Err(error) => failures.push(error),
            }
        }
        Failure::join(failures).map_or(Ok(removed), Err)
    }

    /// Asks a network's plugins whether it can be used, and whether the attachments of running containers to it are as
    /// they were made; gives what is wrong.
    pub fn check_network(&self, name: &NetworkName) -> Result<Vec<NetworkFinding>> {
        self.core.seams.network.network(name)?;
        let mut findings = Vec::new();
        let mut note = |container: Option<ContainerName>, result: Result<()>| {
            findings.extend(result.err().map(|error| NetworkFinding { container, problem: error.chain() }));
        };
        note(None, self.core.seams.network.status(name));
        for record in self.current_rows()? {
            if !record.state.is_live() || members(&record, name).next().is_none() {
                continue;
            }
            let request = DetachRequest { container: &record.id, namespace: record.namespace() };
            note(Some(record.name.clone()), self.core.seams.network.check(&request));
        }
        Ok(findings)
    }

    /// Removes what belongs to no container any more, on this network or on all.
    pub fn collect_networks(&self, name: Option<&NetworkName>) -> Result<Collected> {
        self.current_rows()?;
        self.remove_orphans()?;
        self.core.seams.network.collect(name)
    }

    /// Puts the firewall's rules back.
    pub fn reload_networks(&self) -> Result<()> {
        self.core.seams.network.reload()
    }

    /// Puts them back whenever somebody takes them away, and tells each time; ends only with a failure.
    pub fn watch_networks(&self, restored: &mut dyn FnMut()) -> Result<()> {
        self.core.seams.network.watch(restored)
    }

    /// All rows, brought up to date.
    fn current_rows(&self) -> Result<Vec<Record>> {
        let rows = store::all(&self.core.database)?;
        Ok(rows.into_iter().filter_map(|record| self.current(record)).collect())
    }
}

fn is_idle(record: &Record) -> bool {
    matches!(record.state, ContainerState::Created | ContainerState::Stopped)
}

fn members<'a>(record: &'a Record, name: &'a NetworkName) -> impl Iterator<Item = NetworkMember> + 'a {
    let interfaces = record.network.interfaces.iter().filter(move |interface| interface.network == *name);
    interfaces.map(|interface| NetworkMember {
        id: record.id.clone(),
        name: record.name.clone(),
        interface: interface.name.clone(),
        mac: interface.mac.clone(),
        addresses: interface.addresses.clone(),
    })
}

impl Record {
    /// Whether it is on a network, or will be at its next start.
    fn wants(&self, name: &NetworkName) -> bool {
        self.network_options(name).is_some() || self.network.interfaces.iter().any(|one| one.network == *name)
    }

    /// Its network namespace, while it runs.
    pub(crate) fn namespace(&self) -> Option<PathBuf> {
        let process = self.process.filter(crate::settle::surely_lives)?;
        matches!(self.spec.network, NetworkMode::Networks(_) | NetworkMode::None)
            .then(|| PathBuf::from(format!("/proc/{}/ns/net", process.pid)))
    }
}
