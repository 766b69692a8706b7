//! What callers ask for.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::lease::Lease;
use super::random::random;
use super::run::{Keeper, now};
use crate::client::{Client, Identity, Patience};
use crate::place::Place;
use crate::refusal::{Refusal, code};
use crate::wire::{Answer, Attachment, Call, Take};

fn refusal(message: impl Into<String>) -> Answer {
    Answer::Refused(Refusal::new(code::INTERNAL, message))
}

impl Keeper<'_> {
    /// Answers a request, at once or when a server has answered.
    pub(super) fn serve(&mut self, caller: u64, call: Call, namespace: Option<OwnedFd>) {
        let answer = match call {
            Call::Take(take) => match self.take(caller, take, namespace) {
                Ok(None) => return,
                Ok(Some(answer)) => answer,
                Err(error) => Answer::Refused(error),
            },
            Call::Look { attachment } => self.look(&attachment),
            Call::Release { attachment } => {
                self.release(&attachment);
                Answer::Done
            }
            Call::Retain { network, valid } => {
                self.retain(&network, &valid);
                Answer::Done
            }
            Call::Adopt { record } => self.adopt(record, namespace).unwrap_or_else(Answer::Refused),
            Call::Status => Answer::Done,
        };
        self.answer(caller, &answer);
    }

    /// Answers a caller, who has nothing else to ask; says whether it was still there.
    pub(super) fn answer(&mut self, caller: u64, answer: &Answer) -> bool {
        self.connections.remove(&caller).is_some_and(|connection| connection.answer(answer))
    }

    /// The lease that is held, or `None` when it is asked for from now on.
    fn take(
        &mut self,
        caller: u64,
        take: Take,
        namespace: Option<OwnedFd>,
    ) -> Result<Option<Answer>, Refusal> {
        let Take { attachment, namespace: path, options, patience } = take;
        let namespace = namespace.ok_or_else(|| {
            Refusal::new(code::INTERNAL, "the request for a DHCP lease came without its namespace")
        })?;
        if let Some(lease) = self.leases.get(&attachment) {
            if lease.caller.is_some() {
                let message = format!("a lease for {} is just being asked for", Self::name(&attachment));
                return Err(Refusal::new(code::TRY_AGAIN, message));
            }
            if lease.place.is(&namespace, &attachment.interface) && lease.place.link()?.is_some() {
                return Ok(lease.granted().map(Answer::Lease));
            }
        }
        // Of an earlier life of the container, if there is one.
        self.release(&attachment);
        let prefix = self.arguments.host_prefix.as_deref();
        let place = Place::find(self.interfaces, namespace, path, prefix, &attachment.interface)?;
        let identity = self.identity(&place, &options);
        let lease = self.arguments.patience.lease.min(Duration::from_millis(patience));
        let patience = Patience { lease, ..self.arguments.patience };
        let client = Client::new(identity, patience, random, now());
        self.log.line(&format!("{}: acquiring lease", Self::name(&attachment)));
        if let Some(connection) = self.connections.get_mut(&caller) {
            connection.waits_for = Some(attachment.clone());
        }
        self.leases.insert(attachment, Lease::new(client, place, options, Some(caller)));
        Ok(None)
    }

    pub(super) fn identity(&self, place: &Place, options: &[(u8, Vec<u8>)]) -> Identity {
        Identity {
            hardware: place.identity.hardware,
            options: options.to_vec(),
            broadcast: self.arguments.broadcast || place.identity.broadcast,
        }
    }

    fn look(&self, attachment: &Attachment) -> Answer {
        let name = Self::name(attachment);
        match self.leases.get(attachment) {
            Some(lease) => match (lease.granted(), lease.place.link()) {
                (Some(granted), Ok(Some(_))) => Answer::Lease(granted),
                (None, _) => refusal(format!("dhcp: a lease for {name} is just being asked for")),
                (_, Ok(None)) => {
                    refusal(format!("dhcp: the interface that the lease of {name} is for is gone"))
                }
                (_, Err(error)) => Answer::Refused(error),
            },
            None if self.expired.contains(attachment) => {
                refusal(format!("dhcp: the lease of {name} is over: no DHCP server has renewed it"))
            }
            None if self.unseen.contains_key(attachment) => refusal(format!(
                "dhcp: the lease of {name} is not renewed: its namespace was seen by an earlier keeper, and can't be seen \
                 from where this one is"
            )),
            None => refusal(format!("dhcp: no lease is held for {name}")),
        }
    }

    fn retain(&mut self, network: &str, valid: &[(String, String)]) {
        let is_valid = |attachment: &Attachment| {
            attachment.network != network
                || valid.iter().any(|(container, interface)| {
                    *container == attachment.container && *interface == attachment.interface
                })
        };
        let held = self.leases.iter().filter(|(_, lease)| lease.caller.is_none());
        let held = held.map(|(attachment, _)| attachment).chain(&self.expired).chain(self.unseen.keys());
        let gone: Vec<Attachment> = held.filter(|attachment| !is_valid(attachment)).cloned().collect();
        for attachment in gone {
            self.release(&attachment);
        }
    }
}
