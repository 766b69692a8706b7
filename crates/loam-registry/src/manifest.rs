//! Manifests as they come from a registry, verified.

use loam_model::{Digest, DigestAlgorithm};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256, Sha512};

use crate::error::{RegistryError, printable};

/// The longest manifest that is read: what registries must accept (distribution specification, "Pushing Manifests").
pub(crate) const LONGEST: usize = 4 * 1024 * 1024;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// What is asked for.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or an index. Its bytes have the digest; it is one of the two and not both; and what it says of its type
/// is what the registry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The media type: one of the four of image indexes and manifests, OCI's or Docker's.
    pub media_type: String,
    /// The digest of the bytes: the one that was asked for, else SHA-256.
    pub digest: Digest,
    /// The bytes as they came.
    pub bytes: Vec<u8>,
}

/// The members that tell what a document is. One that is there twice is an error, so that no two readers see
/// different things in it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Manifest {
    /// Verifies what a registry sent for a reference. `expected` is the digest that was asked for, if it was one.
    pub(crate) fn verify(
        host: String,
        what: &str,
        content_type: Option<&str>,
        bytes: Vec<u8>,
        expected: Option<&Digest>,
    ) -> Result<Self, RegistryError> {
        let digest = digest(expected.map_or(DigestAlgorithm::Sha256, Digest::algorithm), &bytes);
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(RegistryError::DigestMismatch { host, expected: expected.clone(), actual: digest });
        }
        let media_type = media_type(what, content_type, &bytes)?;
        Ok(Self { media_type, digest, bytes })
    }
}

/// The digest of some bytes.
pub(crate) fn digest(algorithm: DigestAlgorithm, bytes: &[u8]) -> Digest {
    match algorithm {
        DigestAlgorithm::Sha256 => Digest::sha256(&Sha256::digest(bytes).into()),
        DigestAlgorithm::Sha512 => {
            let hex: String = Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("sha512:{hex}").parse().expect("128 hexadecimal digits make a digest")
        }
    }
}

/// What the document is, if the document and the registry agree on it.
fn media_type(what: &str, content_type: Option<&str>, bytes: &[u8]) -> Result<String, RegistryError> {
    let invalid = |reason: String| RegistryError::Manifest { what: what.to_owned(), reason };
    let unsupported =
        |kind: &str| RegistryError::Unsupported { what: what.to_owned(), kind: kind.to_owned() };
    let told = content_type.map(bare).filter(|told| !is_generic(told));
    let outline: Outline =
        serde_json::from_slice(bytes).map_err(|error| invalid(printable(&error.to_string(), 200)))?;
    let old = told.is_some_and(|told| told.starts_with(SCHEMA_1)) || outline.fs_layers.is_some();
    if old || outline.schema_version == Some(1) {
        return Err(unsupported("in Docker's old image format (schema 1)"));
    }
    if outline.schema_version != Some(2) {
        return Err(invalid("its `schemaVersion` is not 2".to_owned()));
    }
    let is_index = outline.manifests.is_some();
    if is_index && (outline.layers.is_some() || outline.config.is_some()) {
        return Err(invalid("it is both an index and a manifest".to_owned()));
    }
    if !is_index && (outline.layers.is_none() || outline.config.is_none()) {
        return Err(invalid("it is neither an index nor a manifest".to_owned()));
    }
    let own = outline.media_type.as_deref();
    if let (Some(told), Some(own)) = (told, own)
        && told != own
    {
        let (told, own) = (printable(told, 100), printable(own, 100));
        return Err(invalid(format!("the registry calls it `{told}`, and it calls itself `{own}`")));
    }
    let media_type = own.or(told).unwrap_or(if is_index { OCI_INDEX } else { OCI_MANIFEST });
    match media_type {
        OCI_INDEX | DOCKER_INDEX if is_index => Ok(media_type.to_owned()),
        OCI_MANIFEST | DOCKER_MANIFEST if !is_index => Ok(media_type.to_owned()),
        OCI_INDEX | DOCKER_INDEX | OCI_MANIFEST | DOCKER_MANIFEST => {
            Err(invalid(format!("its contents are not those of `{media_type}`")))
        }
        other => Err(unsupported(&format!("a document of the type `{}`", printable(other, 100)))),
    }
}

/// A media type without its parameters.
fn bare(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Types that say nothing, from servers that do not know what they have.
fn is_generic(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | "application/json" | "application/octet-stream" | "text/plain" | "binary/octet-stream"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(content_type: &str, document: &str) -> String {
        let content_type = Some(content_type).filter(|text| !text.is_empty());
        match media_type("x", content_type, document.as_bytes()) {
            Ok(media_type) => media_type,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn registry_and_document_must_agree() {
        let manifest = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let named =
            format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}","config":{{}},"layers":[]}}"#);
        for (content_type, document, expected) in [
            (OCI_MANIFEST, manifest, OCI_MANIFEST),
            ("", manifest, OCI_MANIFEST),
            ("application/json; charset=utf-8", index, OCI_INDEX),
            (DOCKER_INDEX, index, DOCKER_INDEX),
            ("text/plain", &named, DOCKER_MANIFEST),
        ] {
            assert_eq!(typed(content_type, document), expected, "{content_type} {document}");
        }
        assert!(typed(OCI_INDEX, manifest).contains("its contents are not those of"));
        assert!(typed(OCI_MANIFEST, index).contains("its contents are not those of"));
        assert!(typed(OCI_MANIFEST, &named).contains("and it calls itself"));
        assert!(typed("application/x", manifest).contains("a document of the type `application/x`"));
    }

    #[test]
    fn ambiguous_and_broken_documents_are_refused() {
        for (document, reason) in [
            (r#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#, "both an index and a manifest"),
            (r#"{"schemaVersion":2,"manifests":[],"config":{}}"#, "both an index and a manifest"),
            (r#"{"schemaVersion":2,"layers":[]}"#, "neither an index nor a manifest"),
            (r#"{"schemaVersion":2,"config":{},"layers":[],"layers":[]}"#, "duplicate field `layers`"),
            (r#"{"schemaVersion":3,"config":{},"layers":[]}"#, "`schemaVersion` is not 2"),
            (r#"{"config":{},"layers":[]}"#, "`schemaVersion` is not 2"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema 1"),
            ("", "EOF"),
            ("<html>", "expected value"),
        ] {
            let message = typed("", document);
            assert!(message.contains(reason), "{document}: {message}");
        }
    }

    #[test]
    fn both_algorithms_are_verified() {
        let bytes = br#"{"schemaVersion":2,"config":{},"layers":[]}"#.to_vec();
        for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512] {
            let good = digest(algorithm, &bytes);
            let verified = Manifest::verify("h".to_owned(), "x", None, bytes.clone(), Some(&good));
            assert_eq!(verified.expect("digest fits").digest, good);
            let error = Manifest::verify("h".to_owned(), "x", None, b"{}".to_vec(), Some(&good));
            assert!(matches!(error, Err(RegistryError::DigestMismatch { .. })));
        }
    }
}
