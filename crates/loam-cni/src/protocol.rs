//! The execution protocol of the Container Network Interface, versions 0.1.0 to 1.1.0 (CNI SPEC.md).

mod attachment;
mod config;
mod context;
mod convert;
mod environment;
mod error;
mod names;
mod repeated;
mod result;
mod version;

pub use attachment::{Attachment, Owner, ValidAttachments};
pub use config::PluginConfig;
pub use context::{Context, Host, LeaseKeeping};
pub use environment::{Command, Environment, parse_arguments};
pub use error::{CniError, code};
pub use names::{check_container_id, check_interface_name, check_network_name, check_plugin_type};
pub(crate) use repeated::repeated_key;
pub use result::{CniResult, Dns, Interface, IpConfig, Route};
pub use version::Version;
