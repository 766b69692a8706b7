//! Logging in: remembers how each repository wants it, and keeps what was found out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reqwest::header::HeaderValue;
use tokio::sync::OnceCell;

use crate::challenge::Challenge;
use crate::credentials::{self, Login};
use crate::error::RegistryError;
use crate::home::{Home, Scheme};
use crate::reference::Reference;
use crate::token::{TokenRequest, Tokens};
use crate::transport::{Transport, lock};

/// A repository of a registry.
type Repository = (Home, String);

/// The logins and tokens of one client.
pub(crate) struct Auth {
    file: Option<PathBuf>,
    challenges: Mutex<HashMap<Repository, Challenge>>,
    logins: Mutex<HashMap<Repository, Arc<OnceCell<Option<Login>>>>>,
    tokens: Tokens,
}

impl Auth {
    /// Logs in with what this file holds, or the usual ones when there is none.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file, challenges: Mutex::default(), logins: Mutex::default(), tokens: Tokens::default() }
    }

    /// Keeps how a repository wants to be logged in to.
    pub(crate) fn learn(&self, home: &Home, reference: &Reference, challenge: Challenge) {
        lock(&self.challenges).insert(repository(home, reference), challenge);
    }

    /// The `Authorization` header for a request, as far as is known; `rejected` is one that was not enough.
    pub(crate) async fn header(
        &self,
        transport: &Transport,
        home: &Home,
        reference: &Reference,
        rejected: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let known = lock(&self.challenges).get(&repository(home, reference)).cloned();
        let Some(challenge) = known else { return Ok(None) };
        let login = self.login(home, reference).await?;
        match challenge {
            Challenge::Basic => Ok(login.as_ref().and_then(Login::basic)),
            Challenge::Bearer(place) => {
                let scheme: Scheme = transport.scheme(home).await;
                let (what, login) = (&reference.canonical(), login.as_ref());
                let request = TokenRequest { transport, home, scheme, place: &place, login, what };
                self.tokens.get(&request, rejected).await.map(Some)
            }
        }
    }

    /// Whether there are credentials for a repository, as far as they were looked for.
    pub(crate) fn has_login(&self, home: &Home, reference: &Reference) -> bool {
        let logins = lock(&self.logins);
        let found = logins.get(&repository(home, reference)).and_then(|cell| cell.get());
        matches!(found, Some(Some(_)))
    }

    async fn login(&self, home: &Home, reference: &Reference) -> Result<Option<Login>, RegistryError> {
        let cell = Arc::clone(lock(&self.logins).entry(repository(home, reference)).or_default());
        cell.get_or_try_init(|| credentials::find(self.file.as_deref(), reference)).await.cloned()
    }
}

fn repository(home: &Home, reference: &Reference) -> Repository {
    (home.clone(), reference.path().to_owned())
}
