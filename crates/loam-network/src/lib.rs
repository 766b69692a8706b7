//! The network seam: the CNI runtime, networks, published ports.
//!
//! What comes in: the request to attach a container's network namespace to networks ([`loam_model::AttachRequest`]), and
//! what is asked of networks themselves. What goes out: calls of CNI plugins, in the order of a network's configuration
//! list. Plugins of `loam-cni` are called as functions, all others as programs; a network may have an external networker in
//! the place of plugins. [`CniNetwork`] implements [`loam_model::Network`] and [`loam_model::NetworkRules`].
//! [`NetworkList`] and [`Call`] are the CNI runtime by itself: a list is read, and run for one attachment.
//!
//! ```text
//! CONF_DIR/                     networks: *.conflist, single plugins in *.conf and *.json (CNI SPEC.md, section 1)
//!   loam.conflist               the default network, written when it is first used
//!   NETWORK/*.conf              further plugins of a network
//! CACHE_DIR/
//!   attachments/CONTAINER[@OWNER]   the intent: what an attachment consists of, written before its first effect
//!   results/NETWORK-CONTAINER-IFNAME   the result, in the format of libcni's cache
//!   locks/{NETWORK,@container-subnets,@host-ports}   nothing in them; see below
//!   calls/CONTAINER-IFNAME      the call of an external networker that runs
//! DATA_DIR/                     addresses, see `loam_cni::plugins::host_local`
//! RUN_DIR/                      what the firewall must hold, see `loam_cni::firewall`
//! ```
//!
//! An attachment's file is locked (flock) by whoever attaches or detaches the container, and removed when nothing of the
//! attachment is left. So an attachment that was killed at any point is found and undone from its file alone, whatever
//! has become of the configuration since. A network's lock is shared by all who attach to it or detach from it; garbage
//! collection and the removal of the network have it alone. The directory of networks is locked while one is made or
//! removed.

mod attach;
mod attachments;
mod cache;
mod chain;
mod cloud_foundry;
mod config;
mod conflist;
mod connect;
mod container_subnets;
mod create;
mod default_network;
mod describe;
mod external;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod garden;
mod lock;
mod loopback;
mod network;
mod plan;
mod publication;
mod remove;
mod reservation;
mod result;
mod rules;
mod subnets;
mod upkeep;

pub use chain::{Call, CallError};
pub use config::NetworkConfig;
pub use conflist::{ConflistError, NetworkList, PluginObject, has_capability, kind};
pub use default_network::DEFAULT_NETWORK;
pub use network::CniNetwork;
