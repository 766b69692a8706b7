//! One request to a registry, logged in as the registry wants it.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WARNING};
use reqwest::{StatusCode, Url};

use crate::challenge::{self, Challenge};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{RegistryError, printable};
use crate::home::same_origin;
use crate::refusal::refusal;
use crate::transport::{Reply, Send, lock};

/// What is asked about.
pub(crate) enum Target {
    /// Something in the repository, by its path there.
    Path(String),
    /// An address that the registry gave.
    Url(Url),
    /// The registry as a whole.
    Root,
}

/// What a request needs to be allowed, where the registry does not say so itself (distribution, "Token Scope
/// Documentation").
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access<'a> {
    /// To read.
    Pull,
    /// To write, and perhaps to read another repository.
    Push(Option<&'a str>),
    /// To remove.
    Delete,
    /// To be let in.
    Entry,
}

impl Access<'_> {
    /// The scopes of a token that allows it, for this repository.
    pub(crate) fn scopes(self, repository: &str) -> Vec<String> {
        let scope = |name: &str, actions: &str| format!("repository:{name}:{actions}");
        match self {
            Access::Pull => vec![scope(repository, "pull")],
            Access::Push(None) => vec![scope(repository, "pull,push")],
            Access::Push(Some(other)) => vec![scope(repository, "pull,push"), scope(other, "pull")],
            // To find out what is to be removed, too.
            Access::Delete => vec![scope(repository, "pull,delete")],
            Access::Entry => Vec::new(),
        }
    }
}

/// One request.
pub(crate) struct Ask<'a> {
    /// Who is asked.
    pub(crate) endpoint: &'a Endpoint,
    /// The method, with a body where it has one.
    pub(crate) send: Send<'a>,
    /// What about.
    pub(crate) target: Target,
    /// Further headers.
    pub(crate) headers: HeaderMap,
    /// What it needs to be allowed.
    pub(crate) access: Access<'a>,
    /// What is asked for, for messages.
    pub(crate) what: String,
}

impl<'a> Ask<'a> {
    /// A question about something in the repository.
    pub(crate) fn get(endpoint: &'a Endpoint, path: String, what: String) -> Self {
        let (send, target, headers) = (Send::Get, Target::Path(path), HeaderMap::new());
        Self { endpoint, send, target, headers, access: Access::Pull, what }
    }
}

impl Client {
    /// Sends a request, logging in as the registry wants it. Anything but success is an error.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> Result<Reply, RegistryError> {
        let (transport, auth, endpoint) = (self.transport(), self.auth(), ask.endpoint);
        let (mut sent, mut learned): (Option<HeaderValue>, Option<Challenge>) = (None, None);
        loop {
            let authorization = auth.header(transport, endpoint, ask.access, sent.as_ref()).await?;
            if learned.is_some() && authorization.is_none() {
                return Err(self.denied(ask));
            }
            let reply = self.send_once(ask, authorization.as_ref()).await?;
            let status = reply.response.status();
            if status.is_success() {
                self.show_warnings(endpoint.host(), reply.response.headers());
                return Ok(reply);
            }
            if status != StatusCode::UNAUTHORIZED || reply.away {
                return Err(self.refused(ask, reply, None).await);
            }
            let scope = ask.access.scopes(endpoint.reference.path()).join(" ");
            let host = endpoint.host().to_owned();
            let challenge = challenge::choose(reply.response.headers(), &scope)
                .map_err(|reason| RegistryError::Challenge { host: host.clone(), reason })?;
            // What was just done for the same challenge does not get better by doing it again; but a token may have
            // been an old one, or one for another scope than is wanted after all.
            if learned.as_ref() == Some(&challenge) || learned.is_some() && sent.is_some() {
                return Err(self.refused(ask, reply, Some(challenge)).await);
            }
            auth.learn(endpoint, challenge.clone());
            if matches!(ask.send, Send::Stream(_)) {
                // What has been sent of it is gone; whoever sends it knows how to go on.
                return Err(RegistryError::Broken { host, source: "it wants another login".into() });
            }
            (sent, learned) = (authorization, Some(challenge));
        }
    }

    /// What it means that the registry, or whoever it redirected to, does not give what was asked for.
    async fn refused(&self, ask: &Ask<'_>, reply: Reply, challenge: Option<Challenge>) -> RegistryError {
        let with_login = self.auth().has_login(ask.endpoint);
        let error = refusal(self.transport(), reply.response, &ask.what, with_login).await;
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
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Reply, RegistryError> {
        let (transport, endpoint) = (self.transport(), ask.endpoint);
        let scheme = transport.scheme(&endpoint.home).await;
        let home = endpoint.home.url(scheme, &endpoint.base);
        let url = match &ask.target {
            Target::Url(url) => Some(url.clone()),
            Target::Path(path) => endpoint.url(scheme, path),
            Target::Root => home.clone(),
        };
        let url = url.ok_or_else(|| RegistryError::Setup {
            host: endpoint.host().to_owned(),
            source: "it is no valid host name".into(),
        })?;
        // An address that the registry gave may be another's, who is told no secrets.
        let is_home = home.is_some_and(|home| same_origin(&home, &url));
        let mut headers = if is_home { endpoint.headers.clone() } else { HeaderMap::new() };
        headers.extend(ask.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let Some(value) = authorization.filter(|_| is_home) {
            headers.insert(AUTHORIZATION, value.clone());
        }
        transport.request(&endpoint.home, url, headers, &ask.send).await
    }

    fn denied(&self, ask: &Ask<'_>) -> RegistryError {
        RegistryError::Denied {
            host: ask.endpoint.host().to_owned(),
            what: ask.what.clone(),
            detail: String::new(),
            with_login: self.auth().has_login(ask.endpoint),
        }
    }

    /// Shows what a registry wants people to know (distribution specification, "Warnings"), each sentence once.
    fn show_warnings(&self, host: &str, headers: &HeaderMap) {
        for value in headers.get_all(WARNING) {
            let text = value.to_str().ok().and_then(|text| text.strip_prefix("299 - \""));
            let Some(text) = text.and_then(|text| text.strip_suffix('"')) else { continue };
            let sentence = format!("`{host}` warns: {}", printable(text, 200));
            if lock(self.warnings()).insert(sentence.clone()) {
                self.note(&sentence);
            }
        }
    }
}
