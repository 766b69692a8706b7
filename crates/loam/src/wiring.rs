//! The wiring: which adapters the engine stands on, where things are, and that nothing is opened before it is needed.

mod adapters;
mod garden_network;
mod grootfs;

use std::cell::OnceCell;
use std::env;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use loam_engine::{Engine, EngineConfig, Notes};
use loam_image::{ImageCopier, LayerStore, RemoteRegistries, StoreConfig, Unpacker};
use loam_model::{
    CgroupDriver, ErrorKind, Failure, Image, ImageArchives, ImageCopies, ImageMounts, ImageStore, ImageTrees,
    ImageUpkeep, QuotaMechanism, Registries,
};
use loam_state::Database;
use loam_sys::features::{self, Feature};
use loam_sys::kernel;

pub(crate) use garden_network::GardenNetworkHost;
pub(crate) use grootfs::GrootfsHost;
pub(crate) use loam_oci::{AppArmorProfile, CgroupLayout, HostReport};
pub(crate) use loam_rootfs::MountWays;

use crate::config::Settings;
use crate::render;

/// The program that stays with a container.
pub(crate) const SHIM: Helper = Helper { name: "loam-shim", variable: "LOAM_SHIM" };
/// The program that unpacks layers.
pub(crate) const UNPACKER: Helper = Helper { name: "loam-unpack", variable: "LOAM_UNPACK" };
/// The plugins, as a program: for other runtimes, and to keep DHCP leases.
pub(crate) const PLUGINS: Helper = Helper { name: "loam-cni", variable: "LOAM_CNI" };

/// A program that this one runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Helper {
    name: &'static str,
    /// The environment variable that says where it is.
    variable: &'static str,
}

/// Everything a command may need, each part made when it is first asked for.
#[derive(Debug)]
pub(crate) struct Wiring {
    settings: Settings,
    database: OnceCell<Arc<Database>>,
    store: OnceCell<Arc<LayerStore>>,
    engine: OnceCell<Engine>,
}

impl Wiring {
    /// Takes note of the settings, and does nothing.
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, database: OnceCell::new(), store: OnceCell::new(), engine: OnceCell::new() }
    }

    /// The engine.
    pub(crate) fn engine(&self) -> Result<&Engine, Failure> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let (root, run) = (self.root()?, self.run()?);
        let (database, images) = (Arc::clone(self.database()?), Arc::clone(self.store()?));
        let program = own_program()?;
        let seams = adapters::seams(&self.settings, images, &root, &run, &program);
        let mut config = EngineConfig::new(&root, &run);
        config.on_exit = on_exit(&program, &root, &run, self.settings.config.as_deref())?;
        config.init_program = loam_freestanding::INIT;
        config.notes = Notes::to(render::notice);
        Ok(self.engine.get_or_init(|| Engine::new(config, database, seams)))
    }

    /// The image store.
    pub(crate) fn images(&self) -> Result<&dyn ImageStore, Failure> {
        Ok(self.store()?.as_ref())
    }

    /// What an image's name stands for, whole; `None` when there is a doubt about it, or it can't be a name.
    pub(crate) fn stands_for(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.store()?.stands_for(name))
    }

    /// The same store, for those who look after it.
    pub(crate) fn upkeep(&self) -> Result<&dyn ImageUpkeep, Failure> {
        Ok(self.store()?.as_ref())
    }

    /// The same store, for archives.
    pub(crate) fn archives(&self) -> Result<&dyn ImageArchives, Failure> {
        Ok(self.store()?.as_ref())
    }

    /// The same store, for the files in it.
    pub(crate) fn trees(&self) -> Result<&dyn ImageTrees, Failure> {
        Ok(self.store()?.as_ref())
    }

    /// The same store, for images that are mounted.
    pub(crate) fn mounts(&self) -> Result<&dyn ImageMounts, Failure> {
        Ok(self.store()?.as_ref())
    }

    /// The registries, for what needs no store.
    pub(crate) fn registries(&self) -> Box<dyn Registries> {
        Box::new(RemoteRegistries::new(render::notice))
    }

    /// Copying between places that are no store.
    pub(crate) fn copies(&self) -> Result<Box<dyn ImageCopies>, Failure> {
        Ok(Box::new(ImageCopier::new(unpacker()?)))
    }

    /// Installs the image that this program carries, unless it is there already.
    pub(crate) fn install_built_in(&self) -> Result<Image, Failure> {
        self.store()?.install_built_in(loam_freestanding::HELLO_LAYOUT, "hello")
    }

    /// The state directory, absolute; what it leads to, when it is a link.
    pub(crate) fn root(&self) -> Result<PathBuf, Failure> {
        state_directory(&self.settings.root)
    }

    /// The driver that makes the cgroups of new containers.
    pub(crate) fn cgroup_driver(&self) -> Result<CgroupDriver, Failure> {
        loam_oci::cgroup_driver(self.settings.cgroup_driver)
    }

    /// What this host gives to containers.
    pub(crate) fn host_report(&self) -> HostReport {
        HostReport::look()
    }

    /// What enforces disk limits in the state directory; `None` when that can't be told.
    pub(crate) fn quota_mechanism(&self) -> Option<QuotaMechanism> {
        loam_image::quota_mechanism(&self.root().ok()?).ok()
    }

    /// Which ways of mounting there are, with layers in the state directory or, before there is one, above it.
    pub(crate) fn mount_ways(&self) -> MountWays {
        let there =
            self.root().ok().and_then(|root| root.ancestors().find(|path| path.exists()).map(Path::to_owned));
        MountWays::look(&there.unwrap_or_else(|| "/".into()))
    }

    /// The run directory, absolute; what it leads to, when it is a link.
    pub(crate) fn run(&self) -> Result<PathBuf, Failure> {
        state_directory(&self.settings.run)
    }

    fn store(&self) -> Result<&Arc<LayerStore>, Failure> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let config = StoreConfig {
            keep_blobs: self.settings.keep_blobs,
            prune_threshold: self.settings.prune_threshold,
            ..StoreConfig::new(self.root()?, unpacker()?)
        };
        let store = LayerStore::open(config, Arc::clone(self.database()?));
        Ok(self.store.get_or_init(|| Arc::new(store)))
    }

    fn database(&self) -> Result<&Arc<Database>, Failure> {
        if let Some(database) = self.database.get() {
            return Ok(database);
        }
        require_root()?;
        let root = self.root()?;
        make_directory(&root)?;
        let schemas = [loam_image::SCHEMA, loam_engine::SCHEMA];
        let database = Database::open(&root.join("loam.db"), &schemas)?;
        Ok(self.database.get_or_init(|| database))
    }
}

/// Tells the kernel that a process will soon be moved into cgroups. Its wait for that goes on beside the making of the
/// container; nobody waits for the thread, which changes nothing.
pub(crate) fn hasten() {
    let _runs_beside = std::thread::Builder::new().spawn(loam_oci::hasten_cgroup_joins);
}

/// Refuses to go on without the rights that everything here needs.
fn require_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let message = "containers and images can be handled by root only";
    Err(Failure::new(ErrorKind::Denied, message).hint("run it again with `sudo`"))
}

/// Refuses a kernel that is too old.
pub(crate) fn check_kernel() -> Result<(), Failure> {
    match kernel::objection(&kernel::release()) {
        None => Ok(()),
        Some(objection) => Err(Failure::new(ErrorKind::Unsupported, objection)),
    }
}

/// Turns off the kernel features that the environment names, and refuses a name that none has.
pub(crate) fn turn_features_off() -> Result<(), Failure> {
    let list = env::var_os(features::VARIABLE).unwrap_or_default();
    features::turn_off(&list.to_string_lossy()).map_err(|error| {
        let known = Feature::ALL.map(Feature::as_str).join(", ");
        Failure::new(ErrorKind::Invalid, error.to_string()).hint(format!("known are {known}"))
    })
}

/// Makes a directory that everybody may pass and nobody else may list: containers' users are others on the host.
fn make_directory(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(|error| {
        let message = format!("the state directory `{}` can't be made", path.display());
        let failure = Failure::new(ErrorKind::of_io(&error), message);
        failure.caused_by(error).hint("choose another with `--root`")
    })
}

fn state_directory(path: &Path) -> Result<PathBuf, Failure> {
    loam_sys::follow_link(path).map_err(|error| no_place(path, error))
}

fn no_place(path: &Path, error: io::Error) -> Failure {
    Failure::new(ErrorKind::Invalid, format!("`{}` is no path", path.display())).caused_by(error)
}

/// Who unpacks layers.
fn unpacker() -> Result<Unpacker, Failure> {
    Ok(Unpacker::Confined(helper(&own_program()?, UNPACKER)))
}

/// This program's file.
pub(crate) fn own_program() -> Result<PathBuf, Failure> {
    env::current_exe().map_err(|error| {
        Failure::new(ErrorKind::Internal, "the path of this program is not known").caused_by(error)
    })
}

/// Where a helper is: what its variable says, else beside this program, else where a package puts it.
pub(crate) fn helper(program: &Path, helper: Helper) -> PathBuf {
    if let Some(path) = env::var_os(helper.variable) {
        return path.into();
    }
    let beside = program.with_file_name(helper.name);
    if beside.exists() {
        return beside;
    }
    let prefix = program.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    prefix.join("libexec/loam").join(helper.name)
}

/// What a shim runs when its container has ended and nobody waits for it.
fn on_exit(program: &Path, root: &Path, run: &Path, config: Option<&Path>) -> Result<Vec<String>, Failure> {
    let text = |path: &Path| match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Failure::new(ErrorKind::Invalid, format!("`{}` is not UTF-8", path.display()))),
    };
    let flag = |flag: &str| flag.to_owned();
    let mut words = vec![text(program)?, flag("--root"), text(root)?, flag("--run"), text(run)?];
    if let Some(config) = config {
        words.extend([flag("--config"), text(&absolute(config).map_err(|error| no_place(config, error))?)?]);
    }
    words.push(flag("settle"));
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_beside_the_program_or_where_a_package_puts_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("bin/loam");
        std::fs::create_dir(directory.path().join("bin")).expect("made");
        assert_eq!(helper(&program, SHIM), directory.path().join("libexec/loam/loam-shim"));
        std::fs::write(directory.path().join("bin/loam-shim"), "").expect("written");
        assert_eq!(helper(&program, SHIM), directory.path().join("bin/loam-shim"));
    }

    #[test]
    fn a_shim_is_told_how_to_report_the_end() {
        let words = |config: Option<&str>| {
            let (program, root, run) = (Path::new("/bin/loam"), Path::new("/r"), Path::new("/n"));
            on_exit(program, root, run, config.map(Path::new)).expect("UTF-8")
        };
        assert_eq!(words(None), ["/bin/loam", "--root", "/r", "--run", "/n", "settle"]);
        assert_eq!(words(Some("/c"))[5..], ["--config", "/c", "settle"]);
    }
}
