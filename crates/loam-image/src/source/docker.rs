//! What `docker save` writes: a tar with `manifest.json`, configurations, and layers as plain tars. Such an archive
//! has no OCI manifest; one is made here, in which a layer's digest is its diff id.

use loam_model::{Digest, ErrorKind, Failure, Result, shown};
use serde::Deserialize;

use super::{Files, Source};
use crate::document::{
    CONFIG_LIMIT, Config, Descriptor, MANIFEST_LIMIT, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, RawDocument,
};
use crate::error::invalid;
use crate::hashing::sha256;
use crate::intake::{Blob, Promise};
use crate::names;

/// An image in an archive of Docker's.
pub(crate) struct DockerArchive<F> {
    files: F,
    manifest: RawDocument,
    config: (Digest, String),
    /// Members by diff id.
    layers: Vec<(Digest, String)>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The names of each image in an archive; `None` when it is no archive of Docker's.
pub(super) fn names_in(files: &impl Files) -> Result<Option<Vec<Vec<String>>>> {
    let Some(listed) = read_list(files)? else { return Ok(None) };
    Ok(Some(listed.into_iter().map(|image| image.repo_tags.unwrap_or_default()).collect()))
}

fn read_list(files: &impl Files) -> Result<Option<Vec<Listed>>> {
    let Some(bytes) = files.read("manifest.json", MANIFEST_LIMIT)? else { return Ok(None) };
    let malformed =
        |error| invalid(format!("`manifest.json` in {} is malformed", files.describe())).caused_by(error);
    serde_json::from_slice(&bytes).map(Some).map_err(malformed)
}

impl<F: Files> DockerArchive<F> {
    /// Finds the image with this name, or the only one.
    pub(crate) fn open(files: F, reference: Option<&str>) -> Result<Self> {
        let place = files.describe();
        let listed = read_list(&files)?.ok_or_else(|| {
            Failure::new(
                ErrorKind::NotFound,
                format!("{place} is no archive of images: it has no `manifest.json`"),
            )
        })?;
        let (image, name) = choose(listed, reference, &place)?;
        let config_bytes = files
            .read(&image.config, CONFIG_LIMIT)?
            .ok_or_else(|| invalid(format!("{place} lacks the configuration `{}`", shown(&image.config))))?;
        let config = Config::parse(&config_bytes, &place)?;
        let members = image.layers.unwrap_or_default();
        if members.len() != config.diff_ids.len() {
            return Err(invalid(format!(
                "the configuration in {place} names {} layers and `manifest.json` {}",
                config.diff_ids.len(),
                members.len()
            )));
        }
        let layers: Vec<(Digest, String)> = config.diff_ids.into_iter().zip(members).collect();
        let mut described = Vec::new();
        for (diff_id, member) in &layers {
            let content = files
                .open(member)?
                .ok_or_else(|| invalid(format!("{place} lacks the layer `{}`", shown(member))))?;
            described.push(
                serde_json::json!({ "mediaType": OCI_LAYER, "digest": diff_id, "size": content.size() }),
            );
        }
        let id = sha256(&config_bytes);
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": { "mediaType": OCI_CONFIG, "digest": id, "size": config_bytes.len() },
            "layers": described,
        });
        let bytes = manifest.to_string().into_bytes();
        let manifest = RawDocument { media_type: OCI_MANIFEST.to_owned(), digest: sha256(&bytes), bytes };
        Ok(Self { files, manifest, config: (id, image.config), layers, name })
    }
}

/// The wanted entry, and its name.
fn choose(listed: Vec<Listed>, reference: Option<&str>, place: &str) -> Result<(Listed, Option<String>)> {
    let Some(wanted) = reference else {
        let mut listed = listed.into_iter();
        return match (listed.next(), listed.next()) {
            (Some(only), None) => {
                let name = only.repo_tags.as_ref().and_then(|tags| tags.first().cloned());
                Ok((only, name))
            }
            (None, _) => Err(Failure::new(ErrorKind::NotFound, format!("{place} holds no image"))),
            _ => Err(Failure::new(ErrorKind::Invalid, format!("{place} holds several images"))
                .hint("name one of them after a further colon")),
        };
    };
    let meanings =
        |text: &str| [names::candidates(text), names::further_candidates(text, &|_| None)].concat();
    let candidates = meanings(wanted);
    let same = |tag: &String| tag == wanted || meanings(tag).iter().any(|name| candidates.contains(name));
    let found = listed.into_iter().find_map(|image| {
        image.repo_tags.as_ref()?.iter().find(|tag| same(tag)).cloned().map(|tag| (image, Some(tag)))
    });
    found
        .ok_or_else(|| Failure::new(ErrorKind::NotFound, format!("{place} has no image `{}`", shown(wanted))))
}

impl<F: Files> Source for DockerArchive<F> {
    fn top(&self) -> Result<RawDocument> {
        Ok(self.manifest.clone())
    }

    fn document(&self, descriptor: &Descriptor) -> Result<RawDocument> {
        Err(invalid(format!("{} has no manifest `{}`", self.files.describe(), descriptor.digest)))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<(Box<dyn Blob>, Promise)> {
        let digest = &descriptor.digest;
        let (member, promised) = if *digest == self.config.0 {
            (Some(&self.config.1), Some(digest.clone()))
        } else {
            // The diff id is checked after unpacking; some tools compress the layers in spite of the format.
            (self.layers.iter().find(|(diff_id, _)| diff_id == digest).map(|(_, member)| member), None)
        };
        let content = member.map(|member| self.files.open(member)).transpose()?.flatten();
        let content = content
            .ok_or_else(|| invalid(format!("{} lacks the layer `{digest}`", self.files.describe())))?;
        Ok((content.into_blob(), Promise { digest: promised, size: Some(descriptor.size) }))
    }

    fn found_name(&self) -> Option<String> {
        self.name.clone()
    }
}
