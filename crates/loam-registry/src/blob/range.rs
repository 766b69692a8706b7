//! A blob, or a part of one, over one connection at a time.

use std::ops::Range;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};

use super::What;
use crate::ask::Ask;
use crate::body::Body;
use crate::error::{RegistryError, printable};
use crate::patience::Patience;
use crate::transport::Reply;

/// A transfer that got on by so much has earned its retries anew.
const PROGRESS: u64 = 1024 * 1024;

/// Bytes of a blob on their way.
pub(super) struct RangeStream {
    what: What,
    /// The place that is asked, by its position.
    place: usize,
    /// Where the next byte is.
    offset: u64,
    /// Behind the last byte.
    end: u64,
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

impl RangeStream {
    /// Makes a stream that connects when it is read.
    pub(super) fn unopened(what: What, range: Range<u64>) -> Self {
        let (patience, state) = (Patience::new(), State::Broken);
        Self { what, place: 0, offset: range.start, end: range.end, mark: range.start, patience, state }
    }

    /// Opens the stream; returns when somebody begins to answer. A server that sends the whole blob when it is asked
    /// for its beginning is taken at its word: see [`Self::is_whole`].
    pub(super) async fn open(what: What, range: Range<u64>) -> Result<Self, RegistryError> {
        let mut stream = Self::unopened(what, range);
        while let Err(error) = stream.connect().await {
            stream.pause(error).await?;
        }
        Ok(stream)
    }

    /// Whether it gives all that follows.
    pub(super) fn is_whole(&self) -> bool {
        self.end == self.what.size
    }

    /// Behind the last byte that it gives.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes are still to come.
    pub(super) fn left(&self) -> u64 {
        self.end - self.offset
    }

    /// Waits for the next bytes; `None` when all have been given. After an error nothing more comes.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, RegistryError>> {
        loop {
            let step = match &mut self.state {
                State::Ended => return None,
                State::Broken if self.offset == self.end && self.end > 0 => {
                    self.state = State::Ended;
                    return None;
                }
                State::Broken => self.connect().await.map(|()| None),
                State::Reading { .. } => self.read().await,
            };
            match step {
                Ok(Some(bytes)) => return Some(Ok(bytes)),
                Ok(None) => {}
                Err(error) => {
                    let fatal = matches!(self.state, State::Ended);
                    self.state = State::Broken;
                    let result = if fatal { Err(error) } else { self.pause(error).await };
                    if let Err(error) = result {
                        self.state = State::Ended;
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// Waits before the next attempt, or turns to the next place, or gives up.
    async fn pause(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        let got_on = self.offset > self.mark;
        if self.offset - self.mark >= PROGRESS {
            self.patience.refresh();
        }
        self.mark = self.offset;
        let client = self.what.client.clone();
        let is_mirror = self.place + 1 < self.what.places.len();
        let given_up = match (is_mirror, got_on) {
            (true, false) => error,
            _ => match client.pause(&mut self.patience, error).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
        };
        if !is_mirror {
            return Err(given_up);
        }
        client.pass_over(&self.what.places[self.place], given_up);
        self.place += 1;
        self.patience = Patience::new();
        Ok(())
    }

    /// Asks for the blob, or for what is still missing of it.
    async fn connect(&mut self) -> Result<(), RegistryError> {
        let mut headers = HeaderMap::new();
        let range = match (self.offset, self.is_whole()) {
            (0, true) => None,
            (start, true) => Some(format!("bytes={start}-")),
            (start, false) => Some(format!("bytes={start}-{}", self.end - 1)),
        };
        if let Some(range) = range.and_then(|range| HeaderValue::from_str(&range).ok()) {
            headers.insert(RANGE, range);
        }
        let Some(place) = self.what.places.get(self.place) else {
            return Err(RegistryError::NoHost { domain: String::new() });
        };
        let ask = Ask::get(place, format!("blobs/{}", self.what.digest), self.what.digest.to_string());
        let reply = self.what.client.send(&Ask { headers, ..ask }).await?;
        let skip = self.check(&reply)?;
        self.state = State::Reading { body: Body::new(reply.response, self.what.client.pace()), skip };
        Ok(())
    }

    /// Checks that an answer is what was asked for, or everything, and gives how many bytes to skip.
    fn check(&mut self, reply: &Reply) -> Result<u64, RegistryError> {
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
            let Some((start, last, total)) = range.and_then(|value| content_range(value.to_str().ok()?))
            else {
                return Err(self.length(host, "a part without saying which".to_owned()));
            };
            if start != self.offset || last >= self.end || total.is_some_and(|total| total != self.what.size)
            {
                let range = range.map(text).unwrap_or_default();
                return Err(self.length(host, format!("the part `{range}`")));
            }
            (start, last + 1 - start)
        } else if self.is_whole() || self.offset == 0 {
            self.end = self.what.size;
            (0, self.what.size)
        } else {
            return Err(self.length(host, "everything when it was asked for a part".to_owned()));
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
        if self.offset == self.end {
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
            let source = format!("it ended after {} of {} bytes", self.offset, self.what.size).into();
            return Err(RegistryError::Broken { host, source });
        };
        let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(piece.len());
        *skip -= skipped as u64;
        drop(piece.split_to(skipped));
        if piece.is_empty() {
            return Ok(None);
        }
        if piece.len() as u64 > self.end - self.offset {
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
        RegistryError::Length { host, digest: self.what.digest.clone(), expected: self.what.size, actual }
    }
}

/// The first byte, the last one and the total of a `Content-Range`, such as `bytes 5-9/10`; the total may be `*`
/// (RFC 9110, section 14.4).
pub(crate) fn content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (start <= end && total.is_none_or(|total| end < total)).then_some((start, end, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, 9, None)));
        for bad in ["", "bytes */10", "bytes 9-5/10", "bytes 5-10/10", "octets 5-9/10", "bytes -5-9/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
