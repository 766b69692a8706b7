//! The kernel's answers as errors of the protocol, for plugins that change what others made.

use rustix::io::Errno;

use crate::namespace::Namespace;
use crate::netlink::{Batch, Link, NetlinkError, RouteSocket};
use crate::protocol::{CniError, code};

/// Makes the error of a step that failed.
pub(crate) fn failed(what: impl Into<String>) -> impl FnOnce(NetlinkError) -> CniError {
    let what = what.into();
    move |cause| match cause.errno() {
        Some(Errno::OPNOTSUPP) => {
            let message = format!("{what} failed: this kernel lacks what it takes");
            CniError::new(code::UNSUPPORTED_KERNEL, message).because(&cause)
        }
        _ => CniError::internal(format!("{what} failed"), &cause),
    }
}

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
    result.map_err(|cause| {
        CniError::new(code::INVALID_NAMESPACE, "the network namespace can't be entered").because(&cause)
    })?
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
