//! Making networks and removing them.
//!
//! A list is written beside its place and renamed, under a lock of the directory (flock), so that two who make networks
//! at once see each other's. What is taken by another network, or by the host, is refused by name.

mod compose;
mod validate;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use loam_cni::netlink::RouteSocket;
use loam_model::{
    ErrorKind, Failure, NetworkDescription, NetworkName, NetworkSource, NetworkSpec, Result, SubnetSpec,
};
use rustix::fs::{FlockOperation, flock};

pub(crate) use compose::{BRIDGES, DefaultBridge, default_text};

use crate::conflist::{self, Loaded, MAX_BYTES, NetworkList, kind};
use crate::describe::description;
use crate::failure::of_files;
use crate::network::CniNetwork;
use crate::subnets;

/// Names that mean something else where a network is named.
const RESERVED: [&str; 8] = ["none", "host", "default", "bridge", "private", "container", "ns", "pasta"];

/// What others have already.
struct Taken {
    loaded: Loaded,
    routes: Vec<IpNet>,
    links: Vec<String>,
}

impl CniNetwork {
    /// [`loam_model::Network::create_network`].
    pub(crate) fn create(&self, source: &NetworkSource) -> Result<NetworkDescription> {
        let directory = &self.config.conf_dir;
        make_directory(directory)?;
        let _lock = lock(directory)?;
        let taken = Taken::look(directory)?;
        let list = match source {
            NetworkSource::Spec(name, spec) => {
                taken.refuse_name(name.as_str())?;
                let spec = taken.complete(name, spec)?;
                let bridge = taken.bridge(&spec)?;
                let text = compose::text(name, &spec, bridge.as_deref(), &self.config.data_dir)?;
                parse(text)?
            }
            NetworkSource::Configuration(text) if text.len() as u64 > MAX_BYTES => {
                let message = format!("the configuration is longer than {MAX_BYTES} bytes");
                return Err(Failure::new(ErrorKind::Invalid, message));
            }
            NetworkSource::Configuration(text) => {
                let list = parse(text.clone())?;
                taken.refuse_name(&list.name)?;
                taken.refuse_interface(&list)?;
                taken.refuse_subnets(&list.subnets(), false)?;
                list
            }
        };
        let name: NetworkName = list
            .name
            .parse()
            .map_err(|error: loam_model::InvalidName| Failure::new(ErrorKind::Invalid, error.to_string()))?;
        self.validate(&list)?;
        let path = directory.join(format!("{name}.conflist"));
        write(directory, &path, &list.text)
            .map_err(|error| of_files(&format!("writing `{}` failed", path.display()), error))?;
        Ok(description(name, Some(path), &list))
    }
}

fn parse(text: String) -> Result<NetworkList> {
    NetworkList::parse(text)
        .map_err(|error| Failure::new(ErrorKind::Invalid, "the configuration can't be used").caused_by(error))
}

/// Makes the directory of networks unless it is there.
pub(crate) fn make_directory(directory: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(|cause| of_files(&format!("making directory `{}` failed", directory.display()), cause))
}

/// Locks the directory of networks, until the file is dropped.
pub(crate) fn lock(directory: &Path) -> Result<File> {
    let failed = |cause: io::Error| of_files(&format!("locking `{}` failed", directory.display()), cause);
    let file = File::open(directory).map_err(failed)?;
    loop {
        match flock(&file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map(|()| file).map_err(|errno| failed(errno.into())),
        }
    }
}

/// Writes a list beside its place, syncs and renames it.
pub(crate) fn write(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    // The directory is locked: nobody else writes here.
    let beside = directory.join(".conflist.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data())?;
    fs::rename(&beside, path)
}

impl Taken {
    fn look(directory: &Path) -> Result<Self> {
        let loaded = conflist::load(directory)
            .map_err(|error| of_files("reading the other networks failed", error))?;
        let failed = |error| of_files("looking at the host's routes and links failed", error);
        let mut socket = RouteSocket::open().map_err(failed)?;
        let routes = subnets::of_routes(&mut socket).map_err(failed)?;
        let links = socket.links().map_err(failed)?.into_iter().map(|link| link.name).collect();
        Ok(Self { loaded, routes, links })
    }

    fn lists(&self) -> impl Iterator<Item = &NetworkList> {
        self.loaded.lists.iter().map(|(_, list)| list)
    }

    fn refuse_name(&self, name: &str) -> Result<()> {
        if RESERVED.contains(&name) {
            let message = format!("`{name}` can't be the name of a network: it means something else");
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        let file = format!("{name}.conflist");
        let named = |path: &PathBuf| path.file_name().is_some_and(|found| found == file.as_str());
        let mut files = self
            .loaded
            .lists
            .iter()
            .map(|(path, _)| path)
            .chain(self.loaded.problems.iter().map(|(path, _)| path));
        if self.lists().any(|list| list.name == name) || files.any(named) || name == crate::DEFAULT_NETWORK {
            return Err(Failure::new(ErrorKind::AlreadyExists, format!("network `{name}` exists already")));
        }
        Ok(())
    }

    /// Refuses a bridge that another network has. One on the host that no network has may be shared with others.
    fn refuse_interface(&self, list: &NetworkList) -> Result<()> {
        let Some(name) = list.host_interface().filter(|_| is_bridge(list)) else { return Ok(()) };
        match self.lists().find(|other| is_bridge(other) && other.host_interface() == Some(name)) {
            Some(other) => Err(bridge_taken(name, &format!("network `{}`", other.name))),
            None => Ok(()),
        }
    }

    fn refuse_subnets(&self, wanted: &[IpNet], on_host: bool) -> Result<()> {
        for (index, subnet) in wanted.iter().enumerate() {
            let clash = |with: String| {
                let message = format!("subnet `{subnet}` overlaps with {with}");
                Err(Failure::new(ErrorKind::AlreadyExists, message))
            };
            if let Some(other) = subnets::overlapping(*subnet, &wanted[..index]) {
                return clash(format!("`{other}`"));
            }
            for list in self.lists() {
                if let Some(other) = subnets::overlapping(*subnet, &list.subnets()) {
                    return clash(format!("`{other}` of network `{}`", list.name));
                }
            }
            if let Some(route) = subnets::overlapping(*subnet, &self.routes).filter(|_| on_host) {
                return clash(format!("`{route}`, which the host has a route to"));
            }
        }
        Ok(())
    }

    /// Fills in what was left open, and refuses subnets that others have.
    fn complete(&self, name: &NetworkName, spec: &NetworkSpec) -> Result<NetworkSpec> {
        let mut spec = spec.clone();
        compose::check(name, &spec)?;
        let given: Vec<IpNet> = spec.subnets.iter().map(|one| one.subnet).collect();
        // A network that stands on a link of the host has that link's subnets.
        self.refuse_subnets(&given, !compose::stands_on_parent(&spec))?;
        if !compose::chooses_subnets(&spec) {
            return Ok(spec);
        }
        if given.is_empty() {
            let mut used = self.routes.clone();
            self.lists().for_each(|list| used.extend(list.subnets()));
            let subnet = subnets::free_small(&used).ok_or_else(|| {
                Failure::new(ErrorKind::Exhausted, "every private subnet that Loam knows is in use")
                    .hint("choose one with `--subnet`")
            })?;
            spec.subnets.push(SubnetSpec { subnet: subnet.into(), gateway: None, range: None });
        }
        let wants_six = spec.ipv6.unwrap_or(given.is_empty() && subnets::has_ipv6());
        if wants_six && !spec.subnets.iter().any(|one| one.subnet.addr().is_ipv6()) {
            let subnet =
                subnets::unique_local().map_err(|cause| of_files("reading random bytes failed", cause))?;
            spec.subnets.push(SubnetSpec { subnet: subnet.into(), gateway: None, range: None });
        }
        Ok(spec)
    }

    /// The bridge of a network: the one that is asked for, else the first free name.
    fn bridge(&self, spec: &NetworkSpec) -> Result<Option<String>> {
        if compose::driver(spec) != "bridge" {
            return Ok(None);
        }
        let owner =
            |name: &str| self.lists().find(|list| is_bridge(list) && list.host_interface() == Some(name));
        let Some(name) = spec.options.get("bridge").map(String::as_str) else {
            let free = (0..BRIDGES)
                .map(|number| format!("loam{number}"))
                .find(|name| !self.links.contains(name) && owner(name).is_none());
            return free.map(Some).ok_or_else(|| {
                Failure::new(ErrorKind::Exhausted, "every bridge name that Loam knows is in use")
                    .hint("choose one with `--opt bridge=NAME`")
            });
        };
        match owner(name) {
            Some(list) => Err(bridge_taken(name, &format!("network `{}`", list.name))),
            None if self.links.iter().any(|link| link == name) => Err(bridge_taken(name, "this host")),
            None => Ok(Some(name.to_owned())),
        }
    }
}

fn is_bridge(list: &NetworkList) -> bool {
    list.plugins.first().is_some_and(|plugin| kind(plugin) == "bridge")
}

fn bridge_taken(name: &str, who: &str) -> Failure {
    Failure::new(ErrorKind::AlreadyExists, format!("the interface `{name}` belongs to {who}"))
        .hint("choose another with `--opt bridge=NAME`")
}

/// Whether an address is one that a container or a gateway of a subnet can have.
fn is_host_of(subnet: IpNet, address: IpAddr) -> bool {
    let single = subnet.prefix_len() == subnet.max_prefix_len();
    let end = address.is_ipv4() && subnet.prefix_len() < 31 && address == subnet.broadcast();
    subnet.contains(&address) && (single || address != subnet.network() || subnet.prefix_len() == 31) && !end
}
