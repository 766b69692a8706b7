//! The client of one lease (RFC 2131, section 4.4), without sockets and clocks: times and messages in, messages and what
//! became of the lease out.
//!
//! ```text
//!  Selecting ──offer──▶ Requesting ──ack──▶ Bound ──T1──▶ Renewing ──T2──▶ Rebinding ──end──▶ Expired
//!      ▲                    │nak              ▲────ack─────┘ │                │
//!      └────────────────────┴─────────────────────nak───────┴────────────────┘
//! ```
//!
//! A client that is refused what it holds selects again, but takes nothing else than what it had: the container can't be
//! given another address. It may use what it has until the lease's end. Moments are times since the machine started.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::delays::Delays;
use crate::message::{Message, Sender, kind};
use crate::option;
use crate::terms::{Terms, is_host};

/// The size of messages that a server may send us (RFC 2132, section 9.10).
const MAX_SIZE: u16 = 1500;

/// Since the machine started.
pub(crate) type Moment = Duration;

/// Who asks, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The link's hardware address.
    pub(crate) hardware: [u8; 6],
    /// Options of all requests, the client identifier among them.
    pub(crate) options: Vec<(u8, Vec<u8>)>,
    /// Whether the link hears nothing that is sent to an address which it does not have yet.
    pub(crate) broadcast: bool,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For a server to confirm what it offered.
    pub(crate) answer: Duration,
    /// Between two tries at most.
    pub(crate) between: Duration,
    /// For a lease.
    pub(crate) lease: Duration,
}

/// A lease that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The server's message.
    pub(crate) acknowledgement: Message,
    /// What it says.
    pub(crate) terms: Terms,
    /// When it was asked for.
    pub(crate) since: Moment,
    /// The hardware address of the server, or of the relay that leads to it.
    pub(crate) server: [u8; 6],
}

impl Held {
    fn ends(&self) -> Option<Moment> {
        self.terms.times.map(|times| self.since + times.end)
    }
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To all.
    All,
    /// To the server of the lease.
    Server(Ipv4Addr, [u8; 6]),
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    pub(crate) destination: Destination,
}

/// What follows from a moment or a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing.
    Nothing,
    /// A message must be sent.
    Send(Box<Outgoing>),
    /// The lease is held, newly or longer.
    Bound,
    /// No lease could be had, with the reason.
    Failed(String),
    /// The lease is over; the address must not be used any more.
    Expired,
}

#[derive(Clone, Debug)]
enum State {
    Selecting,
    Requesting { offered: Ipv4Addr, server: Ipv4Addr, hardware: [u8; 6], until: Moment },
    Bound,
    Renewing,
    Rebinding,
    Over,
}

/// The client of one lease.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    identity: Identity,
    patience: Patience,
    random: fn() -> u32,
    state: State,
    transaction: u32,
    /// When the exchange began, and when the last request of it went out.
    begun: Moment,
    asked: Moment,
    delays: Delays,
    /// The pauses after refusals, which grow until something is granted.
    refusals: Delays,
    next: Option<Moment>,
    /// When the first lease must be there.
    limit: Moment,
    held: Option<Held>,
    trouble: String,
}

impl Client {
    /// Begins to ask for a lease. The first message goes out at the first [`Self::tick`].
    pub(crate) fn new(identity: Identity, patience: Patience, random: fn() -> u32, now: Moment) -> Self {
        Self {
            identity,
            patience,
            random,
            state: State::Selecting,
            transaction: random(),
            begun: now,
            asked: now,
            delays: Delays::new(patience.between),
            refusals: Delays::new(patience.between),
            next: Some(now),
            limit: now + patience.lease,
            held: None,
            trouble: "no DHCP server answered".into(),
        }
    }

    /// Goes on with a lease that is held.
    pub(crate) fn resume(
        identity: Identity,
        patience: Patience,
        random: fn() -> u32,
        now: Moment,
        held: Held,
    ) -> Self {
        let mut client = Self::new(identity, patience, random, now);
        client.bind(held);
        client
    }

    /// The lease, as long as its address may be used.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Whether messages are to be heard.
    pub(crate) fn listens(&self) -> bool {
        !matches!(self.state, State::Bound | State::Over)
    }

    /// When to call [`Self::tick`]; `None` when there is nothing to wait for.
    pub(crate) fn wakes(&self) -> Option<Moment> {
        let limit = match &self.held {
            Some(held) => held.ends(),
            None => Some(self.limit),
        };
        match self.state {
            State::Over => None,
            _ => [self.next, limit].into_iter().flatten().min(),
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Moment) -> Outcome {
        if matches!(self.state, State::Over) || self.wakes().is_none_or(|moment| moment > now) {
            return Outcome::Nothing;
        }
        match &self.held {
            Some(held) if held.ends().is_some_and(|end| end <= now) => {
                self.stop();
                return Outcome::Expired;
            }
            None if self.limit <= now => return self.fail(),
            _ => {}
        }
        self.advance(now);
        let outgoing = self.request(now);
        self.asked = now;
        self.next = Some(now + self.delays.next((self.random)()));
        outgoing.map_or(Outcome::Nothing, |outgoing| Outcome::Send(Box::new(outgoing)))
    }

    /// Goes to the state in which the next message is sent.
    fn advance(&mut self, now: Moment) {
        let times = self.held.as_ref().and_then(|held| Some((held.since, held.terms.times?)));
        match self.state {
            State::Bound => self.begin(State::Renewing, now),
            State::Requesting { until, .. } if until <= now => {
                self.trouble = "the DHCP server that made an offer did not confirm it".into();
                self.begin(State::Selecting, now);
            }
            State::Renewing if times.is_some_and(|(since, times)| since + times.rebind <= now) => {
                self.begin(State::Rebinding, now);
            }
            _ => {}
        }
    }

    fn begin(&mut self, state: State, now: Moment) {
        self.state = state;
        self.transaction = (self.random)();
        self.begun = now;
        self.delays = Delays::new(self.patience.between);
    }

    fn fail(&mut self) -> Outcome {
        self.stop();
        Outcome::Failed(std::mem::take(&mut self.trouble))
    }

    fn stop(&mut self) {
        self.state = State::Over;
        self.held = None;
        self.next = None;
    }

    fn bind(&mut self, held: Held) {
        self.next = held.terms.times.map(|times| held.since + times.renew);
        self.held = Some(held);
        self.refusals = Delays::new(self.patience.between);
        self.state = State::Bound;
    }

    /// The message that the state asks for (RFC 2131, table 5).
    fn request(&self, now: Moment) -> Option<Outgoing> {
        let mut message = self.message(kind::REQUEST, now);
        message.options.extend(self.identity.options.iter().cloned());
        message.options.insert(option::MAX_SIZE, MAX_SIZE.to_be_bytes().to_vec());
        let mut destination = Destination::All;
        match (&self.state, &self.held) {
            (State::Selecting, held) => {
                message.kind = kind::DISCOVER;
                let wanted = held.as_ref().map(|held| held.terms.address.addr().octets().to_vec());
                message.options.extend(wanted.map(|wanted| (option::REQUESTED_ADDRESS, wanted)));
            }
            (State::Requesting { offered, server, .. }, _) => {
                message.options.insert(option::REQUESTED_ADDRESS, offered.octets().to_vec());
                message.options.insert(option::SERVER, server.octets().to_vec());
            }
            (State::Renewing, Some(held)) => {
                message.client = held.terms.address.addr();
                message.broadcast = false;
                destination = Destination::Server(held.terms.server, held.server);
            }
            (State::Rebinding, Some(held)) => message.client = held.terms.address.addr(),
            _ => return None,
        }
        Some(Outgoing { message, destination })
    }

    fn message(&self, kind: u8, now: Moment) -> Message {
        let mut message = Message::of_client(kind, self.transaction, self.identity.hardware);
        let seconds = now.saturating_sub(self.begun).as_secs();
        message.seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
        message.broadcast = self.identity.broadcast;
        message
    }

    /// Hears a message, from a hardware address.
    pub(crate) fn hear(&mut self, message: &Message, from: [u8; 6], now: Moment) -> Outcome {
        let is_ours = message.sender == Sender::Server
            && message.transaction == self.transaction
            && message.hardware == self.identity.hardware;
        if !is_ours {
            return Outcome::Nothing;
        }
        match (&self.state, message.kind) {
            (State::Selecting, kind::OFFER) => self.offered(message, from, now),
            (State::Requesting { offered, server, hardware, .. }, kind::ACK) => {
                let (offered, server, hardware) = (*offered, *server, *hardware);
                if message.yours != offered || message.address(option::SERVER) != Some(server) {
                    return Outcome::Nothing;
                }
                self.granted(message, hardware)
            }
            (State::Requesting { offered, server, .. }, kind::NAK) => {
                if message.address(option::SERVER) != Some(*server) {
                    return Outcome::Nothing;
                }
                let said = message.text().map(|text| format!(": {text}")).unwrap_or_default();
                self.trouble = format!("the DHCP server refused address `{offered}`{said}");
                self.refused(now)
            }
            (State::Renewing | State::Rebinding, kind::ACK | kind::NAK) => self.answered(message, from, now),
            _ => Outcome::Nothing,
        }
    }

    /// Takes the first offer that can be taken.
    fn offered(&mut self, message: &Message, from: [u8; 6], now: Moment) -> Outcome {
        let Some(server) = message.address(option::SERVER) else { return Outcome::Nothing };
        let offered = message.yours;
        let wanted = self.held.as_ref().map(|held| held.terms.address.addr());
        if !is_host(offered) || wanted.is_some_and(|wanted| wanted != offered) {
            return Outcome::Nothing;
        }
        let until = now + self.patience.answer;
        self.state = State::Requesting { offered, server, hardware: from, until };
        self.delays = Delays::new(self.patience.between);
        self.next = Some(now);
        self.tick(now)
    }

    fn granted(&mut self, message: &Message, server: [u8; 6]) -> Outcome {
        match Terms::read(message) {
            Ok(terms) => {
                let acknowledgement = message.clone();
                self.bind(Held { acknowledgement, terms, since: self.asked, server });
                Outcome::Bound
            }
            Err(_) if self.held.is_some() => Outcome::Nothing,
            Err(error) => {
                self.trouble = error.to_string();
                self.fail()
            }
        }
    }

    /// An answer to a renewal: from the lease's server, or with time running out from any.
    fn answered(&mut self, message: &Message, from: [u8; 6], now: Moment) -> Outcome {
        let Some(held) = &self.held else { return Outcome::Nothing };
        let server = message.address(option::SERVER);
        if server.is_none() || (matches!(self.state, State::Renewing) && server != Some(held.terms.server)) {
            return Outcome::Nothing;
        }
        if message.kind == kind::NAK {
            return self.refused(now);
        }
        if message.yours != held.terms.address.addr() {
            return Outcome::Nothing;
        }
        self.granted(message, from)
    }

    /// Begins again, after a pause: a server that refuses everything would be asked without end.
    fn refused(&mut self, now: Moment) -> Outcome {
        self.begin(State::Selecting, now);
        self.next = Some(now + self.refusals.next((self.random)()));
        Outcome::Nothing
    }

    /// The message that gives a lease back, or what a server may just be about to grant. The client is over.
    pub(crate) fn release(&mut self, now: Moment) -> Option<Outgoing> {
        let (address, server, hardware) = match (&self.state, &self.held) {
            (State::Over, _) => return None,
            (_, Some(held)) => (held.terms.address.addr(), held.terms.server, held.server),
            (State::Requesting { offered, server, hardware, .. }, None) => (*offered, *server, *hardware),
            _ => return None,
        };
        let mut message = self.message(kind::RELEASE, now);
        message.transaction = (self.random)();
        (message.seconds, message.broadcast) = (0, false);
        message.client = address;
        let identifier = self.identity.options.iter().find(|(code, _)| *code == option::CLIENT_IDENTIFIER);
        message.options.extend(identifier.cloned());
        message.options.insert(option::SERVER, server.octets().to_vec());
        self.stop();
        Some(Outgoing { message, destination: Destination::Server(server, hardware) })
    }
}

#[cfg(test)]
mod tests;
