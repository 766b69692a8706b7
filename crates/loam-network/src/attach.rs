//! Attaching a container to all its networks, and undoing that.

use std::collections::BTreeSet;
use std::path::Path;

use loam_model::{
    AttachRequest, AttachedInterface, Attachment, ContainerId, DetachRequest, ErrorKind, Failure, Network,
    NetworkName, Result,
};
use serde_json::Map;

use crate::attachments::{AttachmentFile, Intent};
use crate::cache::{Key, Made};
use crate::chain::Call;
use crate::conflist::{self, NetworkList, kind};
use crate::failure::of_files;
use crate::lock::NetworkLock;
use crate::loopback::loopback_up;
use crate::network::{CniNetwork, unknown};
use crate::plan::{self, Found, Planned, Wishes};
use crate::reservation::OpenPorts;
use crate::{external, reservation, result};

impl CniNetwork {
    /// [`Network::attach`].
    pub(crate) fn attach_container(&self, request: &AttachRequest<'_>) -> Result<Attachment> {
        let found =
            request.networks.iter().map(|choice| self.list(&choice.name)).collect::<Result<Vec<_>>>()?;
        let owner = plan::default_route(request.networks)?;
        if let Some(owner) = found.get(owner) {
            plan::check_ports(&owner.list, request.ports)?;
        }
        // Whatever makes no sense is said before anything is made.
        let mut dry = self.plan(request, &found, owner, &[])?;
        let mut file = self.open(request.container, true)?.ok_or_else(|| unlocked(request.container))?;
        if !file.is_new().map_err(|error| of_files("reading the attachment failed", error))? {
            // Left by an attachment that was killed.
            self.undo(file, request.container, Some(&request.namespace))?;
            file = self.open(request.container, true)?.ok_or_else(|| unlocked(request.container))?;
        }
        // An external networker has the ports, and maybe a program that listens at them.
        let is_networker_s = found.get(owner).is_some_and(|owner| owner.list.networker.is_some());
        let reserved = match is_networker_s {
            true => Ok((request.ports.to_vec(), Vec::new(), OpenPorts::default())),
            false => self.open_ports(request.ports).and_then(|open| {
                let (ports, sockets) = reservation::reserve(request.ports, &self.host, &open)?;
                Ok((ports, sockets, open))
            }),
        };
        let prepared = reserved.and_then(|(ports, reservations, open)| {
            if !ports.is_empty() {
                dry = self.plan(request, &found, owner, &ports)?;
            }
            Ok((ports, reservations, open, self.choose_subnets(&mut dry)?))
        });
        let (ports, reservations, open, (subnets, claims)) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                file.remove().map_err(|error| of_files("forgetting the attachment failed", error))?;
                return Err(failure);
            }
        };
        let intents: Vec<Intent> = dry.iter().map(|planned| planned.intent.clone()).collect();
        file.write(&intents).map_err(|error| of_files("writing the attachment failed", error))?;
        drop((subnets, open));
        let mut attachment = Attachment { ports, reservations, ..Attachment::default() };
        let Err(failure) = self.attach_all(request, &dry, &mut attachment) else {
            // The one with the default route first.
            if let Some(before) = attachment.interfaces.get_mut(..=owner) {
                before.rotate_right(1);
            }
            return Ok(attachment);
        };
        let failure = reservation::name_owner(failure, &attachment.ports, &self.host);
        // The file is read again from its beginning, as a later process would.
        drop((file, claims));
        let detach =
            DetachRequest { container: request.container, namespace: Some(request.namespace.clone()) };
        if let Err(second) = self.detach(&detach) {
            tracing::warn!(container = request.container.short(), %second, "undoing the attachment failed");
        }
        Err(failure)
    }

    fn plan<'a>(
        &self,
        request: &AttachRequest<'a>,
        found: &[Found],
        owner: usize,
        ports: &[loam_model::PortMapping],
    ) -> Result<Vec<Planned<'a>>> {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let wishes = Wishes { ports, extras: request.extras };
        let all = request.networks.iter().zip(found).enumerate();
        // Names that are asked for go before names that are made up.
        let mut names = vec![String::new(); found.len()];
        for asked in [true, false] {
            for (index, (choice, _)) in all.clone() {
                if choice.options.interface.is_some() == asked {
                    names[index] = plan::interface(&choice.options, &mut taken)?;
                }
            }
        }
        all.zip(names)
            .map(|((index, (choice, found)), name)| {
                let found = Found { file: found.file.clone(), list: found.list.clone() };
                Planned::new(found, choice, name, index == owner, wishes)
            })
            .collect()
    }

    fn attach_all(
        &self,
        request: &AttachRequest<'_>,
        plan: &[Planned<'_>],
        attachment: &mut Attachment,
    ) -> Result<()> {
        let _locks = self.share(plan)?;
        let bring_up = plan.first().is_none_or(|planned| kind(&planned.list.plugins[0]) != "bridge");
        if bring_up {
            loopback_up(&request.namespace)?;
        }
        for planned in plan {
            let made = self.attach_one(planned, request.container, &request.namespace, attachment)?;
            attachment.interfaces.push(made);
        }
        Ok(())
    }

    /// Locks the networks of a plan, and makes sure that they are still there.
    pub(crate) fn share(&self, plan: &[Planned<'_>]) -> Result<Vec<NetworkLock>> {
        let names: BTreeSet<&NetworkName> = plan.iter().map(|planned| &planned.choice.name).collect();
        let locks = names.iter().map(|name| self.locks.shared(name.as_str())).collect::<Result<Vec<_>>>()?;
        match plan.iter().find(|planned| !planned.file.exists()) {
            Some(planned) => Err(unknown(&planned.choice.name)),
            None => Ok(locks),
        }
    }

    /// Runs one list, and keeps what comes of it.
    pub(crate) fn attach_one(
        &self,
        planned: &Planned<'_>,
        container: &ContainerId,
        namespace: &Path,
        attachment: &mut Attachment,
    ) -> Result<AttachedInterface> {
        let Planned { intent, list, choice, .. } = planned;
        let added = match &list.networker {
            Some(networker) => self.networker_up(networker, intent, (container, namespace), attachment)?,
            None => {
                let call = Call { namespace: Some(namespace), ..self.call(intent, list, container.as_str()) };
                call.add()?
            }
        };
        if list.networker.is_none() {
            let addresses: Vec<_> = added.ips.iter().map(|ip| ip.address.addr()).collect();
            self.claim(container, &addresses)?;
        }
        let value = added
            .to_value(list.version)
            .map_err(|error| of_files("the network's result can't be kept", error))?;
        let key =
            Key { network: &intent.network, container: container.as_str(), interface: &intent.interface };
        let made = Made {
            namespace,
            config: &intent.config,
            capability_args: &intent.capability_args,
            arguments: &intent.arguments,
        };
        self.cache
            .keep(key, made, value)
            .map_err(|error| of_files("keeping the network's result failed", error))?;
        if list.networker.is_some() {
            return Ok(external::attached(&choice.name, intent, &added, attachment));
        }
        result::add_name_service(&added, attachment);
        Ok(result::interface(&choice.name, &intent.interface, list, &added))
    }

    /// Removes an attachment that the file knows, the last interface first, and then the file.
    pub(crate) fn undo(
        &self,
        mut file: AttachmentFile,
        id: &ContainerId,
        namespace: Option<&Path>,
    ) -> Result<()> {
        let stored = file.read().map_err(|error| of_files("reading the attachment failed", error))?;
        let intents = match stored {
            Some(intents) => intents,
            None => self.guess()?,
        };
        // Whatever is wrong with the rules, the rest must go.
        if let Err(failure) = self.close(id) {
            tracing::warn!(container = id.short(), %failure, "closing the container off failed");
        }
        let failures: Vec<Failure> =
            intents.iter().rev().filter_map(|intent| self.undo_one(intent, id, namespace).err()).collect();
        if let Some(failure) = Failure::join(failures) {
            return Err(failure);
        }
        self.lift(id)?;
        file.remove().map_err(|error| of_files("forgetting the attachment failed", error))
    }

    /// Removes one interface of an attachment, with the configuration that it was made with.
    pub(crate) fn undo_one(&self, intent: &Intent, id: &ContainerId, namespace: Option<&Path>) -> Result<()> {
        let _lock = self.locks.shared(&intent.network)?;
        self.del(intent, id.as_str(), namespace)
    }

    /// DEL of one interface, for those who have the network's lock.
    pub(crate) fn del(&self, intent: &Intent, container: &str, namespace: Option<&Path>) -> Result<()> {
        let key = Key { network: &intent.network, container, interface: &intent.interface };
        let (mut intent, mut result) = (intent.clone(), None);
        if let Some(cached) = self.cache.read(key) {
            if let Some(config) = cached.config {
                intent.config = config;
                (intent.capability_args, intent.arguments) = (cached.capability_args, cached.arguments);
            }
            result = Some(cached.result);
        }
        let list = NetworkList::parse(intent.config.clone())
            .map_err(|error| of_files("the attachment's own configuration can't be read", error))?;
        match &list.networker {
            Some(networker) => self.networker_down(networker, &intent, container)?,
            None => Call { namespace, ..self.call(&intent, &list, container) }.del(result.as_ref())?,
        }
        self.leave_subnet(container, &intent, &list)?;
        self.cache.forget(key).map_err(|error| of_files("forgetting the result failed", error))
    }

    /// What an attachment could consist of whose file is not whole: any network's first interface. External networkers have
    /// not been called: what they are called with is written first.
    fn guess(&self) -> Result<Vec<Intent>> {
        let lists = conflist::all(&self.config.conf_dir)
            .map_err(|error| of_files("reading the networks failed", error))?;
        let lists = lists.into_iter().filter(|list| list.networker.is_none());
        let intents = lists.map(|list| Intent {
            network: list.name,
            interface: "eth0".into(),
            config: list.text,
            capability_args: Map::new(),
            arguments: Vec::new(),
        });
        Ok(intents.collect())
    }
}

pub(crate) fn unlocked(id: &ContainerId) -> Failure {
    Failure::new(ErrorKind::Internal, format!("the attachment of container `{}` can't be opened", id.short()))
}
