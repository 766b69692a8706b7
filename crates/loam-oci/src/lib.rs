//! The runtime seam: bundles, defaults, seccomp, cgroups, the embedded and the external OCI runtimes.
//!
//! What comes in: a [`loam_model::ContainerSpec`] with its image's configuration, or an OCI `config.json`; what goes
//! out: that `config.json`, and processes. [`OciBundler`] runs in the engine. The rest runs in the shim, one container
//! and one thread: [`resolve_user`] and [`finish_process`] complete the process with what only the mounted root file
//! system knows, [`ExecRuntime`] drives a runtime program; [`Cgroup`] and [`seccomp`] serve the embedded one.

mod bundle;
pub mod capabilities;
mod cgroup;
mod character_device;
mod cpu_list;
pub mod devices;
mod embedded;
mod external;
mod host_report;
mod masks;
mod mounts;
mod rlimits;
mod user;

pub mod lsm;
pub mod seccomp;

pub use bundle::{OciBundler, id_mappings};
pub use cgroup::{Cgroup, CgroupLayout, CgroupMount, CgroupVersion, cgroup_driver};
pub use embedded::{EmbeddedRuntime, Step, hasten_cgroup_joins};
pub use external::ExecRuntime;
pub use host_report::{AppArmorProfile, HostReport};
pub use user::{ResolvedUser, finish_process, resolve_user};
