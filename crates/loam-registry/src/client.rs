//! The client: one for each pull, so that its transfers share connections, tokens and what was found out.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loam_model::Digest;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WARNING};

use crate::auth::Auth;
use crate::blob::BlobStream;
use crate::body::{Body, Pace};
use crate::challenge::{self, Challenge};
use crate::error::{RegistryError, printable};
use crate::home::Home;
use crate::manifest::{self, Manifest};
use crate::patience::Patience;
use crate::reference::Reference;
use crate::refusal::refusal;
use crate::transport::{Reply, Send, Transport, lock};

/// Hears sentences worth showing to a person, such as that a registry asks to wait.
pub type Notes = Arc<dyn Fn(&str) + std::marker::Send + Sync>;

/// How a client speaks to registries.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Whether the registry of each reference may speak plain HTTP or show any certificate.
    pub insecure: bool,
    /// The credentials file to use in place of the usual ones.
    pub credentials_file: Option<PathBuf>,
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
    /// The `certs.d` directories.
    pub certificate_directories: Vec<PathBuf>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            insecure: false,
            credentials_file: None,
            idle_timeout: Duration::from_secs(60),
            slow_timeout: Duration::from_secs(60),
            retries: 5,
            backoff: Duration::from_millis(250),
            longest_wait: Duration::from_secs(180),
            certificate_directories: ["/etc/containers/certs.d", "/etc/docker/certs.d"]
                .map(PathBuf::from)
                .into(),
        }
    }
}

/// A client of registries. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    notes: Notes,
    transport: Transport,
    auth: Auth,
    warnings: Mutex<HashSet<String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// One request to a registry.
pub(crate) struct Ask<'a> {
    /// The repository.
    pub(crate) reference: &'a Reference,
    /// The path below the repository.
    pub(crate) path: String,
    /// Further headers.
    pub(crate) headers: HeaderMap,
    /// What is asked for, for messages.
    pub(crate) what: String,
}

impl Client {
    /// Makes a client. Nothing is read or connected before the first transfer.
    pub fn new(options: ClientOptions, notes: Notes) -> Result<Self, RegistryError> {
        let pace = Pace { idle: options.idle_timeout, window: options.slow_timeout };
        let transport = Transport::new(pace, options.certificate_directories.clone());
        let auth = Auth::new(options.credentials_file.clone());
        Ok(Self(Arc::new(Inner { options, notes, transport, auth, warnings: Mutex::default() })))
    }

    /// Fetches the manifest or index that a reference names, verified.
    pub async fn manifest(&self, reference: &Reference) -> Result<Manifest, RegistryError> {
        let mut patience = Patience::new();
        loop {
            match self.manifest_once(reference).await {
                Ok(manifest) => return Ok(manifest),
                Err(error) => self.pause(&mut patience, error).await?,
            }
        }
    }

    /// Fetches the manifest or index with this digest from a reference's repository, verified.
    pub async fn manifest_by_digest(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Manifest, RegistryError> {
        self.manifest(&reference.with_digest(digest)).await
    }

    /// Opens a blob of a reference's repository. The stream gives at most `size` bytes; that they have the digest is
    /// for the caller to check.
    pub async fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: u64,
    ) -> Result<BlobStream, RegistryError> {
        BlobStream::open(self.clone(), reference.clone(), digest.clone(), size).await
    }

    async fn manifest_once(&self, reference: &Reference) -> Result<Manifest, RegistryError> {
        let what = reference.canonical();
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(manifest::ACCEPT))]);
        let path = format!("manifests/{}", reference.selector());
        let reply = self.send(&Ask { reference, path, headers, what: what.clone() }).await?;
        let content_type = reply.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.map(str::to_owned);
        let body = Body::new(reply.response, self.0.transport.pace());
        let host = body.host();
        let bytes = body.all(manifest::LONGEST, &format!("the manifest of `{what}`")).await?;
        Manifest::verify(host, &what, content_type.as_deref(), bytes, reference.digest())
    }

    /// Sends a request, logging in as the registry wants it. Anything but success is an error.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> Result<Reply, RegistryError> {
        let Inner { options, transport, auth, .. } = &*self.0;
        let home = Home::new(ask.reference, options.insecure);
        let (mut sent, mut learned): (Option<HeaderValue>, Option<Challenge>) = (None, None);
        loop {
            let authorization = auth.header(transport, &home, ask.reference, sent.as_ref()).await?;
            if learned.is_some() && authorization.is_none() {
                return Err(self.denied(&home, ask));
            }
            let reply = self.send_once(&home, ask, authorization.as_ref()).await?;
            let status = reply.response.status();
            if status.is_success() {
                self.show_warnings(&home, reply.response.headers());
                return Ok(reply);
            }
            if status != StatusCode::UNAUTHORIZED || reply.away {
                return Err(self.refused(&home, ask, reply, None).await);
            }
            let scope = format!("repository:{}:pull", ask.reference.path());
            let challenge = challenge::choose(reply.response.headers(), &scope)
                .map_err(|reason| RegistryError::Challenge { host: home.host().to_owned(), reason })?;
            // What was just done for the same challenge does not get better by doing it again; but a token may have
            // been an old one, or one for another scope than is wanted after all.
            if learned.as_ref() == Some(&challenge) || learned.is_some() && sent.is_some() {
                return Err(self.refused(&home, ask, reply, Some(challenge)).await);
            }
            auth.learn(&home, ask.reference, challenge.clone());
            (sent, learned) = (authorization, Some(challenge));
        }
    }

    /// What it means that the registry, or whoever it redirected to, does not give what was asked for.
    async fn refused(
        &self,
        home: &Home,
        ask: &Ask<'_>,
        reply: Reply,
        challenge: Option<Challenge>,
    ) -> RegistryError {
        let with_login = self.0.auth.has_login(home, ask.reference);
        let error = refusal(&self.0.transport, reply.response, &ask.what, with_login).await;
        match error {
            // The way that a redirect showed may have run out, so that asking the registry again helps.
            RegistryError::Denied { host, detail, .. } if reply.away => {
                let reason = format!("refuses what a redirect leads to{detail}");
                RegistryError::Broken { host, source: reason.into() }
            }
            RegistryError::Denied { host, detail, .. } if challenge == Some(Challenge::Basic) => {
                RegistryError::LoginRefused { host, detail }
            }
            other => other,
        }
    }

    async fn send_once(
        &self,
        home: &Home,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Reply, RegistryError> {
        let transport = &self.0.transport;
        let scheme = transport.scheme(home).await;
        let path = format!("{}/{}", ask.reference.path(), ask.path);
        let url = home.url(scheme, &path).ok_or_else(|| RegistryError::Setup {
            host: home.host().to_owned(),
            source: "it is no valid host name".into(),
        })?;
        let mut headers = ask.headers.clone();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        transport.request(home, url, headers, Send::Get).await
    }

    fn denied(&self, home: &Home, ask: &Ask<'_>) -> RegistryError {
        RegistryError::Denied {
            host: home.host().to_owned(),
            what: ask.what.clone(),
            detail: String::new(),
            with_login: self.0.auth.has_login(home, ask.reference),
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

    /// Shows what a registry wants people to know (distribution specification, "Warnings"), each sentence once.
    fn show_warnings(&self, home: &Home, headers: &HeaderMap) {
        for value in headers.get_all(WARNING) {
            let text = value.to_str().ok().and_then(|text| text.strip_prefix("299 - \""));
            let Some(text) = text.and_then(|text| text.strip_suffix('"')) else { continue };
            let sentence = format!("`{}` warns: {}", home.host(), printable(text, 200));
            if lock(&self.0.warnings).insert(sentence.clone()) {
                (self.0.notes)(&sentence);
            }
        }
    }
}
