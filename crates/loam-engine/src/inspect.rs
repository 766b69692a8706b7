//! Everything that is known of one container, with the values that took effect.

use std::path::PathBuf;

use loam_model::oci_spec::runtime::{
    LinuxCapabilities, LinuxNamespace, LinuxResources, LinuxSeccompAction, Mount, PosixRlimit, Spec, User,
};
use loam_model::{
    CgroupDriver, ContainerId, ContainerName, ContainerSpec, Digest, DiskUsage, ExitRecord, IdMapping,
    PortMapping, Result,
};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use crate::engine::not_found;
use crate::record::{NetworkFacts, Record};
use crate::{ContainerState, Engine};

/// A container's image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageFacts {
    /// Its id.
    pub id: Digest,
    /// The name that the spec gave.
    pub name: String,
}

/// A seccomp filter in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeccompFacts {
    /// What happens to system calls that no rule names.
    pub default_action: LinuxSeccompAction,
    /// How many rules there are.
    pub rules: usize,
}

/// What a container's spec came to on this host: of one that runs, what it runs with; else what it would start with.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EffectiveSettings {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: Vec<String>,
    /// Its working directory.
    pub working_directory: Option<PathBuf>,
    /// Its user, as far as the numbers are known without the root file system.
    pub user: Option<User>,
    /// The user by name, as spec or image give it.
    pub user_name: Option<String>,
    /// Its host name.
    pub hostname: Option<String>,
    /// Its capabilities.
    #[serde(serialize_with = "in_order")]
    pub capabilities: Option<LinuxCapabilities>,
    /// Whether it can gain no new rights.
    pub no_new_privileges: bool,
    /// Its resource limits.
    pub rlimits: Vec<PosixRlimit>,
    /// Its out-of-memory score.
    pub oom_score_adjust: Option<i32>,
    /// Its AppArmor profile.
    pub apparmor_profile: Option<String>,
    /// Its SELinux label.
    pub selinux_label: Option<String>,
    /// Its seccomp filter; absent when it has none.
    pub seccomp: Option<SeccompFacts>,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// Its mounts, in order.
    pub mounts: Vec<Mount>,
    /// Paths that it can't read.
    pub masked_paths: Vec<String>,
    /// Paths that it can't write.
    pub readonly_paths: Vec<String>,
    /// The limits on its cgroup.
    pub resources: Option<LinuxResources>,
    /// Its namespaces.
    pub namespaces: Vec<LinuxNamespace>,
}

/// Everything that is known of one container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContainerDetail {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Its state.
    pub state: ContainerState,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it was last started, RFC 3339.
    pub started: Option<String>,
    /// When it last ended, RFC 3339.
    pub finished: Option<String>,
    /// The process id of its main process on the host, while that lives.
    pub pid: Option<i32>,
    /// How it last ended.
    pub exit: Option<ExitRecord>,
    /// Why its last start failed, or what else went wrong.
    pub failure: Option<String>,
    /// What had to be weakened on this host.
    pub warnings: Vec<String>,
    /// Its image.
    pub image: ImageFacts,
    /// Its ids on the host, when it has a user namespace.
    pub mapping: Option<IdMapping>,
    /// Its cgroup below each hierarchy's root.
    pub cgroup: String,
    /// Who makes its cgroup.
    pub cgroup_driver: CgroupDriver,
    /// Its network, while it runs.
    pub network: NetworkFacts,
    /// Published ports: the taken ones while it runs, else those asked for.
    pub ports: Vec<PortMapping>,
    /// What it has written to its root file system, and what counts and limits that; absent where nothing does.
    pub disk: Option<DiskUsage>,
    /// Its log.
    pub log: PathBuf,
    /// Its run directory, while it runs.
    pub run_directory: Option<PathBuf>,
    /// What took effect; absent when this host can't start it, and then `failure` says why.
    pub effective: Option<EffectiveSettings>,
    /// What was asked for.
    pub spec: ContainerSpec,
}

impl Engine {
    /// Says everything that is known of a container.
    pub fn inspect(&self, name: &str) -> Result<ContainerDetail> {
        let record = self.current(self.find(name)?).ok_or_else(|| not_found(name))?;
        let live = record.state.is_live();
        let mut failure = record.failure.clone();
        let effective = match self.settings(&record) {
            Ok(settings) => Some(settings),
            Err(error) => {
                failure.get_or_insert(error.chain());
                None
            }
        };
        Ok(ContainerDetail {
            state: record.state,
            pid: record.process.filter(|_| live).map(|process| process.pid),
            failure,
            image: ImageFacts { id: record.image.clone(), name: record.spec.image.clone() },
            mapping: record.mapping(&self.core.config),
            ports: record.ports().to_vec(),
            disk: self.disk_usage(&record),
            log: self.core.directories.log(&record.id),
            run_directory: live.then(|| self.core.directories.run(&record.id)),
            effective,
            id: record.id,
            name: record.name,
            created: record.created,
            started: record.started,
            finished: record.finished,
            exit: record.exit,
            warnings: record.warnings,
            cgroup: record.cgroup.path(),
            cgroup_driver: record.cgroup.driver(),
            network: record.network,
            spec: record.spec,
        })
    }

    fn settings(&self, record: &Record) -> Result<EffectiveSettings> {
        let config = match record.state.is_live() {
            true => self.core.running_config(&record.id)?,
            false => self.core.dry_bundle(record)?.config,
        };
        let mut settings = EffectiveSettings::from(&config);
        let user = record.spec.user.as_ref().or(record.image_config.user.as_ref());
        settings.user_name = user.filter(|user| !user.is_empty()).cloned();
        Ok(settings)
    }
}

impl From<&Spec> for EffectiveSettings {
    fn from(config: &Spec) -> Self {
        let mut settings = Self {
            hostname: config.hostname().clone(),
            mounts: config.mounts().clone().unwrap_or_default(),
            read_only: config.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)),
            ..Self::default()
        };
        if let Some(process) = config.process() {
            settings.arguments = process.args().clone().unwrap_or_default();
            settings.environment = process.env().clone().unwrap_or_default();
            settings.working_directory = Some(process.cwd().clone());
            settings.user = Some(process.user().clone());
            settings.capabilities = process.capabilities().clone();
            settings.no_new_privileges = process.no_new_privileges().unwrap_or(false);
            settings.rlimits = process.rlimits().clone().unwrap_or_default();
            settings.oom_score_adjust = process.oom_score_adj();
            settings.apparmor_profile = process.apparmor_profile().clone();
            settings.selinux_label = process.selinux_label().clone();
        }
        if let Some(linux) = config.linux() {
            settings.seccomp = linux.seccomp().as_ref().map(|seccomp| SeccompFacts {
                default_action: seccomp.default_action(),
                rules: seccomp.syscalls().as_ref().map_or(0, Vec::len),
            });
            settings.masked_paths = linux.masked_paths().clone().unwrap_or_default();
            settings.readonly_paths = linux.readonly_paths().clone().unwrap_or_default();
            settings.resources = linux.resources().clone();
            settings.namespaces = linux.namespaces().clone().unwrap_or_default();
        }
        settings
    }
}

/// Writes the sets in the order of their names: two inspections are then the same text.
fn in_order<S: Serializer>(
    capabilities: &Option<LinuxCapabilities>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(capabilities).map_err(S::Error::custom)?;
    for set in value.as_object_mut().into_iter().flat_map(|sets| sets.values_mut()) {
        if let Some(names) = set.as_array_mut() {
            names.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
        }
    }
    value.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_in_the_order_of_their_names() {
        let names = ["CAP_SETUID", "CAP_CHOWN", "CAP_NET_RAW", "CAP_KILL", "CAP_AUDIT_WRITE", "CAP_MKNOD"];
        let sets = serde_json::json!({ "bounding": names, "effective": names });
        let capabilities = serde_json::from_value(sets).expect("sets of capabilities");
        let settings = EffectiveSettings { capabilities, ..EffectiveSettings::default() };
        let shown = serde_json::to_value(&settings).expect("plain data");
        let mut sorted = names;
        sorted.sort_unstable();
        assert_eq!(shown["capabilities"]["bounding"], serde_json::json!(sorted));
        assert_eq!(shown["capabilities"]["effective"], serde_json::json!(sorted));
    }
}
