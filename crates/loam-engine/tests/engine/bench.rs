//! A state directory, a simulated machine, and an engine that joins them.

use std::path::PathBuf;
use std::sync::Arc;

use loam_engine::{ContainerState, Engine, EngineConfig, Notes, SCHEMA, Seams};
use loam_model::{ContainerSpec, PortMapping, Protocol};
use loam_state::Database;
use loam_testkit::seams::{Left, SimulatedSupervisor, World};

/// What a test works with.
pub(crate) struct Bench {
    directory: Arc<tempfile::TempDir>,
    pub(crate) world: Arc<World>,
    pub(crate) engine: Engine,
    pub(crate) database: Arc<Database>,
}

impl Bench {
    /// An empty machine with the images `small` and `other`.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join("root")).expect("made");
        Self::open(Arc::new(directory), World::with_images(&["small", "other"]), Notes::default())
    }

    /// The same machine as another process sees it.
    pub(crate) fn again(&self) -> Self {
        Self::open(Arc::clone(&self.directory), Arc::clone(&self.world), Notes::default())
    }

    /// The same with somebody who listens.
    pub(crate) fn again_with_notes(&self, listen: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self::open(Arc::clone(&self.directory), Arc::clone(&self.world), Notes::to(listen))
    }

    fn open(directory: Arc<tempfile::TempDir>, world: Arc<World>, notes: Notes) -> Self {
        let root = directory.path().join("root");
        let database = Database::open(&root.join("loam.db"), &[SCHEMA]).expect("opened");
        let mut config = EngineConfig::new(root, directory.path().join("run"));
        config.on_exit = vec!["settle".to_owned()];
        config.init_program = b"init";
        config.notes = notes;
        config.resolver_files = vec![directory.path().join("resolv.conf")];
        let seams = Seams {
            images: world.clone(),
            network: world.clone(),
            bundler: world.clone(),
            supervisor: Arc::new(SimulatedSupervisor(world.clone())),
        };
        Self { engine: Engine::new(config, Arc::clone(&database), seams), database, directory, world }
    }

    pub(crate) fn state_directory(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn run_directory(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// A spec for a container that stays.
    pub(crate) fn lasting(&self, name: &str) -> ContainerSpec {
        ContainerSpec {
            image: "small".to_owned(),
            name: Some(name.parse().expect("a name")),
            ..ContainerSpec::default()
        }
    }

    /// A spec for a container that is thrown away.
    pub(crate) fn ephemeral(&self, name: &str) -> ContainerSpec {
        ContainerSpec { auto_remove: true, ..self.lasting(name) }
    }

    /// Nothing in the world, no row, no directory.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self, case: &str) {
        assert_eq!(self.world.left(), Left::default(), "{case}");
        assert_eq!(self.engine.list(true).expect("listed"), [], "{case}");
        for directory in [self.state_directory(), self.run_directory()] {
            let entries = std::fs::read_dir(directory.join("containers"));
            let names: Vec<_> =
                entries.into_iter().flatten().map(|e| e.expect("an entry").file_name()).collect();
            assert!(names.is_empty(), "{case}: {names:?} in {}", directory.display());
        }
    }

    #[track_caller]
    pub(crate) fn assert_no_run_directory(&self, id: &loam_model::ContainerId, case: &str) {
        assert!(!self.run_directory().join("containers").join(id.as_str()).exists(), "{case}");
    }
}

/// A port of the host that leads to port 80 of a container.
pub(crate) fn port(host_port: u16) -> PortMapping {
    PortMapping { host_address: None, host_port, container_port: 80, protocol: Protocol::Tcp }
}

/// The state that a container shows.
pub(crate) fn state(bench: &Bench, name: &str) -> ContainerState {
    bench.engine.inspect(name).expect("inspected").state
}
