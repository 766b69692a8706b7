//! Limits of the cgroup.

mod block_io;
mod hugepages;
mod memory;
mod processor;

use loam_model::oci_spec::runtime::{LinuxPids, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder};
use loam_model::{ErrorKind, Failure, Limits, Result};

use super::Host;
use crate::devices;

/// Processes and threads, when nobody says: no program needs more, and a fork bomb stays small.
const DEFAULT_PIDS: i64 = 4096;

/// The limits as the runtime specification has them.
pub(super) fn resolve(limits: &Limits, host: &Host, warnings: &mut Vec<String>) -> Result<LinuxResources> {
    let mut resources = LinuxResourcesBuilder::default()
        .devices(vec![devices::deny_all()])
        .build()
        .expect("every member of the resources has a default");
    resources.set_memory(memory::resolve(limits, host)?);
    resources.set_cpu(processor::resolve(limits, host)?);
    resources.set_block_io(block_io::resolve(limits, host)?);
    resources.set_hugepage_limits(hugepages::resolve(limits, host)?);
    resources.set_pids(pids(limits, host, warnings)?);
    Ok(resources)
}

fn pids(limits: &Limits, host: &Host, warnings: &mut Vec<String>) -> Result<Option<LinuxPids>> {
    let count = match limits.pids {
        Some(-1) => None,
        Some(count @ 1..) => {
            needs(host, &["pids"], "process limit")?;
            Some(count)
        }
        Some(count) => {
            return Err(invalid(format!("process limit `{count}` is neither a number of processes nor -1")));
        }
        None if needs(host, &["pids"], "").is_ok() => Some(DEFAULT_PIDS),
        None => {
            warnings.push(
                "the number of processes is not limited: this host has no `pids` cgroup controller"
                    .to_owned(),
            );
            None
        }
    };
    Ok(count.map(|count| LinuxPidsBuilder::default().limit(count).build().expect("a limit")))
}

/// Refuses a limit that nothing would enforce. A controller may have one name in each version of cgroups.
fn needs(host: &Host, controller: &[&str], what: &str) -> Result<()> {
    match &host.controllers {
        Some(controllers) if !controllers.iter().any(|name| controller.contains(&name.as_str())) => {
            let controller = controller.join("` or `");
            let message =
                format!("the {what} can't be enforced: this host has no `{controller}` cgroup controller");
            Err(Failure::new(ErrorKind::Unsupported, message))
        }
        _ => Ok(()),
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}
