//! The plugins by name.

use crate::protocol::{CniError, CniResult, Command, Context};
use crate::{bridge, host_local, loopback, portmap};

/// A built-in plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// A veth pair between a namespace and a bridge.
    Bridge,
    /// Addresses from ranges, kept on this host.
    HostLocal,
    /// The loopback interface.
    Loopback,
    /// Ports published on the host.
    Portmap,
}

impl Plugin {
    /// All plugins.
    pub const ALL: [Plugin; 4] = [Plugin::Bridge, Plugin::HostLocal, Plugin::Loopback, Plugin::Portmap];

    /// The plugin of a configuration's `type`.
    pub fn from_type(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plugin| plugin.as_str() == kind)
    }

    /// The `type` of its configuration, and the name that the program is called by.
    pub fn as_str(self) -> &'static str {
        match self {
            Plugin::Bridge => "bridge",
            Plugin::HostLocal => "host-local",
            Plugin::Loopback => "loopback",
            Plugin::Portmap => "portmap",
        }
    }

    /// Calls the plugin. Only ADD gives a result.
    pub fn call(self, command: Command, context: &Context<'_>) -> Result<Option<CniResult>, CniError> {
        let result = match (self, command) {
            (Plugin::Bridge, Command::Add) => return bridge::add(context).map(Some),
            (Plugin::HostLocal, Command::Add) => return host_local::add(context).map(Some),
            (Plugin::Loopback, Command::Add) => return loopback::add(context).map(Some),
            (Plugin::Portmap, Command::Add) => return portmap::add(context).map(Some),
            (Plugin::Bridge, Command::Del) => bridge::del(context),
            (Plugin::HostLocal, Command::Del) => host_local::del(context),
            (Plugin::Loopback, Command::Del) => loopback::del(context),
            (Plugin::Portmap, Command::Del) => portmap::del(context),
            (Plugin::Bridge, Command::Check) => bridge::check(context),
            (Plugin::HostLocal, Command::Check) => host_local::check(context),
            (Plugin::Loopback, Command::Check) => loopback::check(context),
            (Plugin::Portmap, Command::Check) => portmap::check(context),
            (Plugin::Bridge, Command::Gc) => bridge::gc(context),
            (Plugin::HostLocal, Command::Gc) => host_local::gc(context),
            (Plugin::Portmap, Command::Gc) => portmap::gc(context),
            (Plugin::Bridge, Command::Status) => bridge::status(context),
            (Plugin::HostLocal, Command::Status) => host_local::status(context),
            (Plugin::Portmap, Command::Status) => portmap::status(context),
            (Plugin::Loopback, Command::Gc | Command::Status) | (_, Command::Version) => Ok(()),
        };
        result.map(|()| None)
    }
}
