//! The built-in CNI plugins, see [`plugins`], and the ground that they stand on.
//!
//! What comes in: one call of the Container Network Interface ([`Context`]: a verb's container, namespace, interface
//! and configuration). What goes out: links, addresses and routes over [`netlink`], rules as elements of one static
//! [`nftables`] table ([`firewall`]), and a [`CniResult`]. [`Plugin`] names the plugins; the same functions are called
//! in-process by Loam's own CNI runtime and by the multi-call program `loam-cni` for any other runtime.
//!
//! State on disk, each kind described in full where it is kept; everything else is looked up in the kernel:
//!
//! ```text
//! ADDRESSES/NETWORK/…           addresses, in the format of the reference plugin: plugins::host_local
//! STATE/                        Host::state_directory, empty after a restart of the machine; by default /run/loam/cni
//!   networks/NETWORK            what the firewall must hold, and what iptables was given: firewall
//!   ports/CONTAINER:IFNAME
//!   admissions/CONTAINER:IFNAME
//!   egress/CONTAINER
//!   senders/CONTAINER:IFNAME
//!   iptables-masquerade/CONTAINER:IFNAME
//!   iptables-ports/CONTAINER:IFNAME
//!   iptables.lock               locked by whoever changes rules of iptables: iptables
//!   unmanaged/WHAT:CONTAINER:IFNAME   rules that are left to the administrator: unmanaged
//!   devices/CONTAINER:IFNAME    links of the host that are lent: plugins::host_device
//! SOCKET.leases/…               DHCP leases, beside their keeper's socket: loam_dhcp
//! DATADIR/CONTAINER_IFNAME.json what a link was before it was tuned; by default /run/cni/tuning: plugins::tuning
//! ```
//!
//! Files of state are written by [`loam_state_file`]; a writer that is killed leaves the old one.

pub mod conntrack;
pub mod delegate;
pub mod firewall;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod interface;
pub mod iptables;
pub(crate) mod masquerade;
pub mod namespace;
pub mod netlink;
pub mod nftables;
pub mod plugins;
pub mod program;
pub mod protocol;
mod records;
mod removals;
mod sysctl;
mod unmanaged;

pub use plugins::{Plugin, Role};
pub use protocol::{CniError, CniResult, Command, Context, Host, LeaseKeeping};
pub use removals::{HeldRemovals, Removals};
