//! Moving a link into a container and back. A link that was moved keeps its old name as alias, for people to see.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::interface::{failed, not_entered};
use crate::namespace::Namespace;
use crate::netlink::{Batch, Link, NetlinkError, Refusal, RouteSocket};
use crate::protocol::{CniError, code};

fn first(verdicts: Vec<Result<(), Refusal>>) -> Result<(), NetlinkError> {
    verdicts.into_iter().next().unwrap_or(Ok(())).map_err(NetlinkError::Refused)
}

fn own_namespace() -> Result<File, CniError> {
    File::open("/proc/thread-self/ns/net")
        .map_err(|cause| CniError::io("opening the host's network namespace failed", &cause))
}

/// Moves a link in, under a name.
pub(super) fn move_in(
    socket: &mut RouteSocket,
    namespace: &Namespace,
    link: &Link,
    name: &str,
) -> Result<(), CniError> {
    let what = format!("moving device `{}` into the container", link.name);
    let mut batch = Batch::new();
    batch.move_link(link.index, namespace.as_fd(), name, &link.name);
    let moved = socket.run(batch).map_err(failed(what.clone()))?;
    first(moved).map_err(|error| {
        // It may have got there but not have got its name, when somebody else took that at this moment.
        let left = socket
            .link_by_index(link.index)
            .is_ok_and(|found| found.is_none_or(|found| found.name != link.name));
        let is_it = |found: &Link| found.name == link.name && found.mac == link.mac;
        let back = if left { return_link(namespace, is_it, &link.name) } else { Ok(()) };
        let mut told = match error.errno() {
            Some(Errno::INVAL) => CniError::internal(
                format!("{what} failed: links of its type, or ports of another link, can't be moved"),
                &error,
            ),
            _ => failed(what)(error),
        };
        if let Err(second) = back {
            told.details = format!("{}; moving it back failed too: {second}", told.details);
        }
        told
    })
}

/// Moves a link back under a name; success when there is none.
pub(super) fn return_link(
    namespace: &Namespace,
    is_meant: impl Fn(&Link) -> bool + Send,
    name: &str,
) -> Result<(), CniError> {
    let what = "moving the device back to the host";
    let host = own_namespace()?;
    let moved = namespace.run(|| {
        let mut socket = RouteSocket::open()?;
        let Some(link) = socket.links()?.into_iter().find(is_meant) else { return Ok(()) };
        let mut batch = Batch::new();
        batch.move_link(link.index, host.as_fd(), name, "");
        first(socket.run(batch)?)
    });
    moved.map_err(|cause| not_entered(&cause))?.map_err(|error| match error.errno() {
        Some(Errno::EXIST) => {
            CniError::new(code::EXISTS, format!("{what} failed: its name is taken there")).because(&error)
        }
        _ => failed(what)(error),
    })
}

/// Gives a link of the host another name. It must be down for that.
pub(super) fn rename(socket: &mut RouteSocket, link: &Link, name: &str) -> Result<(), CniError> {
    let host = own_namespace()?;
    let mut batch = Batch::new();
    batch.link_down(link.index).move_link(link.index, host.as_fd(), name, "");
    let what = format!("giving device `{name}` its name back");
    for verdict in socket.run(batch).map_err(failed(what.clone()))? {
        verdict.map_err(|refusal| failed(what.clone())(NetlinkError::Refused(refusal)))?;
    }
    Ok(())
}
