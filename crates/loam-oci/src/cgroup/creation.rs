//! Making the directories of a cgroup, and writing its limits.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;

use loam_model::CgroupPlace;
use loam_model::oci_spec::runtime::LinuxResources;

use super::hierarchy::{Hierarchy, Layout, v2_controllers};
use super::setting::{Missing, Setting};
use super::{
    Cgroup, CgroupError, CgroupVersion, MemoryNow, Seat, below, device, is_refusal, read, systemd, v1, v2,
    write,
};

/// The controllers that a container's version 2 cgroup gets, for its limits and its figures.
const V2_CONTROLLERS: [&str; 7] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"];
/// How often a parent that another container's removal takes away is made again.
const PARENT_ATTEMPTS: u32 = 10;

/// Makes the directories in every hierarchy. A failure leaves nothing behind.
pub(super) fn make(place: &CgroupPlace, layout: &Layout) -> Result<Cgroup, CgroupError> {
    let mut cgroup = Cgroup { path: place.path(), unit: None, kills_before: None, seats: Vec::new() };
    for hierarchy in &layout.hierarchies {
        // A hierarchy that only tracks is nice to have, unless it is all there is.
        let optional = hierarchy.is_tracking() && layout.hierarchies.len() > 1;
        if optional && hierarchy.read_only {
            continue;
        }
        let directory = below(&hierarchy.mount, &cgroup.path);
        match make_in(hierarchy, &directory) {
            Ok(()) => cgroup.seats.push(Seat { hierarchy: hierarchy.clone(), directory }),
            Err(CgroupError::Make { source, .. }) if optional && is_refusal(&source) => {}
            Err(error) => {
                cgroup.remove_now();
                return Err(error);
            }
        }
    }
    Ok(cgroup)
}

fn make_in(hierarchy: &Hierarchy, directory: &Path) -> Result<(), CgroupError> {
    let mut left = PARENT_ATTEMPTS;
    let made = loop {
        match fs::create_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound && left > 0 => {
                left -= 1;
                make_parents(hierarchy, directory)?;
            }
            other => break other,
        }
    };
    let path = directory.to_owned();
    match made {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => take_over(directory)?,
        Err(source) => return Err(CgroupError::Make { path, source }),
    }
    let prepared = prepare(hierarchy, directory);
    if prepared.is_err() {
        let _ignored = fs::remove_dir(directory);
    }
    prepared
}

/// Makes what is missing between the mount and the directory.
fn make_parents(hierarchy: &Hierarchy, directory: &Path) -> Result<(), CgroupError> {
    let below_mount =
        |ancestor: &&Path| ancestor.starts_with(&hierarchy.mount) && *ancestor != hierarchy.mount;
    let mut missing: Vec<&Path> = directory.ancestors().skip(1).take_while(below_mount).collect();
    missing.reverse();
    for parent in missing {
        match fs::create_dir(parent) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // Somebody took the parent of this one away again; the caller starts over.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(CgroupError::Make { path: parent.to_owned(), source }),
        }
    }
    Ok(())
}

/// Makes a left-over cgroup that nothing runs in new, without its old limits.
fn take_over(directory: &Path) -> Result<(), CgroupError> {
    let path = directory.to_owned();
    match fs::remove_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) if error.kind() == ErrorKind::ResourceBusy => return Err(CgroupError::Occupied { path }),
        Err(source) => return Err(CgroupError::Remove { path, source }),
    }
    fs::create_dir(directory).map_err(|source| CgroupError::Make { path, source })
}

/// What a new directory needs before it can take processes. Its parents are prepared here too, once it holds them in
/// place: another creation may have made them a moment ago, or been killed before it prepared them.
fn prepare(hierarchy: &Hierarchy, directory: &Path) -> Result<(), CgroupError> {
    if hierarchy.version == CgroupVersion::V2 {
        let below_mount = |ancestor: &&Path| ancestor.starts_with(&hierarchy.mount);
        let mut parents: Vec<&Path> = directory.ancestors().skip(1).take_while(below_mount).collect();
        parents.reverse();
        return parents.into_iter().try_for_each(enable_controllers);
    }
    if hierarchy.controllers.iter().any(|name| name == "cpuset") {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            inherit(&hierarchy.mount, directory, file)?;
        }
    }
    Ok(())
}

/// Gives a cpuset what its parent has where it has nothing, and returns what it has. Version 1 starts one empty, unless
/// the parent has `cgroup.clone_children` set, and an empty one takes no process.
fn inherit(mount: &Path, directory: &Path, file: &str) -> Result<String, CgroupError> {
    let own = read(&directory.join(file))?.trim().to_owned();
    if !own.is_empty() || directory == mount {
        return Ok(own);
    }
    let inherited = inherit(mount, directory.parent().expect("a cgroup lies below a mount"), file)?;
    write(&directory.join(file), &inherited)?;
    Ok(inherited)
}

/// Hands the controllers that a cgroup has down to its children. One that can't be handed down is missed only when a
/// limit needs it.
fn enable_controllers(parent: &Path) -> Result<(), CgroupError> {
    let available = v2_controllers(parent);
    if available.is_empty() {
        return Ok(());
    }
    let file = parent.join("cgroup.subtree_control");
    let enabled = read(&file)?;
    for name in V2_CONTROLLERS {
        let wanted = available.iter().any(|other| other == name);
        if wanted && !enabled.split_whitespace().any(|other| other == name) {
            match write(&file, &format!("+{name}")) {
                Err(CgroupError::Write { source, .. })
                    if is_refusal(&source) || source.kind() == ErrorKind::ResourceBusy => {}
                other => other?,
            }
        }
    }
    Ok(())
}

impl Cgroup {
    /// Writes limits and device rules.
    pub(super) fn apply(&self, resources: &LinuxResources, now: MemoryNow) -> Result<(), CgroupError> {
        if let Some(rules) = resources.devices() {
            self.apply_devices(&device::rules(rules)?)?;
        }
        let v2_available = self.v2().map(v2_controllers).unwrap_or_default();
        let only_v2 = self.seats.iter().all(|seat| seat.hierarchy.version == CgroupVersion::V2);
        if only_v2 {
            self.check_before_update(resources)?;
            return v2::settings(resources)?
                .iter()
                .try_for_each(|setting| self.apply_v2(setting, &v2_available));
        }
        // Beside version 1, version 2 has what is left over: a controller is in one hierarchy only.
        let mut left_over = false;
        for setting in v1::settings(resources, now)? {
            match self.v1(&setting.controller) {
                Some(directory) => apply_v1(directory, &setting)?,
                None => left_over = true,
            }
        }
        if left_over || resources.unified().as_ref().is_some_and(|unified| !unified.is_empty()) {
            for setting in v2::settings(resources)? {
                let in_v1 = if setting.controller == "io" { "blkio" } else { setting.controller.as_str() };
                if self.v1(in_v1).is_none()
                    || resources.unified().iter().any(|u| u.contains_key(&setting.file))
                {
                    self.apply_v2(&setting, &v2_available)?;
                }
            }
        }
        Ok(())
    }

    fn apply_v2(&self, setting: &Setting, available: &[String]) -> Result<(), CgroupError> {
        let known = setting.controller == "cgroup" || available.contains(&setting.controller);
        match self.v2().filter(|_| known) {
            Some(directory) => apply(directory, setting),
            None => Err(CgroupError::NoController {
                limit: setting.file.clone(),
                controller: setting.controller.clone(),
            }),
        }
    }

    /// Tells systemd of limits that are changed, else its next reload would bring the old ones back. What can't be set is
    /// refused before.
    pub(super) fn tell_systemd(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let Some(unit) = &self.unit else { return Ok(()) };
        v2::settings(resources)?;
        self.check_before_update(resources)?;
        systemd::change(unit, &self.with_whole_cpu_limit(resources))
    }

    /// The same limits, with both numbers of a processor limit: a quota is of the period that is there, and a period alone
    /// has no quota. Only both together say what systemd keeps.
    fn with_whole_cpu_limit(&self, resources: &LinuxResources) -> LinuxResources {
        let mut whole = resources.clone();
        let Some(mut cpu) = whole.cpu().clone() else { return whole };
        match (cpu.quota().filter(|&quota| quota != 0), cpu.period().filter(|&period| period != 0)) {
            (Some(_), None) => {
                let now = self.v2().and_then(|directory| read(&directory.join("cpu.max")).ok());
                let period = now.as_deref().and_then(|now| now.split_whitespace().nth(1)?.parse().ok());
                cpu.set_period(period);
            }
            (None, Some(_)) => {
                cpu.set_quota(Some(-1));
            }
            _ => {}
        }
        whole.set_cpu(Some(cpu));
        whole
    }

    /// Refuses a version 2 memory limit below what is in use, when asked to: the kernel would kill.
    fn check_before_update(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let Some(memory) = resources.memory() else { return Ok(()) };
        let limit = memory.limit().filter(|&limit| limit > 0 && memory.check_before_update() == Some(true));
        let (Some(limit), Some(directory)) = (limit, self.v2()) else { return Ok(()) };
        let used: i64 = read(&directory.join("memory.current"))?.trim().parse().unwrap_or(0);
        let rule = "more memory than that is in use";
        if used > limit { Err(CgroupError::BadLimit { limit: "memory.limit", rule }) } else { Ok(()) }
    }

    fn apply_devices(&self, rules: &[device::DeviceRule]) -> Result<(), CgroupError> {
        if let Some(directory) = self.v1("devices") {
            let (allow, deny) = (directory.join("devices.allow"), directory.join("devices.deny"));
            return device::v1_lines(rules)
                .iter()
                .try_for_each(|(allowed, line)| write(if *allowed { &allow } else { &deny }, line));
        }
        let Some(directory) = self.v2() else {
            let limit = "devices".to_owned();
            return Err(CgroupError::NoController { controller: limit.clone(), limit });
        };
        let load = || {
            let program = loam_sys::bpf::load_cgroup_device(&device::program(rules))?;
            loam_sys::bpf::replace_cgroup_device(fs::File::open(directory)?.as_fd(), program.as_fd())
        };
        load().map_err(|source| CgroupError::Devices { path: directory.to_owned(), source })
    }

    /// What the version 1 memory controller is set to.
    pub(super) fn memory_now(&self) -> MemoryNow {
        let memory_and_swap = self
            .v1("memory")
            .and_then(|directory| read(&directory.join("memory.memsw.limit_in_bytes")).ok())
            .and_then(|text| text.trim().parse().ok());
        MemoryNow { memory_and_swap }
    }
}

/// Writes a setting of version 1. The period of the processor limit is the one whose order can't be known: together
/// with the old quota it may ask for more than the parent has.
fn apply_v1(directory: &Path, setting: &Setting) -> Result<(), CgroupError> {
    match apply(directory, setting) {
        Err(CgroupError::Write { source, .. })
            if setting.file == "cpu.cfs_period_us" && source.kind() == ErrorKind::InvalidInput =>
        {
            write(&directory.join("cpu.cfs_quota_us"), "-1")?;
            apply(directory, setting)
        }
        other => other,
    }
}

fn apply(directory: &Path, setting: &Setting) -> Result<(), CgroupError> {
    match write(&directory.join(&setting.file), &setting.value) {
        Err(CgroupError::Write { source, .. }) if source.kind() == ErrorKind::NotFound => {
            match &setting.missing {
                Missing::Ignore => Ok(()),
                Missing::Instead(file, value) => match write(&directory.join(file), value) {
                    Err(CgroupError::Write { source, .. }) if source.kind() == ErrorKind::NotFound => {
                        Err(CgroupError::NoFile { limit: file.clone() })
                    }
                    other => other,
                },
                Missing::Refuse => Err(CgroupError::NoFile { limit: setting.file.clone() }),
            }
        }
        other => other,
    }
}
