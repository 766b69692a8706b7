//! The built-in CNI plugins, see [`plugins`], and the ground that they stand on.
//!
//! What comes in: one call of the Container Network Interface ([`Context`]: a verb's container, namespace, interface
//! and configuration). What goes out: links, addresses and routes over [`netlink`], rules as elements of one static
//! [`nftables`] table ([`firewall`]), and a [`CniResult`]. [`Plugin`] names the plugins; the same functions are called
//! in-process by Loam's own CNI runtime and by the multi-call program `loam-cni` for any other runtime.
//!
//! State on disk: addresses in the format of the reference plugin ([`plugins::host_local`]), and what the firewall must
//! hold in [`Host::state_directory`] ([`firewall`]). Everything else is looked up in the kernel.

pub mod conntrack;
pub mod delegate;
pub mod firewall;
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
mod state_file;
mod sysctl;
mod unmanaged;

pub use plugins::{Plugin, Role};
pub use protocol::{CniError, CniResult, Command, Context, Host};
