//! The scopes of systemd's that containers run in, over D-Bus (org.freedesktop.systemd1(5)).
//!
//! A scope is made around a process that exists, is systemd's with its slice, and is ours from its directory downwards:
//! `Delegate=` says so (systemd's CGROUP_DELEGATION.md), and nothing above the directory is ever written. What systemd has
//! a property for is told to it, because it writes its own files again whenever it is reloaded; everything is then written
//! to the files as well, exactly.

mod error;
mod property;

use std::collections::HashMap;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use loam_bus::{Address, Body, Bus, SYSTEM_BUS};
use loam_model::oci_spec::runtime::LinuxResources;

use super::CgroupError;

pub(crate) use error::SystemdError;
pub(crate) use property::{Property, properties};

/// What the annotations begin with that are properties of the scope.
pub(crate) const ANNOTATION: &str = "org.systemd.property.";

/// There when systemd is process 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// How long a conversation may take: as long as other runtimes wait for a scope.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the first words may take where another driver would do.
const LITTLE_PATIENCE: Duration = Duration::from_secs(3);

/// systemd's manager of units.
const MANAGER: Address<'static> = Address {
    name: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
/// The signal that says that a job is done.
const JOB_REMOVED: &str = "JobRemoved";

/// A further unit that `StartTransientUnit` could make; there is none.
const AUXILIARY_UNIT: &str = "(sa(sv))";

/// A scope that was not there, or not any more.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// A scope of this name that is still there.
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// Whether systemd is process 1 and answers.
pub(crate) fn answers() -> bool {
    let is_socket = |path: &str| std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
    Path::new(BOOTED).is_dir()
        && is_socket(SYSTEM_BUS)
        && Manager::connect(Path::new(SYSTEM_BUS), LITTLE_PATIENCE).is_ok()
}

/// Makes a scope in a slice around a process, and waits until it is there.
pub(crate) fn start(unit: &str, slice: &str, properties: &[Property]) -> Result<(), CgroupError> {
    let started = Manager::connect(Path::new(SYSTEM_BUS), PATIENCE)
        .and_then(|mut manager| manager.start_anew(unit, slice, properties));
    started.map_err(|source| CgroupError::Scope { unit: unit.to_owned(), what: "made", source })
}

/// Ends the scope of this name in this slice, and waits until it is gone. Success when there is none there.
pub(crate) fn stop(unit: &str, slice: &str) -> Result<(), CgroupError> {
    let stopped = Manager::connect(Path::new(SYSTEM_BUS), PATIENCE)
        .and_then(|mut manager| if manager.is_in(unit, slice)? { manager.stop(unit) } else { Ok(()) });
    stopped.map_err(|source| CgroupError::Scope { unit: unit.to_owned(), what: "ended", source })
}

/// Tells systemd of the limits that are changed; when this returns it has written them to its files.
pub(crate) fn change(unit: &str, resources: &LinuxResources) -> Result<(), CgroupError> {
    let properties = of_change(resources)?;
    if properties.is_empty() {
        return Ok(());
    }
    let changed = Manager::connect(Path::new(SYSTEM_BUS), PATIENCE)
        .and_then(|mut manager| manager.change(unit, &properties));
    changed.map_err(|source| CgroupError::Scope { unit: unit.to_owned(), what: "changed", source })
}

/// The properties of what is asked for, and of nothing else.
fn of_change(resources: &LinuxResources) -> Result<Vec<Property>, CgroupError> {
    let says_pids = resources.pids().as_ref().is_some_and(|pids| pids.limit() != 0);
    let mut properties = properties(resources)?;
    properties.retain(|(name, _)| says_pids || name != "TasksMax");
    Ok(properties)
}

/// The properties of a container's scope.
pub(crate) fn of_container(
    unit: &str,
    slice: &str,
    pid: i32,
    resources: Option<&LinuxResources>,
    annotations: &HashMap<String, String>,
) -> Result<Vec<Property>, CgroupError> {
    let mut all = property::of_scope(unit, slice, pid);
    if let Some(resources) = resources {
        all.extend(properties(resources)?);
    }
    all.extend(property::of_annotations(annotations)?);
    Ok(all)
}

/// A conversation with systemd.
struct Manager {
    bus: Bus,
}

impl Manager {
    /// Begins one, and asks to be told of jobs.
    fn connect(socket: &Path, patience: Duration) -> Result<Self, SystemdError> {
        let mut bus = Bus::connect(socket, patience)?;
        bus.listen(MANAGER, JOB_REMOVED)?;
        bus.call(&MANAGER, "Subscribe", &Body::default())?;
        Ok(Self { bus })
    }

    /// Makes a scope, also where one of its name has been left in its slice.
    fn start_anew(&mut self, unit: &str, slice: &str, properties: &[Property]) -> Result<(), SystemdError> {
        match self.start(unit, properties) {
            // Nothing runs in it, or the caller would have found its directory occupied.
            Err(error) if error.is_answer(UNIT_EXISTS) && self.is_in(unit, slice)? => {
                self.stop(unit)?;
                self.forget(unit)?;
                self.start(unit, properties)
            }
            other => other,
        }
    }

    /// Whether there is a scope of this name in this slice. The name alone may be that of somebody else's.
    fn is_in(&mut self, unit: &str, slice: &str) -> Result<bool, SystemdError> {
        let path = match self.bus.call(&MANAGER, "GetUnit", &Body::default().text(unit)) {
            Err(error) if error.is_answer(NO_SUCH_UNIT) => return Ok(false),
            found => found?.values().text()?,
        };
        let unit = Address { path: &path, interface: "org.freedesktop.DBus.Properties", ..MANAGER };
        let asked = Body::default().text("org.freedesktop.systemd1.Scope").text("Slice");
        Ok(self.bus.call(&unit, "Get", &asked)?.values().variant_text()? == slice)
    }

    fn change(&mut self, unit: &str, properties: &[Property]) -> Result<(), SystemdError> {
        let body = Body::default().text(unit).flag(true).properties(properties);
        self.bus.call(&MANAGER, "SetUnitProperties", &body)?;
        // It writes to its files before it looks at the next message.
        self.bus.call(&MANAGER, "GetUnit", &Body::default().text(unit))?;
        Ok(())
    }

    fn start(&mut self, unit: &str, properties: &[Property]) -> Result<(), SystemdError> {
        let body =
            Body::default().text(unit).text("fail").properties(properties).no_structures(AUXILIARY_UNIT);
        self.job("StartTransientUnit", &body)
    }

    fn stop(&mut self, unit: &str) -> Result<(), SystemdError> {
        match self.job("StopUnit", &Body::default().text(unit).text("replace")) {
            Err(error) if error.is_answer(NO_SUCH_UNIT) => Ok(()),
            other => other,
        }
    }

    /// Lets a unit that failed out of systemd's list.
    fn forget(&mut self, unit: &str) -> Result<(), SystemdError> {
        match self.bus.call(&MANAGER, "ResetFailedUnit", &Body::default().text(unit)) {
            Err(error) if error.is_answer(NO_SUCH_UNIT) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Makes a call that begins a job, and waits for its end.
    fn job(&mut self, method: &str, body: &Body) -> Result<(), SystemdError> {
        let job = self.bus.call(&MANAGER, method, body)?.values().text()?;
        loop {
            let signal = self.bus.signal()?;
            let mut values = signal.values();
            let (_number, removed, _unit, result) =
                (values.number()?, values.text()?, values.text()?, values.text()?);
            if removed == job {
                return if result == "done" {
                    Ok(())
                } else {
                    Err(SystemdError::Job { result: loam_model::shown(&result) })
                };
            }
        }
    }
}

#[cfg(test)]
mod tests;
