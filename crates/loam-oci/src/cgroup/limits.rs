//! Limits and device rules, written into the directories of a cgroup; whoever made it. systemd is told of those that change.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;

use loam_model::oci_spec::runtime::LinuxResources;

use super::hierarchy::v2_controllers;
use super::setting::{Missing, Setting};
use super::{Cgroup, CgroupError, CgroupVersion, MemoryNow, device, read, systemd, v1, v2, write};

impl Cgroup {
    /// Writes limits and device rules.
    pub(super) fn apply(&self, resources: &LinuxResources, now: MemoryNow) -> Result<(), CgroupError> {
        if let Some(rules) = resources.devices() {
            self.apply_devices(&device::rules(rules)?)?;
        }
        let v2_available = self.v2().map(v2_controllers).unwrap_or_default();
        let only_v2 =
            self.directories.iter().all(|directory| directory.hierarchy.version == CgroupVersion::V2);
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
