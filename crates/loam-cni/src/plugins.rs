//! The plugins. Each module has its entry, a [`Plugin`] with the functions of its verbs.

pub mod bandwidth;
pub mod bridge;
pub mod dhcp;
pub mod dummy;
pub mod firewall;
pub mod host_device;
pub mod host_local;
pub mod ipvlan;
pub(crate) mod kernel;
pub mod loopback;
pub mod macvlan;
pub mod portmap;
pub mod ptp;
pub mod sbr;
pub mod static_addresses;
pub mod tap;
pub mod tuning;
pub mod vlan;
pub mod vrf;

use crate::protocol::{CniError, CniResult, Command, Context, Version};

/// The function of a verb that gives nothing.
type Verb = fn(&Context<'_>) -> Result<(), CniError>;

/// What a plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It makes an interface.
    Interface,
    /// It gives addresses to a plugin that makes an interface.
    Addresses,
    /// It changes what plugins before it in a chain have made.
    Chained,
}

/// A built-in plugin.
#[derive(Debug)]
pub struct Plugin {
    /// The `type` of its configuration, and the name that the program is called by.
    pub name: &'static str,
    /// What it is for.
    pub role: Role,
    /// The oldest version of the specification that it speaks.
    pub oldest: Version,
    pub(crate) add: fn(&Context<'_>) -> Result<CniResult, CniError>,
    pub(crate) del: Verb,
    pub(crate) check: Verb,
    pub(crate) gc: Verb,
    pub(crate) status: Verb,
}

impl Plugin {
    /// All plugins, by name.
    pub const ALL: [&'static Plugin; 18] = [
        &bandwidth::PLUGIN,
        &bridge::PLUGIN,
        &dhcp::PLUGIN,
        &dummy::PLUGIN,
        &firewall::PLUGIN,
        &host_device::PLUGIN,
        &host_local::PLUGIN,
        &ipvlan::PLUGIN,
        &loopback::PLUGIN,
        &macvlan::PLUGIN,
        &portmap::PLUGIN,
        &ptp::PLUGIN,
        &sbr::PLUGIN,
        &static_addresses::PLUGIN,
        &tap::PLUGIN,
        &tuning::PLUGIN,
        &vlan::PLUGIN,
        &vrf::PLUGIN,
    ];

    /// The plugin of a configuration's `type`.
    pub fn from_type(kind: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|plugin| plugin.name == kind)
    }

    /// The versions of the specification that it speaks, the oldest first.
    pub fn versions(&self) -> impl Iterator<Item = Version> {
        Version::ALL.into_iter().filter(|version| *version >= self.oldest)
    }

    /// Calls the plugin. Only ADD gives a result.
    pub fn call(&self, command: Command, context: &Context<'_>) -> Result<Option<CniResult>, CniError> {
        if context.config.version < self.oldest {
            return Err(Version::incompatible(context.config.version.as_str(), self.versions()));
        }
        let verb = match command {
            Command::Add => return (self.add)(context).map(Some),
            Command::Del => self.del,
            Command::Check => self.check,
            Command::Gc => self.gc,
            Command::Status => self.status,
            Command::Version => return Ok(None),
        };
        verb(context).map(|()| None)
    }
}

/// For verbs that have nothing to do.
pub(crate) fn nothing(_context: &Context<'_>) -> Result<(), CniError> {
    Ok(())
}
