//! What becomes of leases when callers come to somebody else, and when the keeper ends: none is lost without a word.
//!
//! A keeper whose socket's name another socket has leaves its leases on disk, where the next keeper finds them. When the directory is
//! another keeper's by now, because all was removed and made anew, that one is given each lease with its namespace
//! ([`Call::Adopt`](crate::Call::Adopt)). What it does not take is renewed here and offered again, and given back when this keeper is
//! told to end.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::listener::Standing;
use super::records::Record;
use super::run::{Keeper, now};
use crate::ask::{Caller, ask_within};
use crate::client::Moment;
use crate::place::Place;
use crate::refusal::{Refusal, code};
use crate::wire::{Answer, Attachment, Call};

/// How long is waited for the other keeper, while everything else waits, and how often it is tried.
const ANSWER: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(5);

/// A keeper beside the one that callers come to.
#[derive(Debug)]
pub(super) struct Apart {
    /// When leases are offered again.
    pub(super) next: Moment,
    /// Why that has failed.
    told: String,
}

impl Keeper<'_> {
    /// Whether there is anything to do here: callers come to this keeper, or it has leases that nobody else has. What was taken
    /// away of its socket and its directory it makes anew.
    pub(super) fn is_needed(&mut self) -> bool {
        match self.listener.stand() {
            Ok(Standing::Firm) => {
                self.stand_again();
                true
            }
            Ok(Standing::Anew) => {
                self.begin_anew();
                true
            }
            Ok(Standing::Lost) => !self.hand_over(),
            // Tried again with the next look.
            Err(told) => {
                self.log.line(&told);
                true
            }
        }
    }

    /// The end that a signal asks for.
    pub(super) fn leave(&mut self) {
        let is_kept = match self.listener.stand() {
            Ok(Standing::Firm) => self.stand_again(),
            Ok(Standing::Anew) => self.begin_anew(),
            Ok(Standing::Lost) | Err(_) => self.hand_over(),
        };
        if !is_kept {
            self.give_back();
        }
    }

    /// Goes on where it had stood aside, when the socket's name and the directory are as they were; says whether all that it holds is
    /// on disk.
    fn stand_again(&mut self) -> bool {
        if self.apart.take().is_none() {
            return true;
        }
        self.records.reclaim();
        self.log.line("the socket and the directory of leases are this keeper's again");
        self.write_again()
    }

    /// Has its directory again, with what others have left there meanwhile; says whether all that it holds is there.
    fn begin_anew(&mut self) -> bool {
        self.apart = None;
        self.records.reclaim();
        let is_whole = self.write_again();
        self.log.line("the socket or the directory of leases was taken away, listening anew");
        if let Err(told) = self.resume() {
            self.log.line(&told);
        }
        is_whole
    }

    /// Leaves all leases to others; says whether none is left that they can't know of.
    fn hand_over(&mut self) -> bool {
        let is_first = self.apart.is_none();
        let left = match self.listener.hold() {
            Ok(true) => {
                self.records.reclaim();
                let told = "another socket has taken the place of this keeper's, leaving leases to whoever listens there";
                self.log.line(told);
                if self.write_again() { Ok(()) } else { Err("not all leases can be left on disk".to_owned()) }
            }
            Ok(false) => {
                self.step_aside();
                self.offer()
            }
            Err(told) => {
                self.step_aside();
                Err(told)
            }
        };
        let Err(told) = left else { return true };
        if is_first || self.apart.as_ref().is_some_and(|apart| apart.told != told) {
            self.log.line(&format!("callers come to another keeper, and leases are kept here still: {told}"));
        }
        self.apart = Some(Apart { next: now() + AGAIN, told });
        false
    }

    /// Touches nothing that is the other keeper's. Whoever waits here asks again, there.
    fn step_aside(&mut self) {
        self.records.relinquish();
        self.connections.clear();
        let asked = self.leases.iter().filter(|(_, lease)| lease.client.held().is_none());
        let asked: Vec<Attachment> = asked.map(|(attachment, _)| attachment.clone()).collect();
        for attachment in asked {
            self.release(&attachment);
        }
    }

    /// Offers all leases to the other keeper, and lets go of those that it takes.
    fn offer(&mut self) -> Result<(), String> {
        let held: Vec<Attachment> = self.leases.keys().cloned().collect();
        for attachment in held {
            if !self.is_alive(&attachment) {
                continue;
            }
            let Some(lease) = self.leases.get(&attachment) else { continue };
            let Some(record) = lease.record(&attachment) else { continue };
            let answer = self.offer_one(&record, Some(&lease.place))?;
            match (answer, lease.granted()) {
                // The container has got another one there meanwhile, and this one is nobody's.
                (Answer::Lease(theirs), Some(ours)) if theirs.address != ours.address => {
                    self.release(&attachment);
                }
                _ => drop(self.leases.remove(&attachment)),
            }
            self.tell(&attachment, "handed over to another keeper");
        }
        let unseen: Vec<Record> = self.unseen.values().cloned().collect();
        for record in unseen {
            self.offer_one(&record, None)?;
            self.unseen.remove(&record.attachment);
        }
        Ok(())
    }

    fn offer_one(&self, record: &Record, place: Option<&Place>) -> Result<Answer, String> {
        let record = self.records.to_value(record)?;
        let socket = self.listener.path();
        if self.listener.is_called() {
            return Err(format!(
                "the keeper that has the leases' directory does not listen at `{}`",
                socket.display()
            ));
        }
        let caller = Caller { socket, patience: Duration::ZERO, start: &|_| Ok(false) };
        let asked = ask_within(&caller, Call::Adopt { record }, place.map(Place::namespace), ANSWER);
        match asked.map_err(|refusal| refusal.to_string())? {
            Some(Answer::Refused(refusal)) => Err(refusal.to_string()),
            Some(answer) => Ok(answer),
            None => Err(format!("nobody listens at `{}`", socket.display())),
        }
    }

    /// Keeps a lease from now on that another keeper has kept.
    pub(super) fn adopt(
        &mut self,
        record: serde_json::Value,
        namespace: Option<OwnedFd>,
    ) -> Result<Answer, Refusal> {
        let refused = |told: String| {
            Refusal::new(code::INTERNAL, format!("the lease that is handed over can't be kept: {told}"))
        };
        let record = Record::from_value(record).map_err(refused)?;
        let held = record.held().map_err(refused)?;
        if let Some(lease) = self.leases.get(&record.attachment) {
            let asked = || {
                let message =
                    format!("a lease for {} is just being asked for", Self::name(&record.attachment));
                Refusal::new(code::TRY_AGAIN, message)
            };
            return lease.granted().map(Answer::Lease).ok_or_else(asked);
        }
        let prefix = self.arguments.host_prefix.as_deref();
        let identity = record.place.clone();
        let found = match namespace {
            Some(namespace) => Place::take_over(self.interfaces, namespace, identity, prefix)?,
            None => Place::find_again(self.interfaces, identity, prefix)?,
        };
        let attachment = record.attachment.clone();
        self.go_on(record, held, found, true).map_err(refused)?;
        self.expired.remove(&attachment);
        Ok(Answer::Done)
    }

    /// Gives back what nobody else keeps. The links must not go on with addresses that may be another's.
    fn give_back(&mut self) {
        let held: Vec<Attachment> = self.leases.keys().cloned().collect();
        for attachment in held {
            let shut = self.release(&attachment).map_or(Ok(()), |place| place.shut());
            if let Err(error) = shut {
                self.tell(&attachment, &error.to_string());
            }
        }
        for attachment in std::mem::take(&mut self.unseen).into_keys() {
            self.tell(&attachment, "the lease is left to the server");
        }
    }
}
