//! A client that hears what a fuzzer makes up.

use std::time::Duration;

use crate::client::{Client, Identity, Outcome, Patience};
use crate::frame;
use crate::message::{Message, Sender, kind};
use crate::option;

const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 9];
const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 1];
const START: Duration = Duration::from_secs(1000);

fn random() -> u32 {
    0x0102_0304
}

/// What became of a client.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The address that it holds, with its prefix length, and how many routes.
    pub held: Option<(ipnet::Ipv4Net, usize)>,
    /// Why it gave up.
    pub failed: Option<String>,
    /// How many messages it sent.
    pub sent: usize,
}

/// Messages of a server, each as the bytes after the headers, heard one after the other by a client that asks again in
/// between.
pub fn answer(messages: &[&[u8]]) -> Exchange {
    let identity = Identity { hardware: HARDWARE, options: vec![(61, vec![0, 1])], broadcast: false };
    let patience = Patience {
        answer: Duration::from_secs(10),
        between: Duration::from_secs(62),
        lease: Duration::from_secs(100),
    };
    let mut client = Client::new(identity, patience, random, START);
    let mut exchange = Exchange::default();
    let mut now = START;
    let follow = |outcome: Outcome, exchange: &mut Exchange| match outcome {
        Outcome::Send(outgoing) => {
            exchange.sent += 1;
            let bytes = outgoing.message.encode();
            assert_eq!(Message::parse(&bytes).as_ref(), Ok(&outgoing.message));
            assert!(frame::wrap(outgoing.message.client, [255; 4].into(), &bytes).is_some());
        }
        Outcome::Failed(reason) => exchange.failed = Some(reason),
        Outcome::Nothing | Outcome::Bound | Outcome::Expired => {}
    };
    follow(client.tick(now), &mut exchange);
    for bytes in messages {
        if let Ok(message) = Message::parse(bytes) {
            follow(client.hear(&message, SERVER, now), &mut exchange);
        }
        if let Some(next) = client.wakes() {
            now = now.max(next);
            follow(client.tick(now), &mut exchange);
        }
    }
    exchange.held = client.held().map(|held| (held.terms.address, held.terms.routes.len()));
    exchange
}

/// The message in a packet, as a packet socket gives it.
pub fn packet(bytes: &[u8]) -> Option<&[u8]> {
    frame::unwrap(bytes)
}

/// A sound answer of a server, for a fuzzer to begin with: its type, and further options.
pub fn sound(kind: u8, more: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = Message::of_client(kind, random(), HARDWARE);
    message.sender = Sender::Server;
    message.yours = [10, 5, 0, 9].into();
    let fixed: [(u8, &[u8]); 3] = [
        (option::SERVER, &[10, 5, 0, 1]),
        (option::SUBNET_MASK, &[255, 255, 255, 0]),
        (option::LEASE_TIME, &[0, 0, 14, 16]),
    ];
    for (code, value) in fixed.iter().chain(more) {
        message.options.insert(*code, value.to_vec());
    }
    message.encode()
}

/// The types of an offer, an acknowledgement and a refusal.
pub const KINDS: [u8; 3] = [kind::OFFER, kind::ACK, kind::NAK];
