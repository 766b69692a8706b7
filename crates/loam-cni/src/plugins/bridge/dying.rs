//! Links that the kernel will remove with their namespaces; see the module above.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use crate::interface::Derived;
use crate::netlink::{Batch, RouteSocket};
use crate::protocol::{CniError, Host};

/// How long the kernel has before we remove the link ourselves.
const PATIENCE: Duration = Duration::from_secs(3);

fn directory(host: &Host) -> PathBuf {
    host.state_directory.join("dying-links")
}

/// Notes a link.
pub(super) fn note(host: &Host, name: &str) -> Result<(), CniError> {
    let directory = directory(host);
    let path = directory.join(name);
    let written = match fs::write(&path, "") {
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(&directory).and_then(|()| fs::write(&path, ""))
        }
        written => written,
    };
    written.map_err(|cause| CniError::io(format!("writing `{}` failed", path.display()), &cause))
}

/// Forgets a link, because its name is used anew.
pub(super) fn forget(host: &Host, name: &str) {
    // There is seldom anything; what can't be removed is seen by the sweep.
    drop(fs::remove_file(directory(host).join(name)));
}

/// Removes the links whose time is up. Failures show at the next sweep.
pub(super) fn sweep(socket: &mut RouteSocket, host: &Host) {
    let Ok(entries) = fs::read_dir(directory(host)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| Derived::is_host_name(name)) else { continue };
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_none_or(|age| age < PATIENCE) {
            continue;
        }
        if let Ok(Some(_)) = socket.link(name) {
            let mut batch = Batch::new();
            batch.delete_link(name);
            drop(socket.run(batch));
        }
        forget(host, name);
    }
}
