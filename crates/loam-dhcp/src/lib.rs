//! DHCP for containers (RFC 2131), IPv4 only: a client without sockets and clocks, and the process that keeps the leases of
//! all containers, the *keeper* ([`keeper`]).
//!
//! What comes in: a caller's question ([`ask`], [`Call`]) with a network namespace as a descriptor, and what DHCP servers send
//! to the link in it. What goes out: an [`Answer`], which is the lease or a [`Refusal`]; packets to servers; and lines of a log.
//! Links are somebody else's: whoever runs a keeper gives it [`Interfaces`].
//!
//! State on disk, so that a keeper that was killed is followed by one that goes on:
//!
//! ```text
//! SOCKET                    where the keeper listens
//! SOCKET.leases/            beside it; on a file system that is empty after a restart of the machine
//!   lock                    flock'ed by the keeper as long as it lives
//!   log                     what a keeper did that nobody listens to, at most twice 64 KiB (log, log.old)
//!   DIGEST.json             a lease: format version 1, see `keeper::records`
//! ```
//!
//! A keeper that is killed leaves leases that the next question about any of them finds, and addresses in use; between them
//! nothing is renewed. One that is killed between the server's acknowledgement and the file leaves the lease to the server,
//! which gives it to the same client again.
//!
//! The keeper holds the namespaces of its leases open, so that it can give leases back when containers have died. When the
//! path of a namespace is gone, which is looked at once a minute and before each renewal, it gives the lease back by itself.
//! One that sees other paths than the keeper before it leaves what it can't see on disk, for one that can. One that callers don't
//! come to any more hands its leases to the keeper that has come in its place, see `keeper::handover`.

mod ask;
mod client;
mod delays;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod keeper;
mod message;
pub mod option;
mod place;
mod refusal;
mod terms;
mod wire;

pub use ask::{Caller, ask, has_leases};
pub use place::{Interfaces, Link};
pub use refusal::{Refusal, code};
pub use terms::Route;
pub use wire::{Answer, Attachment, Call, Granted, Take};
