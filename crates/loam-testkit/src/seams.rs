//! The seams simulated in memory: a [`World`] with images, networks, bundles and shims, and faults on demand.
//!
//! Every call across a seam is a [`Step`]. A test asks for a [`Fault`] at the n-th call of a step: the call fails, or
//! the caller is killed before or after the call's effect. *Killed* is an unwinding panic with [`Killed`] as its
//! payload: code that keeps to undoing in its error paths, and not in destructors, leaves behind exactly what a killed
//! process leaves, while descriptors and locks go as the kernel would take them.
//!
//! The world outlives any number of engines, as the kernel does; [`World::left`] says what is in it.

mod bundler;
mod images;
mod network;
mod supervisor;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use loam_model::oci_spec::runtime::Process;
use loam_model::{
    ArchiveRequest, ContainerId, ErrorKind, ExitRecord, ExitStatus, Failure, Image, NetworkName, PortMapping,
    Result, ShimLaunch,
};

pub use self::supervisor::SimulatedSupervisor;

/// How long a simulated wait may take before the test has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// One kind of call across a seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named after the method it stands for")]
pub enum Step {
    CreateSnapshot,
    Rootfs,
    RemoveSnapshot,
    ChangeLimit,
    NetworkExists,
    Attach,
    Detach,
    ConnectNetwork,
    DisconnectNetwork,
    CheckNetwork,
    CollectNetworks,
    Bundle,
    RemoveCgroup,
    Launch,
    Connect,
    ReadExit,
    Own,
    BeginCreate,
    Keep,
    FinishCreate,
    AttachStreams,
    Start,
    Wait,
    Signal,
    Exec,
    Stats,
    Status,
    Pause,
    Resume,
    ShutDown,
    Archive,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails without an effect, with this kind.
    Fails(ErrorKind),
    /// Every container ends well before the effect, and its shim leaves.
    ShimLeaves,
    /// The caller is killed before the effect.
    KilledBefore,
    /// The caller is killed after the effect.
    KilledAfter,
}

/// The payload of the panic that stands for the death of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed;

/// What is in a world besides images. Nothing, when every container was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Containers with a snapshot.
    pub snapshots: Vec<ContainerId>,
    /// Containers with attachments.
    pub attachments: Vec<ContainerId>,
    /// Containers with a live shim.
    pub shims: Vec<ContainerId>,
    /// Cgroups.
    pub cgroups: Vec<String>,
}

/// A machine in memory.
#[derive(Debug, Default)]
pub struct World {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    images: BTreeMap<String, Image>,
    snapshots: BTreeSet<ContainerId>,
    /// Disk limits, in bytes.
    limits: BTreeMap<ContainerId, u64>,
    attachments: BTreeMap<ContainerId, Attached>,
    /// Networks that were made; the default one is always there.
    networks: BTreeSet<NetworkName>,
    /// Networks that were removed.
    removed: BTreeSet<NetworkName>,
    shims: BTreeMap<ContainerId, ShimState>,
    directories: BTreeMap<ContainerId, PathBuf>,
    cgroups: BTreeSet<String>,
    launches: Vec<ShimLaunch>,
    archives: Vec<ArchiveRequest>,
    processes: Vec<(Process, Option<String>)>,
    on_exit: Vec<ContainerId>,
    /// How main processes ended, told to whoever waited, however soon the shim went after.
    ended: BTreeMap<ContainerId, ExitStatus>,
    steps: Vec<Step>,
    fault: Option<(Step, usize, Fault)>,
    warnings: Vec<String>,
    pid: Option<i32>,
    stubborn: bool,
    last_pid: i32,
}

/// What a container is attached to.
#[derive(Debug, Default)]
struct Attached {
    /// The last part of its addresses, which no other container has.
    number: u8,
    ports: Vec<PortMapping>,
    networks: Vec<NetworkName>,
}

/// A live shim.
#[derive(Debug, Default)]
struct ShimState {
    pid: i32,
    created: bool,
    started: bool,
    paused: bool,
    owners: usize,
    exit: Option<ExitRecord>,
    execs: BTreeMap<u64, Option<ExitStatus>>,
    signals: Vec<i32>,
}

impl World {
    /// An empty machine that has these images.
    pub fn with_images(names: &[&str]) -> Arc<Self> {
        let world = Self::default();
        world.lock().images = names.iter().map(|name| (name.to_string(), images::image(name))).collect();
        Arc::new(world)
    }

    /// Asks for a fault at the call of this step that comes after `skipped` others of it. It happens once.
    pub fn inject(&self, step: Step, skipped: usize, fault: Fault) {
        self.lock().fault = Some((step, skipped, fault));
    }

    /// Takes back a fault that has not happened; whether there was one.
    pub fn withdraw_fault(&self) -> bool {
        self.lock().fault.take().is_some()
    }

    /// The disk limit of a snapshot, in bytes.
    pub fn disk_limit(&self, container: &ContainerId) -> Option<u64> {
        self.lock().limits.get(container).copied()
    }

    /// The calls so far, which are then forgotten.
    pub fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.lock().steps)
    }

    /// What is in the world besides images.
    pub fn left(&self) -> Left {
        let state = self.lock();
        Left {
            snapshots: state.snapshots.iter().cloned().collect(),
            attachments: state.attachments.keys().cloned().collect(),
            shims: state.shims.keys().cloned().collect(),
            cgroups: state.cgroups.iter().cloned().collect(),
        }
    }

    /// The networks that a container is attached to.
    pub fn networks_of(&self, id: &ContainerId) -> Vec<NetworkName> {
        self.lock().attachments.get(id).map(|attached| attached.networks.clone()).unwrap_or_default()
    }

    /// Sentences that bundles come with from now on.
    pub fn set_warnings(&self, warnings: &[&str]) {
        self.lock().warnings = warnings.iter().map(ToString::to_string).collect();
    }

    /// The process id that main processes have from now on; without it, ids that no process has.
    pub fn set_pid(&self, pid: Option<i32>) {
        self.lock().pid = pid;
    }

    /// Whether main processes end from nothing but a signal that can't be caught.
    pub fn set_stubborn(&self, stubborn: bool) {
        self.lock().stubborn = stubborn;
    }

    /// The main process ends by itself.
    pub fn end(&self, id: &ContainerId, status: ExitStatus) {
        self.lock().end(id, status);
        self.changed.notify_all();
    }

    /// A further process ends.
    pub fn end_exec(&self, id: &ContainerId, exec: u64, status: ExitStatus) {
        if let Some(shim) = self.lock().shims.get_mut(id) {
            shim.execs.insert(exec, Some(status));
        }
        self.changed.notify_all();
    }

    /// The shim is killed; its processes live on.
    pub fn kill_shim(&self, id: &ContainerId) {
        self.lock().shims.remove(id);
        self.changed.notify_all();
    }

    /// The machine is restarted: no process, no cgroup is left. The caller empties the run directory.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.shims.clear();
        state.cgroups.clear();
        self.changed.notify_all();
    }

    /// The containers whose shims ran `on_exit`, which are then forgotten.
    pub fn take_on_exit(&self) -> Vec<ContainerId> {
        std::mem::take(&mut self.lock().on_exit)
    }

    /// What shims were launched with so far.
    pub fn launches(&self) -> Vec<ShimLaunch> {
        self.lock().launches.clone()
    }

    /// The copies asked for so far.
    pub fn archives(&self) -> Vec<ArchiveRequest> {
        self.lock().archives.clone()
    }

    /// The further processes that ran so far, with their users.
    pub fn execs(&self) -> Vec<(Process, Option<String>)> {
        self.lock().processes.clone()
    }

    /// The signals that a container got so far.
    pub fn signals(&self, id: &ContainerId) -> Vec<i32> {
        self.lock().shims.get(id).map(|shim| shim.signals.clone()).unwrap_or_default()
    }

    /// Waits until what is in the world satisfies this.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Left) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !condition(&self.left()) {
            let rest = deadline.checked_duration_since(Instant::now());
            let rest = rest.unwrap_or_else(|| panic!("waited too long for {what}: {:?}", self.left()));
            drop(self.changed.wait_timeout(self.lock(), rest.min(Duration::from_millis(5))));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call: counts it, and does `effect` unless a fault is due.
    fn call<T>(&self, step: Step, effect: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.lock();
        state.steps.push(step);
        let fault = state.due(step);
        match fault {
            Some(Fault::Fails(kind)) => {
                return Err(Failure::new(kind, format!("simulated failure of {step:?}")));
            }
            Some(Fault::KilledBefore) => {
                drop(state);
                std::panic::resume_unwind(Box::new(Killed));
            }
            Some(Fault::ShimLeaves) => state.end_all(),
            Some(Fault::KilledAfter) | None => {}
        }
        let result = effect(&mut state);
        drop(state);
        self.changed.notify_all();
        if fault == Some(Fault::KilledAfter) {
            std::panic::resume_unwind(Box::new(Killed));
        }
        result
    }

    /// Waits until `ready` gives something.
    fn wait_for<T>(&self, ready: impl Fn(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        let mut state = self.lock();
        loop {
            if let Some(value) = ready(&state) {
                return value;
            }
            assert!(Instant::now() < deadline, "a simulated wait took longer than {LIMIT:?}");
            state = self.changed.wait_timeout(state, LIMIT).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn due(&mut self, step: Step) -> Option<Fault> {
        let (due, skipped, fault) = self.fault.as_mut()?;
        if *due != step {
            return None;
        }
        if *skipped > 0 {
            *skipped -= 1;
            return None;
        }
        let fault = *fault;
        self.fault = None;
        Some(fault)
    }

    fn end_all(&mut self) {
        let ids: Vec<ContainerId> = self.shims.keys().cloned().collect();
        for id in ids {
            self.end(&id, ExitStatus::Exited(0));
            self.shims.remove(&id);
            // It says so to nobody any more: whoever comes next finds the record.
            self.on_exit.retain(|ended| *ended != id);
        }
        self.cgroups.clear();
    }

    fn end(&mut self, id: &ContainerId, status: ExitStatus) {
        let finished_at = "2026-01-02T03:04:05.000000006Z".to_owned();
        let exit = ExitRecord { status, out_of_memory: false, finished_at };
        let directory = self.directories.get(id).expect("the container was launched").clone();
        let Some(shim) = self.shims.get_mut(id) else { return };
        if shim.exit.is_some() {
            return;
        }
        shim.exit = Some(exit.clone());
        self.ended.insert(id.clone(), status);
        let is_owned = shim.owners > 0;
        let text = serde_json::to_vec(&exit).expect("an exit record is JSON");
        std::fs::write(directory.join("exit.json"), text).expect("the run directory is there");
        if !is_owned {
            self.on_exit.push(id.clone());
        }
    }
}
