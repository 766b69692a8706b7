//! The engine itself: what it holds, and how names are found.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use loam_model::{ContainerId, ErrorKind, Failure, ImageStore, Result, shown};
use loam_state::Database;

use crate::config::{EngineConfig, Seams};
use crate::directories::Directories;
use crate::lock::ContainerLock;
use crate::record::Record;
use crate::settle::Locked;
use crate::store;

/// Containers of one state directory. Cheap to clone; any number of processes may have one at once.
#[derive(Clone)]
pub struct Engine {
    pub(crate) core: Arc<Core>,
}

/// What all clones share.
pub(crate) struct Core {
    pub(crate) config: EngineConfig,
    pub(crate) database: Arc<Database>,
    pub(crate) seams: Seams,
    pub(crate) directories: Directories,
}

impl Engine {
    /// Joins the seams. `database` must have been opened with [`crate::SCHEMA`] among its schemas.
    pub fn new(config: EngineConfig, database: Arc<Database>, seams: Seams) -> Engine {
        let directories = Directories::new(&config);
        Engine { core: Arc::new(Core { config, database, seams, directories }) }
    }

    /// The image store.
    pub fn images(&self) -> &dyn ImageStore {
        self.core.seams.images.as_ref()
    }

    /// Finds a container by its name, its id, or an unambiguous prefix of its id.
    pub fn resolve(&self, name: &str) -> Result<ContainerId> {
        Ok(self.find(name)?.id)
    }

    /// The file that a container's output is logged to.
    pub fn log_path(&self, id: &ContainerId) -> PathBuf {
        self.core.directories.log(id)
    }

    /// The row of the container with this name, id or prefix.
    pub(crate) fn find(&self, name: &str) -> Result<Record> {
        let mut found = store::find(&self.core.database, name)?;
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(not_found(name)),
            _ => Err(Failure::new(
                ErrorKind::Conflict,
                format!("`{}` is the beginning of several container ids", shown(name)),
            )
            .hint("give more digits of the id, or the name")),
        }
    }

    /// Locks a container and reads its row, which then stays as it is for others. Waits for a live command; `None`
    /// when the container is gone.
    pub(crate) fn lock(&self, id: &ContainerId) -> Result<Option<Locked>> {
        let row = || store::get(&self.core.database, id);
        let note = |holder: Option<String>| {
            let name = row().ok().flatten().map_or_else(|| id.short().to_owned(), |row| row.name.to_string());
            let holder = holder.unwrap_or_else(|| "another command".to_owned());
            self.core
                .config
                .notes
                .say(&format!("waiting for {holder}, which is changing container `{name}`"));
        };
        ContainerLock::wait(&self.core.directories, id, &note, row)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Engine").field("config", &self.core.config).finish_non_exhaustive()
    }
}

/// The failure for a name that no container has.
pub(crate) fn not_found(name: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("no container `{}`", shown(name)))
}
