//! What a disk file that can't be mounted is to a person.

use loam_sys::DiskError;

use crate::{ErrorKind, Failure};

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        let elsewhere = "keep the state directory on a file system with quotas";
        let (kind, hint) = match &error {
            DiskError::InUse { .. } => (ErrorKind::Conflict, None),
            DiskError::NoLoopDevice { .. } => {
                (ErrorKind::Unsupported, Some(format!("load the kernel's module `loop`, or {elsewhere}")))
            }
            DiskError::NoMountCalls { .. } => (ErrorKind::Unsupported, Some(elsewhere.to_owned())),
            DiskError::NoExt4 { .. } => {
                (ErrorKind::Unsupported, Some(format!("load the kernel's module `ext4`, or {elsewhere}")))
            }
            DiskError::Open { source, .. } | DiskError::Mount { source, .. } => {
                (ErrorKind::of_io(source), None)
            }
        };
        let failure = Self::new(kind, error.to_string());
        let failure = match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        };
        match error {
            DiskError::InUse { .. } | DiskError::NoMountCalls { .. } => failure,
            DiskError::Open { source, .. }
            | DiskError::NoLoopDevice { source, .. }
            | DiskError::NoExt4 { source, .. }
            | DiskError::Mount { source, .. } => failure.caused_by(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::PathBuf;

    #[test]
    fn each_step_has_its_sentence() {
        let path = PathBuf::from("/d");
        let source = || io::Error::from(io::ErrorKind::PermissionDenied);
        for (error, kind, sentence, hint) in [
            (DiskError::InUse { path: path.clone() }, ErrorKind::Conflict, "the disk `/d` is in use", None),
            (
                DiskError::NoLoopDevice { path: path.clone(), source: source() },
                ErrorKind::Unsupported,
                "the disk `/d` can't be mounted: this machine gives no loop device: permission denied",
                Some("module `loop`"),
            ),
            (
                DiskError::NoMountCalls { path: path.clone() },
                ErrorKind::Unsupported,
                "the disk `/d` can't be mounted: this kernel or a sandbox around Loam refuses `fsopen`",
                Some("file system with quotas"),
            ),
            (
                DiskError::NoExt4 { path: path.clone(), source: source() },
                ErrorKind::Unsupported,
                "the disk `/d` can't be mounted: this kernel does not have ext4: permission denied",
                Some("module `ext4`"),
            ),
            (
                DiskError::Mount { path, source: source() },
                ErrorKind::Denied,
                "the disk `/d` can't be mounted: permission denied",
                None,
            ),
        ] {
            let failure = Failure::from(error);
            assert_eq!((failure.kind(), failure.chain().as_str()), (kind, sentence));
            assert_eq!(failure.hint_text().is_some(), hint.is_some());
            assert!(hint.is_none_or(|hint| failure.hint_text().is_some_and(|text| text.contains(hint))));
        }
    }
}
