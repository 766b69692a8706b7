//! Where an image comes from, as a person writes it.

use std::path::PathBuf;

use loam_model::{ErrorKind, Failure, ImageSource, Result, shown};

/// Reads a source: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REF]`, else the name of an image
/// in a registry, with or without `docker://` before it.
pub fn parse_source(text: &str) -> Result<ImageSource> {
    if let Some(rest) = text.strip_prefix("oci:") {
        let (directory, tag) = split(text, rest)?;
        return Ok(ImageSource::OciLayout { directory, tag });
    }
    if let Some(rest) = text.strip_prefix("oci-archive:") {
        let (file, tag) = split(text, rest)?;
        return Ok(ImageSource::OciArchive { file, tag });
    }
    if let Some(rest) = text.strip_prefix("docker-archive:") {
        let (file, reference) = split(text, rest)?;
        return Ok(ImageSource::DockerArchive { file, reference });
    }
    let name = text.strip_prefix("docker://").unwrap_or(text);
    let reference = crate::names::reference(name)?;
    // A path to a local file is a common slip; it parses as no name, or as one on a host that can't be.
    if reference.domain().starts_with('.') {
        return Err(Failure::new(
            ErrorKind::Invalid,
            format!("`{}` is not the name of an image", shown(text)),
        ));
    }
    Ok(ImageSource::Registry(name.to_owned()))
}

/// Splits `PATH[:TAG]`; the path ends at the first colon.
fn split(whole: &str, rest: &str) -> Result<(PathBuf, Option<String>)> {
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    if path.is_empty() || tag == Some("") {
        return Err(Failure::new(ErrorKind::Invalid, format!("`{}` names no path", shown(whole)))
            .hint("write for example oci:DIRECTORY:TAG or docker-archive:FILE"));
    }
    Ok((PathBuf::from(path), tag.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_are_told_apart() {
        let registry = |name: &str| ImageSource::Registry(name.to_owned());
        assert_eq!(parse_source("debian:12").expect("a name"), registry("debian:12"));
        assert_eq!(parse_source("docker://localhost:5000/a").expect("a name"), registry("localhost:5000/a"));
        let layout = ImageSource::OciLayout { directory: "d/e".into(), tag: Some("a:1".to_owned()) };
        assert_eq!(parse_source("oci:d/e:a:1").expect("a layout"), layout);
        let archive = ImageSource::DockerArchive { file: "x.tar".into(), reference: None };
        assert_eq!(parse_source("docker-archive:x.tar").expect("an archive"), archive);
        for bad in ["", "oci:", "oci::x", "oci:x:", "a b", "/etc/passwd", "./x"] {
            assert!(parse_source(bad).is_err(), "{bad:?}");
        }
    }
}
