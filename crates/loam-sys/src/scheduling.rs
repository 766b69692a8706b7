//! How the kernel schedules a process and presents itself to it.

use std::io;
use std::mem::size_of;

/// The parameters of sched_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerSettings {
    /// `SCHED_…`.
    pub policy: u32,
    /// `SCHED_FLAG_…` bits.
    pub flags: u64,
    /// The nice value, for the ordinary policies.
    pub nice: i32,
    /// The priority, for the real-time policies.
    pub priority: u32,
    /// For the deadline policy, in nanoseconds.
    pub runtime: u64,
    /// For the deadline policy, in nanoseconds.
    pub deadline: u64,
    /// For the deadline policy, in nanoseconds.
    pub period: u64,
}

#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets this process's scheduling.
pub fn set_scheduler(settings: &SchedulerSettings) -> io::Result<()> {
    let attr = SchedAttr {
        size: u32::try_from(size_of::<SchedAttr>()).map_err(io::Error::other)?,
        policy: settings.policy,
        flags: settings.flags,
        nice: settings.nice,
        priority: settings.priority,
        runtime: settings.runtime,
        deadline: settings.deadline,
        period: settings.period,
    };
    // SAFETY: `attr` is a `struct sched_attr` that says its own size; 0 is this thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets this process's input and output priority: class 1 real time, 2 best effort, 3 idle; level 0 (first) to 7.
pub fn set_io_priority(class: u8, level: u8) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let priority = (libc::c_int::from(class) << 13) | libc::c_int::from(level);
    // SAFETY: takes integers; 0 is this process.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the execution domain (personality(2)).
pub fn set_personality(persona: u32) -> io::Result<()> {
    // SAFETY: takes an integer.
    let result = unsafe { libc::personality(libc::c_ulong::from(persona)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
