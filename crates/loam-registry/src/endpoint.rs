//! Where a repository is asked for: the registry itself, or who answers for it.

use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::home::{Home, Scheme};
use crate::reference::Reference;

/// A place that has a repository.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The host, and what may be done for it.
    pub(crate) home: Home,
    /// The repository as it is called there, with the tag and the digest of what is wanted. Credentials are looked for
    /// under this name.
    pub(crate) reference: Reference,
    /// What paths begin with: `v2/` in most cases; empty, or with a `/` at its end.
    pub(crate) base: String,
    /// Headers that a settings file adds.
    pub(crate) headers: HeaderMap,
    /// The registry that a host answers for which is another one (containerd, docs/hosts.md: `ns`).
    pub(crate) namespace: Option<String>,
}

impl Endpoint {
    /// A registry as everybody knows it.
    pub(crate) fn plain(reference: Reference, insecure: bool) -> Self {
        Self {
            home: Home::new(reference.host(), insecure),
            reference,
            base: "v2/".to_owned(),
            headers: HeaderMap::new(),
            namespace: None,
        }
    }

    /// `host` or `host:port`.
    pub(crate) fn host(&self) -> &str {
        self.home.host()
    }

    /// The URL of something in the repository.
    pub(crate) fn url(&self, scheme: Scheme, path: &str) -> Option<Url> {
        let mut url = self.home.url(scheme, &format!("{}{}/{path}", self.base, self.reference.path()))?;
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Some(url)
    }
}
