//! Making containers.

use loam_model::{
    BundleInput, CgroupPlace, ContainerId, ContainerName, ContainerSpec, DiskLimit, ErrorKind, Failure,
    IdMapping, Image, LimitScope, Namespace, NetworkMode, Result, SnapshotRequest, UserNamespace,
};
use loam_state::Durability;
use serde::Serialize;

use crate::engine::Core;
use crate::etc::{INIT_TARGET, check_init};
use crate::lock::ContainerLock;
use crate::record::{NetworkFacts, Record};
use crate::start::{StartOptions, Started};
use crate::store::{self, Inserted};
use crate::{ContainerState, Engine, names, sources, validate};

/// How many made-up names are tried.
const NAME_ATTEMPTS: u32 = 16;

/// A container that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CreatedContainer {
    /// Its id.
    pub id: ContainerId,
    /// Its name, given or made up.
    pub name: ContainerName,
    /// Sentences for the person: what had to be weakened on this host.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Makes a container from an image that the store has.
    pub fn create(&self, spec: &ContainerSpec) -> Result<CreatedContainer> {
        self.create_from(spec, &self.images().resolve(&spec.image)?)
    }

    /// Makes a container from this image.
    pub fn create_from(&self, spec: &ContainerSpec, image: &Image) -> Result<CreatedContainer> {
        let (lock, record) = self.insert(spec, image)?;
        match self.fill(&record) {
            Ok(warnings) => Ok(CreatedContainer { id: record.id, name: record.name, warnings }),
            Err(error) => Err(self.undo_create(lock, &record, error)),
        }
    }

    /// Makes a container from this image and starts it. The short way for one that is removed when it ends: nothing
    /// of it outlasts a failure, or the death of this process before it runs.
    pub fn run(&self, spec: &ContainerSpec, image: &Image, options: StartOptions) -> Result<Started> {
        if !spec.auto_remove {
            let created = self.create_from(spec, image)?;
            return self.start(created.id.as_str(), options);
        }
        let (lock, record) = self.insert(spec, image)?;
        match self.create_snapshot(&record) {
            Ok(()) => self.start_locked(lock, record, options),
            Err(error) => Err(self.undo_create(lock, &record, error)),
        }
    }

    /// Checks the spec and writes the row, whose lock is then held.
    fn insert(&self, spec: &ContainerSpec, image: &Image) -> Result<(ContainerLock, Record)> {
        let core = &self.core;
        validate::check(spec, core.seams.network.as_ref())?;
        check_init(core, spec.init)?;
        core.database.require_space()?;
        let id = names::new_id()?;
        let lock = ContainerLock::make(&core.directories, &id)?;
        let made =
            core.seams.bundler.cgroup(&id).and_then(|place| new_record(id.clone(), place, spec, image));
        let mut record = match made {
            Ok(record) => record,
            Err(error) => {
                lock.remove(&core.directories, &id);
                return Err(error);
            }
        };
        match self.insert_row(&mut record) {
            Ok(()) => Ok((lock, record)),
            Err(error) => {
                lock.remove(&core.directories, &record.id);
                Err(error)
            }
        }
    }

    fn insert_row(&self, record: &mut Record) -> Result<()> {
        let core = &self.core;
        let mapped = record.spec.user_namespace == UserNamespace::Auto;
        let mut settled = false;
        let mut attempt = 0;
        loop {
            match store::insert(&core.database, record, mapped, core.config.slots())? {
                Inserted::Yes(slot) => {
                    record.slot = slot;
                    return Ok(());
                }
                Inserted::NoSlot => {
                    return Err(Failure::new(ErrorKind::Exhausted, "all ranges of host ids are taken")
                        .hint("remove containers that are not needed"));
                }
                Inserted::NameTaken(_) if record.spec.name.is_none() && attempt < NAME_ATTEMPTS => {
                    attempt += 1;
                    record.name = names::made_up_name(attempt)?;
                }
                // Perhaps what has the name ended, or was left half made, and only waits to be tidied up.
                Inserted::NameTaken(other) if !settled => {
                    settled = true;
                    self.refresh(&other)?;
                }
                Inserted::NameTaken(other) => return Err(name_taken(&record.name, &other)),
            }
        }
    }

    /// Makes everything of a new container; gives the bundler's warnings.
    fn fill(&self, record: &Record) -> Result<Vec<String>> {
        // Only to hear now, and not at the start, what makes no sense or can't be done on this host.
        let warnings = self.core.dry_bundle(record)?.warnings;
        self.create_snapshot(record)?;
        store::set_created(&self.core.database, durability(record), &record.id, &warnings)?;
        Ok(warnings)
    }

    fn create_snapshot(&self, record: &Record) -> Result<()> {
        self.core.seams.images.create_snapshot(&SnapshotRequest {
            container: &record.id,
            image: &record.image,
            ephemeral: record.spec.auto_remove,
            limit: record.spec.limits.disk.map(|bytes| DiskLimit {
                bytes,
                scope: LimitScope::Exclusive,
                can_change_projects: record.spec.can_change_projects(),
            }),
        })
    }

    /// Undoes a creation that failed; what can't be undone now is left to a later command.
    fn undo_create(&self, lock: ContainerLock, record: &Record, error: Failure) -> Failure {
        match self.remove_idle(lock, record) {
            Ok(()) => error,
            Err(undo) => {
                tracing::warn!(container = %record.id, error = %undo.chain(), "a failed creation is not undone yet");
                error
            }
        }
    }
}

impl Core {
    /// The bundle as it would be at a start.
    pub(crate) fn dry_bundle(&self, record: &Record) -> Result<loam_model::Bundle> {
        let mapping = record.mapping(&self.config);
        let run = self.directories.run(&record.id);
        self.seams.bundler.bundle(&bundle_input(record, mapping.as_ref(), &run, &[]))
    }
}

/// What a container's bundle is made from.
pub(crate) fn bundle_input<'a>(
    record: &'a Record,
    mapping: Option<&'a IdMapping>,
    run: &'a std::path::Path,
    files: &'a [loam_model::EngineFile],
) -> BundleInput<'a> {
    BundleInput {
        id: &record.id,
        spec: &record.spec,
        image: &record.image_config,
        directory: run,
        mapping,
        network: match record.spec.network {
            NetworkMode::Host => Namespace::Host,
            NetworkMode::Networks(_) | NetworkMode::None => Namespace::New,
        },
        cgroup: &record.cgroup,
        files,
        init_program: record.spec.init.then_some(INIT_TARGET),
    }
}

/// Whether what a person was told of a container must survive a power cut.
pub(crate) fn durability(record: &Record) -> Durability {
    if record.spec.auto_remove { Durability::Unsynced } else { Durability::Synced }
}

/// Now, as RFC 3339.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn new_record(id: ContainerId, cgroup: CgroupPlace, spec: &ContainerSpec, image: &Image) -> Result<Record> {
    let name = match &spec.name {
        Some(name) => name.clone(),
        None => names::made_up_name(0)?,
    };
    Ok(Record {
        cgroup,
        id,
        name,
        state: ContainerState::Creating,
        spec: {
            let mut spec = spec.clone();
            sources::pin(&mut spec);
            spec
        },
        image: image.id.clone(),
        image_config: image.config.clone(),
        slot: None,
        process: None,
        created: now(),
        started: None,
        finished: None,
        network: NetworkFacts::default(),
        exit: None,
        warnings: Vec::new(),
        failure: None,
    })
}

fn name_taken(name: &ContainerName, other: &ContainerId) -> Failure {
    Failure::new(
        ErrorKind::AlreadyExists,
        format!("the name `{name}` is taken by container `{}`", other.short()),
    )
    .hint("choose another name, or remove that container")
}
