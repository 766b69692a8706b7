//! The adapter: its parts, and the seam's methods, each in the module that it belongs into.

use loam_cni::Host;
use loam_model::{
    AttachRequest, Attachment, Collected, ConnectRequest, ContainerId, DetachRequest, DisconnectRequest,
    ErrorKind, Failure, KnownAttachment, Network, NetworkDescription, NetworkListing, NetworkName,
    NetworkSource, Result,
};
use serde_json::{Map, Value};

use crate::attachments::{AttachmentFile, Attachments, Intent};
use crate::cache::Cache;
use crate::chain::Call;
use crate::config::NetworkConfig;
use crate::conflist::{self, NetworkList};
use crate::default_network::{self, DEFAULT_NETWORK};
use crate::external::Calls;
use crate::failure::of_files;
use crate::lock::NetworkLocks;
use crate::plan::Found;

/// The network seam over CNI.
#[derive(Debug)]
pub struct CniNetwork {
    pub(crate) config: NetworkConfig,
    pub(crate) host: Host,
    pub(crate) attachments: Attachments,
    pub(crate) cache: Cache,
    pub(crate) locks: NetworkLocks,
    /// The calls of external networkers.
    pub(crate) calls: Calls,
}

impl CniNetwork {
    /// Makes the adapter. Nothing is touched until it is used.
    pub fn new(config: NetworkConfig) -> Self {
        let host = config.host();
        let attachments = Attachments::new(&config.cache_dir, config.owner);
        let cache = Cache::new(&config.cache_dir);
        let locks = NetworkLocks::new(&config.cache_dir, config.patience);
        let calls = Calls::new(&config.cache_dir, config.time_limit);
        Self { config, host, attachments, cache, locks, calls }
    }

    /// Finds a network by name; the default one is made when it does not exist.
    pub(crate) fn list(&self, name: &NetworkName) -> Result<Found> {
        let directory = &self.config.conf_dir;
        if let Some(found) = self.find(name)? {
            return Ok(found);
        }
        if !name.is_default() {
            return Err(unknown(name));
        }
        default_network::ensure(directory, &self.config.data_dir)
            .map_err(|error| of_files("making the default network failed", error))?;
        self.find(name)?.ok_or_else(|| unknown(name))
    }

    /// Finds a network by name.
    pub(crate) fn find(&self, name: &NetworkName) -> Result<Option<Found>> {
        let found = conflist::find(&self.config.conf_dir, name.as_str()).map_err(|error| {
            Failure::new(ErrorKind::Invalid, format!("network `{name}` can't be used")).caused_by(error)
        })?;
        Ok(found.map(|(file, list)| Found { file, list }))
    }

    /// A call of a list for one attachment, in no namespace yet.
    pub(crate) fn call<'a>(&'a self, intent: &'a Intent, list: &'a NetworkList, id: &'a str) -> Call<'a> {
        Call {
            list,
            container: id,
            namespace: None,
            interface: &intent.interface,
            capability_args: &intent.capability_args,
            arguments: &intent.arguments,
            plugin_dirs: &self.config.plugin_dirs,
            in_process: true,
            time_limit: self.config.time_limit,
            host: &self.host,
        }
    }

    /// A call of a list for the network as a whole.
    pub(crate) fn call_for_all<'a>(
        &'a self,
        list: &'a NetworkList,
        nothing: &'a Map<String, Value>,
    ) -> Call<'a> {
        Call {
            list,
            container: "",
            namespace: None,
            interface: "",
            capability_args: nothing,
            arguments: &[],
            plugin_dirs: &self.config.plugin_dirs,
            in_process: true,
            time_limit: self.config.time_limit,
            host: &self.host,
        }
    }

    /// Opens and locks the file of a container's attachments.
    pub(crate) fn open(&self, id: &ContainerId, create: bool) -> Result<Option<AttachmentFile>> {
        self.attachments.open(id, create).map_err(|error| of_files("opening the attachment failed", error))
    }
}

/// The failure for a container that no attachment is known of.
pub(crate) fn unattached(id: &ContainerId) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("container `{}` is attached to no network", id.short()))
}

/// The failure for a name that no network has.
pub(crate) fn unknown(name: &NetworkName) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("network `{name}` does not exist"))
}

impl Network for CniNetwork {
    fn attach(&self, request: &AttachRequest<'_>) -> Result<Attachment> {
        self.attach_container(request)
    }

    fn detach(&self, request: &DetachRequest<'_>) -> Result<()> {
        match self.open(request.container, false)? {
            Some(file) => self.undo(file, request.container, request.namespace.as_deref()),
            None => Ok(()),
        }
    }

    fn connect(&self, request: &ConnectRequest<'_>) -> Result<Attachment> {
        let attachment = self.connect_container(request)?;
        self.renew_rules(request.container)?;
        Ok(attachment)
    }

    fn disconnect(&self, request: &DisconnectRequest<'_>) -> Result<()> {
        self.disconnect_container(request)?;
        self.renew_rules(request.container)
    }

    fn check(&self, request: &DetachRequest<'_>) -> Result<()> {
        self.check_container(request)
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
        Ok(self.find(name)?.is_some())
    }

    fn networks(&self) -> Result<NetworkListing> {
        self.describe_all()
    }

    fn network(&self, name: &NetworkName) -> Result<NetworkDescription> {
        self.describe(name)
    }

    fn attachments(&self, name: &NetworkName) -> Result<Vec<KnownAttachment>> {
        self.known_attachments(name.as_str())
    }

    fn status(&self, name: &NetworkName) -> Result<()> {
        match self.find(name)? {
            Some(Found { list: NetworkList { networker: Some(networker), .. }, .. }) => networker.status(),
            Some(found) => Ok(self.call_for_all(&found.list, &Map::new()).status()?),
            // It is made when somebody needs it.
            None if name.is_default() => Ok(()),
            None => Err(unknown(name)),
        }
    }

    fn create_network(&self, source: &NetworkSource) -> Result<NetworkDescription> {
        self.create(source)
    }

    fn remove_network(&self, name: &NetworkName) -> Result<()> {
        self.remove(name)
    }

    fn collect(&self, name: Option<&NetworkName>) -> Result<Collected> {
        self.collect_garbage(name)
    }

    fn reload(&self) -> Result<()> {
        self.restore_firewall()
    }

    fn watch(&self, restored: &mut dyn FnMut()) -> Result<()> {
        self.watch_firewall(restored)
    }
}
