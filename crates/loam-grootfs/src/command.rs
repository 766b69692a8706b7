//! The commands, one file each.

mod clean;
mod create;
mod delete;
mod delete_store;
mod init_store;
mod report;

use crate::arguments::Command;
use crate::config::Config;
use crate::error::GrootfsError;
use crate::host::{Host, OpenStore};
use crate::layout::Layout;
use crate::metrics::Metrics;

/// What a command comes to: the text for standard output.
pub(crate) type Outcome = Result<String, GrootfsError>;

/// What every command has.
pub(crate) struct Session<'a> {
    pub(crate) config: Config,
    pub(crate) host: &'a dyn Host,
}

impl Session<'_> {
    /// Does a command.
    pub(crate) fn run(self, command: Command) -> Outcome {
        match command {
            Command::InitStore(flags) => self.init_store(&flags),
            Command::DeleteStore => self.delete_store(),
            Command::Create(flags) => self.create(&flags),
            Command::Delete(named) => self.delete(&named),
            Command::Stats(named) => self.stats(&named),
            Command::Clean(flags) => self.clean(&flags),
            Command::List => self.list(),
            Command::Capacity => Ok(self.capacity()),
            Command::GenerateVolumeSizeMetadata => self.recount(),
        }
        .inspect_err(|error| tracing::error!(error = %error, "command-failed"))
    }

    fn layout(&self) -> Layout {
        Layout { store: self.config.store.clone() }
    }

    /// Opens the store, which has to be there.
    fn open(&self) -> Result<OpenStore, GrootfsError> {
        Ok(self.host.open(&self.config.store)?)
    }

    fn metrics(&self) -> Metrics {
        Metrics::to(self.config.metron_endpoint.as_deref())
    }
}
