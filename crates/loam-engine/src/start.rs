//! Starting containers.
//!
//! The order is for speed: the network is attached while the shim goes on creating the container. Everything that a
//! start makes is undone when a later step fails, and found by recovery when this process dies in between.

use std::fmt;
use std::path::{Path, PathBuf};

use loam_model::{
    AttachExtras, AttachRequest, Attachment, Bundle, ContainerId, ContainerName, DetachRequest, ErrorKind,
    Failure, NetworkMode, OnStall, Result, RootfsPlan, Shim, ShimLaunch, Streams, TerminalSize,
};
use loam_state::Durability;

use crate::create::{bundle_input, now};
use crate::directories::{failure, write_file};
use crate::engine::Core;
use crate::etc::EtcFiles;
use crate::lock::{ContainerLock, OwnerMark};
use crate::record::{NetworkFacts, Record};
use crate::settle::main_process;
use crate::teardown::Leftovers;
use crate::{ContainerState, Engine, store};

/// How a container is started.
#[derive(Debug)]
pub struct StartOptions {
    /// Streams to attach before the program runs, so that nothing of its output is missed.
    pub streams: Option<Streams>,
    /// What happens when those streams are not read.
    pub on_stall: OnStall,
    /// The first size of its terminal, if it has one.
    pub terminal_size: Option<TerminalSize>,
    /// Whether the caller stays until the container ends and then tidies up, with [`Started::wait`].
    pub own: bool,
}

impl Default for StartOptions {
    /// Nothing attached, nobody stays.
    fn default() -> Self {
        Self { streams: None, on_stall: OnStall::Block, terminal_size: None, own: false }
    }
}

/// A container that runs, with a connection to its shim.
pub struct Started {
    pub(crate) engine: Engine,
    pub(crate) id: ContainerId,
    pub(crate) name: ContainerName,
    pub(crate) warnings: Vec<String>,
    pub(crate) shim: Box<dyn Shim>,
    /// There when the caller stays.
    pub(crate) owner: Option<OwnerMark>,
}

impl Started {
    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The container's name.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Sentences for the person: what had to be weakened on this host.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Started")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts a container that was created or has stopped. A program that does not exist is
    /// [`ErrorKind::CommandNotFound`], one that can't be executed [`ErrorKind::CommandNotExecutable`].
    pub fn start(&self, name: &str, options: StartOptions) -> Result<Started> {
        let (lock, record) = self.lock_settled(name)?;
        match record.state {
            ContainerState::Created | ContainerState::Stopped => {}
            state => {
                let message = format!("container `{}` is {state} already", record.name);
                return Err(Failure::new(ErrorKind::Conflict, message));
            }
        }
        // What begins has to end, and that has to be written down.
        self.core.database.require_space()?;
        if record.network != NetworkFacts::default() {
            // Its last end could not detach it.
            self.core.seams.network.detach(&DetachRequest { container: &record.id, namespace: None })?;
        }
        let (database, starting) = (&self.core.database, ContainerState::Starting);
        store::set_state(database, Durability::Unsynced, &record.id, starting, None)?;
        self.start_locked(lock, record, options)
    }

    /// Starts a container whose row says `starting`, or `creating` for one that is thrown away when this fails.
    pub(crate) fn start_locked(
        &self,
        lock: ContainerLock,
        mut record: Record,
        options: StartOptions,
    ) -> Result<Started> {
        let mut start = Start { core: &self.core, shim: None, owner: None, attached_through: None };
        let started = start.run(&mut record, options).and_then(|()| {
            store::set_running(&self.core.database, &record)?;
            start.shim.take().ok_or_else(|| Failure::new(ErrorKind::Internal, "a start made no shim"))
        });
        let leftovers = Leftovers { shim: start.shim, namespace: start.attached_through };
        match started {
            Ok(shim) => Ok(self.started(record, shim, start.owner)),
            Err(error) => Err(self.undo_start(lock, record, leftovers, error)),
        }
    }

    /// A container that runs now, which others may learn of.
    fn started(&self, record: Record, shim: Box<dyn Shim>, owner: Option<OwnerMark>) -> Started {
        let networks: Vec<_> = record.network.named_networks().cloned().collect();
        self.core.names_changed(&networks);
        Started {
            engine: self.clone(),
            id: record.id,
            name: record.name,
            warnings: record.warnings,
            shim,
            owner,
        }
    }
}

/// A start under way: what it made so far.
struct Start<'a> {
    core: &'a Core,
    shim: Option<Box<dyn Shim>>,
    owner: Option<OwnerMark>,
    /// The network namespace, once it may have attachments.
    attached_through: Option<PathBuf>,
}

impl Start<'_> {
    fn run(&mut self, record: &mut Record, options: StartOptions) -> Result<()> {
        let run = self.core.directories.make_run(&record.id)?;
        if options.own {
            self.owner = Some(OwnerMark::make(&self.core.directories, &record.id)?);
        }
        let (etc, launch) = self.prepare(record, &run, options.terminal_size)?;
        let shim = self.shim.insert(self.core.seams.supervisor.launch(&launch)?);
        if options.own {
            shim.own()?;
        }
        let pid = shim.begin_create()?;
        let attached = self.attach(record, pid, &etc, &run);
        let shim = self.shim.as_mut().expect("the shim was launched above");
        // When the creation failed, its namespaces are gone, and that is why the attachment failed too.
        let kept = match attached {
            Ok(Some(attachment)) if !attachment.reservations.is_empty() => shim.keep(attachment.reservations),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        shim.finish_create()?;
        kept?;
        if let Some(streams) = options.streams {
            shim.attach(streams, options.on_stall)?;
        }
        shim.start()?;
        record.started = Some(now());
        // Only now is the shim its parent for sure, whichever the runtime.
        record.process = Some(main_process(pid));
        Ok(())
    }

    /// Writes the files of the run directory and gathers what the shim must know.
    fn prepare(
        &self,
        record: &mut Record,
        run: &Path,
        terminal_size: Option<TerminalSize>,
    ) -> Result<(EtcFiles, ShimLaunch)> {
        let seams = &self.core.seams;
        let mapping = record.mapping(&self.core.config);
        let rootfs = seams.images.rootfs(&record.id, mapping.as_ref())?;
        let (etc, mounts) = EtcFiles::write(self.core, record, run)?;
        let bundle = seams.bundler.bundle(&bundle_input(record, mapping.as_ref(), run, &mounts))?;
        seams.bundler.prepare_host(&bundle.config)?;
        write_config(run, &bundle)?;
        let launch = self.launch(record, run, rootfs, &bundle, terminal_size);
        record.warnings = bundle.warnings;
        Ok((etc, launch))
    }

    fn launch(
        &self,
        record: &Record,
        run: &Path,
        rootfs: RootfsPlan,
        bundle: &Bundle,
        terminal_size: Option<TerminalSize>,
    ) -> ShimLaunch {
        let mut on_exit = self.core.config.on_exit.clone();
        if !on_exit.is_empty() {
            on_exit.push(record.id.to_string());
        }
        ShimLaunch {
            id: record.id.clone(),
            directory: run.to_owned(),
            rootfs,
            volumes: record.image_config.volumes.clone(),
            preparations: bundle.preparations.clone(),
            user: bundle.user.clone(),
            terminal: record.spec.terminal.then(|| terminal_size.unwrap_or_default()),
            open_stdin: record.spec.open_stdin,
            log: Some(self.core.directories.log(&record.id)),
            runtime: record.spec.runtime.clone(),
            on_exit,
        }
    }

    fn attach(
        &mut self,
        record: &mut Record,
        pid: i32,
        etc: &EtcFiles,
        run: &Path,
    ) -> Result<Option<Attachment>> {
        let NetworkMode::Networks(networks) = &record.spec.network else { return Ok(None) };
        let namespace = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let attachment = self.core.seams.network.attach(&AttachRequest {
            container: &record.id,
            name: record.name.as_str(),
            namespace: namespace.clone(),
            networks,
            ports: &record.spec.ports,
            extras: AttachExtras { capabilities: Some(&record.capabilities()), ..AttachExtras::default() },
        })?;
        self.attached_through = Some(namespace);
        record.network = NetworkFacts::from(&attachment);
        let peers = self.core.peers_of(record, &record.network)?;
        etc.fill(record, &record.network, &peers, run)?;
        Ok(Some(attachment))
    }
}

fn write_config(run: &Path, bundle: &Bundle) -> Result<()> {
    let path = run.join("config.json");
    let text =
        serde_json::to_vec(&bundle.config).map_err(|error| failure(&path, "can't be made", error.into()))?;
    write_file(&path, 0o600, &text)
}
