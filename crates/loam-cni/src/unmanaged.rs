//! What would be set if it weren't for a configuration that leaves rules to the administrator (backend `none`).
//!
//! ```text
//! STATE_DIRECTORY/unmanaged/WHAT:CONTAINER:IFNAME   rules in nft's language, one a line
//! ```
//!
//! Whoever manages rules reads them there, whether a plugin was called as a program or in-process; DEL removes the file.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

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
    fs::create_dir_all(directory(context)).and_then(|()| fs::write(&path, text)).map_err(failed)
}

/// Whether that was written for the attachment.
pub(crate) fn is_noted(context: &Context<'_>, what: &str) -> bool {
    path(context, what).exists()
}

/// Removes what was written; success when there is nothing.
pub(crate) fn forget(context: &Context<'_>, what: &str) -> Result<(), CniError> {
    let path = path(context, what);
    match fs::remove_file(&path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(CniError::io(format!("removing `{}` failed", path.display()), &cause))
        }
        _ => Ok(()),
    }
}

/// Removes what was written for attachments of the network that are not valid.
pub(crate) fn collect(context: &Context<'_>, what: &str) -> Result<(), CniError> {
    let valid = context.config.valid_attachments()?;
    let valid: Vec<String> =
        valid.iter().map(|known| format!("{what}:{}:{}", known.container_id, known.ifname)).collect();
    let header = format!("# network {}\n", context.config.name);
    let Ok(entries) = fs::read_dir(directory(context)) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.split(':').next() == Some(what)) else { continue };
        let ours = fs::read_to_string(entry.path()).is_ok_and(|text| text.starts_with(&header));
        if ours && !valid.iter().any(|known| known == name) {
            fs::remove_file(entry.path()).or_else(|cause| match cause.kind() {
                ErrorKind::NotFound => Ok(()),
                _ => Err(CniError::io(format!("removing `{}` failed", entry.path().display()), &cause)),
            })?;
        }
    }
    Ok(())
}
