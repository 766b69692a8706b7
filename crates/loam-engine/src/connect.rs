//! Putting a container on one network more, or taking it off one.
//!
//! Of a container that does not run only the wish changes. Of one that runs the attachment is made first and written
//! into the row then; a command that dies in between leaves an attachment that goes with the container's end, and that
//! the same command, given again, replaces.

use loam_model::{
    AttachExtras, Attachment, ConnectRequest, DisconnectRequest, ErrorKind, Failure, NetworkChoice,
    NetworkMode, NetworkName, Result, shown,
};

use crate::etc::EtcFiles;
use crate::record::Record;
use crate::{ContainerState, Engine, store, validate};

impl Engine {
    /// Puts a container on one network more, now if it runs, and at every later start.
    pub fn connect_network(&self, container: &str, choice: &NetworkChoice) -> Result<()> {
        let core = &self.core;
        let (_lock, mut record) = self.lock_settled(container)?;
        let mut choices = match &record.spec.network {
            NetworkMode::Host => return Err(on_host(&record)),
            NetworkMode::None => Vec::new(),
            NetworkMode::Networks(choices) => choices.clone(),
        };
        if choices.iter().any(|other| other.name == choice.name) {
            let message = format!("container `{}` is on network `{}` already", record.name, choice.name);
            return Err(Failure::new(ErrorKind::AlreadyExists, message));
        }
        choices.push(choice.clone());
        validate::check_networks(&choices, core.seams.network.as_ref())?;
        record.spec.network = NetworkMode::Networks(choices);
        if !record.state.is_live() {
            return store::set_network(&core.database, &record);
        }
        let attachment = self.attach_more(&record, choice)?;
        record.network.interfaces.extend(attachment.interfaces);
        for server in attachment.name_servers {
            if !record.network.name_servers.contains(&server) {
                record.network.name_servers.push(server);
            }
        }
        for domain in attachment.search_domains {
            if !record.network.search_domains.contains(&domain) {
                record.network.search_domains.push(domain);
            }
        }
        record.network.properties.extend(attachment.properties);
        if let Err(error) = store::set_network(&core.database, &record) {
            self.detach_one(&record, &choice.name)?;
            return Err(error);
        }
        self.tell(&record, &choice.name)
    }

    /// Takes a container off a network, now if it runs, and at every later start.
    pub fn disconnect_network(&self, container: &str, network: &NetworkName) -> Result<()> {
        let core = &self.core;
        let (_lock, mut record) = self.lock_settled(container)?;
        let choices = match &record.spec.network {
            NetworkMode::Networks(choices) if choices.iter().any(|choice| choice.name == *network) => choices,
            _ => {
                let message = format!("container `{}` is not on network `{network}`", record.name);
                return Err(Failure::new(ErrorKind::NotFound, message));
            }
        };
        let left: Vec<NetworkChoice> =
            choices.iter().filter(|choice| choice.name != *network).cloned().collect();
        if !record.spec.ports.is_empty() && left.is_empty() {
            return Err(has_ports(&record, network));
        }
        if record.state.is_live() {
            // The first interface has them. Another network's could be given the ports, but not answer from outside: it
            // has no default route.
            let is_first = record.network.interfaces.first().is_some_and(|first| first.network == *network);
            if is_first && !record.network.ports.is_empty() {
                return Err(has_ports(&record, network)
                    .hint("stop the container first: at its next start another network has them"));
            }
            self.detach_one(&record, network)?;
            record.network.interfaces.retain(|interface| interface.network != *network);
        }
        record.spec.network = match left.is_empty() {
            true => NetworkMode::None,
            false => NetworkMode::Networks(left),
        };
        store::set_network(&core.database, &record)?;
        match record.state.is_live() {
            true => self.tell(&record, network),
            false => Ok(()),
        }
    }

    fn attach_more(&self, record: &Record, choice: &NetworkChoice) -> Result<Attachment> {
        let connect = || {
            self.core.seams.network.connect(&ConnectRequest {
                container: &record.id,
                name: record.name.as_str(),
                namespace: record.namespace().ok_or_else(|| not_running(record))?,
                network: choice,
                extras: AttachExtras {
                    capabilities: Some(&record.capabilities()),
                    ..AttachExtras::default()
                },
            })
        };
        match connect() {
            // The row does not know of it: whoever made it died before it wrote that down.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && !is_known(record, &choice.name) => {
                self.detach_one(record, &choice.name)?;
                connect()
            }
            result => result,
        }
    }

    fn detach_one(&self, record: &Record, network: &NetworkName) -> Result<()> {
        self.core.seams.network.disconnect(&DisconnectRequest {
            container: &record.id,
            namespace: record.namespace(),
            network,
        })
    }

    /// Brings the container's own files, and others' that know its name, up to date.
    fn tell(&self, record: &Record, network: &NetworkName) -> Result<()> {
        let core = &self.core;
        let run = core.directories.run(&record.id);
        let peers = core.peers_of(record, &record.network)?;
        EtcFiles::of(core, record).write_over(record, &peers, &run)?;
        core.names_changed(std::slice::from_ref(network));
        Ok(())
    }
}

fn is_known(record: &Record, network: &NetworkName) -> bool {
    record.network.interfaces.iter().any(|interface| interface.network == *network)
}

fn has_ports(record: &Record, network: &NetworkName) -> Failure {
    let message = format!("network `{network}` has the published ports of container `{}`", record.name);
    Failure::new(ErrorKind::Conflict, message)
}

fn on_host(record: &Record) -> Failure {
    let message = format!("container `{}` has the host's network, and no other", record.name);
    Failure::new(ErrorKind::Conflict, message)
}

fn not_running(record: &Record) -> Failure {
    let state = match record.state {
        ContainerState::Running => "about to end".to_owned(),
        state => shown(&state.to_string()),
    };
    Failure::new(ErrorKind::Conflict, format!("container `{}` is {state}", record.name))
}
