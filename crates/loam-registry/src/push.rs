//! Pushing: blobs and manifests into a registry (distribution specification, "Push").

pub(crate) mod upload;

use bytes::Bytes;
use loam_model::{Digest, DigestAlgorithm};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::ask::{Access, Ask, Target};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{RegistryError, printable};
use crate::home::host_of;
use crate::manifest;
use crate::outgoing::Piece;
use crate::patience::Patience;
use crate::reference::Reference;
use crate::settings::Need;
use crate::transport::{Reply, Send};

/// The header in which registries name the digest of what they have taken.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What a blob is made from while it is sent.
pub trait Upload: std::marker::Send + Sync {
    /// Makes it anew, without its first `skip` bytes. Each time it must come to the same.
    fn open(&self, skip: u64) -> tokio::sync::mpsc::Receiver<Piece>;
    /// Hears that so many more bytes were sent.
    fn sent(&self, bytes: u64);
}

impl Client {
    /// Whether the registry itself has a blob in a reference's repository.
    pub async fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<bool, RegistryError> {
        let place = self.push_place(reference)?;
        let mut patience = Patience::new();
        loop {
            match self.has_blob_once(&place, digest).await {
                Ok(found) => return Ok(found),
                Err(error) => self.pause(&mut patience, error).await?,
            }
        }
    }

    /// Lets the repository have a blob that another one of the same registry has; false when it does not come about.
    pub async fn mount_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        from: &str,
    ) -> Result<bool, RegistryError> {
        let place = self.push_place(reference)?;
        let ask = Ask {
            send: Send::Post,
            access: Access::Push(Some(from)),
            ..Ask::get(&place, format!("blobs/uploads/?mount={digest}&from={from}"), digest.to_string())
        };
        let reply = self.send(&ask).await?;
        if reply.response.status() == StatusCode::CREATED {
            return Ok(true);
        }
        // It began an upload in its place, which nobody goes on with.
        if let Ok(location) = upload::location(&place, &reply) {
            let (send, target, access) = (Send::Delete, Target::Url(location), Access::Push(None));
            let ask = Ask { send, target, access, ..Ask::get(&place, String::new(), digest.to_string()) };
            if let Err(error) = self.send(&ask).await {
                tracing::debug!(%error, "an upload that was not wanted is left to the registry");
            }
        }
        Ok(false)
    }

    /// Pushes a blob that is made while it is sent, and gives what it was. What breaks off goes on where the registry
    /// says that it is.
    pub async fn push_blob(
        &self,
        reference: &Reference,
        upload: &dyn Upload,
        what: &str,
    ) -> Result<(Digest, u64), RegistryError> {
        let place = self.push_place(reference)?;
        upload::run(self, &place, upload, what).await
    }

    /// Pushes a manifest or an index under the reference's tag, or its digest when it has no tag, and gives its digest.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let place = self.push_place(reference)?;
        let digest = manifest::digest(DigestAlgorithm::Sha256, bytes);
        let selector = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let what = reference.canonical();
        let content_type = HeaderValue::from_str(media_type).map_err(|_| RegistryError::Manifest {
            what: what.clone(),
            reason: "its media type can't be sent".to_owned(),
        })?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        let bytes = Bytes::copy_from_slice(bytes);
        let mut patience = Patience::new();
        loop {
            let (send, access) = (Send::Put(bytes.clone()), Access::Push(None));
            let ask = Ask {
                send,
                access,
                headers: headers.clone(),
                ..Ask::get(&place, format!("manifests/{selector}"), what.clone())
            };
            match self.send(&ask).await {
                Ok(reply) => return check_digest(&reply, digest, &what),
                Err(error) => self.pause(&mut patience, error).await?,
            }
        }
    }

    /// Removes the manifest that a reference names from its registry, with every tag that points to it, as the
    /// specification has it ("Deleting Manifests"), and gives its digest.
    pub async fn delete_manifest(&self, reference: &Reference) -> Result<Digest, RegistryError> {
        let digest = match reference.digest() {
            Some(digest) => digest.clone(),
            None => {
                let place = self.push_place(reference)?;
                let (what, selector) = (reference.canonical(), reference.selector());
                let places = [place];
                let ask = async |place: &Endpoint| self.manifest_once(place, &selector, &what, None).await;
                self.ask_each(&places, ask).await?.digest
            }
        };
        let place = self.push_place(reference)?;
        let ask = Ask {
            send: Send::Delete,
            access: Access::Delete,
            ..Ask::get(&place, format!("manifests/{digest}"), reference.canonical())
        };
        match self.send(&ask).await {
            Ok(_) => Ok(digest),
            Err(RegistryError::Status { host, status: StatusCode::METHOD_NOT_ALLOWED, .. }) => {
                Err(RegistryError::NoRemoval { host })
            }
            Err(error) => Err(error),
        }
    }

    /// Where something is pushed to: the registry itself, or who takes it in its place.
    fn push_place(&self, reference: &Reference) -> Result<Endpoint, RegistryError> {
        let places = self.endpoints(reference, Need::Push)?;
        let first = places.into_iter().next();
        first.ok_or_else(|| RegistryError::NoHost { domain: reference.domain().to_owned() })
    }

    pub(crate) async fn has_blob_once(
        &self,
        place: &Endpoint,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        // Asked as for an upload, so that one token serves both.
        let (send, access) = (Send::Head, Access::Push(None));
        let ask = Ask { send, access, ..Ask::get(place, format!("blobs/{digest}"), digest.to_string()) };
        match self.send(&ask).await {
            // The length is looked at lest a page about something else be taken for it.
            Ok(reply) => Ok(reply.response.headers().contains_key(CONTENT_LENGTH)),
            Err(RegistryError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Checks that the registry has taken what was sent to it.
fn check_digest(reply: &Reply, digest: Digest, what: &str) -> Result<Digest, RegistryError> {
    let said = reply.response.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
    match said {
        Some(said) if said != digest.to_string() => Err(RegistryError::Upload {
            host: host_of(reply.response.url()),
            what: what.to_owned(),
            reason: format!("it says that what it took has the digest `{}`", printable(said, 140)),
        }),
        _ => Ok(digest),
    }
}
