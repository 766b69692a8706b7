//! Trying a login out.

use reqwest::StatusCode;

use crate::ask::{Access, Ask, Target};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::patience::Patience;
use crate::reference::Reference;
use crate::settings::Need;

impl Client {
    /// Whether the registry takes the login of [`ClientOptions::login`](crate::ClientOptions::login): an error says
    /// why not. A registry that lets everybody in takes any.
    pub async fn check_login(&self, domain: &str) -> Result<(), RegistryError> {
        let reference: Reference = format!("{domain}/x").parse()?;
        let places = self.endpoints(&reference, Need::Push)?;
        let Some(place) = places.last() else {
            return Err(RegistryError::NoHost { domain: domain.to_owned() });
        };
        let mut patience = Patience::new();
        loop {
            match self.check_once(place).await {
                Ok(()) => return Ok(()),
                Err(error) => self.pause(&mut patience, error).await?,
            }
        }
    }

    async fn check_once(&self, place: &Endpoint) -> Result<(), RegistryError> {
        let ask = Ask {
            target: Target::Root,
            access: Access::Entry,
            ..Ask::get(place, String::new(), place.host().to_owned())
        };
        let host = || place.host().to_owned();
        match self.send(&ask).await {
            Ok(_) => Ok(()),
            Err(RegistryError::Denied { detail, .. }) => {
                Err(RegistryError::LoginRefused { host: host(), detail })
            }
            Err(
                RegistryError::NotFound { .. }
                | RegistryError::Status { status: StatusCode::METHOD_NOT_ALLOWED, .. },
            ) => Err(RegistryError::NoRegistry { host: host() }),
            Err(error) => Err(error),
        }
    }
}
