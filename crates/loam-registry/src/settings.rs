//! What the machine's owner says about registries: mirrors, other places, which are blocked or insecure, what short
//! names mean. The files are those of Podman (containers-registries.conf(5)) and of containerd (`certs.d/HOST/hosts.toml`,
//! containerd's docs/hosts.md), so that what is set up for them holds here too.
//!
//! ```text
//! /etc/containers/registries.conf           or $CONTAINERS_REGISTRIES_CONF, or ~/.config/containers/registries.conf
//! /etc/containers/registries.conf.d/*.conf  then ~/.config/containers/registries.conf.d/*.conf; later ones win
//! CERTS/HOST[:PORT]/hosts.toml              CERTS is one of the four `certs.d` directories; `_default` for all others
//! CERTS/HOST[:PORT]/{*.crt,*.cert,*.key}    see `tls`
//! ```
//!
//! Files are read when a client first needs them, and never written. Keys that Loam does not know are left alone: the
//! files belong to others. A key that it knows with a value that makes no sense is an error that names file and key.

mod host_file;
mod registries_file;
mod route;
mod short_name;
mod toml_file;

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::RegistryError;
use crate::reference::Reference;
use crate::transport::lock;
use host_file::HostFile;
use registries_file::{RegistriesFile, Registry};

pub(crate) use route::Need;

/// The files with settings of registries, in the order in which they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsFiles {
    /// Places of `registries.conf`; the first that there is counts.
    pub registries: Vec<PathBuf>,
    /// Directories with more of the kind, all of which count, later ones over earlier ones.
    pub drop_ins: Vec<PathBuf>,
    /// The `certs.d` directories.
    pub hosts: Vec<PathBuf>,
}

impl SettingsFiles {
    /// The files that Podman, containerd and Docker read.
    pub fn usual() -> Self {
        Self::of_environment(&|name| env::var_os(name))
    }

    /// What a name stands for that a person wrote: itself when it begins with a registry; else what an alias says; else
    /// an image of the one registry that is to be searched, or of Docker Hub when the files name none. Only short names
    /// make that the files are read.
    pub fn meaning(&self, text: &str) -> Result<Reference, RegistryError> {
        let reference: Reference = text.parse()?;
        if Reference::names_registry(text) { Ok(reference) } else { Settings::read(self)?.meaning(text) }
    }

    fn of_environment(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config = path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config")));
        let own = |name: &str| config.as_ref().map(|config| config.join("containers").join(name));
        let system = |name: &str| Some(Path::new("/etc/containers").join(name));
        let registries = match path("CONTAINERS_REGISTRIES_CONF") {
            Some(file) => vec![file],
            None => [own("registries.conf"), system("registries.conf")].into_iter().flatten().collect(),
        };
        let elsewhere = |path: &str| Some(PathBuf::from(path));
        Self {
            registries,
            drop_ins: [system("registries.conf.d"), own("registries.conf.d")].into_iter().flatten().collect(),
            hosts: [
                own("certs.d"),
                system("certs.d"),
                elsewhere("/etc/containerd/certs.d"),
                elsewhere("/etc/docker/certs.d"),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }
}

/// What the files say.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// The registries that a file speaks of, each prefix once.
    registries: Vec<Registry>,
    /// Short names, each with what it stands for.
    aliases: BTreeMap<String, String>,
    /// Where short names without an alias are looked for.
    search: Vec<String>,
    /// The file that says so.
    search_file: PathBuf,
    /// The `certs.d` directories.
    hosts: Vec<PathBuf>,
    /// What was read of them, by registry.
    host_files: Mutex<HashMap<String, Option<Arc<HostFile>>>>,
}

impl Settings {
    /// Reads the files.
    pub(crate) fn read(files: &SettingsFiles) -> Result<Self, RegistryError> {
        let mut settings = Self { hosts: files.hosts.clone(), ..Self::default() };
        for path in &files.registries {
            if let Some(file) = RegistriesFile::read(path)? {
                settings.add(file, path);
                break;
            }
        }
        for directory in &files.drop_ins {
            for path in toml_file::named(directory, "conf")? {
                if let Some(file) = RegistriesFile::read(&path)? {
                    settings.add(file, &path);
                }
            }
        }
        Ok(settings)
    }

    /// Lets a file go before what was read so far.
    fn add(&mut self, file: RegistriesFile, path: &Path) {
        for registry in file.registries {
            self.registries.retain(|known| known.prefix != registry.prefix);
            self.registries.push(registry);
        }
        for (name, target) in file.aliases {
            // An alias of nothing takes one back.
            match target {
                Some(target) => drop(self.aliases.insert(name, target)),
                None => drop(self.aliases.remove(&name)),
            }
        }
        if let Some(search) = file.search {
            (self.search, self.search_file) = (search, path.to_owned());
        }
    }

    /// What one `registries.conf` says, and one `hosts.toml` for a registry.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn of_texts(registries: &str, hosts: Option<(&str, &str)>) -> Result<Self, RegistryError> {
        let mut settings = Self::default();
        let path = Path::new("registries.conf");
        settings.add(RegistriesFile::parse(registries, path)?, path);
        if let Some((domain, text)) = hosts {
            let file = HostFile::parse(text, Path::new("certs.d"), domain)?;
            lock(&settings.host_files).insert(domain.to_owned(), Some(Arc::new(file)));
        }
        Ok(settings)
    }

    /// What containerd's kind of file says of a registry.
    fn host_file(&self, domain: &str) -> Result<Option<Arc<HostFile>>, RegistryError> {
        if let Some(known) = lock(&self.host_files).get(domain) {
            return Ok(known.clone());
        }
        let own = directories_of(&self.hosts, domain);
        let default = self.hosts.iter().map(|directory| directory.join("_default"));
        let mut found = None;
        for directory in own.into_iter().chain(default) {
            found = HostFile::read(&directory, domain)?;
            if found.is_some() {
                break;
            }
        }
        let found = found.map(Arc::new);
        lock(&self.host_files).insert(domain.to_owned(), found.clone());
        Ok(found)
    }
}

/// Where `certs.d` directories keep what concerns a host: `HOST[:PORT]`, or `HOST_PORT_` where a colon may not be.
pub(crate) fn directories_of(directories: &[PathBuf], host: &str) -> Vec<PathBuf> {
    let names = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            vec![host.to_owned(), format!("{name}_{port}_")]
        }
        _ => vec![host.to_owned()],
    };
    directories.iter().flat_map(|directory| names.iter().map(|name| directory.join(name))).collect()
}

#[cfg(test)]
mod tests;
