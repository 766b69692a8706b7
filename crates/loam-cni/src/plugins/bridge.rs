//! The `bridge` plugin: a veth pair between a namespace and a bridge of the host.
//!
//! ADD is two rows of netlink messages and no waiting: one on the host makes the pair, its one end up and on the
//! bridge, its other made inside the namespace; one in the namespace sets addresses, links and routes. Addresses come
//! first, from the address plugin, and rules before links are up, so that nothing passes unguarded. Only a plugin that
//! asks over the link (`dhcp`) is called when the pair is there, and at DEL before it goes.
//!
//! The name of the host's end follows from container id and interface, so that DEL finds it without any record. It carries
//! the network's name as alias, so that GC knows whose it is: several networks may share a bridge. The pair is out of
//! service when DEL answers, with its names free and nothing passing, so that the address can be given back; the kernel has
//! removed it a moment later (see `interface::retire`). A namespace that is gone takes the pair with it, but not at once,
//! and not while somebody keeps it: DEL does not rely on that.

mod add;
mod check;
mod config;
mod gateway;
mod gateway_link;
mod host;
mod removal;
mod result;
mod sender_check;
mod vlan;

use crate::delegate::call_ipam;
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, Command, Context, Version};
use add::add;
use check::check;
use config::Config;
pub use gateway_link::remove_gateway_links;
use removal::{del, gc};

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: "bridge", role: Role::Interface, oldest: Version::V0_1_0, add, del, check, gc, status };

/// Verifies the configuration and asks the address plugin.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Status).map(drop),
        None => Ok(()),
    }
}
