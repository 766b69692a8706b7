//! A layout whose layers may lie elsewhere, and whose layers may be taken on trust.

use loam_model::Result;

use super::{Directory, Layout, RemoteFiles, Source};
use crate::document::{Descriptor, RawDocument, is_config};
use crate::intake::{Blob, Promise};

/// A layout in a directory. As Garden writes them, descriptors may lack sizes, digests of layers may be made up, and layers may
/// have to be fetched.
pub(crate) struct ExtendedLayout<'a> {
    layout: Layout<Directory>,
    /// Whether layers are taken as they are, and a size of nothing counts as none.
    is_trusted: bool,
    /// Where layers that the layout has not come from, when they may lie elsewhere.
    remote: Option<RemoteFiles<'a>>,
}

impl<'a> ExtendedLayout<'a> {
    /// One that has all its layers. Those of one that is trusted are not held against anything.
    pub(crate) fn new(layout: Layout<Directory>, is_trusted: bool) -> Self {
        Self { layout, is_trusted, remote: None }
    }

    /// From now on layers that it lacks are fetched.
    pub(crate) fn fetch_from(&mut self, remote: RemoteFiles<'a>) {
        self.remote = Some(remote);
    }

    /// What is held against content: documents always have to be those that the digest names.
    fn promise(&self, descriptor: &Descriptor, is_layer: bool) -> Promise {
        if self.is_trusted && is_layer {
            return Promise { digest: None, size: None };
        }
        let is_sized = !self.is_trusted || descriptor.size > 0;
        Promise { digest: Some(descriptor.digest.clone()), size: is_sized.then_some(descriptor.size) }
    }
}

impl Source for ExtendedLayout<'_> {
    fn top(&self) -> Result<RawDocument> {
        self.document(self.layout.top_descriptor())
    }

    fn document(&self, descriptor: &Descriptor) -> Result<RawDocument> {
        self.layout.read_document(descriptor, self.promise(descriptor, false))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<(Box<dyn Blob>, Promise)> {
        let is_layer = !is_config(descriptor);
        let promise = self.promise(descriptor, is_layer);
        let urls = descriptor.urls.as_deref().unwrap_or(&[]);
        if let (true, Some(remote), [url, ..]) = (is_layer, &self.remote, urls)
            && self.layout.find(descriptor)?.is_none()
        {
            return Ok((remote.open(url, promise.size)?, promise));
        }
        Ok((self.layout.content(descriptor)?.into_blob(), promise))
    }

    fn found_name(&self) -> Option<String> {
        self.layout.found_name()
    }
}
