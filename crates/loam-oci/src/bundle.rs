//! From what a container shall be to an OCI bundle.

mod annotations;
mod command;
mod host;
mod namespaces;
mod process;
mod resources;
mod security;

use loam_model::oci_spec::runtime::{LinuxBuilder, Process, RootBuilder, Spec, SpecBuilder};
use loam_model::{
    Bundle, BundleInput, Bundler, CgroupDriver, CgroupPlace, ContainerId, ErrorKind, Failure, Namespace,
    ProcessSpec, Result, RuntimeChoice, Slice, shown,
};

pub use namespaces::id_mappings;

use crate::cgroup::Cgroup;
use crate::lsm::{apparmor, selinux};
use crate::mounts::{self, Mounts};
use crate::{embedded, masks, user};

pub(crate) use command::clean;
pub(crate) use host::Host;

/// The version of the runtime specification that a bundle claims: everything in it existed then, so that older runtimes
/// take it.
const OCI_VERSION: &str = "1.0.2";

/// Makes bundles by the rules of the OCI specifications and Loam's secure defaults.
#[derive(Clone, Debug)]
pub struct OciBundler {
    /// Who makes cgroups; found out when it is not said.
    driver: Option<CgroupDriver>,
    /// Where scopes go.
    slice: Slice,
}

impl OciBundler {
    /// Makes a bundler. It looks at the host each time it is asked for a bundle. Cgroups of new containers are made by
    /// the driver, or by the one that suits this host ([`crate::cgroup_driver`]); systemd's lie in the slice.
    pub fn new(driver: Option<CgroupDriver>, slice: Slice) -> Self {
        Self { driver, slice }
    }
}

impl Default for OciBundler {
    fn default() -> Self {
        Self::new(None, Slice::machine())
    }
}

impl Bundler for OciBundler {
    fn bundle(&self, input: &BundleInput<'_>) -> Result<Bundle> {
        bundle(input, &Host::detect())
    }

    fn prepare_host(&self, config: &Spec) -> Result<()> {
        let process = config.process().as_ref();
        apparmor::load_for(process.and_then(|process| process.apparmor_profile().as_deref()))
    }

    fn process(&self, container: &Spec, spec: &ProcessSpec) -> Result<Process> {
        process::further(container, spec, &Host::detect())
    }

    /// A path has no common parent with others: that would have to be made and removed by whichever command happens to
    /// be first and last, once more in every hierarchy of version 1.
    fn cgroup(&self, id: &ContainerId) -> Result<CgroupPlace> {
        Ok(match crate::cgroup_driver(self.driver)? {
            CgroupDriver::Cgroupfs => CgroupPlace::Path(format!("/loam-{id}")),
            CgroupDriver::Systemd => CgroupPlace::Scope {
                slice: self.slice.clone(),
                prefix: "loam".to_owned(),
                name: id.to_string(),
            },
        })
    }

    fn remove_cgroup(&self, cgroup: &CgroupPlace) -> Result<()> {
        Cgroup::remove_path(&cgroup.to_string())
    }
}

/// Makes the bundle of a container on a host.
fn bundle(input: &BundleInput<'_>, host: &Host) -> Result<Bundle> {
    let (spec, mut warnings) = (input.spec, Vec::new());
    if host.lacks_mount_calls && spec.runtime == RuntimeChoice::Embedded {
        return Err(embedded::lacks_mount_calls());
    }
    let user = spec.user.as_ref().or(input.image.user.as_ref());
    if let Some(user) = user {
        user::check(user)?;
    }
    security::refuse_relabelling(&spec.mounts, host)?;
    let Mounts { mounts, preparations, propagation } = mounts::resolve(input, host, &mut warnings)?;
    let mut process = process::main(input, host, &mut warnings)?;
    let labels = selinux::resolve(&spec.security.selinux, input.id, input.mapping, host.selinux.as_ref())?;
    process.set_selinux_label(labels.as_ref().map(|labels| labels.process.clone()));
    let bounding =
        process.capabilities().as_ref().and_then(|sets| sets.bounding().clone()).unwrap_or_default();
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces::list(input))
        .cgroups_path(input.cgroup.to_string())
        .resources(resources::resolve(&spec.limits, host, &mut warnings)?)
        .rootfs_propagation(propagation)
        .masked_paths(masks::masked(&spec.security.unmask, &host.throttled_processors))
        .readonly_paths(masks::read_only(&spec.security.unmask))
        .build()
        .expect("every member of the Linux part has a default");
    linux.set_devices(None);
    linux.set_mount_label(labels.map(|labels| labels.files));
    // In a user namespace the kernel itself refuses what leads out of a project quota.
    let fixed_projects = spec.limits.disk.is_some() && input.mapping.is_none();
    linux.set_seccomp(security::seccomp(&spec.security.seccomp, &bounding, fixed_projects)?);
    linux.set_sysctl(namespaces::sysctl(input));
    let ids = input.mapping.map(id_mappings);
    linux.set_uid_mappings(ids.clone());
    linux.set_gid_mappings(ids);
    let root = RootBuilder::default()
        .path(input.directory.join("rootfs"))
        .readonly(spec.read_only)
        .build()
        .expect("every member of the root has a default");
    let mut config = SpecBuilder::default()
        .version(OCI_VERSION)
        .root(root)
        .mounts(mounts)
        .process(process)
        .hostname(hostname(input)?)
        .linux(linux)
        .build()
        .expect("every member of a configuration has a default");
    config.set_annotations(Some(annotations::resolve(input)).filter(|annotations| !annotations.is_empty()));
    let root_user = |user: &&String| matches!(user.as_str(), "" | "0" | "root");
    let user = user.filter(|user| !root_user(user)).cloned();
    Ok(Bundle { config, user, preparations, warnings })
}

/// The host name: the one asked for, else the short id.
fn hostname(input: &BundleInput<'_>) -> Result<String> {
    let Some(name) = &input.spec.hostname else { return Ok(input.id.short().to_owned()) };
    // sethostname(2) takes 64 bytes; files of lines will hold it. Labels are those of names on networks, and `_`.
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && label.bytes().all(good);
    if name.len() > 64 || !name.split('.').all(label) {
        let message =
            format!("host name `{}` is not valid: letters, digits and `-._`, at most 64", shown(name));
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    Ok(name.clone())
}

/// Whether the container shares the host's network.
pub(crate) fn has_host_network(input: &BundleInput<'_>) -> bool {
    input.network == Namespace::Host
}

#[cfg(test)]
mod tests;
