//! Logging in: remembers how each repository wants it, and keeps what was found out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reqwest::header::HeaderValue;
use tokio::sync::OnceCell;

use crate::ask::Access;
use crate::challenge::{Challenge, TokenPlace, join_scopes};
use crate::credentials::{self, Login};
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::home::{Home, Scheme};
use crate::token::{TokenRequest, Tokens};
use crate::transport::{Transport, lock};

/// A repository of a registry.
type Repository = (Home, String);

/// The logins and tokens of one client.
pub(crate) struct Auth {
    file: Option<PathBuf>,
    given: Option<Login>,
    challenges: Mutex<HashMap<Repository, Challenge>>,
    logins: Mutex<HashMap<Repository, Arc<OnceCell<Option<Login>>>>>,
    tokens: Tokens,
}

impl Auth {
    /// Logs in with what is given, else with what this file holds, or the usual ones when there is none.
    pub(crate) fn new(file: Option<PathBuf>, given: Option<Login>) -> Self {
        let (challenges, logins, tokens) = (Mutex::default(), Mutex::default(), Tokens::default());
        Self { file, given, challenges, logins, tokens }
    }

    /// Keeps how a repository wants to be logged in to.
    pub(crate) fn learn(&self, endpoint: &Endpoint, challenge: Challenge) {
        lock(&self.challenges).insert(repository(endpoint), challenge);
    }

    /// The `Authorization` header for a request, as far as is known; `rejected` is one that was not enough.
    pub(crate) async fn header(
        &self,
        transport: &Transport,
        endpoint: &Endpoint,
        access: Access<'_>,
        rejected: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let known = lock(&self.challenges).get(&repository(endpoint)).cloned();
        let Some(challenge) = known else { return Ok(None) };
        let login = self.login(endpoint).await?;
        match challenge {
            Challenge::Basic => Ok(login.as_ref().and_then(Login::basic)),
            Challenge::Bearer(place) => {
                let home = &endpoint.home;
                let scheme: Scheme = transport.scheme(home).await;
                // To read, what the registry says is enough; it does not say what else an upload will need.
                let scope = match access {
                    Access::Pull => place.scope.clone(),
                    more => join_scopes(&place.scope, &more.scopes(endpoint.reference.path())),
                };
                let place = TokenPlace { scope, ..place };
                let (what, login) = (&endpoint.reference.canonical(), login.as_ref());
                let request = TokenRequest { transport, home, scheme, place: &place, login, what };
                self.tokens.get(&request, rejected).await.map(Some)
            }
        }
    }

    /// Whether there are credentials for a repository, as far as they were looked for.
    pub(crate) fn has_login(&self, endpoint: &Endpoint) -> bool {
        let logins = lock(&self.logins);
        let found = logins.get(&repository(endpoint)).and_then(|cell| cell.get());
        matches!(found, Some(Some(_)))
    }

    async fn login(&self, endpoint: &Endpoint) -> Result<Option<Login>, RegistryError> {
        let cell = Arc::clone(lock(&self.logins).entry(repository(endpoint)).or_default());
        let find = async || match &self.given {
            Some(login) => Ok(Some(login.clone())),
            None => credentials::find(self.file.as_deref(), &endpoint.reference).await,
        };
        cell.get_or_try_init(find).await.cloned()
    }
}

fn repository(endpoint: &Endpoint) -> Repository {
    (endpoint.home.clone(), endpoint.reference.path().to_owned())
}
