//! The default network: written once, when it is first used, and from then on the administrator's to change.

use std::path::Path;

use ipnet::IpNet;
use loam_cni::netlink::RouteSocket;
use loam_model::{ErrorKind, Failure, Result};

use crate::conflist;
use crate::create::{self, BRIDGES, DefaultBridge, default_text};
use crate::failure::of_files;
use crate::subnets;

/// The name of the default network.
pub const DEFAULT_NETWORK: &str = "loam";

/// Writes the default network unless it exists.
pub(crate) fn ensure(conf_dir: &Path, data_dir: &Path) -> Result<()> {
    let path = conf_dir.join(format!("{DEFAULT_NETWORK}.conflist"));
    if path.exists() {
        return Ok(());
    }
    create::make_directory(conf_dir)?;
    let _lock = create::lock(conf_dir)?;
    if path.exists() {
        return Ok(());
    }
    let text = compose(conf_dir, data_dir)?;
    create::write(conf_dir, &path, &text)
        .map_err(|error| of_files(&format!("writing `{}` failed", path.display()), error))
}

fn compose(conf_dir: &Path, data_dir: &Path) -> Result<String> {
    let failed = |error| of_files("looking at the host's routes failed", error);
    let mut socket = RouteSocket::open().map_err(failed)?;
    let mut used: Vec<IpNet> = subnets::of_routes(&mut socket).map_err(failed)?;
    let lists =
        conflist::all(conf_dir).map_err(|error| of_files("reading the other networks failed", error))?;
    lists.iter().for_each(|list| used.extend(list.subnets()));
    let exhausted =
        |what: &str| Failure::new(ErrorKind::Exhausted, format!("every {what} that Loam knows is in use"));
    let four = subnets::free_large(&used).ok_or_else(|| exhausted("private subnet"))?;
    let six = match subnets::has_ipv6() {
        true => {
            Some(subnets::unique_local().map_err(|cause| of_files("reading random bytes failed", cause))?)
        }
        false => None,
    };
    let links = socket.links().map_err(failed)?;
    let is_free = |name: &String| {
        links.iter().all(|link| link.name != *name)
            && lists.iter().all(|list| list.host_interface() != Some(name.as_str()))
    };
    let bridge = (0..BRIDGES).map(|number| format!("loam{number}")).find(is_free);
    let bridge = bridge.ok_or_else(|| exhausted("bridge name"))?;
    default_text(DefaultBridge { bridge: &bridge, four, six }, data_dir)
}
