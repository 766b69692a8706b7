//! A lease that is asked for or held: its client, its place, and a socket while there is something to hear.

use loam_sys::PacketSocket;

use super::records::Record;
use crate::client::{Client, Moment, Outcome, Outgoing};
use crate::frame;
use crate::message::{MAX_MESSAGE, Message};
use crate::place::{Place, send};
use crate::refusal::Refusal;
use crate::wire::{Attachment, Granted};

/// How many packets are looked at before somebody else has a turn.
const PACKETS: usize = 64;

/// A lease.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) client: Client,
    pub(super) place: Place,
    pub(super) options: Vec<(u8, Vec<u8>)>,
    /// The caller that waits for it.
    pub(super) caller: Option<u64>,
    socket: Option<PacketSocket>,
}

impl Lease {
    pub(super) fn new(
        client: Client,
        place: Place,
        options: Vec<(u8, Vec<u8>)>,
        caller: Option<u64>,
    ) -> Self {
        Self { client, place, options, caller, socket: None }
    }

    /// The lease as the plugin needs it, when it is held.
    pub(super) fn granted(&self) -> Option<Granted> {
        let terms = &self.client.held()?.terms;
        Some(Granted { address: terms.address, gateway: terms.gateway, routes: terms.routes.clone() })
    }

    /// What of it lies on disk, when it is held.
    pub(super) fn record(&self, attachment: &Attachment) -> Option<Record> {
        let held = self.client.held()?;
        Some(Record::new(attachment.clone(), self.place.identity.clone(), self.options.clone(), held))
    }

    /// The socket that is listened to.
    pub(super) fn socket(&self) -> Option<&PacketSocket> {
        self.socket.as_ref().filter(|_| self.client.listens())
    }

    /// Sends a message, over a socket that is opened before.
    pub(super) fn send(&mut self, outgoing: &Outgoing) -> Result<(), Refusal> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.place.open_socket()?,
        };
        let sent = send(&socket, outgoing).map_err(|cause| {
            Refusal::io(format!("sending over `{}` failed", self.place.identity.name), &cause)
        });
        self.socket = Some(socket);
        sent
    }

    /// Closes the socket when there is nothing to hear.
    pub(super) fn settle(&mut self) {
        if !self.client.listens() {
            self.socket = None;
        }
    }

    /// Hears what has come, up to the first message that something follows from.
    pub(super) fn hear(&mut self, now: Moment) -> Outcome {
        let Some(socket) = &self.socket else { return Outcome::Nothing };
        let mut buffer = [0; MAX_MESSAGE];
        for _ in 0..PACKETS {
            let (length, from) = match socket.receive(&mut buffer) {
                Ok(Some(received)) => received,
                // An error, such as that the link is down, is one of sending too, and told of then.
                Ok(None) | Err(_) => break,
            };
            let packet = buffer.get(..length).and_then(frame::unwrap);
            let Some(Ok(message)) = packet.map(Message::parse) else { continue };
            match self.client.hear(&message, from, now) {
                Outcome::Nothing => {}
                outcome => return outcome,
            }
        }
        Outcome::Nothing
    }
}
