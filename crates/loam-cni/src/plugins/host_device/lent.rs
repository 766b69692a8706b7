//! What a container has been lent, kept where it can't reach it:
//!
//! ```text
//! STATE_DIRECTORY/devices/CONTAINER:IFNAME   {"network","name","kind","mac","permanent_mac","device","index"}
//! ```
//!
//! Written before the link is moved. Inside, whoever may administer the container's network can give the link another name,
//! alias and hardware address, and put others in its place; so only this file says what it is called on the host, and it is
//! known again by its index in the container and its kind, and hardware by its permanent address and its place on the bus,
//! too. (A link that is no hardware can be replaced by one like it: such are to be lent only to those who may make links on
//! the host.)

use serde::{Deserialize, Serialize};

use super::device::Device;
use super::moving::{rename, return_link};
use crate::interface::failed;
use crate::namespace::Namespace;
use crate::netlink::{Link, RouteSocket};
use crate::protocol::{CniError, Context, Owner};
use crate::records::{OwnedRecord, RecordError, Records};

/// A link that is lent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lent {
    /// The network.
    network: String,
    /// Its name on the host.
    name: String,
    /// Its kind; empty for hardware.
    kind: String,
    /// Its hardware address when it was lent.
    mac: Vec<u8>,
    /// Its permanent hardware address; empty for what has none.
    permanent_mac: Vec<u8>,
    /// The device on its bus; empty for what is not hardware.
    device: String,
    /// Its index in the container, once it is there.
    index: Option<u32>,
}

impl OwnedRecord for Lent {
    const DIRECTORY: &'static str = "devices";
    fn network(&self) -> &str {
        &self.network
    }
}

fn unrecorded(cause: RecordError) -> CniError {
    CniError::internal("keeping what is lent failed", &cause)
}

fn records(context: &Context<'_>) -> Records {
    Records::new(context.host.state_directory.clone())
}

impl Lent {
    /// A link of the host.
    pub(super) fn new(context: &Context<'_>, link: &Link) -> Self {
        Self {
            network: context.config.name.clone(),
            name: link.name.clone(),
            kind: link.kind.clone(),
            mac: link.mac.clone(),
            permanent_mac: link.permanent_mac.clone(),
            device: link.device.clone(),
            index: None,
        }
    }

    /// Writes down that it is lent.
    pub(super) fn keep(&self, context: &Context<'_>) -> Result<(), CniError> {
        records(context).keep(&context.owner(), self).map_err(unrecorded)
    }

    /// Writes down which of the container's links it has become.
    pub(super) fn keep_index(self, context: &Context<'_>, namespace: &Namespace) -> Result<(), CniError> {
        let name = context.interface.as_str();
        let found = namespace.run(|| RouteSocket::open().and_then(|mut socket| socket.link(name)));
        let found = found.map_err(|cause| crate::interface::not_entered(&cause))?;
        let found = found.map_err(failed(format!("looking up `{name}`")))?;
        Self { index: found.map(|link| link.index), ..self }.keep(context)
    }

    /// What an attachment has been lent. Of one that was made before there were such files, or whose file is lost, the
    /// configuration tells, if it names the device.
    pub(super) fn of(context: &Context<'_>) -> Result<Option<Self>, CniError> {
        if let Some(lent) = records(context).get(&context.owner()).map_err(unrecorded)? {
            return Ok(Some(lent));
        }
        let network = context.config.name.clone();
        Ok(match Device::read(context) {
            Ok(Device::Name(name)) => Some(Self { network, name, ..Self::default() }),
            _ => None,
        })
    }

    /// Forgets what an attachment has been lent.
    pub(super) fn forget(context: &Context<'_>, owner: &Owner<'_>) -> Result<(), CniError> {
        records(context).forget::<Self>(owner).map_err(unrecorded)
    }

    /// What attachments of the network have been lent that are not valid any more, is given its name back if the kernel
    /// has returned it.
    pub(super) fn collect(context: &Context<'_>) -> Result<(), CniError> {
        let valid = context.config.valid_attachments()?;
        let records = records(context);
        for known in records.owners::<Self>(&context.config.name).map_err(unrecorded)? {
            let lent: Option<Self> = records.get(&known.owner()).map_err(unrecorded)?;
            let Some(lent) = lent.filter(|_| !valid.contains(&known.owner())) else { continue };
            if lent.rename_returned()? {
                records.forget::<Self>(&known.owner()).map_err(unrecorded)?;
            }
        }
        Ok(())
    }

    /// Whether it is hardware, which the kernel returns when the container's namespace ends.
    pub(super) fn is_hardware(&self) -> bool {
        self.is_recorded() && self.kind.is_empty()
    }

    /// Whether it was lent with a file of its own.
    fn is_recorded(&self) -> bool {
        !self.mac.is_empty() || !self.permanent_mac.is_empty()
    }

    /// Whether a link is of the same kind and, where that can be known, the same hardware.
    fn is_like(&self, link: &Link) -> bool {
        (&self.kind, &self.permanent_mac, &self.device) == (&link.kind, &link.permanent_mac, &link.device)
    }

    /// Moves the link back out of the container.
    pub(super) fn move_out(&self, namespace: &Namespace, interface: &str) -> Result<(), CniError> {
        let is_it = |link: &Link| {
            if !self.is_recorded() {
                // Everything but hardware the container could have made itself.
                let is_hardware = link.kind.is_empty() && !link.permanent_mac.is_empty();
                return link.name == interface && is_hardware && link.alias == self.name;
            }
            let here = self.index.map_or(link.name == interface, |index| link.index == index);
            here && self.is_like(link)
        };
        return_link(namespace, is_it, &self.name)
    }

    /// The kernel gives hardware of a namespace that ends back to the first one, but not under its old name: gives it that.
    /// Says whether the device is there.
    pub(super) fn rename_returned(&self) -> Result<bool, CniError> {
        let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
        let links = socket.links().map_err(failed("listing links"))?;
        if links.iter().any(|link| link.name == self.name) {
            return Ok(true);
        }
        let is_it = |link: &&Link| {
            if !self.is_recorded() {
                return link.alias == self.name;
            }
            // Without a permanent address, what the container may have changed is all there is.
            let known = !self.permanent_mac.is_empty() || (link.alias == self.name && link.mac == self.mac);
            known && self.is_like(link)
        };
        let Some(link) = links.iter().find(is_it) else { return Ok(false) };
        rename(&mut socket, link, &self.name)?;
        Ok(true)
    }
}
