//! The client: one for each pull or push, so that its transfers share connections, tokens and what was found out.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loam_model::Digest;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::ask::Ask;
use crate::auth::Auth;
use crate::blob::BlobStream;
use crate::body::{Body, Pace};
use crate::credentials::Login;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::manifest::{self, Manifest};
use crate::patience::Patience;
use crate::reference::Reference;
use crate::settings::{Need, Settings, SettingsFiles};
use crate::transport::{Transport, lock};

/// Hears sentences worth showing to a person, such as that a registry asks to wait.
pub type Notes = Arc<dyn Fn(&str) + std::marker::Send + Sync>;

/// How a client speaks to registries.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Whether the registry of each reference may speak plain HTTP or show any certificate. Its mirrors may not unless
    /// the settings say so.
    pub insecure: bool,
    /// The credentials file to use in place of the usual ones.
    pub credentials_file: Option<PathBuf>,
    /// The login to use in place of all that files hold.
    pub login: Option<Login>,
    /// How long a server may stay silent.
    pub idle_timeout: Duration,
    /// How long a server may take for each 64 KiB of a body.
    pub slow_timeout: Duration,
    /// How often a transfer is tried again after a failure that may pass.
    pub retries: u32,
    /// The wait before the first of these, doubled for each further one.
    pub backoff: Duration,
    /// The longest wait that a registry may ask for; when it wants more, the transfer fails.
    pub longest_wait: Duration,
    /// Bytes a second: a connection that gives the first part of a large blob as fast as that brings the rest of it alone.
    pub brisk_rate: u64,
    /// The files with settings of registries.
    pub settings: SettingsFiles,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            insecure: false,
            credentials_file: None,
            login: None,
            idle_timeout: Duration::from_secs(60),
            slow_timeout: Duration::from_secs(60),
            retries: 5,
            backoff: Duration::from_millis(250),
            longest_wait: Duration::from_secs(180),
            brisk_rate: 32 * 1024 * 1024,
            settings: SettingsFiles::usual(),
        }
    }
}

/// A client of registries. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    settings: Settings,
    notes: Notes,
    transport: Transport,
    auth: Auth,
    warnings: Mutex<HashSet<String>>,
    /// Mirrors that could not be reached, and are not asked again.
    unreachable: Mutex<HashSet<String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client, and reads the settings of registries. Nothing is connected before the first transfer.
    pub fn new(options: ClientOptions, notes: Notes) -> Result<Self, RegistryError> {
        let pace = Pace { idle: options.idle_timeout, window: options.slow_timeout };
        let settings = Settings::read(&options.settings)?;
        let transport = Transport::new(pace, options.settings.hosts.clone());
        let auth = Auth::new(options.credentials_file.clone(), options.login.clone());
        let (warnings, unreachable) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { options, settings, notes, transport, auth, warnings, unreachable })))
    }

    /// Whether so many bytes in so much time are as fast as one connection shall be.
    pub(crate) fn is_brisk(&self, bytes: u64, time: Duration) -> bool {
        u128::from(bytes) * 1_000_000_000 >= u128::from(self.0.options.brisk_rate) * time.as_nanos().max(1)
    }

    /// Fetches the manifest or index that a reference names, verified.
    pub async fn manifest(&self, reference: &Reference) -> Result<Manifest, RegistryError> {
        let need = if reference.digest().is_some() { Need::Pull } else { Need::Resolve };
        let places = self.endpoints(reference, need)?;
        let (what, selector) = (reference.canonical(), reference.selector());
        self.ask_each(&places, async |place| {
            self.manifest_once(place, &selector, &what, reference.digest()).await
        })
        .await
    }

    /// Fetches the manifest or index with this digest from a reference's repository, verified.
    pub async fn manifest_by_digest(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Manifest, RegistryError> {
        // The reference says which mirrors are asked, whatever of its image is wanted.
        let places = self.endpoints(reference, Need::Pull)?;
        let (what, selector) = (reference.with_digest(digest).canonical(), digest.to_string());
        self.ask_each(&places, async |place| self.manifest_once(place, &selector, &what, Some(digest)).await)
            .await
    }

    /// Opens a blob of a reference's repository. The stream gives at most `size` bytes; that they have the digest is
    /// for the caller to check.
    pub async fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: u64,
    ) -> Result<BlobStream, RegistryError> {
        self.blob_from(reference, digest, size, 0).await
    }

    /// Opens a blob of which the first `offset` bytes are there already.
    pub async fn blob_from(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<BlobStream, RegistryError> {
        let places = self.endpoints(reference, Need::Pull)?;
        BlobStream::open(self.clone(), places, (digest.clone(), size), offset.min(size)).await
    }

    pub(crate) async fn manifest_once(
        &self,
        place: &Endpoint,
        selector: &str,
        what: &str,
        digest: Option<&Digest>,
    ) -> Result<Manifest, RegistryError> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(manifest::ACCEPT))]);
        let ask = Ask::get(place, format!("manifests/{selector}"), what.to_owned());
        let reply = self.send(&Ask { headers, ..ask }).await?;
        let content_type = reply.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.map(str::to_owned);
        let body = Body::new(reply.response, self.pace());
        let host = body.host();
        let bytes = body.all(manifest::LONGEST, &format!("the manifest of `{what}`")).await?;
        Manifest::verify(host, what, content_type.as_deref(), bytes, digest)
    }

    /// The places to ask about a reference, without those that were found unreachable. There is at least one.
    pub(crate) fn endpoints(
        &self,
        reference: &Reference,
        need: Need,
    ) -> Result<Vec<Endpoint>, RegistryError> {
        let inner = &*self.0;
        let mut places = inner.settings.endpoints(reference, need, inner.options.insecure)?;
        let unreachable = lock(&inner.unreachable);
        let last = places.len().saturating_sub(1);
        let mut position = 0;
        places.retain(|place| {
            position += 1;
            position > last || !unreachable.contains(place.host())
        });
        Ok(places)
    }

    /// Asks one place after the other until one has what is wanted. Mirrors get one chance; the last place, the
    /// registry itself, is asked again as long as there is hope.
    pub(crate) async fn ask_each<T>(
        &self,
        places: &[Endpoint],
        mut ask: impl AsyncFnMut(&Endpoint) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let Some((last, mirrors)) = places.split_last() else {
            return Err(RegistryError::NoHost { domain: String::new() });
        };
        for mirror in mirrors {
            match ask(mirror).await {
                Ok(found) => return Ok(found),
                Err(error) => self.pass_over(mirror, error),
            }
        }
        let mut patience = Patience::new();
        loop {
            match ask(last).await {
                Ok(found) => return Ok(found),
                Err(error) => self.pause(&mut patience, error).await?,
            }
        }
    }

    /// Takes note that a mirror did not give what was wanted.
    pub(crate) fn pass_over(&self, mirror: &Endpoint, error: RegistryError) {
        let gone = matches!(error, RegistryError::Connect { .. } | RegistryError::Silent { .. });
        let is_missing = matches!(error, RegistryError::NotFound { .. });
        let sentence =
            format!("the mirror `{}` is passed over: {}", mirror.host(), error.into_failure().chain());
        if gone {
            lock(&self.0.unreachable).insert(mirror.host().to_owned());
        }
        // A mirror that has only some of the images is an ordinary one.
        if !is_missing && lock(&self.0.warnings).insert(sentence.clone()) {
            self.note(&sentence);
        }
    }

    /// Waits after a failure, or gives it back.
    pub(crate) async fn pause(
        &self,
        patience: &mut Patience,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        patience.after(error, &self.0.options, &self.0.notes).await
    }

    /// How slowly a body may come.
    pub(crate) fn pace(&self) -> Pace {
        self.0.transport.pace()
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(crate) fn warnings(&self) -> &Mutex<HashSet<String>> {
        &self.0.warnings
    }

    /// Says a sentence.
    pub(crate) fn note(&self, sentence: &str) {
        (self.0.notes)(sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_fast_from_32_mib_a_second_on() {
        let client = Client::new(ClientOptions::default(), Arc::new(|_: &str| {})).expect("a client");
        let part = 2 * 1024 * 1024;
        for (microseconds, is_brisk) in [(0, true), (62_500, true), (62_501, false), (1_000_000, false)] {
            assert_eq!(
                client.is_brisk(part, Duration::from_micros(microseconds)),
                is_brisk,
                "{microseconds}"
            );
        }
    }
}
