//! A client of D-Bus, for the few services of a system that Loam asks: systemd for scopes, firewalld for zones.
//!
//! What comes in: whom to call ([`Address`]) and with which values ([`Body`]); what goes out: the answer's values, or one
//! sentence ([`BusError`]). A conversation is one blocking socket with one deadline for everything from connecting on, and
//! nothing that runs beside it. Other users of the bus are strangers: only what is an answer counts as one, signals count when
//! they come from the connection that has the name of the service, lengths are bounded before anything is read, and what
//! is shown of texts is escaped.
//!
//! It knows the types that those services need and no others, and no name of the model: `loam-cni` is used without it.
//!
//! Sources: D-Bus specification, "Message Protocol", "Authentication Protocol", "Message Bus Specification".

mod body;
mod connection;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod message;
mod socket;
mod values;

#[cfg(test)]
mod tests;

pub use body::{Body, Value};
pub use connection::{Address, Bus};
pub use error::BusError;
pub use message::Message;
pub use values::Values;

/// The socket of the system's bus, unless somebody says otherwise ("Well-known Message Bus Instances").
pub const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
