//! Garden's wire forms: what Guardian says to an external networker, and what that answers, for both sides of the contract.
//!
//! What comes in: JSON of Guardian's or of a networker's, rules and ports of the model. What goes out: the other of the two. The
//! door `loam-garden-network` is the networker's side, `loam-network` with somebody else's networker is Guardian's.
//!
//! | action | input | output |
//! |---|---|---|
//! | `up` | [`UpInputs`] | [`UpOutputs`], read as [`UpAnswer`] |
//! | `net-in` | [`NetInInputs`] | [`NetIn`], read by [`host_port`] |
//! | `net-out` | [`NetOutInputs`] | |
//! | `bulk-net-out` | [`BulkNetOutInputs`] | |
//! | `down` | `null` | |
//!
//! Numbers that are zero, lists that are empty and `null` are the same in what is read, as for Go. What is written leaves them
//! out where Garden's clients do.
//!
//! Sources: Guardian, `netplugin/external_networker.go`; Garden, `NetOutRule`, `NetIn`, `PortMapping`.

mod answer;
mod inputs;
mod port;
pub mod property;
mod rule;

pub use answer::{UpAnswer, UpOutputs, host_port};
pub use inputs::{BulkNetOutInputs, NetInInputs, NetOutInputs, UpInputs};
pub use port::{MappedPort, NetIn};
pub use rule::{Icmps, IpRange, NetOutRule, Ports, only_allowed};

/// Reads `null` as nothing.
fn or_nothing<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de> + Default,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether a value is Go's zero value.
fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
