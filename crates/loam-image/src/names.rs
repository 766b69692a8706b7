//! Names of images in the store, and how a person's word finds one.
//!
//! A name is kept as `registry/path:tag`. One that was given without a registry (to `import`, to `tag`, with a pull)
//! is kept without it: `path:tag`. A name with a digest keeps it.

use loam_model::{ErrorKind, Failure, ImageSource, Result};
use loam_registry::Reference;

/// Parses a reference.
pub(crate) fn reference(text: &str) -> Result<Reference> {
    text.parse::<Reference>().map_err(loam_registry::InvalidReference::into_failure)
}

/// The name under which an image is kept that a person gave this name.
pub(crate) fn given(text: &str) -> Result<String> {
    let parsed = reference(text)?;
    let algorithm = text.split_once(':').filter(|(_, rest)| !rest.contains('/')).map(|(before, _)| before);
    if algorithm.is_some_and(|word| matches!(word, "sha256" | "sha512")) {
        return Err(Failure::new(
            ErrorKind::Invalid,
            format!("`{text}` looks like a digest, and is no name"),
        ));
    }
    if parsed.digest().is_some() {
        let plain = text.split('@').next().unwrap_or(text);
        return Err(Failure::new(ErrorKind::Invalid, format!("the name `{text}` holds a digest"))
            .hint(format!("give a name such as `{plain}`")));
    }
    let canonical = parsed.canonical();
    if has_registry(text) {
        return Ok(canonical);
    }
    // What normalising put before it: the registry, and for one word the library.
    let with_tag = canonical.strip_prefix("docker.io/").unwrap_or(&canonical);
    let plain =
        if text.contains('/') { with_tag } else { with_tag.strip_prefix("library/").unwrap_or(with_tag) };
    Ok(plain.to_owned())
}

/// The names that a person's word may mean without a look at any settings, the likeliest first: as it was given, in the
/// local registry; a name with a registry is itself. Empty when it can't be a name.
pub(crate) fn candidates(text: &str) -> Vec<String> {
    let Ok(parsed) = reference(text) else { return Vec::new() };
    if has_registry(text) {
        return vec![parsed.canonical()];
    }
    match given(text) {
        Ok(plain) => vec![plain.clone(), format!("localhost/{plain}")],
        // With a digest it is no name that somebody gave.
        Err(_) => Vec::new(),
    }
}

/// Further names that a word without a registry may mean: what the settings say it stands for, and an image of Docker
/// Hub.
pub(crate) fn further_candidates(text: &str, meaning: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let Ok(parsed) = reference(text) else { return Vec::new() };
    if has_registry(text) {
        return Vec::new();
    }
    let canonical = parsed.canonical();
    match meaning(text) {
        Some(meant) if meant != canonical => vec![meant, canonical],
        _ => vec![canonical],
    }
}

/// The name that an image gets from its source when the person gives none; `found` is the name that the source itself
/// has for it. `None` leaves the image without a name.
pub(crate) fn of_source(source: &ImageSource, found: Option<&str>) -> Result<Option<String>> {
    let (path, tag) = match source {
        ImageSource::Registry(text) => return Ok(Some(reference(text)?.canonical())),
        ImageSource::OciLayout { directory, tag } => (directory, tag),
        ImageSource::OciArchive { file, tag } => (file, tag),
        ImageSource::DockerArchive { file, reference } => (file, reference),
        ImageSource::RootfsTar(file) => (file, &None),
    };
    let known = tag.as_deref().or(found);
    // Some tools write whole names where a tag belongs.
    if let Some(full) = known.filter(|name| name.contains('/') || name.contains(':')) {
        return given(full).map(Some);
    }
    if matches!(source, ImageSource::DockerArchive { .. }) {
        return known.map(given).transpose();
    }
    let stem = path.file_name().and_then(|name| name.to_str()).unwrap_or("image");
    let stem = [".tar", ".tgz", ".oci"].iter().fold(stem, |stem, end| stem.strip_suffix(end).unwrap_or(stem));
    let word: String = stem
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .collect();
    let word = match word.trim_matches('-') {
        "" => "image",
        word => word,
    };
    let name = format!("localhost/{word}:{}", known.unwrap_or("latest"));
    reference(&name).map(|parsed| Some(parsed.canonical()))
}

/// Whether a reference begins with a registry.
pub(crate) fn has_registry(text: &str) -> bool {
    Reference::names_registry(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_names_keep_their_form() {
        assert_eq!(given("hello").expect("valid"), "hello:latest");
        assert_eq!(given("team/app:1").expect("valid"), "team/app:1");
        assert_eq!(given("docker.io/debian").expect("valid"), "docker.io/library/debian:latest");
        assert_eq!(given("localhost:5000/a").expect("valid"), "localhost:5000/a:latest");
        assert_eq!(given("sha256:5000/a").expect("a host of that name"), "sha256:5000/a:latest");
        for bad in ["", "a b", "../x", "UPPER", "sha256:abc", &format!("a@sha256:{}", "0".repeat(64))] {
            assert!(given(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_word_means_the_given_name_first() {
        let alias = |_: &str| Some("quay.io/debian/debian:latest".to_owned());
        assert_eq!(candidates("debian"), ["debian:latest", "localhost/debian:latest"]);
        assert_eq!(further_candidates("debian", &|_| None), ["docker.io/library/debian:latest"]);
        assert_eq!(
            further_candidates("debian", &alias),
            ["quay.io/debian/debian:latest", "docker.io/library/debian:latest"]
        );
        assert_eq!(candidates("quay.io/a/b:1"), ["quay.io/a/b:1"]);
        assert!(further_candidates("quay.io/a/b:1", &alias).is_empty());
        assert!(candidates("not a name").is_empty() && further_candidates("not a name", &alias).is_empty());
    }

    #[test]
    fn sources_name_their_images() {
        let name = |text: &str, found| {
            of_source(&crate::parse_source(text).expect("a source"), found).expect("a name")
        };
        assert_eq!(name("debian", None).as_deref(), Some("docker.io/library/debian:latest"));
        assert_eq!(name("oci:/x/My Dir:1.2", None).as_deref(), Some("localhost/my-dir:1.2"));
        assert_eq!(name("oci-archive:/x/app.tar", None).as_deref(), Some("localhost/app:latest"));
        assert_eq!(name("oci:/x/d", Some("quay.io/a/b:3")).as_deref(), Some("quay.io/a/b:3"));
        assert_eq!(name("docker-archive:/x/d.tar", Some("a:1")).as_deref(), Some("a:1"));
        assert_eq!(name("docker-archive:/x/d.tar", None), None);
    }
}
