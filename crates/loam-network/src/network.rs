//! The seam: attaching and detaching containers.

use std::net::IpAddr;
use std::path::Path;

use loam_cni::namespace::Namespace;
use loam_cni::netlink::{Batch, RouteSocket};
use loam_cni::{CniResult, Host};
use loam_model::{
    AttachRequest, AttachedInterface, Attachment, ContainerId, DetachRequest, ErrorKind, Failure, Network,
    NetworkName, PortMapping, Result,
};
use serde_json::{Map, Value, json};

use crate::attachments::{AttachmentFile, Attachments, Intent};
use crate::cache::{Cache, Key};
use crate::chain::{Call, kind};
use crate::config::NetworkConfig;
use crate::conflist::{self, NetworkList};
use crate::default_network::{self, DEFAULT_NETWORK};
use crate::failure::of_files;
use crate::reservation;

/// The capability of plugins that publish ports.
pub(crate) const PORT_MAPPINGS: &str = "portMappings";

/// The network seam over CNI.
#[derive(Debug)]
pub struct CniNetwork {
    config: NetworkConfig,
    host: Host,
    attachments: Attachments,
    cache: Cache,
}

impl CniNetwork {
    /// Makes the adapter. Nothing is touched until it is used.
    pub fn new(config: NetworkConfig) -> Self {
        let host = config.host();
        let attachments = Attachments::new(&config.cache_dir);
        let cache = Cache::new(&config.cache_dir);
        Self { config, host, attachments, cache }
    }

    fn list(&self, name: &NetworkName) -> Result<NetworkList> {
        let invalid = |error| {
            Failure::new(ErrorKind::Invalid, format!("network `{name}` can't be used")).caused_by(error)
        };
        if let Some(list) = conflist::find(&self.config.conf_dir, name.as_str()).map_err(invalid)? {
            return Ok(list);
        }
        let unknown = || Failure::new(ErrorKind::NotFound, format!("network `{name}` does not exist"));
        if name.as_str() != DEFAULT_NETWORK {
            return Err(unknown());
        }
        default_network::ensure(&self.config.conf_dir, &self.config.data_dir)
            .map_err(|error| of_files("making the default network failed", error))?;
        conflist::find(&self.config.conf_dir, name.as_str()).map_err(invalid)?.ok_or_else(unknown)
    }

    pub(crate) fn call<'a>(
        &'a self,
        intent: &'a Intent,
        list: &'a NetworkList,
        id: &'a ContainerId,
    ) -> Call<'a> {
        Call {
            list,
            container: id.as_str(),
            namespace: None,
            interface: &intent.interface,
            capability_args: &intent.capability_args,
            plugin_dirs: &self.config.plugin_dirs,
            host: &self.host,
        }
    }

    /// Removes an attachment that the file knows, the last interface first, and then the file.
    fn undo(&self, mut file: AttachmentFile, id: &ContainerId, namespace: Option<&Path>) -> Result<()> {
        let stored = file.read().map_err(|error| of_files("reading the attachment failed", error))?;
        let intents = match stored {
            Some(intents) => intents,
            None => self.guess()?,
        };
        let failures: Vec<Failure> =
            intents.iter().rev().filter_map(|intent| self.undo_one(intent, id, namespace).err()).collect();
        if let Some(failure) = Failure::join(failures) {
            return Err(failure);
        }
        self.lift(id)?;
        file.remove().map_err(|error| of_files("forgetting the attachment failed", error))
    }

    fn undo_one(&self, intent: &Intent, id: &ContainerId, namespace: Option<&Path>) -> Result<()> {
        let key = Key { network: &intent.network, container: id.as_str(), interface: &intent.interface };
        let cached = self.cache.read(key);
        let (config, args, result) = match cached {
            Some(cached) => (cached.config, cached.capability_args, Some(cached.result)),
            None => (intent.config.clone(), intent.capability_args.clone(), None),
        };
        let list = NetworkList::parse(config)
            .map_err(|error| of_files("the attachment's own configuration can't be read", error))?;
        let intent = Intent { capability_args: args, ..intent.clone() };
        Call { namespace, ..self.call(&intent, &list, id) }.del(result.as_ref())?;
        self.cache.forget(key).map_err(|error| of_files("forgetting the result failed", error))
    }

    /// What an attachment could consist of whose file is not whole: any network's first interface.
    fn guess(&self) -> Result<Vec<Intent>> {
        let lists = conflist::all(&self.config.conf_dir)
            .map_err(|error| of_files("reading the networks failed", error))?;
        let intents = lists.into_iter().map(|list| Intent {
            network: list.name,
            interface: "eth0".into(),
            config: list.text,
            capability_args: Map::new(),
        });
        Ok(intents.collect())
    }

    fn attach_all(
        &self,
        request: &AttachRequest<'_>,
        plan: &[(Intent, NetworkList)],
        attachment: &mut Attachment,
    ) -> Result<()> {
        let bring_up = plan.first().is_none_or(|(_, list)| kind(&list.plugins[0]) != "bridge");
        if bring_up {
            loopback_up(&request.namespace)?;
        }
        for ((intent, list), network) in plan.iter().zip(request.networks) {
            let call =
                Call { namespace: Some(&request.namespace), ..self.call(intent, list, request.container) };
            let result = call.add()?;
            let key = Key {
                network: &list.name,
                container: request.container.as_str(),
                interface: &intent.interface,
            };
            let value = result
                .to_value(list.version)
                .map_err(|error| of_files("the network's result can't be kept", error))?;
            self.cache
                .keep(key, &request.namespace, &intent.config, &intent.capability_args, value)
                .map_err(|error| of_files("keeping the network's result failed", error))?;
            attachment.interfaces.push(interface(network, &intent.interface, &result));
            add_name_service(&result, attachment);
        }
        Ok(())
    }
}

impl Network for CniNetwork {
    fn attach(&self, request: &AttachRequest<'_>) -> Result<Attachment> {
        let lists = request.networks.iter().map(|name| self.list(name)).collect::<Result<Vec<_>>>()?;
        let publishes = lists.first().is_some_and(|list| list.has_capability(PORT_MAPPINGS));
        if !request.ports.is_empty() && !publishes {
            let name = lists.first().map(|list| list.name.as_str()).unwrap_or_default();
            return Err(Failure::new(ErrorKind::Invalid, format!("network `{name}` can't publish ports"))
                .hint("add the plugin `portmap` with the capability `portMappings` to the network"));
        }
        let mut file = self.open(request.container, true)?.ok_or_else(|| unlocked(request.container))?;
        if !file.is_new().map_err(|error| of_files("reading the attachment failed", error))? {
            // Left by an attachment that was killed.
            self.undo(file, request.container, Some(&request.namespace))?;
            file = self.open(request.container, true)?.ok_or_else(|| unlocked(request.container))?;
        }
        let reserved = reservation::reserve(request.ports, &self.host);
        let (ports, reservations) = match reserved {
            Ok(reserved) => reserved,
            Err(failure) => {
                file.remove().map_err(|error| of_files("forgetting the attachment failed", error))?;
                return Err(failure);
            }
        };
        let plan: Vec<(Intent, NetworkList)> =
            lists.into_iter().enumerate().map(|(index, list)| plan_one(index, list, &ports)).collect();
        let intents: Vec<Intent> = plan.iter().map(|(intent, _)| intent.clone()).collect();
        file.write(&intents).map_err(|error| of_files("writing the attachment failed", error))?;
        let mut attachment = Attachment { ports, reservations, ..Attachment::default() };
        if let Err(failure) = self.attach_all(request, &plan, &mut attachment) {
            let failure = name_owner(failure, &attachment.ports, &self.host);
            // The file is read again from its beginning, as a later process would.
            drop(file);
            let detach =
                DetachRequest { container: request.container, namespace: Some(request.namespace.clone()) };
            return Err(match self.detach(&detach) {
                Ok(()) => failure,
                Err(second) => {
                    tracing::warn!(container = request.container.short(), %second, "undoing the attachment failed");
                    failure
                }
            });
        }
        Ok(attachment)
    }

    fn detach(&self, request: &DetachRequest<'_>) -> Result<()> {
        match self.open(request.container, false)? {
            Some(file) => self.undo(file, request.container, request.namespace.as_deref()),
            None => Ok(()),
        }
    }

    fn attached(&self) -> Result<Vec<ContainerId>> {
        let mut found =
            self.attachments.containers().map_err(|error| of_files("listing attachments failed", error))?;
        found.sort();
        Ok(found)
    }

    fn exists(&self, name: &NetworkName) -> Result<bool> {
        if name.as_str() == DEFAULT_NETWORK {
            return Ok(true);
        }
        let found = conflist::find(&self.config.conf_dir, name.as_str())
            .map_err(|error| of_files("reading the networks failed", error))?;
        Ok(found.is_some())
    }
}

impl CniNetwork {
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn open(&self, id: &ContainerId, create: bool) -> Result<Option<AttachmentFile>> {
        self.attachments.open(id, create).map_err(|error| of_files("opening the attachment failed", error))
    }
}

/// A container that no attachment is known of.
pub(crate) fn unattached(id: &ContainerId) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("container `{}` is attached to no network", id.short()))
}

fn unlocked(id: &ContainerId) -> Failure {
    Failure::new(ErrorKind::Internal, format!("the attachment of container `{}` can't be opened", id.short()))
}

/// Plans one interface. Only the first network gets the ports, and only it gives default routes.
fn plan_one(index: usize, mut list: NetworkList, ports: &[PortMapping]) -> (Intent, NetworkList) {
    let mut capability_args = Map::new();
    if index == 0 && !ports.is_empty() {
        capability_args.insert(PORT_MAPPINGS.into(), ports.iter().map(port_value).collect());
    }
    let intent = Intent {
        network: list.name.clone(),
        interface: format!("eth{index}"),
        config: list.text.clone(),
        capability_args,
    };
    if index > 0 {
        list.plugins.iter_mut().for_each(without_default_route);
    }
    (intent, list)
}

pub(crate) fn port_value(port: &PortMapping) -> Value {
    let mut value = json!({
        "hostPort": port.host_port,
        "containerPort": port.container_port,
        "protocol": port.protocol.as_str(),
    });
    if let (Some(address), Some(object)) = (port.host_address, value.as_object_mut()) {
        object.insert("hostIP".into(), address.to_string().into());
    }
    value
}

fn without_default_route(plugin: &mut Map<String, Value>) {
    if plugin.get("isDefaultGateway").and_then(Value::as_bool) == Some(true) {
        plugin.insert("isDefaultGateway".into(), false.into());
        plugin.insert("isGateway".into(), true.into());
    }
    let routes = plugin.get_mut("ipam").and_then(|ipam| ipam.get_mut("routes")).and_then(Value::as_array_mut);
    if let Some(routes) = routes {
        routes
            .retain(|route| !matches!(route.get("dst").and_then(Value::as_str), Some("0.0.0.0/0" | "::/0")));
    }
}

/// A port that another container has in the kernel's table, told as one that another program has.
pub(crate) fn name_owner(failure: Failure, ports: &[PortMapping], host: &Host) -> Failure {
    if failure.kind() != ErrorKind::AlreadyExists {
        return failure;
    }
    let taken = ports.iter().find_map(|port| reservation::owner(port, host).map(|owner| (port, owner)));
    match taken {
        Some((port, owner)) => {
            let text = format!("host port `{}` is taken by container `{owner}`", reservation::name(port));
            Failure::new(ErrorKind::AlreadyExists, text).caused_by(failure)
        }
        None => failure,
    }
}

fn interface(network: &NetworkName, name: &str, result: &CniResult) -> AttachedInterface {
    let found = result.interfaces.iter().find(|found| found.name == name && !found.sandbox.is_empty());
    // Results of old versions do not say which interface an address is on.
    let ours = |ip: &&loam_cni::protocol::IpConfig| {
        let index = ip.interface_index().and_then(|index| result.interfaces.get(index));
        index.is_none_or(|found| found.name == name && !found.sandbox.is_empty())
    };
    AttachedInterface {
        network: network.clone(),
        name: name.to_owned(),
        mac: found.map(|found| found.mac.clone()).filter(|mac| !mac.is_empty()),
        addresses: result.ips.iter().filter(ours).map(|ip| ip.address).collect(),
        gateways: result.ips.iter().filter(ours).filter_map(|ip| ip.gateway).collect(),
    }
}

fn add_name_service(result: &CniResult, attachment: &mut Attachment) {
    for server in result.dns.nameservers.iter().filter_map(|text| text.parse::<IpAddr>().ok()) {
        if !attachment.name_servers.contains(&server) {
            attachment.name_servers.push(server);
        }
    }
    let domain = Some(&result.dns.domain).filter(|domain| !domain.is_empty());
    for domain in domain.into_iter().chain(&result.dns.search) {
        if !attachment.search_domains.contains(domain) {
            attachment.search_domains.push(domain.clone());
        }
    }
}

/// Brings loopback up, where no plugin of ours does it in passing.
fn loopback_up(namespace: &Path) -> Result<()> {
    let failed = || Failure::new(ErrorKind::Internal, "bringing loopback up failed");
    let namespace = Namespace::open(namespace).map_err(|error| failed().caused_by(error))?;
    let up = namespace.run(|| {
        let mut socket = RouteSocket::open()?;
        let mut batch = Batch::new();
        batch.link_up(1);
        socket.run(batch)
    });
    let verdicts =
        up.map_err(|error| failed().caused_by(error))?.map_err(|error| failed().caused_by(error))?;
    verdicts.into_iter().try_for_each(|verdict| verdict.map_err(|refusal| failed().caused_by(refusal)))
}
