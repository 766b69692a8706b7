//! SELinux: the labels of a container's processes and files.
//!
//! A label is `user:role:type:level`. All containers share a type that the policy confines, and each has two categories
//! of its own in the level (`s0:c12,c345`), so that they can't touch each other's files. Where the policy comes from, the
//! distribution says in `lxc_contexts`.

mod categories;

use std::fs;
use std::path::Path;

use loam_model::{ContainerId, ErrorKind, Failure, IdMapping, Result, SelinuxOptions, shown};

use super::check_label;

/// The label of processes when the policy names none, without a level.
const PROCESS: [&str; 3] = ["system_u", "system_r", "container_t"];
/// The label of files, likewise.
const FILES: [&str; 3] = ["system_u", "object_r", "container_file_t"];
/// The sensitivity of every level that is made here.
const SENSITIVITY: &str = "s0";

/// What the host's policy says of containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selinux {
    /// The text of the policy's `lxc_contexts`; empty when it has none.
    contexts: String,
}

/// The labels of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    /// Of its processes (`process.selinuxLabel`).
    pub(crate) process: String,
    /// Of its files (`linux.mountLabel`).
    pub(crate) files: String,
}

/// Whether the kernel runs SELinux.
pub fn is_on() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

impl Selinux {
    /// Looks at this host; `None` when its kernel does not run SELinux.
    pub(crate) fn detect() -> Option<Self> {
        is_on().then(|| {
            let config = fs::read_to_string("/etc/selinux/config").unwrap_or_default();
            let policy = value_of(&config, "SELINUXTYPE").unwrap_or_else(|| "targeted".to_owned());
            let path = Path::new("/etc/selinux").join(policy).join("contexts/lxc_contexts");
            Self { contexts: fs::read_to_string(path).unwrap_or_default() }
        })
    }
}

/// The value of a key in a file of lines `KEY = "VALUE"`.
fn value_of(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim() == key && !value.is_empty()).then(|| value.to_owned())
    })
}

/// The labels of a container; `None` where there are to be none.
pub(crate) fn resolve(
    asked: &SelinuxOptions,
    id: &ContainerId,
    mapping: Option<&IdMapping>,
    host: Option<&Selinux>,
) -> Result<Option<Labels>> {
    if asked.disable {
        return Ok(None);
    }
    let parts = [
        ("user", &asked.user),
        ("role", &asked.role),
        ("type", &asked.kind),
        ("level", &asked.level),
        ("filetype", &asked.file_kind),
    ];
    let given = parts.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    for (name, value) in given.clone() {
        check_label("SELinux label", value)?;
        if name != "level" && value.contains(':') {
            let message = format!("SELinux {name} `{}` contains a colon", shown(value));
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
    }
    let Some(host) = host else {
        return match given.into_iter().next() {
            None => Ok(None),
            Some((name, value)) => {
                let message = format!(
                    "SELinux label `{name}:{}` can't be applied: this kernel does not run SELinux",
                    shown(value)
                );
                Err(Failure::new(ErrorKind::Unsupported, message))
            }
        };
    };
    let [mut user, mut role, mut kind] = default_of(&host.contexts, "process", PROCESS);
    let [file_user, file_role, mut file_kind] = default_of(&host.contexts, "file", FILES);
    for (place, value) in [
        (&mut user, &asked.user),
        (&mut role, &asked.role),
        (&mut kind, &asked.kind),
        (&mut file_kind, &asked.file_kind),
    ] {
        if let Some(value) = value {
            place.clone_from(value);
        }
    }
    let level = asked.level.clone().unwrap_or_else(|| {
        let (lower, higher) = categories::of(id, mapping);
        format!("{SENSITIVITY}:c{lower},c{higher}")
    });
    Ok(Some(Labels {
        process: format!("{user}:{role}:{kind}:{level}"),
        files: format!("{file_user}:{file_role}:{file_kind}:{level}"),
    }))
}

/// User, role and type that the policy gives to what a key stands for.
fn default_of(contexts: &str, key: &str, otherwise: [&str; 3]) -> [String; 3] {
    let named = value_of(contexts, key).unwrap_or_default();
    let mut parts = named.splitn(4, ':').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(user), Some(role), Some(kind)) => [user, role, kind],
        _ => otherwise.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests;
