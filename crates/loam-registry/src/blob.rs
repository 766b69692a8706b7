//! Blobs: streams of bytes that go on where they broke off.

use std::fmt;

use bytes::Bytes;
use loam_model::Digest;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};

use crate::body::Body;
use crate::client::{Ask, Client};
use crate::error::{RegistryError, printable};
use crate::patience::Patience;
use crate::reference::Reference;
use crate::transport::Reply;

/// A transfer that got on by so much has earned its retries anew.
const PROGRESS: u64 = 1024 * 1024;

/// A blob on its way. A connection that breaks is made again, and the transfer goes on from where it was; the caller
/// notices nothing but the time.
///
/// The stream never gives more bytes than the size it was opened with, and an end before that is an error. Whether
/// they are the right ones is for the caller to find out.
pub struct BlobStream {
    client: Client,
    reference: Reference,
    digest: Digest,
    size: u64,
    /// Bytes given so far.
    offset: u64,
    /// Where the last run of retries began.
    mark: u64,
    patience: Patience,
    state: State,
}

enum State {
    /// A body is being read; the first bytes of it are those that were given before, when a server sends all again.
    Reading { body: Body, skip: u64 },
    /// The connection is to be made anew.
    Broken,
    /// All was given, or an error.
    Ended,
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("BlobStream");
        shown.field("digest", &self.digest).field("size", &self.size).field("offset", &self.offset);
        shown.finish_non_exhaustive()
    }
}

impl BlobStream {
    /// Opens the stream; returns when the registry begins to answer.
    pub(crate) async fn open(
        client: Client,
        reference: Reference,
        digest: Digest,
        size: u64,
    ) -> Result<Self, RegistryError> {
        let (patience, state) = (Patience::new(), State::Broken);
        let mut stream = Self { client, reference, digest, size, offset: 0, mark: 0, patience, state };
        while let Err(error) = stream.connect().await {
            stream.pause(error).await?;
        }
        Ok(stream)
    }

    /// Waits for the next bytes; `None` when all have been given. After an error nothing more comes.
    pub async fn next(&mut self) -> Option<Result<Bytes, RegistryError>> {
        loop {
            let step = match &mut self.state {
                State::Ended => return None,
                State::Broken => self.connect().await.map(|()| None),
                State::Reading { .. } => self.read().await,
            };
            match step {
                Ok(Some(bytes)) => return Some(Ok(bytes)),
                Ok(None) => {}
                Err(error) => {
                    self.state = State::Broken;
                    if let Err(error) = self.pause(error).await {
                        self.state = State::Ended;
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    async fn pause(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        if self.offset - self.mark >= PROGRESS {
            self.patience.refresh();
        }
        self.mark = self.offset;
        let client = self.client.clone();
        client.pause(&mut self.patience, error).await
    }

    /// Asks for the blob, or for what is still missing of it.
    async fn connect(&mut self) -> Result<(), RegistryError> {
        let mut headers = HeaderMap::new();
        if self.offset > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.offset))
        {
            headers.insert(RANGE, range);
        }
        let path = format!("blobs/{}", self.digest);
        let ask = Ask { reference: &self.reference, path, headers, what: self.digest.to_string() };
        let reply = self.client.send(&ask).await?;
        let skip = self.check(&reply)?;
        self.state = State::Reading { body: Body::new(reply.response, self.client.pace()), skip };
        Ok(())
    }

    /// Checks that an answer is the blob from where we are, or from the start, and gives how many bytes to skip.
    fn check(&self, reply: &Reply) -> Result<u64, RegistryError> {
        let headers = reply.response.headers();
        let host = crate::home::host_of(reply.response.url());
        let text = |value: &HeaderValue| printable(&String::from_utf8_lossy(value.as_bytes()), 80);
        if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|value| *value != "identity") {
            return Err(
                self.length(host, format!("an encoding that was not asked for, `{}`,", text(encoding)))
            );
        }
        let (start, rest) = if reply.response.status() == StatusCode::PARTIAL_CONTENT {
            let range = headers.get(CONTENT_RANGE);
            let Some((start, total)) = range.and_then(|value| content_range(value.to_str().ok()?)) else {
                return Err(self.length(host, "a part without saying which".to_owned()));
            };
            if start != self.offset || total.is_some_and(|total| total != self.size) {
                let range = range.map(text).unwrap_or_default();
                return Err(self.length(host, format!("the part `{range}`")));
            }
            (start, self.size - start)
        } else {
            (0, self.size)
        };
        match reply.response.content_length() {
            Some(length) if length != rest => Err(self.length(host, format!("{length} bytes"))),
            _ => Ok(self.offset - start),
        }
    }

    /// Reads the next piece, if there is one.
    async fn read(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let State::Reading { body, skip } = &mut self.state else { return Ok(None) };
        let host = body.host();
        let piece = body.chunk().await;
        if self.offset == self.size {
            // All is there; what matters is only whether the server goes on.
            return match piece {
                Ok(Some(piece)) if !piece.is_empty() => {
                    self.end_with(self.length(host, "more bytes".to_owned()))
                }
                Ok(Some(_)) => Ok(None),
                Ok(None) | Err(_) => {
                    self.state = State::Ended;
                    Ok(None)
                }
            };
        }
        let Some(mut piece) = piece? else {
            let source = format!("it ended after {} of {} bytes", self.offset, self.size).into();
            return Err(RegistryError::Broken { host, source });
        };
        let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(piece.len());
        *skip -= skipped as u64;
        drop(piece.split_to(skipped));
        if piece.is_empty() {
            return Ok(None);
        }
        if piece.len() as u64 > self.size - self.offset {
            return self.end_with(self.length(host, "more bytes".to_owned()));
        }
        self.offset += piece.len() as u64;
        Ok(Some(piece))
    }

    fn end_with(&mut self, error: RegistryError) -> Result<Option<Bytes>, RegistryError> {
        self.state = State::Ended;
        Err(error)
    }

    fn length(&self, host: String, actual: String) -> RegistryError {
        RegistryError::Length { host, digest: self.digest.clone(), expected: self.size, actual }
    }
}

/// The start and the total of a `Content-Range`, such as `bytes 5-9/10`; the total may be `*`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (start <= end && total.is_none_or(|total| end < total)).then_some((start, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["", "bytes */10", "bytes 9-5/10", "bytes 5-10/10", "octets 5-9/10", "bytes -5-9/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
