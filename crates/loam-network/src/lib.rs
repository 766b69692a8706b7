//! The network seam: the CNI runtime, the default network, published ports.
//!
//! What comes in: the request to attach a container's network namespace to networks ([`loam_model::AttachRequest`]). What
//! goes out: calls of CNI plugins, in the order of a network's configuration list. Plugins of `loam-cni` are called as
//! functions, all others as programs. [`CniNetwork`] implements [`loam_model::Network`].
//!
//! ```text
//! CONF_DIR/                     configuration lists, *.conflist (CNI SPEC.md, section 1)
//!   loam.conflist               the default network, written when it is first used
//! CACHE_DIR/
//!   attachments/CONTAINER       the intent: what an attachment consists of, written before its first effect
//!   results/NETWORK-CONTAINER-IFNAME   the result, in the format of libcni's cache
//! DATA_DIR/                     addresses, see `loam_cni::plugins::host_local`
//! RUN_DIR/                      what the firewall must hold, see `loam_cni::firewall`
//! ```
//!
//! An attachment's file is locked (flock) by whoever attaches or detaches the container, and removed when nothing of the
//! attachment is left. So an attachment that was killed at any point is found and undone from its file alone, whatever
//! has become of the configuration since.

mod attachments;
mod cache;
mod chain;
mod config;
mod conflist;
mod default_network;
mod failure;
mod network;
mod publication;
mod reservation;
mod rules;

pub use config::NetworkConfig;
pub use default_network::DEFAULT_NETWORK;
pub use network::CniNetwork;
