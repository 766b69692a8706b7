//! One network more, or one less, for a container that runs.
//!
//! The attachment's file names the interface before it is made, and until it is gone.

use std::collections::BTreeSet;

use loam_model::{Attachment, ConnectRequest, DisconnectRequest, ErrorKind, Failure, Result};

use crate::attach::unlocked;
use crate::attachments::Intent;
use crate::failure::of_files;
use crate::network::CniNetwork;
use crate::plan::{self, Found, Planned, Wishes};

impl CniNetwork {
    /// [`loam_model::Network::connect`].
    pub(crate) fn connect_container(&self, request: &ConnectRequest<'_>) -> Result<Attachment> {
        let found = self.list(&request.network.name)?;
        let mut file = self.open(request.container, true)?.ok_or_else(|| unlocked(request.container))?;
        let is_new = file.is_new().map_err(|error| of_files("reading the attachment failed", error))?;
        let before = match file.read().map_err(|error| of_files("reading the attachment failed", error))? {
            Some(intents) => intents,
            None if is_new => Vec::new(),
            None => {
                let message =
                    format!("the attachment of container `{}` is not whole", request.container.short());
                return Err(Failure::new(ErrorKind::Conflict, message).hint("start the container again"));
            }
        };
        let planned = plan_one(request, found, &before).and_then(|mut planned| {
            let subnets = self.choose_subnets(std::slice::from_mut(&mut planned))?;
            Ok((planned, subnets))
        });
        let (planned, (subnets, claims)) = match planned {
            Ok(planned) => planned,
            Err(failure) => {
                if is_new {
                    file.remove().map_err(|error| of_files("forgetting the attachment failed", error))?;
                }
                return Err(failure);
            }
        };
        let mut after = before.clone();
        after.push(planned.intent.clone());
        file.replace(&after).map_err(|error| of_files("writing the attachment failed", error))?;
        drop(subnets);
        let mut attachment = Attachment::default();
        let made = self.share(std::slice::from_ref(&planned)).and_then(|_locks| {
            self.attach_one(&planned, request.container, &request.namespace, &mut attachment)
        });
        let failure = match made {
            Ok(interface) => {
                attachment.interfaces.push(interface);
                return Ok(attachment);
            }
            Err(failure) => failure,
        };
        drop(claims);
        let undone =
            self.undo_one(&planned.intent, request.container, Some(&request.namespace)).and_then(|()| {
                let shrunk = if before.is_empty() { file.remove() } else { file.replace(&before) };
                shrunk.map_err(|error| of_files("forgetting the attachment failed", error))
            });
        if let Err(second) = undone {
            tracing::warn!(container = request.container.short(), %second, "undoing the connection failed");
        }
        Err(failure)
    }

    /// [`loam_model::Network::disconnect`].
    pub(crate) fn disconnect_container(&self, request: &DisconnectRequest<'_>) -> Result<()> {
        let Some(mut file) = self.open(request.container, false)? else { return Ok(()) };
        let read = file.read().map_err(|error| of_files("reading the attachment failed", error))?;
        let Some(intents) = read else {
            let message = format!("the attachment of container `{}` is not whole", request.container.short());
            return Err(Failure::new(ErrorKind::Conflict, message).hint("start the container again"));
        };
        let (gone, left): (Vec<_>, Vec<_>) =
            intents.into_iter().partition(|intent| intent.network == request.network.as_str());
        // Before its addresses are others', and also for those that a later restore finds.
        match left.is_empty() {
            true => self.close(request.container)?,
            false => self.close_some(request.container, &gone)?,
        }
        for intent in gone.iter().rev() {
            self.undo_one(intent, request.container, request.namespace.as_deref())?;
        }
        let shrunk = if left.is_empty() { file.remove() } else { file.replace(&left) };
        shrunk.map_err(|error| of_files("writing the attachment failed", error))
    }
}

/// Plans the interface of one network more.
fn plan_one<'a>(request: &ConnectRequest<'a>, found: Found, before: &[Intent]) -> Result<Planned<'a>> {
    let name = &request.network.name;
    if before.iter().any(|intent| intent.network == name.as_str()) {
        let message = format!("container `{}` is on network `{name}` already", request.name);
        return Err(Failure::new(ErrorKind::AlreadyExists, message));
    }
    let options = &request.network.options;
    let mut taken: BTreeSet<String> = before.iter().map(|intent| intent.interface.clone()).collect();
    let interface = plan::interface(options, &mut taken)?;
    // One that was on no network has a way out by this one.
    let gives_route = options.default_route || before.is_empty();
    let wishes = Wishes { ports: &[], extras: request.extras };
    Planned::new(found, request.network, interface, gives_route, wishes)
}
