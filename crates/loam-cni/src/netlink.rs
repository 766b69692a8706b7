//! Blocking netlink: links, addresses, routes and neighbours of one network namespace.
//!
//! A socket belongs to the namespace of the thread that opened it. Requests that do not depend on each other go out as
//! one [`Batch`] in one system call; the kernel answers each on its own and in order.

mod address;
mod attribute;
mod batch;
mod bridge_vlan;
mod child_link;
mod link;
mod neighbour;
mod route;
mod rule;
mod setting;
mod socket;
mod traffic;

pub use address::{Address, AddressOptions};
pub(crate) use attribute::{Attributes, attributes, be16, be32, text};
pub use batch::Batch;
pub use bridge_vlan::VlanRange;
pub use child_link::{ChildLink, LinkKind, LinkSettings};
pub(crate) use link::mac_text;
pub use link::{Link, PortSettings, Veth};
pub use route::RouteEntry;
pub use rule::{Rule, StoredRoute};
pub use setting::Setting;
pub(crate) use socket::Socket;
pub use socket::{NetlinkError, Refusal, RouteSocket};
pub use traffic::{Discipline, TokenBucket};
