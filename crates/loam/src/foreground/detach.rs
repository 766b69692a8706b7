//! Finding the detach keys in what is typed.

use std::collections::VecDeque;

use crate::flags::DetachKeys;

/// Looks for the keys. What may be their beginning is held back until it is clear.
#[derive(Debug)]
pub(super) struct DetachMatcher {
    keys: Vec<u8>,
    held: VecDeque<u8>,
}

impl DetachMatcher {
    pub(super) fn new(keys: DetachKeys) -> Self {
        Self { keys: keys.0, held: VecDeque::new() }
    }

    /// Takes what was typed, passes on what belongs to the process, and says whether the keys have come.
    pub(super) fn feed(&mut self, typed: &[u8], passed: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            passed.extend_from_slice(typed);
            return false;
        }
        for byte in typed {
            self.held.push_back(*byte);
            while !self.keys.iter().zip(&self.held).all(|(key, held)| key == held) {
                passed.extend(self.held.pop_front());
            }
            if self.held.len() == self.keys.len() {
                self.held.clear();
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_wherever_they_are_cut() {
        for (keys, typed, passed, detached) in [
            (&b"\x10\x11"[..], &[&b"ab\x10"[..], b"\x11cd"][..], &b"ab"[..], true),
            (b"\x10\x11", &[b"\x10x\x10"], b"\x10x", false),
            (b"\x10\x11", &[b"\x10", b"\x10\x11"], b"\x10", true),
            (b"aab", &[b"aaab"], b"a", true),
            (b"aab", &[b"aac"], b"aac", false),
            (b"q", &[b"xq"], b"x", true),
            (b"", &[b"\x10\x11"], b"\x10\x11", false),
        ] {
            let mut matcher = DetachMatcher::new(DetachKeys(keys.to_vec()));
            let mut out = Vec::new();
            let found = typed.iter().any(|typed| matcher.feed(typed, &mut out));
            assert_eq!((out.as_slice(), found), (passed, detached), "{keys:?} {typed:?}");
        }
    }
}
