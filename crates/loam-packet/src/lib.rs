//! Messages between processes of Loam: JSON in one packet of a Unix socket, descriptors beside it.
//!
//! What comes in: anything that serde can write, and open descriptors; what goes out: the same on the other side, in the
//! order in which it was sent, each message whole or not at all. The socket keeps messages apart (`SOCK_SEQPACKET`,
//! unix(7)). A message that is too long for a packet travels as a sealed file in memory, whose descriptor comes first.
//! Both ends come from the same release, but neither trusts the other with more than a message: lengths are bounded
//! before anything is read.

mod failure;
mod packet;

pub use failure::WireFailure;
pub use packet::{MAX_DESCRIPTORS, PacketError, pair, receive, send};
