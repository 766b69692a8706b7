//! Changing the limits of a container that is there.

use loam_model::{DiskLimit, ErrorKind, Failure, LimitScope, Limits, Result, UserNamespace};

use crate::create::durability;
use crate::record::Record;
use crate::{Engine, store, validate};

impl Engine {
    /// Changes how much a container may write to its root file system, or limits it for the first time, whether it runs or
    /// not. It is refused where that can't be done to what is there.
    ///
    /// The image store is asked first, as it may refuse. A death between the two leaves an old limit in the spec; `inspect`
    /// and `stats` show the one that is enforced, and the same call again mends the spec.
    pub fn change_disk_limit(&self, name: &str, bytes: u64) -> Result<()> {
        validate::check_disk(&Limits { disk: Some(bytes), ..Limits::default() })?;
        let (_lock, mut record) = self.lock_settled(name)?;
        check_held(&record)?;
        let limit = DiskLimit {
            bytes,
            scope: LimitScope::Exclusive,
            can_change_projects: record.spec.can_change_projects(),
        };
        self.core.seams.images.change_limit(&record.id, &limit).map_err(|failure| {
            let message = format!("the disk limit of container `{}` can't be changed", record.name);
            let outer = Failure::new(failure.kind(), message);
            let outer = match failure.hint_text() {
                Some(hint) => outer.hint(hint),
                None => outer,
            };
            outer.caused_by(failure)
        })?;
        record.spec.limits.disk = Some(bytes);
        store::set_spec(&self.core.database, durability(&record), &record)
    }
}

/// Refuses a first limit where the container was free to take its files out of what counts them: without a user namespace
/// that is kept from it only when it has a limit from the beginning.
fn check_held(record: &Record) -> Result<()> {
    if record.spec.limits.disk.is_some() || record.spec.user_namespace != UserNamespace::Host {
        return Ok(());
    }
    let message = format!("container `{}` was made without a disk limit and a user namespace", record.name);
    Err(Failure::new(ErrorKind::Unsupported, message).hint("make a new container with a limit"))
}
