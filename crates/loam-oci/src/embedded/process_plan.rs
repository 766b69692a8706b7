//! A process as it shall be, read from the configuration and checked before anything is made.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use loam_model::oci_spec::runtime::{
    Capabilities, IOPriorityClass, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, PosixRlimitType, Process, Scheduler,
};
use loam_model::{ErrorKind, Failure, Result};
use loam_sys::SchedulerSettings;
use rustix::process::Resource;

use crate::lsm;

/// All that makes a process what it is, once it is in its namespaces.
#[derive(Debug)]
pub(super) struct ProcessPlan {
    pub(super) arguments: Vec<CString>,
    pub(super) environment: Vec<CString>,
    /// The value of `PATH`.
    pub(super) search: String,
    pub(super) directory: PathBuf,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) groups: Vec<u32>,
    pub(super) umask: u32,
    pub(super) capabilities: CapabilityPlan,
    pub(super) no_new_privileges: bool,
    pub(super) limits: Vec<Limit>,
    pub(super) oom_score_adjust: Option<i32>,
    pub(super) labels: Vec<Label>,
    pub(super) scheduler: Option<SchedulerSettings>,
    pub(super) io_priority: Option<(u8, u8)>,
    pub(super) personality: Option<u32>,
}

/// Sets of capabilities, a bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CapabilityPlan {
    pub(super) bounding: u64,
    pub(super) permitted: u64,
    pub(super) effective: u64,
    pub(super) ambient: u64,
}

/// A resource limit; `None` is infinite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) resource: Resource,
    pub(super) soft: Option<u64>,
    pub(super) hard: Option<u64>,
}

/// What is written to a file of `/proc/self/attr` so that a security module labels the program.
#[derive(Clone, Debug)]
pub(super) struct Label {
    /// The file below `/proc`.
    pub(super) file: &'static str,
    pub(super) text: String,
    pub(super) target: LabelTarget,
}

/// What gets a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LabelTarget {
    /// The program that the process becomes.
    Program,
    /// The keyring that the process makes.
    Keyring,
}

/// The search path of a process that has none.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The creation mask when the configuration has none.
const DEFAULT_UMASK: u32 = 0o022;

impl ProcessPlan {
    /// Reads the configuration of a process.
    pub(super) fn from(process: &Process, personality: Option<&LinuxPersonality>) -> Result<Self> {
        let arguments = c_strings(process.args().as_deref().unwrap_or_default(), "argument")?;
        if arguments.first().is_none_or(|name| name.is_empty()) {
            return Err(Failure::new(ErrorKind::CommandNotFound, "no command is given"));
        }
        let variables = last_of_each(process.env().as_deref().unwrap_or_default());
        let search = variables.iter().find_map(|variable| variable.strip_prefix("PATH="));
        let search = search.unwrap_or(DEFAULT_PATH).to_owned();
        if !process.cwd().is_absolute() {
            let message = format!("the working directory `{}` is not absolute", process.cwd().display());
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        if process.exec_cpu_affinity().is_some() {
            let message = "`process.execCPUAffinity` is not supported by the embedded runtime";
            return Err(Failure::new(ErrorKind::Unsupported, message));
        }
        let user = process.user();
        Ok(Self {
            arguments,
            environment: c_strings(&variables, "environment variable")?,
            search,
            directory: process.cwd().clone(),
            user: user.uid(),
            group: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask().unwrap_or(DEFAULT_UMASK) & 0o777,
            capabilities: CapabilityPlan::from(process),
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            limits: limits(process),
            oom_score_adjust: process.oom_score_adj(),
            labels: labels(process)?,
            scheduler: process.scheduler().as_ref().map(scheduler).transpose()?,
            io_priority: match process.io_priority() {
                None => None,
                Some(priority) => {
                    let class = match priority.class() {
                        IOPriorityClass::IoprioClassRt => 1,
                        IOPriorityClass::IoprioClassBe => 2,
                        IOPriorityClass::IoprioClassIdle => 3,
                    };
                    let level = u8::try_from(priority.priority()).ok().filter(|level| *level < 8);
                    let impossible = || Failure::new(ErrorKind::Invalid, "the io priority is not 0 to 7");
                    Some((class, level.ok_or_else(impossible)?))
                }
            },
            personality: personality.map(persona),
        })
    }
}

impl CapabilityPlan {
    fn from(process: &Process) -> Self {
        let Some(sets) = process.capabilities() else { return Self::default() };
        let mask = |set: &Option<Capabilities>| set.as_ref().map_or(0, crate::capabilities::mask);
        Self {
            bounding: mask(sets.bounding()),
            permitted: mask(sets.permitted()),
            effective: mask(sets.effective()),
            ambient: mask(sets.ambient()),
        }
    }
}

fn c_strings(texts: &[String], what: &str) -> Result<Vec<CString>> {
    let convert = |text: &String| {
        CString::new(text.as_str())
            .map_err(|_| Failure::new(ErrorKind::Invalid, format!("an {what} contains a NUL character")))
    };
    texts.iter().map(convert).collect()
}

/// Keeps the last value of each variable, in the place of the first.
fn last_of_each(variables: &[String]) -> Vec<String> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut kept: Vec<String> = Vec::with_capacity(variables.len());
    for variable in variables {
        let key = variable.split_once('=').map_or(variable.as_str(), |(key, _)| key);
        match places.get(key) {
            Some(&place) => kept[place].clone_from(variable),
            None => {
                places.insert(key, kept.len());
                kept.push(variable.clone());
            }
        }
    }
    kept
}

fn limits(process: &Process) -> Vec<Limit> {
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    let limit = |limit: &loam_model::oci_spec::runtime::PosixRlimit| {
        let resource = match limit.typ() {
            PosixRlimitType::RlimitCpu => Resource::Cpu,
            PosixRlimitType::RlimitFsize => Resource::Fsize,
            PosixRlimitType::RlimitData => Resource::Data,
            PosixRlimitType::RlimitStack => Resource::Stack,
            PosixRlimitType::RlimitCore => Resource::Core,
            PosixRlimitType::RlimitRss => Resource::Rss,
            PosixRlimitType::RlimitNproc => Resource::Nproc,
            PosixRlimitType::RlimitNofile => Resource::Nofile,
            PosixRlimitType::RlimitMemlock => Resource::Memlock,
            PosixRlimitType::RlimitAs => Resource::As,
            PosixRlimitType::RlimitLocks => Resource::Locks,
            PosixRlimitType::RlimitSigpending => Resource::Sigpending,
            PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
            PosixRlimitType::RlimitNice => Resource::Nice,
            PosixRlimitType::RlimitRtprio => Resource::Rtprio,
            PosixRlimitType::RlimitRttime => Resource::Rttime,
        };
        Limit { resource, soft: finite(limit.soft()), hard: finite(limit.hard()) }
    };
    process.rlimits().iter().flatten().map(limit).collect()
}

fn labels(process: &Process) -> Result<Vec<Label>> {
    let mut labels = Vec::new();
    let given = |label: &Option<String>| label.clone().filter(|label| !label.is_empty());
    if let Some(profile) = given(process.apparmor_profile()) {
        if !lsm::apparmor::is_on() {
            return Err(lacks("AppArmor", &profile));
        }
        let own = Path::new("/proc/self/attr/apparmor").exists();
        let file = if own { "self/attr/apparmor/exec" } else { "self/attr/exec" };
        labels.push(Label { file, text: format!("exec {profile}"), target: LabelTarget::Program });
    }
    if let Some(label) = given(process.selinux_label()) {
        if !lsm::selinux::is_on() {
            return Err(lacks("SELinux", &label));
        }
        labels.extend(selinux_labels(label));
    }
    Ok(labels)
}

/// What SELinux labels: the keyring, which is made first, and the program.
pub(super) fn selinux_labels(label: String) -> [Label; 2] {
    [
        Label { file: "self/attr/keycreate", text: label.clone(), target: LabelTarget::Keyring },
        Label { file: "self/attr/exec", text: label, target: LabelTarget::Program },
    ]
}

fn lacks(module: &str, label: &str) -> Failure {
    let message = format!("the label `{label}` can't be set: this kernel does not run {module}");
    Failure::new(ErrorKind::Unsupported, message)
}

fn scheduler(asked: &Scheduler) -> Result<SchedulerSettings> {
    let policy = match asked.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let bit = |flag: &LinuxSchedulerFlag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    let priority = u32::try_from(asked.priority().unwrap_or(0))
        .map_err(|_| Failure::new(ErrorKind::Invalid, "the scheduler priority is negative"))?;
    Ok(SchedulerSettings {
        policy,
        flags: asked.flags().iter().flatten().fold(0, |all, flag| all | bit(flag)),
        nice: asked.nice().unwrap_or(0),
        priority,
        runtime: asked.runtime().unwrap_or(0),
        deadline: asked.deadline().unwrap_or(0),
        period: asked.period().unwrap_or(0),
    })
}

fn persona(personality: &LinuxPersonality) -> u32 {
    match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0x0000,
        LinuxPersonalityDomain::PerLinux32 => 0x0008,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_variable_wins() {
        let variables = ["A=1", "B=2", "A=3", "C"].map(str::to_owned);
        assert_eq!(last_of_each(&variables), ["A=3", "B=2", "C"]);
    }

    #[test]
    fn a_process_needs_a_command_and_an_absolute_directory() {
        let mut process = Process::default();
        process.set_args(Some(vec![]));
        assert_eq!(ProcessPlan::from(&process, None).unwrap_err().kind(), ErrorKind::CommandNotFound);
        process.set_args(Some(vec!["true\0".to_owned()]));
        assert_eq!(ProcessPlan::from(&process, None).unwrap_err().kind(), ErrorKind::Invalid);
        process.set_args(Some(vec!["true".to_owned()])).set_cwd(PathBuf::from("x"));
        assert_eq!(ProcessPlan::from(&process, None).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
