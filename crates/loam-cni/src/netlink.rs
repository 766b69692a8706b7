//! Blocking netlink: links, addresses, routes and neighbours of one network namespace.
//!
//! A socket belongs to the namespace of the thread that opened it. Requests that do not depend on each other go out as
//! one [`Batch`] in one system call; the kernel answers each on its own and in order.

mod address;
mod attribute;
mod batch;
mod bridge_vlan;
mod child_link;
mod family;
mod link;
mod link_request;
mod message;
mod neighbour;
mod route;
mod route_socket;
mod rule;
mod setting;
mod socket;
mod traffic;
mod unix_owner;

pub use address::{Address, AddressOptions};
pub(crate) use attribute::{Attributes, attributes, be16, be32, text};
pub use batch::Batch;
pub use bridge_vlan::VlanRange;
pub use child_link::{ChildLink, LinkKind, LinkSettings};
pub use link::Link;
pub(crate) use link::mac_text;
pub use link_request::{PortSettings, Veth};
pub use message::Refusal;
pub use route::RouteEntry;
pub use route_socket::RouteSocket;
pub use rule::{Rule, StoredRoute};
pub use setting::Setting;
pub use socket::NetlinkError;
pub(crate) use socket::Socket;
pub use traffic::{Discipline, TokenBucket};
pub use unix_owner::unix_owner;
