//! The kernel's answers as errors of the protocol, for plugins that change what others made.

pub(crate) use crate::interface::failed;
use crate::interface::not_entered;
use crate::namespace::Namespace;
use crate::netlink::{Batch, Link, NetlinkError, RouteSocket};
use crate::protocol::{CniError, code};

/// Runs a batch with a name for each of its requests; the first that is refused is the error.
pub(crate) fn run(socket: &mut RouteSocket, batch: Batch, steps: Vec<String>) -> Result<(), CniError> {
    let first = steps.first().cloned().unwrap_or_default();
    let verdicts = socket.run(batch).map_err(failed(first))?;
    for (step, verdict) in steps.into_iter().zip(verdicts) {
        verdict.map_err(|refusal| failed(step)(NetlinkError::Refused(refusal)))?;
    }
    Ok(())
}

/// Runs a function in a namespace with a socket there.
pub(crate) fn inside<T: Send>(
    namespace: &Namespace,
    function: impl FnOnce(&mut RouteSocket) -> Result<T, CniError> + Send,
) -> Result<T, CniError> {
    let result = namespace.run(|| {
        let mut socket = RouteSocket::open().map_err(failed("opening a socket in the namespace"))?;
        function(&mut socket)
    });
    result.map_err(|cause| not_entered(&cause))?
}

/// Looks a link up by name.
pub(crate) fn find_link(socket: &mut RouteSocket, name: &str) -> Result<Option<Link>, CniError> {
    socket.link(name).map_err(failed(format!("looking up `{name}`")))
}

/// Looks a link up that must be there.
pub(crate) fn require_link(socket: &mut RouteSocket, name: &str) -> Result<Link, CniError> {
    find_link(socket, name)?
        .ok_or_else(|| CniError::new(code::INTERNAL, format!("interface `{name}` does not exist")))
}
