//! What the fuzz targets (`fuzz/`) reach of this crate's parsers of strangers' bytes. It is no part of the interface.

pub use crate::plugins::dhcp::fuzzing::{Exchange, KINDS, answer, packet, sound};
