//! What can go wrong between a pull and its helper.

use loam_packet::PacketError;

use super::pulse::PATIENCE;

/// What went wrong.
pub(super) enum Trouble<E> {
    /// What the helper, or whoever looks after it, objects to.
    Said(E),
    /// The helper is gone, or makes no sense.
    Broken(PacketError),
}

impl<E> From<PacketError> for Trouble<E> {
    fn from(error: PacketError) -> Self {
        Trouble::Broken(error)
    }
}

/// The sentence about a helper that gets on no more.
pub(super) fn stuck() -> String {
    format!("the unpacker got nothing done in {} s", PATIENCE.as_secs())
}

/// The sentence about one that takes too long.
pub(super) fn slow() -> &'static str {
    "the unpacker takes too long for what it gets done"
}
