//! Tokens: asked of the token service that a registry names, kept as long as they are valid, and fetched by one
//! transfer at a time while the others wait for the result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::body::Body;
use crate::challenge::TokenPlace;
use crate::credentials::Login;
use crate::error::{RegistryError, printable};
use crate::home::{Home, Scheme, host_of, is_link_local, is_loopback};
use crate::refusal::refusal;
use crate::secret::Secret;
use crate::transport::{Send, Transport, lock};

/// The longest answer of a token service.
const LONGEST: usize = 1024 * 1024;
/// How long a token is valid that does not say, and the shortest time that is believed.
const SHORTEST_LIFE: u64 = 60;
/// So long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_secs(5);
/// Our name at token services.
const CLIENT_ID: &str = "loam";

/// A token as it is sent.
struct Token {
    header: HeaderValue,
    until: Instant,
}

impl Token {
    /// Reads the answer of a token service, as of now; an error is what is wrong with it. The parser's message is not in
    /// it, as it might quote the token.
    fn read(body: &[u8]) -> Result<Self, &'static str> {
        let granted: Granted =
            serde_json::from_slice(body).map_err(|_| "the answer is not the JSON of a token")?;
        let token = granted.token.filter(|token| !token.is_empty()).or(granted.access_token);
        let token = Secret::new(token.unwrap_or_default());
        if token.is_empty() {
            return Err("the answer holds no token");
        }
        let header = token.header("Bearer").ok_or("the token has characters that can't be sent")?;
        let life = Duration::from_secs(granted.expires_in.unwrap_or_default().max(SHORTEST_LIFE));
        let until = Instant::now().checked_add(life).unwrap_or_else(Instant::now);
        Ok(Token { header, until: until.checked_sub(MARGIN).unwrap_or(until) })
    }
}

/// The `Authorization` header that an answer of a token service gives.
#[cfg(feature = "fuzzing")]
pub(crate) fn header_of(body: &[u8]) -> Result<HeaderValue, &'static str> {
    Token::read(body).map(|token| token.header)
}

type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// The tokens of one client.
#[derive(Default)]
pub(crate) struct Tokens {
    slots: Mutex<HashMap<TokenPlace, Slot>>,
}

impl Tokens {
    /// The token for a place, as an `Authorization` header. `rejected` is one that the registry no longer takes.
    pub(crate) async fn get(
        &self,
        request: &TokenRequest<'_>,
        rejected: Option<&HeaderValue>,
    ) -> Result<HeaderValue, RegistryError> {
        let slot = Arc::clone(lock(&self.slots).entry(request.place.clone()).or_default());
        // The lock is held while the token is fetched, on purpose: whoever wants the same one waits here for it.
        let mut token = slot.lock().await;
        if let Some(token) = &*token
            && token.until > Instant::now()
            && rejected != Some(&token.header)
        {
            return Ok(token.header.clone());
        }
        let fetched = request.fetch().await?;
        Ok(token.insert(fetched).header.clone())
    }
}

/// All that is needed to ask for a token.
pub(crate) struct TokenRequest<'a> {
    /// The way to the network.
    pub(crate) transport: &'a Transport,
    /// The registry that the token is for.
    pub(crate) home: &'a Home,
    /// The scheme that the registry speaks.
    pub(crate) scheme: Scheme,
    /// Where, and what for.
    pub(crate) place: &'a TokenPlace,
    /// The registry's login, if there is one.
    pub(crate) login: Option<&'a Login>,
    /// The reference, for messages.
    pub(crate) what: &'a str,
}

/// The answer of a token service.
#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl TokenRequest<'_> {
    async fn fetch(&self) -> Result<Token, RegistryError> {
        self.check_place()?;
        if let Some(Login::Identity { token, .. }) = self.login {
            let response = self.post(token).await?;
            // Services that know only the older way (distribution, "Token Authentication") answer one of these.
            if !matches!(response.status().as_u16(), 400 | 401 | 404 | 405) {
                return self.granted(response).await;
            }
        }
        let response = self.get().await?;
        self.granted(response).await
    }

    /// Refuses token services that would see a login in the clear, or that are no business of the registry's.
    fn check_place(&self) -> Result<(), RegistryError> {
        let realm = &self.place.realm;
        let host = realm.host_str().unwrap_or_default();
        let refuse =
            |reason: String| Err(RegistryError::Challenge { host: self.home.host().to_owned(), reason });
        let shown = printable(&host_of(realm), 80);
        if realm.scheme() == "http" && self.scheme == Scheme::Https && !is_loopback(host) {
            return refuse(format!("the token service `{shown}` is reached by plain HTTP"));
        }
        if is_link_local(host) && !self.home.is_link_local() {
            return refuse(format!("the token service `{shown}` has a link-local address"));
        }
        if is_loopback(host) && !self.home.is_loopback() {
            return refuse(format!("the token service `{shown}` is on this machine"));
        }
        Ok(())
    }

    async fn get(&self) -> Result<Response, RegistryError> {
        let mut url = self.place.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.place.service {
                query.append_pair("service", service);
            }
            for scope in self.place.scope.split(' ').filter(|scope| !scope.is_empty()) {
                query.append_pair("scope", scope);
            }
            if let Some(Login::Password { user, .. }) = self.login {
                query.append_pair("account", user);
            }
        }
        let mut headers = HeaderMap::new();
        if let Some(value) = self.login.and_then(Login::basic) {
            headers.insert(AUTHORIZATION, value);
        }
        Ok(self.transport.request(self.home, url, headers, &Send::Get).await?.response)
    }

    async fn post(&self, token: &Secret) -> Result<Response, RegistryError> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.reveal()),
            ("service", self.place.service.as_deref().unwrap_or_default()),
            ("scope", &self.place.scope),
            ("client_id", CLIENT_ID),
            ("access_type", "offline"),
        ];
        let url = self.place.realm.clone();
        Ok(self.transport.request(self.home, url, HeaderMap::new(), &Send::Form(&form)).await?.response)
    }

    async fn granted(&self, response: Response) -> Result<Token, RegistryError> {
        let host = host_of(response.url());
        let unusable = |reason: &str| RegistryError::Token { host: host.clone(), reason: reason.to_owned() };
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let body = Body::new(response, self.transport.pace()).all(LONGEST, "a token").await?;
        Token::read(&body).map_err(unusable)
    }

    async fn refused(&self, response: Response) -> RegistryError {
        let status = response.status();
        let error = refusal(self.transport, response, self.what, self.login.is_some()).await;
        match error {
            RegistryError::Denied { detail, with_login: true, .. } if status == StatusCode::UNAUTHORIZED => {
                RegistryError::LoginRefused { host: self.home.host().to_owned(), detail }
            }
            RegistryError::Denied { what, detail, with_login, .. } => {
                RegistryError::Denied { host: self.home.host().to_owned(), what, detail, with_login }
            }
            RegistryError::NotFound { host, .. } => {
                RegistryError::Token { host, reason: "it does not exist there".to_owned() }
            }
            other => other,
        }
    }
}
