//! Options of messages, by number (RFC 2132).

/// Nothing, to fill space.
pub const PAD: u8 = 0;
/// The mask of the network.
pub const SUBNET_MASK: u8 = 1;
/// Routers on the network, the preferred one first.
pub const ROUTERS: u8 = 3;
/// The client's name.
pub const HOST_NAME: u8 = 12;
/// Routes to networks of classes.
pub const STATIC_ROUTES: u8 = 33;
/// The address that the client asks for.
pub const REQUESTED_ADDRESS: u8 = 50;
/// How long a lease lasts, in seconds.
pub const LEASE_TIME: u8 = 51;
/// Which fields for names hold options instead.
pub const OVERLOAD: u8 = 52;
/// What the message is.
pub const MESSAGE_TYPE: u8 = 53;
/// Which server.
pub const SERVER: u8 = 54;
/// Which options the client wants to hear.
pub const REQUEST_LIST: u8 = 55;
/// A text for people.
pub const MESSAGE: u8 = 56;
/// The longest message that the client takes.
pub const MAX_SIZE: u8 = 57;
/// When the server is asked to prolong a lease, in seconds.
pub const RENEWAL_TIME: u8 = 58;
/// When all servers are, in seconds.
pub const REBINDING_TIME: u8 = 59;
/// The kind of client.
pub const VENDOR_CLASS: u8 = 60;
/// What tells the client from all others.
pub const CLIENT_IDENTIFIER: u8 = 61;
/// The kind of user (RFC 3004).
pub const USER_CLASS: u8 = 77;
/// Routes to networks of any size (RFC 3442).
pub const CLASSLESS_ROUTES: u8 = 121;
/// The end of options.
pub const END: u8 = 255;
