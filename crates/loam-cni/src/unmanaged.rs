//! What would be set if it weren't for a configuration that leaves rules to the administrator (backend `none`).
//!
//! ```text
//! STATE_DIRECTORY/unmanaged/WHAT:CONTAINER:IFNAME   rules in nft's language, one a line
//! ```
//!
//! Whoever manages rules reads them there, whether a plugin was called as a program or in-process; DEL removes the file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::protocol::{CniError, Context};

fn directory(context: &Context<'_>) -> PathBuf {
    context.host.state_directory.join("unmanaged")
}

fn path(context: &Context<'_>, what: &str) -> PathBuf {
    directory(context).join(format!("{what}:{}:{}", context.container_id, context.interface))
}

/// Writes what would be set.
pub(crate) fn note(context: &Context<'_>, what: &str, rules: &[String]) -> Result<(), CniError> {
    let path = path(context, what);
    let failed = |cause: io::Error| CniError::io(format!("writing `{}` failed", path.display()), &cause);
    let mut text = format!("# network {}\n", context.config.name);
    for rule in rules {
        text.push_str(rule);
        text.push('\n');
    }
    loam_state_file::replace(&path, text.as_bytes()).map_err(failed)
}

/// Whether that was written for the attachment.
pub(crate) fn is_noted(context: &Context<'_>, what: &str) -> bool {
    path(context, what).exists()
}

/// Removes what was written; success when there is nothing.
pub(crate) fn forget(context: &Context<'_>, what: &str) -> Result<(), CniError> {
    remove(&path(context, what))
}

fn remove(path: &Path) -> Result<(), CniError> {
    loam_state_file::remove(path)
        .map_err(|cause| CniError::io(format!("removing `{}` failed", path.display()), &cause))
}

/// Removes what was written for attachments of the network that are not valid.
pub(crate) fn collect(context: &Context<'_>, what: &str) -> Result<(), CniError> {
    let valid = context.config.valid_attachments()?;
    let valid: Vec<String> =
        valid.owners().map(|known| format!("{what}:{}:{}", known.container, known.interface)).collect();
    let header = format!("# network {}\n", context.config.name);
    let directory = directory(context);
    let names = loam_state_file::sweep(&directory)
        .and_then(|()| loam_state_file::names(&directory))
        .map_err(|cause| CniError::io(format!("reading `{}` failed", directory.display()), &cause))?;
    let of_kind = |name: &&String| name.split(':').next() == Some(what);
    for name in names.iter().filter(of_kind).filter(|name| !valid.contains(name)) {
        let path = directory.join(name);
        if fs::read_to_string(&path).is_ok_and(|text| text.starts_with(&header)) {
            remove(&path)?;
        }
    }
    Ok(())
}
