//! Names that begin with a transport, such as `docker-archive:`, as the tools over containers/image have them
//! (containers-transports(5)). Where a command does not take one it is refused: as a name of an image it would be looked
//! for in a registry that nobody meant.
//!
//! `docker` is one only with `//`: `docker:27` is an image of Docker Hub.

use loam_model::{ErrorKind, Failure, shown};

/// The transports that are written with a colon alone.
const TRANSPORTS: [&str; 9] = [
    "containers-storage",
    "dir",
    "docker-archive",
    "docker-daemon",
    "oci",
    "oci-archive",
    "ostree",
    "sif",
    "tarball",
];

/// What a command takes where an image's name may stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Takes {
    /// Where images come from and are copied to.
    Sources,
    /// Where images are pushed to.
    Destinations,
    /// What is in a registry.
    Registry,
}

impl Takes {
    fn transports(self) -> &'static [&'static str] {
        match self {
            Self::Sources => &["oci", "oci-archive", "docker-archive"],
            Self::Destinations | Self::Registry => &[],
        }
    }

    fn forms(self) -> &'static str {
        match self {
            Self::Sources => {
                "NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] and docker-archive:FILE[:NAME]"
            }
            Self::Destinations | Self::Registry => "HOST[:PORT]/PATH[:TAG]",
        }
    }

    /// What can be done instead.
    fn hint(self, transport: &str, rest: &str) -> Option<String> {
        let archive = "`loam image save -o FILE IMAGE` writes an archive";
        match (self, transport) {
            (Self::Destinations, "docker-archive" | "oci-archive") => Some(archive.to_owned()),
            (Self::Destinations, "oci") => Some(format!(
                "{archive}, and `loam image copy oci-archive:FILE oci:DIR` makes a layout of it"
            )),
            (Self::Sources, "docker-daemon") => {
                Some("`docker save IMAGE | loam image load` takes an image over".to_owned())
            }
            (Self::Sources, "containers-storage") => {
                Some("`podman save IMAGE | loam image load` takes an image over".to_owned())
            }
            _ if is_tag(rest) => Some(format!(
                "an image of Docker Hub that is called so is `docker.io/library/{transport}:{rest}`"
            )),
            _ => None,
        }
    }
}

/// Refuses a word that begins with a transport that is not taken.
pub(crate) fn check(word: &str, takes: Takes) -> Result<(), Failure> {
    let Some((transport, rest)) = word.split_once(':') else { return Ok(()) };
    if !TRANSPORTS.contains(&transport) || takes.transports().contains(&transport) {
        return Ok(());
    }
    let message = format!(
        "`{}` can't be used: the transport `{transport}` is not taken here, only {}",
        shown(word),
        takes.forms()
    );
    let failure = Failure::new(ErrorKind::Invalid, message);
    Err(match takes.hint(transport, rest) {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

/// Whether a text can be a tag (OCI distribution specification, "Pulling manifests").
fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = text.bytes();
    let begins = bytes.next().is_some_and(word);
    begins && text.len() <= 128 && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_does_not_take_is_refused_with_what_it_takes() {
        let refused = |word: &str, takes| {
            let failure = check(word, takes).expect_err(word);
            format!("{failure}\n{}", failure.hint_text().unwrap_or("-"))
        };
        insta::assert_snapshot!(refused("dir:zz", Takes::Sources), @r"
        `dir:zz` can't be used: the transport `dir` is not taken here, only NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] and docker-archive:FILE[:NAME]
        an image of Docker Hub that is called so is `docker.io/library/dir:zz`
        ");
        insta::assert_snapshot!(refused("dir:/tmp/x", Takes::Sources), @r"
        `dir:/tmp/x` can't be used: the transport `dir` is not taken here, only NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] and docker-archive:FILE[:NAME]
        -
        ");
        insta::assert_snapshot!(refused("containers-storage:x", Takes::Sources), @r"
        `containers-storage:x` can't be used: the transport `containers-storage` is not taken here, only NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] and docker-archive:FILE[:NAME]
        `podman save IMAGE | loam image load` takes an image over
        ");
        insta::assert_snapshot!(refused("docker-archive:x.tar", Takes::Destinations), @r"
        `docker-archive:x.tar` can't be used: the transport `docker-archive` is not taken here, only HOST[:PORT]/PATH[:TAG]
        `loam image save -o FILE IMAGE` writes an archive
        ");
        insta::assert_snapshot!(refused("oci:./l2:1", Takes::Destinations), @r"
        `oci:./l2:1` can't be used: the transport `oci` is not taken here, only HOST[:PORT]/PATH[:TAG]
        `loam image save -o FILE IMAGE` writes an archive, and `loam image copy oci-archive:FILE oci:DIR` makes a layout of it
        ");
        for word in TRANSPORTS {
            assert!(check(&format!("{word}:/x"), Takes::Registry).is_err(), "{word}");
        }
    }

    #[test]
    fn names_and_what_is_taken_pass() {
        for word in ["dir", "docker:27", "docker://dir:1", "docker.io/library/dir:1", "a/dir:1", "debian:12"]
        {
            for takes in [Takes::Sources, Takes::Destinations, Takes::Registry] {
                check(word, takes).expect(word);
            }
        }
        for word in ["oci:d:1", "oci-archive:x.tar", "docker-archive:x.tar:a/b:1"] {
            check(word, Takes::Sources).expect(word);
        }
    }
}
