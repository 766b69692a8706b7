//! What is said when something fails, in GrootFS's words where it has some.

use loam_model::{Failure, Reason};

/// The text on standard output of a command that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrootfsError {
    /// A sentence.
    #[error("{0}")]
    Said(String),
    /// What the engine room says.
    #[error("{}", .0.chain())]
    Failed(Failure),
}

impl GrootfsError {
    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }

    /// A failure while an image was created, by the name that it was asked by.
    pub(crate) fn of_create(failure: Failure, image: &str) -> Self {
        let Some(reason) = failure.reason() else { return Self::Failed(failure) };
        Self::Said(match reason {
            Reason::UntrustedCertificate => {
                "This registry is insecure. To pull images from this registry, please \
                                             use the --insecure-registry option."
                    .to_owned()
            }
            Reason::NoAccess => {
                format!(
                    "{} does not exist or you do not have permissions to see it.",
                    loam_model::shown(image)
                )
            }
            Reason::LoginRefused => "authorization failed: username and password are invalid".to_owned(),
            Reason::NoSource => "Image source doesn't exist".to_owned(),
            Reason::DirectoryForTar => {
                "invalid base image: directory provided instead of a tar file".to_owned()
            }
            Reason::BlobsExceedLimit { bytes, limit } => {
                format!("layers exceed disk quota {bytes}/{limit} bytes")
            }
            Reason::UnpackedExceedsLimit => "uncompressed layer size exceeds quota".to_owned(),
            Reason::LayersExceedLimit { bytes, limit } => {
                format!("disk limit is smaller than volume size: {bytes}/{limit} bytes")
            }
        })
    }
}

impl From<Failure> for GrootfsError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loam_model::ErrorKind;

    #[test]
    fn failures_have_grootfs_s_words_where_it_has_some() {
        let said = |reason| {
            let failure = Failure::new(ErrorKind::Exhausted, "ours").because(reason);
            GrootfsError::of_create(failure, "docker:///a").to_string()
        };
        assert_eq!(
            said(Reason::BlobsExceedLimit { bytes: 9, limit: 5 }),
            "layers exceed disk quota 9/5 bytes"
        );
        assert_eq!(
            said(Reason::NoAccess),
            "docker:///a does not exist or you do not have permissions to see it."
        );
        let plain = Failure::new(ErrorKind::Internal, "ours").caused_by(std::io::Error::other("theirs"));
        assert_eq!(GrootfsError::of_create(plain, "x").to_string(), "ours: theirs");
    }
}
