//! What a place says of an image: documents, and what layers it needs.

use loam_model::{Digest, ImageSource, PullOptions, Result};

use super::keys::Keyed;
use super::{NeededLayer, limits, shown_source};
use crate::document::{CONFIG_LIMIT, Config, Descriptor, RawDocument, select};
use crate::error::wrap;
use crate::intake::read_document;
use crate::platform::Platform;
use crate::source::Source;
use crate::{LayerStore, blobs, hashing, names};

/// Everything of an image but its layers.
pub(crate) struct Described {
    pub(crate) manifest: RawDocument,
    pub(crate) id: Digest,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) config: Config,
    pub(crate) name: Option<String>,
}

/// An image that is to be there in the end.
pub(super) struct Wanted {
    pub(super) described: Described,
    /// Each once, in the order in which the image first has them.
    pub(super) layers: Vec<NeededLayer>,
    /// The image as messages call it.
    pub(super) shown: String,
}

impl LayerStore {
    /// What the place says of the image, and the layers that the image needs.
    pub(super) fn describe(
        &self,
        place: &dyn Source,
        source: &ImageSource,
        options: &PullOptions,
    ) -> Result<Wanted> {
        let platform = options.platform.as_deref().map_or_else(|| Ok(Platform::host()), str::parse)?;
        let shown = shown_source(source);
        let (manifest, parsed) =
            select(place.top()?, &platform, &shown, &|descriptor| place.document(descriptor))?;
        let name = match &options.name {
            Some(name) => Some(names::given(name)?),
            None if options.nameless => None,
            None => names::of_source(source, place.found_name().as_deref())?,
        };
        let config_bytes = self.config_bytes(place, &parsed.config, &shown)?;
        let config = Config::parse(&config_bytes, &shown)?;
        config.check(parsed.layers.len(), &platform, &shown)?;
        limits::check_blobs(&parsed, options.limit, &shown)?;
        let keyed = Keyed::new(&config, &parsed, options)?;
        let described = if keyed.is_plain() {
            let id = hashing::digest(parsed.config.digest.algorithm(), &config_bytes);
            Described { manifest, id, config_bytes, config, name }
        } else {
            keyed.describe(&config_bytes, &shown, name)?
        };
        Ok(Wanted { described, layers: keyed.needed, shown })
    }

    fn config_bytes(&self, place: &dyn Source, descriptor: &Descriptor, shown: &str) -> Result<Vec<u8>> {
        if self.places.blob(&descriptor.digest).exists()
            && let Ok(bytes) = blobs::read(&self.places, &descriptor.digest)
        {
            return Ok(bytes);
        }
        let (blob, promise) = place.blob(descriptor)?;
        read_document(blob, promise, CONFIG_LIMIT)
            .map_err(|failure| wrap(failure, &format!("the configuration of {shown} can't be used")))
    }
}
