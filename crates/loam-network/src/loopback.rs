//! The loopback interface of a namespace.

use std::path::Path;

use loam_cni::namespace::Namespace;
use loam_cni::netlink::{Batch, RouteSocket};
use loam_model::{ErrorKind, Failure, Result};

/// Brings loopback up, where no plugin of ours does it in passing.
pub(crate) fn loopback_up(namespace: &Path) -> Result<()> {
    let failed = || Failure::new(ErrorKind::Internal, "bringing loopback up failed");
    let namespace = Namespace::open(namespace).map_err(|error| failed().caused_by(error))?;
    let up = namespace.run(|| {
        let mut socket = RouteSocket::open()?;
        let mut batch = Batch::new();
        batch.link_up(1);
        socket.run(batch)
    });
    let verdicts =
        up.map_err(|error| failed().caused_by(error))?.map_err(|error| failed().caused_by(error))?;
    verdicts.into_iter().try_for_each(|verdict| verdict.map_err(|refusal| failed().caused_by(refusal)))
}
