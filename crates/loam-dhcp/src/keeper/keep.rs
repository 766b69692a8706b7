//! What becomes of leases: they are written down, prolonged, given back, lost.

use super::lease::Lease;
use super::random::random;
use super::records::Record;
use super::run::{Keeper, now};
use crate::client::{Client, Held};
use crate::place::{Found, Place};
use crate::refusal::{Refusal, code};
use crate::wire::{Answer, Attachment};

impl Keeper<'_> {
    /// An attachment, for people.
    pub(super) fn name(attachment: &Attachment) -> String {
        format!("`{}/{}/{}`", attachment.container, attachment.network, attachment.interface)
    }

    pub(super) fn tell(&mut self, attachment: &Attachment, what: &str) {
        self.log.line(&format!("{}: {what}", Self::name(attachment)));
    }

    /// Goes on with what lies on disk. What belongs to an interface that is gone is forgotten; what can't be seen from here is
    /// left to a keeper that can.
    pub(super) fn resume(&mut self) -> Result<(), String> {
        let mut told = Vec::new();
        let records = self.records.read(|text| told.push(text.to_owned()))?;
        told.iter().for_each(|text| self.log.line(text));
        for record in records {
            let attachment = record.attachment.clone();
            if self.leases.contains_key(&attachment) || self.unseen.contains_key(&attachment) {
                continue;
            }
            if record.expired {
                self.expired.insert(attachment);
                continue;
            }
            let prefix = self.arguments.host_prefix.as_deref();
            let found = record.held().and_then(|held| {
                let found = Place::find_again(self.interfaces, record.place.clone(), prefix);
                Ok((held, found.map_err(|error| error.to_string())?))
            });
            match found {
                Ok((held, found)) => self.go_on(record, held, found, false)?,
                Err(error) => self.tell(&attachment, &error),
            }
        }
        Ok(())
    }

    /// Goes on with a lease of another keeper's, by what has become of its interface. One that is new to this directory is
    /// written down before.
    pub(super) fn go_on(
        &mut self,
        record: Record,
        held: Held,
        found: Found,
        is_new: bool,
    ) -> Result<(), String> {
        let attachment = record.attachment.clone();
        match found {
            Found::Same(place) => {
                let is_seen_anew = place.identity.seen != record.place.seen;
                let identity = self.identity(&place, &record.options);
                let patience = self.arguments.patience;
                let client = Client::resume(identity, patience, random, now(), held);
                let lease = Lease::new(client, place, record.options, None);
                if let Some(record) = lease.record(&attachment).filter(|_| is_new || is_seen_anew) {
                    self.records.write(&record)?;
                }
                self.tell(&attachment, "going on with a lease");
                self.leases.insert(attachment, lease);
            }
            Found::Gone => {
                self.tell(&attachment, "the interface is gone, and the lease is left to the server");
                self.records.remove(&attachment)?;
            }
            Found::Unseen => {
                if is_new {
                    self.records.write(&record)?;
                }
                self.tell(
                    &attachment,
                    "the namespace can't be seen from here, and the lease is left on disk",
                );
                self.unseen.insert(attachment, record);
            }
        }
        Ok(())
    }

    /// Writes down again all that was on disk, after the directory was taken away; says whether all of it is there.
    pub(super) fn write_again(&mut self) -> bool {
        let mut is_whole = true;
        let held = self.leases.iter().filter_map(|(attachment, lease)| lease.record(attachment));
        let records: Vec<_> = held.chain(self.unseen.values().cloned()).collect();
        for record in records {
            if let Err(told) = self.records.write(&record) {
                self.tell(&record.attachment, &told);
                is_whole = false;
            }
        }
        is_whole
    }

    /// A lease is held, newly or longer. What can't be written down is not held: nobody would give it back.
    pub(super) fn bound(&mut self, attachment: &Attachment) {
        let Some(lease) = self.leases.get_mut(attachment) else { return };
        lease.settle();
        let written = lease.record(attachment).map_or(Ok(()), |record| self.records.write(&record));
        let (caller, granted) = (lease.caller.take(), lease.granted());
        let Some(caller) = caller else {
            self.tell(attachment, "lease renewed");
            if let Err(told) = written {
                self.tell(attachment, &told);
            }
            return;
        };
        if let Err(told) = written {
            self.release(attachment);
            self.answer(caller, &Answer::Refused(Refusal::new(code::IO, told)));
            return;
        }
        self.tell(attachment, "lease acquired");
        let Some(granted) = granted else { return };
        if !self.answer(caller, &Answer::Lease(granted)) {
            self.tell(attachment, "the caller is gone");
            self.release(attachment);
        }
    }

    /// No lease could be had.
    pub(super) fn failed(&mut self, attachment: &Attachment, reason: &str) {
        self.tell(attachment, reason);
        let caller = self.leases.remove(attachment).and_then(|lease| lease.caller);
        if let Some(caller) = caller {
            let message = format!("dhcp: no lease for {}: {reason}", Self::name(attachment));
            self.answer(caller, &Answer::Refused(Refusal::new(code::INTERNAL, message)));
        }
    }

    /// A lease is over: the address may be another's from now on.
    pub(super) fn expire(&mut self, attachment: &Attachment) {
        self.tell(attachment, "lease expired, bringing interface DOWN");
        let Some(lease) = self.leases.remove(attachment) else { return };
        if let Err(error) = lease.place.shut() {
            self.tell(attachment, &error.to_string());
        }
        self.expired.insert(attachment.clone());
        if let Err(told) = self.records.expire(attachment) {
            self.tell(attachment, &told);
        }
    }

    /// Gives a lease back, whatever has become of it; gives where it was. Whoever waits for it is told.
    pub(super) fn release(&mut self, attachment: &Attachment) -> Option<Place> {
        self.expired.remove(attachment);
        self.unseen.remove(attachment);
        let mut place = None;
        if let Some(mut lease) = self.leases.remove(attachment) {
            if let Some(outgoing) = lease.client.release(now()) {
                let sent = lease.send(&outgoing);
                let told = sent.map_or_else(
                    |error| format!("failed to send DHCPRELEASE: {error}"),
                    |()| "lease released".to_owned(),
                );
                self.tell(attachment, &told);
            }
            if let Some(caller) = lease.caller {
                let message =
                    format!("dhcp: the lease for {} was given back meanwhile", Self::name(attachment));
                self.answer(caller, &Answer::Refused(Refusal::new(code::TRY_AGAIN, message)));
            }
            place = Some(lease.place);
        }
        if let Err(told) = self.records.remove(attachment) {
            self.tell(attachment, &told);
        }
        place
    }

    /// Whether a lease's interface is still there and its container too; what is not is let go.
    pub(super) fn is_alive(&mut self, attachment: &Attachment) -> bool {
        let Some(lease) = self.leases.get(attachment) else { return false };
        if lease.place.is_abandoned() {
            self.tell(attachment, "the network namespace is gone");
            // Whatever is left in it must not go on with an address that may be another's.
            let shut = self.release(attachment).map_or(Ok(()), |place| place.shut());
            if let Err(error) = shut {
                self.tell(attachment, &error.to_string());
            }
            return false;
        }
        match lease.place.link() {
            Ok(Some(_)) => true,
            Ok(None) if lease.caller.is_some() => {
                let name = attachment.interface.clone();
                self.failed(attachment, &format!("interface `{name}` is gone"));
                false
            }
            Ok(None) => {
                self.tell(attachment, "the interface is gone, and the lease is left to the server");
                self.release(attachment);
                false
            }
            // Looked at again the next time.
            Err(_) => true,
        }
    }
}
