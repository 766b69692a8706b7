//! Bodies of answers, with bounds on their length and on how slowly they may come.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;

use crate::error::RegistryError;
use crate::home::host_of;
use crate::transport::failed;

/// So many bytes must come within [`Pace::window`], so that a server can't hold a transfer by trickling. With a
/// minute, a modem of 1990 is fast enough.
const LEAST: usize = 64 * 1024;

/// How slowly a body may come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long nothing at all may come.
    pub(crate) idle: Duration,
    /// In each such time [`LEAST`] bytes must come, or the end.
    pub(crate) window: Duration,
}

/// A body that is being read.
pub(crate) struct Body {
    response: Response,
    pace: Pace,
    /// Time spent waiting, and bytes that came, since the last time that enough of them had come.
    waited: Duration,
    recent: usize,
}

impl Body {
    /// Takes the body of an answer.
    pub(crate) fn new(response: Response, pace: Pace) -> Self {
        Self { response, pace, waited: Duration::ZERO, recent: 0 }
    }

    /// The host that sends it.
    pub(crate) fn host(&self) -> String {
        host_of(self.response.url())
    }

    /// Waits for the next piece; `None` at the end. Only waiting counts, not what the caller does between two
    /// calls.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let began = Instant::now();
        let left = self.pace.window.saturating_sub(self.waited);
        let patience = self.pace.idle.min(left);
        let piece = match tokio::time::timeout(patience, self.response.chunk()).await {
            Err(_elapsed) => return Err(self.too_slow(patience)),
            Ok(piece) => piece.map_err(|error| failed(self.host(), true, &error))?,
        };
        self.waited += began.elapsed();
        self.recent += piece.as_ref().map_or(0, Bytes::len);
        if self.recent >= LEAST {
            (self.waited, self.recent) = (Duration::ZERO, 0);
        }
        Ok(piece)
    }

    /// What it means that nothing came within `patience`.
    fn too_slow(&self, patience: Duration) -> RegistryError {
        if patience == self.pace.idle || self.recent == 0 {
            return RegistryError::Silent { host: self.host(), idle: patience };
        }
        RegistryError::Slow { host: self.host(), bytes: self.recent, window: self.pace.window }
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
