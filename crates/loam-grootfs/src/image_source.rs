//! The image as Garden writes it: `docker://[HOST[:PORT]]/PATH[:TAG|@DIGEST]`, `oci:///DIRECTORY[:TAG]`, or the path of a tar.

use std::path::PathBuf;

use loam_model::{ImageSource, shown};

use crate::error::GrootfsError;

/// Docker Hub, which a name without a host means.
const HUB: &str = "docker.io";

/// Reads it.
pub(crate) fn parse(text: &str) -> Result<ImageSource, GrootfsError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        if text.is_empty() {
            return Err(GrootfsError::said("invalid base image: it has no name"));
        }
        return Ok(ImageSource::RootfsTar(PathBuf::from(text)));
    };
    match scheme {
        "docker" => {
            let name = match rest.strip_prefix('/') {
                Some(path) => format!("{HUB}/{}", path.trim_start_matches('/')),
                None => rest.to_owned(),
            };
            Ok(ImageSource::Registry(name))
        }
        "oci" => Ok(layout(rest)),
        _ => Err(GrootfsError::said(format!(
            "invalid base image: `{}` is no scheme of an image",
            shown(scheme)
        ))),
    }
}

/// A directory that is there as it is written has no tag.
fn layout(rest: &str) -> ImageSource {
    let whole = PathBuf::from(rest);
    match rest.rsplit_once(':') {
        Some((path, tag)) if !whole.is_dir() && !tag.is_empty() && !tag.contains('/') => {
            ImageSource::OciLayout { directory: path.into(), tag: Some(tag.to_owned()) }
        }
        _ => ImageSource::OciLayout { directory: whole, tag: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_are_told_apart() {
        let registry = |name: &str| ImageSource::Registry(name.to_owned());
        let read = |text: &str| parse(text).expect("an image");
        assert_eq!(read("docker:///busybox:1.36"), registry("docker.io/busybox:1.36"));
        assert_eq!(read("docker://h.example:5000/a/b@sha256:0"), registry("h.example:5000/a/b@sha256:0"));
        let layout = |directory: &str, tag: Option<&str>| ImageSource::OciLayout {
            directory: directory.into(),
            tag: tag.map(str::to_owned),
        };
        assert_eq!(read("oci:///no/such:1"), layout("/no/such", Some("1")));
        assert_eq!(read("oci:///no:5/such"), layout("/no:5/such", None));
        assert_eq!(read("/a/rootfs.tar"), ImageSource::RootfsTar("/a/rootfs.tar".into()));
        assert!(parse("raw:///x").is_err() && parse("").is_err());
    }
}
