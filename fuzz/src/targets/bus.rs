//! What comes over D-Bus, on which every program of the machine can send to us.

use loam_bus::fuzzing;

use super::seed;
use crate::{Target, sentence};

/// The target: messages one after another. The first byte is passed over.
pub const TARGET: Target = Target { name: "bus", run, seeds, words: WORDS };

const WORDS: &[&str] = &[
    "l\u{2}\u{0}\u{1}",
    "l\u{3}\u{0}\u{1}",
    "\u{1}s\u{0}",
    "\u{1}u\u{0}",
    "\u{1}g\u{0}",
    "\u{1}o\u{0}",
    "org.x.Error",
];

/// The longest message that is taken: a body and a list of fields of a mebibyte each.
const LONGEST: usize = (2 << 20) + 64;

fn run(bytes: &[u8]) {
    let mut rest = bytes.get(1..).unwrap_or_default();
    loop {
        match fuzzing::message(rest) {
            Ok((length, failure)) => {
                assert!((16..=LONGEST).contains(&length), "{length}");
                sentence::check_text(&failure);
                rest = &rest[length..];
            }
            Err(reason) => return sentence::check_text(&reason),
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let answer = fuzzing::sound(2, &["/org/x/job", "text"], true);
    let failure = fuzzing::sound(3, &["ZONE_ALREADY_SET: 'x'"], false);
    let signal = fuzzing::sound(4, &["1", "unit.scope", "done"], true);
    vec![
        seed(0, &answer),
        seed(0, [&signal[..], &answer, &failure].concat()),
        seed(0, fuzzing::sound(1, &[], false)),
        seed(0, fuzzing::sound(3, &["\u{1b}[2J and more than anybody would say"], true)),
    ]
}
