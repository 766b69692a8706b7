//! What stands for a container: a network namespace that a mount keeps.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use loam_cni::CniResult;
use loam_cni::namespace::Namespace;
use loam_cni::netlink::RouteSocket;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::chain::{Endpoint, INTERFACE};
use crate::place::DIRECTORY;

/// A network namespace with its loopback up.
#[derive(Debug)]
pub(crate) struct Container {
    /// How the plugins see it.
    pub(crate) endpoint: Endpoint,
    path: PathBuf,
    kept: bool,
}

impl Container {
    /// Makes one.
    pub(crate) fn make(id: &str, number: u16) -> io::Result<Self> {
        let path = Path::new(DIRECTORY).join("ns").join(id);
        File::create(&path)?;
        let made = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                loam_sys::new_network_namespace()?;
                loam_sys::bring_loopback_up()?;
                mount_bind("/proc/thread-self/ns/net", &path).map_err(io::Error::from)
            });
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread ended early")))
        });
        let endpoint = Endpoint { id: id.to_owned(), namespace: Some(path.clone()), number };
        let container = Self { endpoint, path, kept: made.is_ok() };
        made.map(|()| container)
    }

    /// Opens the namespace.
    pub(crate) fn namespace(&self) -> Result<Namespace, String> {
        Namespace::open_any(&self.path).map_err(|error| format!("the container's namespace: {error}"))
    }

    /// Runs a function inside.
    pub(crate) fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T, String> {
        self.namespace()?.run(function).map_err(|error| format!("the container's namespace: {error}"))
    }

    /// Lets the namespace go, as a runtime does when the container has ended.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.kept) {
            return Ok(());
        }
        unmount(&self.path, UnmountFlags::DETACH)?;
        fs::remove_file(&self.path)
    }

    /// Holds a result against the namespace: what a plugin says that it made has to be there.
    pub(crate) fn verify(&self, result: &CniResult) -> Result<(), String> {
        let promised = result.interfaces.iter().find(|made| !made.sandbox.is_empty());
        let Some(promised) = promised.map(|made| made.name.clone()) else {
            return Err("ADD succeeded, but its result names no interface in the container".into());
        };
        let found = self.run(|| {
            let mut socket = RouteSocket::open()?;
            match socket.link(&promised)? {
                Some(link) => Ok(Some((link.up, socket.addresses(Some(link.index))?))),
                None => Ok(None),
            }
        })?;
        let found = found.map_err(|error: loam_cni::netlink::NetlinkError| format!("looking: {error}"))?;
        let Some((up, addresses)) = found else {
            return Err(format!("ADD succeeded, but there is no interface `{promised}` in the container"));
        };
        if !up {
            return Err(format!("ADD succeeded, but interface `{promised}` is down"));
        }
        let missing = result.ips.iter().find(|ip| !addresses.iter().any(|there| there.net == ip.address));
        match missing {
            Some(ip) => Err(format!("ADD succeeded, but address `{}` is not there", ip.address)),
            None => Ok(()),
        }
    }

    /// Whether the interface is there.
    pub(crate) fn has_interface(&self) -> Result<bool, String> {
        let found = self.run(|| RouteSocket::open()?.link(INTERFACE))?;
        found.map(|link| link.is_some()).map_err(|error| format!("looking: {error}"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // What can't be unmounted goes with the worker's mount namespace.
        let _gone_with_the_worker = self.end().is_err();
    }
}
