//! Listing containers.

use loam_model::{
    AttachedInterface, ContainerId, ContainerName, Digest, ExitRecord, LabelMap, NetworkMode, PortMapping,
    Result,
};
use serde::Serialize;

use crate::record::Record;
use crate::settle::{Refreshed, surely_lives};
use crate::{ContainerState, Engine, store};

/// A line of a list of containers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The image as the spec named it.
    pub image: String,
    /// The image's id.
    pub image_id: Digest,
    /// The program and arguments of its main process.
    pub command: Vec<String>,
    /// Its state.
    pub state: ContainerState,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it was last started, RFC 3339.
    pub started: Option<String>,
    /// When it last ended, RFC 3339.
    pub finished: Option<String>,
    /// How it last ended, when it has stopped.
    pub exit: Option<ExitRecord>,
    /// Why its last start failed, or what else went wrong.
    pub failure: Option<String>,
    /// The process id of its main process, while that lives.
    pub pid: Option<i32>,
    /// The network asked for.
    pub network: NetworkMode,
    /// Its interfaces, while it runs.
    pub interfaces: Vec<AttachedInterface>,
    /// Published ports: the taken ones while it runs, else those asked for.
    pub ports: Vec<PortMapping>,
    /// Its labels.
    pub labels: LabelMap,
}

impl From<Record> for ContainerSummary {
    fn from(record: Record) -> Self {
        let live = record.state.is_live();
        Self {
            command: record.command(),
            pid: record.process.filter(|_| live).map(|process| process.pid),
            ports: record.ports().to_vec(),
            id: record.id,
            name: record.name,
            image: record.spec.image,
            image_id: record.image,
            state: record.state,
            created: record.created,
            started: record.started,
            finished: record.finished,
            exit: record.exit,
            failure: record.failure,
            network: record.spec.network,
            interfaces: record.network.interfaces,
            labels: record.spec.labels,
        }
    }
}

impl Record {
    /// Published ports: the taken ones while it runs, else those asked for.
    pub(crate) fn ports(&self) -> &[PortMapping] {
        if self.state.is_live() { &self.network.ports } else { &self.spec.ports }
    }
}

impl Engine {
    /// Lists the containers that run, or all, the newest first. What has a directory and is none is removed.
    pub fn list(&self, all: bool) -> Result<Vec<ContainerSummary>> {
        let states = self.core.directories.states()?;
        let rows = store::all(&self.core.database)?;
        if let Err(error) = self.remove_orphaned_states(&states, &rows) {
            tracing::warn!(error = %error.chain(), "what a killed command left can't be removed yet");
        }
        let current = rows.into_iter().filter_map(|record| self.current(record));
        Ok(current.filter(|record| all || record.state.is_live()).map(ContainerSummary::from).collect())
    }

    /// Brings a row up to date, looking no further than is needed; `None` when the container is gone.
    pub(crate) fn current(&self, record: Record) -> Option<Record> {
        let is_settled = match record.state {
            ContainerState::Created => true,
            ContainerState::Stopped => !record.spec.auto_remove,
            ContainerState::Running | ContainerState::Paused => {
                record.process.as_ref().is_some_and(surely_lives)
            }
            ContainerState::Creating | ContainerState::Starting | ContainerState::Removing => false,
        };
        if is_settled {
            return Some(record);
        }
        match self.refresh(&record.id) {
            Ok(Refreshed::Row(current)) => Some(*current),
            Ok(Refreshed::Gone) => None,
            Ok(Refreshed::Busy) => Some(self.as_seen(record)),
            Err(error) => {
                tracing::warn!(container = %record.id, error = %error.chain(), "a container can't be settled");
                Some(record)
            }
        }
    }

    /// A row that a live command is changing, as it will be: one whose shim left a record has stopped.
    fn as_seen(&self, mut record: Record) -> Record {
        if record.state.is_live()
            && let Ok(Some(exit)) = self.core.seams.supervisor.exit_record(&record.id)
        {
            record.state = ContainerState::Stopped;
            record.finished = Some(exit.finished_at.clone());
            record.exit = Some(exit);
        }
        record
    }
}
