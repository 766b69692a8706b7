//! Which namespaces a container has: new ones, joined ones, and those that it shares with the host.

use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loam_model::oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType as Kind};
use loam_model::{ErrorKind, Failure, IdMapping, IdRange, Result};
use loam_sys::CloneFlags;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};

use super::explain::Explain;
use super::root::{is_on, magic};

/// A container's namespaces.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// Those that clone3 makes.
    pub(super) new: CloneFlags,
    /// Those to join before.
    pub(super) joined: Vec<(LinkNameSpaceType, OwnedFd)>,
    /// Whether the process gets a cgroup namespace of its own, once it is in its cgroup.
    pub(super) new_cgroup: bool,
    /// The text of `timens_offsets` for a new time namespace.
    pub(super) new_time: Option<String>,
    /// All in which the container differs from the host: what a later process joins, but for process ids, which it
    /// gets when it is made.
    pub(super) own: ThreadNameSpaceType,
}

impl Namespaces {
    /// Reads the configuration, and opens the namespaces to join.
    pub(super) fn from(linux: &Linux) -> Result<Self> {
        let mut namespaces = Self {
            new: CloneFlags::NEW_MOUNT,
            joined: Vec::new(),
            new_cgroup: false,
            new_time: None,
            own: ThreadNameSpaceType::MOUNT,
        };
        for namespace in linux.namespaces().iter().flatten() {
            let kind = namespace.typ();
            let bit = ThreadNameSpaceType::from_bits_retain(kind as u32);
            if kind != Kind::Mount && namespaces.own.contains(bit) {
                return Err(invalid(format!("the namespace `{kind}` is listed twice")));
            }
            namespaces.own |= bit;
            match namespace.path() {
                Some(path) => namespaces.join(kind, path)?,
                None => namespaces.make(kind, linux)?,
            }
        }
        Ok(namespaces)
    }

    fn make(&mut self, kind: Kind, linux: &Linux) -> Result<()> {
        match kind {
            Kind::Mount => {}
            Kind::Uts => self.new |= CloneFlags::NEW_UTS,
            Kind::Ipc => self.new |= CloneFlags::NEW_IPC,
            Kind::Pid => self.new |= CloneFlags::NEW_PID,
            Kind::Network => self.new |= CloneFlags::NEW_NETWORK,
            Kind::User => self.new |= CloneFlags::NEW_USER,
            Kind::Cgroup => self.new_cgroup = true,
            Kind::Time => {
                let mut text = String::new();
                for (clock, offset) in linux.time_offsets().iter().flatten() {
                    let (seconds, nanoseconds) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
                    writeln!(text, "{clock} {seconds} {nanoseconds}")
                        .expect("a string takes all that is written");
                }
                self.new_time = Some(text);
            }
        }
        Ok(())
    }

    fn join(&mut self, kind: Kind, path: &Path) -> Result<()> {
        let link = match kind {
            Kind::Mount => {
                return Err(invalid("the mount namespace of a container is always its own".to_owned()));
            }
            Kind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
            Kind::Ipc => LinkNameSpaceType::InterProcessCommunication,
            Kind::Pid => LinkNameSpaceType::ProcessID,
            Kind::Network => LinkNameSpaceType::Network,
            Kind::User => LinkNameSpaceType::User,
            Kind::Cgroup => LinkNameSpaceType::ControlGroup,
            Kind::Time => LinkNameSpaceType::Time,
        };
        let opening = || format!("opening the namespace `{}` failed", path.display());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let namespace = rustix::fs::open(path, flags, Mode::empty()).explain(opening)?;
        if !is_on(namespace.as_fd(), magic::NSFS).explain(opening)? {
            return Err(invalid(format!("`{}` is no namespace", path.display())));
        }
        self.joined.push((link, namespace));
        Ok(())
    }

    /// Whether the container has a user namespace other than the host's.
    pub(super) fn own_user(&self) -> bool {
        self.own.contains(ThreadNameSpaceType::USER)
    }

    /// Whether the container has process ids of its own.
    pub(super) fn own_pid(&self) -> bool {
        self.own.contains(ThreadNameSpaceType::PROCESS_ID)
    }

    /// Whether a process in between has to enter or make some before the container's first process is made.
    pub(super) fn need_go_between(&self) -> bool {
        !self.joined.is_empty() || self.new_time.is_some()
    }

    /// Whether a namespace is one of the container's own, new or joined.
    pub(super) fn has(&self, kind: ThreadNameSpaceType) -> bool {
        self.own.contains(kind)
    }
}

/// The user and group ids of a container.
#[derive(Clone, Debug, Default)]
pub(super) struct Mappings {
    pub(super) users: Option<IdMapping>,
    pub(super) groups: Option<IdMapping>,
}

impl Mappings {
    /// Reads the mappings of a container with a user namespace.
    pub(super) fn from(linux: &Linux) -> Result<Self> {
        let users = mapping(linux.uid_mappings().as_deref())?;
        let groups = mapping(linux.gid_mappings().as_deref())?;
        Ok(Self { users: Some(users), groups: Some(groups) })
    }

    /// The host's ids for ids of the container.
    pub(super) fn to_host(&self, user: u32, group: u32) -> Result<(u32, u32)> {
        let map = |mapping: &Option<IdMapping>, id: u32| mapping.as_ref().map_or(Some(id), |m| m.to_host(id));
        match (map(&self.users, user), map(&self.groups, group)) {
            (Some(user), Some(group)) => Ok((user, group)),
            _ => Err(invalid(format!("`{user}:{group}` has no mapping in the container's user namespace"))),
        }
    }
}

/// Reads a mapping of the runtime specification.
pub(super) fn mapping(ranges: Option<&[LinuxIdMapping]>) -> Result<IdMapping> {
    let ranges: Vec<IdRange> = ranges
        .unwrap_or_default()
        .iter()
        .map(|range| IdRange { container: range.container_id(), host: range.host_id(), size: range.size() })
        .collect();
    let mapping = IdMapping { ranges };
    if mapping.to_host(0).is_none() {
        return Err(invalid("the user namespace has no mapping for id 0".to_owned()));
    }
    Ok(mapping)
}

fn invalid(message: String) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}
