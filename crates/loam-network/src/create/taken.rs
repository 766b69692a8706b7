//! What a new network must keep its hands off: names, bridges and subnets of other networks and of the host.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use loam_cni::netlink::RouteSocket;
use loam_model::{ErrorKind, Failure, NetworkName, NetworkSpec, Result, SubnetSpec};

use super::compose::{self, BRIDGES};
use crate::conflist::{self, Loaded, NetworkList, kind};
use crate::failure::of_files;
use crate::subnets;

/// Names that mean something else where a network is named.
const RESERVED: [&str; 8] = ["none", "host", "default", "bridge", "private", "container", "ns", "pasta"];

/// What others have already.
pub(super) struct Taken {
    loaded: Loaded,
    routes: Vec<IpNet>,
    links: Vec<String>,
}

impl Taken {
    pub(super) fn look(directory: &Path) -> Result<Self> {
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

    pub(super) fn refuse_name(&self, name: &str) -> Result<()> {
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
    pub(super) fn refuse_interface(&self, list: &NetworkList) -> Result<()> {
        let Some(name) = list.host_interface().filter(|_| is_bridge(list)) else { return Ok(()) };
        match self.lists().find(|other| is_bridge(other) && other.host_interface() == Some(name)) {
            Some(other) => Err(bridge_taken(name, &format!("network `{}`", other.name))),
            None => Ok(()),
        }
    }

    pub(super) fn refuse_subnets(&self, wanted: &[IpNet], on_host: bool) -> Result<()> {
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
    pub(super) fn complete(&self, name: &NetworkName, spec: &NetworkSpec) -> Result<NetworkSpec> {
        let mut spec = spec.clone();
        compose::check(name, &spec)?;
        if let Some(parent) = spec.parent.as_ref().filter(|parent| !self.links.contains(parent)) {
            let message = format!("there is no interface `{parent}` for network `{name}` to stand on");
            return Err(Failure::new(ErrorKind::NotFound, message));
        }
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
        let wants_six = wants_six && !spec.subnet_per_container;
        if wants_six && !spec.subnets.iter().any(|one| one.subnet.addr().is_ipv6()) {
            let subnet =
                subnets::unique_local().map_err(|cause| of_files("reading random bytes failed", cause))?;
            spec.subnets.push(SubnetSpec { subnet: subnet.into(), gateway: None, range: None });
        }
        Ok(spec)
    }

    /// The bridge of a network: the one that is asked for, else the first free name.
    pub(super) fn bridge(&self, spec: &NetworkSpec) -> Result<Option<String>> {
        if compose::driver(spec) != "bridge" || spec.subnet_per_container {
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
