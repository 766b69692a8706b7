//! What DHCP servers send to a container's network, to which anybody on it can send too.

use loam_dhcp::fuzzing;

use super::{seed, selected};
use crate::{Target, sentence};

/// The target. The first byte says whether the rest is a packet, or messages of a server: each with two bytes of its length
/// before it.
pub const TARGET: Target = Target { name: "leases", run, seeds, words: WORDS };

const WORDS: &[&str] = &[
    "\u{63}\u{1}\u{1}",
    "\u{35}\u{1}\u{2}",
    "\u{35}\u{1}\u{5}",
    "\u{35}\u{1}\u{6}",
    "\u{34}\u{1}\u{3}",
    "\u{79}\u{5}\u{0}",
    "\u{3a}\u{4}",
    "\u{3b}\u{4}",
    "\u{0}\u{0}\u{0}\u{0}",
];

/// As many routes as the longest message has room for.
const MOST_ROUTES: usize = 2000;

fn run(bytes: &[u8]) {
    let Some((how, rest)) = selected(bytes) else { return };
    if how % 2 == 0 {
        if let Some(message) = fuzzing::packet(rest) {
            assert!(message.len() + 28 <= rest.len());
        }
        return;
    }
    let mut messages = Vec::new();
    let mut rest = rest;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (message, after) = after.split_at(length);
        messages.push(message);
        rest = after;
    }
    let exchange = fuzzing::answer(&messages);
    if let Some((address, routes)) = exchange.held {
        assert!(!address.addr().is_unspecified() && !address.addr().is_multicast(), "{address}");
        assert!(routes <= MOST_ROUTES, "{routes}");
    }
    // One for each message at most, and one for each pause.
    assert!(exchange.sent <= 1 + 2 * messages.len(), "{exchange:?}");
    if let Some(reason) = exchange.failed {
        sentence::check_text(&reason);
    }
}

fn conversation(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend(u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(message);
    }
    seed(1, bytes)
}

fn seeds() -> Vec<Vec<u8>> {
    let [offer, acknowledgement, refusal] = fuzzing::KINDS;
    let sound = |kind: u8, more: &[(u8, &[u8])]| fuzzing::sound(kind, more);
    let routes: &[(u8, &[u8])] = &[
        (3, &[10, 5, 0, 1]),
        (33, &[10, 0, 0, 0, 10, 5, 0, 2]),
        (121, &[0, 10, 5, 0, 1, 12, 172, 16, 10, 5, 0, 2]),
    ];
    let times: &[(u8, &[u8])] = &[(51, &[0, 0, 0, 0]), (58, &[255; 4]), (59, &[0, 0, 0, 1])];
    let packet = [
        &[0x45, 0, 1, 72, 0, 0, 0, 0, 64, 17, 0, 0, 10, 5, 0, 1, 10, 5, 0, 9, 0, 67, 0, 68, 1, 52, 0, 0][..],
        &[0; 300],
    ];
    vec![
        seed(0, packet.concat()),
        conversation(&[sound(offer, &[]), sound(acknowledgement, routes)]),
        conversation(&[sound(offer, &[]), sound(acknowledgement, times), sound(acknowledgement, times)]),
        conversation(&[sound(offer, &[]), sound(refusal, &[(56, b"no")]), sound(offer, &[])]),
        conversation(&[
            sound(offer, &[]),
            sound(acknowledgement, &[]),
            sound(refusal, &[]),
            sound(offer, &[]),
            sound(acknowledgement, &[]),
        ]),
    ]
}
