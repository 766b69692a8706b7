//! Bodies of answers, with bounds on their length and on how slowly they may come.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;

use crate::error::RegistryError;
use crate::home::host_of;
use crate::transport::failed;

/// So many bytes must come within the idle time, so that a server can't hold a transfer by trickling.
const TRICKLE: usize = 1024;

/// A body that is being read.
pub(crate) struct Body {
    response: Response,
    idle: Duration,
    /// Time spent waiting, and bytes that came, since the last time that enough of them had come.
    waited: Duration,
    recent: usize,
}

impl Body {
    /// Takes the body of an answer.
    pub(crate) fn new(response: Response, idle: Duration) -> Self {
        Self { response, idle, waited: Duration::ZERO, recent: 0 }
    }

    /// The host that sends it.
    pub(crate) fn host(&self) -> String {
        host_of(self.response.url())
    }

    /// Waits for the next piece; `None` at the end. Only waiting counts as idle time, not what the caller does
    /// between two calls.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let began = Instant::now();
        let left = self.idle.saturating_sub(self.waited);
        let piece = match tokio::time::timeout(left, self.response.chunk()).await {
            Err(_elapsed) => return Err(RegistryError::Silent { host: self.host(), idle: self.idle }),
            Ok(piece) => piece.map_err(|error| failed(self.host(), true, &error))?,
        };
        self.waited += began.elapsed();
        self.recent += piece.as_ref().map_or(0, Bytes::len);
        if self.recent >= TRICKLE {
            (self.waited, self.recent) = (Duration::ZERO, 0);
        }
        Ok(piece)
    }

    /// Reads all of it, which is an error when it is longer than the limit.
    pub(crate) async fn all(mut self, limit: usize, what: &str) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.chunk().await? {
            if bytes.len() + piece.len() > limit {
                let what = what.to_owned();
                return Err(RegistryError::TooLarge { host: self.host(), what, limit: limit as u64 });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Reads its beginning, as much as comes without trouble. For the bodies of refusals.
    pub(crate) async fn beginning(mut self, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < limit {
            match self.chunk().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece[..piece.len().min(limit - bytes.len())]),
                Ok(None) | Err(_) => break,
            }
        }
        bytes
    }
}
