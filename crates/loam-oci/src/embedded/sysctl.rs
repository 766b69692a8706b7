//! Kernel parameters of the container's own namespaces.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result, shown};
use rustix::fs::{OFlags, ResolveFlags};
use rustix::thread::ThreadNameSpaceType as Kind;

use super::explain::Explain;
use super::namespaces::Namespaces;

/// One parameter: the file below `/proc/sys`, and what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sysctl {
    path: PathBuf,
    value: String,
}

/// The parameters of the IPC namespace, below `kernel`.
const IPC: [&str; 10] = [
    "msg_next_id",
    "msgmax",
    "msgmnb",
    "msgmni",
    "sem",
    "sem_next_id",
    "shm_next_id",
    "shm_rmid_forced",
    "shmall",
    "shmmax",
];

/// Checks that each parameter belongs to a namespace of the container's own: all others are the machine's.
pub(super) fn check(asked: &HashMap<String, String>, namespaces: &Namespaces) -> Result<Vec<Sysctl>> {
    let mut sysctls: Vec<Sysctl> = asked
        .iter()
        .map(|(key, value)| {
            let refused =
                |why: &str| Failure::new(ErrorKind::Invalid, format!("the sysctl `{}` {why}", shown(key)));
            let names = names(key).ok_or_else(|| refused("is not a valid name"))?;
            if value.chars().any(char::is_control) {
                return Err(refused("has control characters in its value"));
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let (needed, what) = match names.as_slice() {
                ["kernel", name] if IPC.contains(name) || *name == "shmmni" => {
                    (Kind::INTER_PROCESS_COMMUNICATION, "IPC")
                }
                ["fs", "mqueue", _] => (Kind::INTER_PROCESS_COMMUNICATION, "IPC"),
                ["net", _, ..] => (Kind::NETWORK, "network"),
                ["kernel", "domainname"] => (Kind::HOST_NAME_AND_NIS_DOMAIN_NAME, "UTS"),
                _ => return Err(refused("belongs to no namespace of a container")),
            };
            if !namespaces.has(needed) {
                return Err(refused(&format!("needs a {what} namespace other than the host's")));
            }
            Ok(Sysctl { path: Path::new("sys").join(names.join("/")), value: value.clone() })
        })
        .collect::<Result<_>>()?;
    sysctls.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sysctls)
}

/// Splits a name: at dots, or at slashes when the first separator is one, as sysctl(8) does, so that the name of a
/// network device may contain dots.
fn names(key: &str) -> Option<Vec<String>> {
    let slashes = key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'/');
    let (separator, other) = if slashes { ('/', '/') } else { ('.', '/') };
    let names: Vec<String> = key
        .split(separator)
        .map(|name| if slashes { name.to_owned() } else { name.replace(other, ".") })
        .collect();
    let valid = |name: &String| {
        !name.is_empty()
            && name != "."
            && name != ".."
            && name.chars().all(|c| c.is_ascii_graphic() && c != '/')
    };
    names.iter().all(valid).then_some(names)
}

/// Writes the parameters, from inside the container's namespaces, through the host's procfs.
pub(super) fn write(proc: BorrowedFd<'_>, sysctls: &[Sysctl]) -> Result<()> {
    for sysctl in sysctls {
        let failed = || format!("setting the sysctl `{}` failed", sysctl.path.display());
        let how = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let file =
            loam_sys::open_in_root(proc, sysctl.path.as_path(), OFlags::WRONLY, how).explain(failed)?;
        rustix::io::write(&file, sysctl.value.as_bytes()).explain(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use loam_model::oci_spec::runtime::{Linux, LinuxNamespaceBuilder, LinuxNamespaceType};

    use super::*;

    fn namespaces(kinds: &[LinuxNamespaceType]) -> Namespaces {
        let list = kinds
            .iter()
            .map(|&kind| LinuxNamespaceBuilder::default().typ(kind).build().unwrap())
            .collect::<Vec<_>>();
        let mut linux = Linux::default();
        linux.set_namespaces(Some(list));
        Namespaces::from(&linux).unwrap()
    }

    fn one(key: &str, value: &str, namespaces: &Namespaces) -> Result<Vec<Sysctl>> {
        check(&HashMap::from([(key.to_owned(), value.to_owned())]), namespaces)
    }

    #[test]
    fn only_the_containers_own_parameters_pass() {
        let own = namespaces(&[LinuxNamespaceType::Network, LinuxNamespaceType::Ipc]);
        assert!(one("net.ipv4.ip_forward", "1", &own).is_ok());
        assert!(one("kernel.shmmax", "1000", &own).is_ok());
        assert!(one("fs.mqueue.msg_max", "10", &own).is_ok());
        assert!(one("kernel.core_pattern", "|/x", &own).is_err());
        assert!(one("kernel.hostname", "x", &own).is_err());
        let host = namespaces(&[]);
        assert!(one("net.ipv4.ip_forward", "1", &host).is_err());
        assert!(one("kernel.shmmax", "1000", &host).is_err());
    }

    #[test]
    fn names_and_values_can_not_smuggle() {
        let own = namespaces(&[LinuxNamespaceType::Network]);
        for key in ["net/../kernel/core_pattern", "net..kernel", "net.a b", "net.a\n", "/net/x", ""] {
            assert!(one(key, "1", &own).is_err(), "{key:?}");
        }
        assert!(one("net.ipv4.ip_forward", "1\nkernel.core_pattern=x", &own).is_err());
        let made = one("net/ipv4/conf/eth0.5/forwarding", "1", &own).unwrap();
        assert_eq!(made[0].path, Path::new("sys/net/ipv4/conf/eth0.5/forwarding"));
        let made = one("net.ipv4.conf.eth0/5.forwarding", "1", &own).unwrap();
        assert_eq!(made[0].path, Path::new("sys/net/ipv4/conf/eth0.5/forwarding"));
    }
}
