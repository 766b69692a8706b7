//! Blobs: streams of bytes that go on where they broke off, over several connections when that is worth it.

mod parts;
pub(crate) mod range;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use loam_model::Digest;

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use parts::Parts;
use range::RangeStream;

/// The smallest rest of a blob that is fetched over several connections, in bytes. Below that one connection is hardly
/// slower, and some registries count requests.
const LARGE: u64 = 32 * 1024 * 1024;

/// A blob on its way. A connection that breaks is made again, and the transfer goes on from where it was; the caller
/// notices nothing but the time.
///
/// The stream never gives more bytes than the size it was opened with, and an end before that is an error. Whether
/// they are the right ones is for the caller to find out.
///
/// A large one comes in parts over several connections, where the registry gives parts and one connection is not fast enough,
/// which the first part shows; at most [`parts::CONNECTIONS`] parts of [`parts::LENGTH`] are in memory. When it gives
/// none, or one goes wrong, the rest comes over one connection. On a fast network, where unpacking is slower, many requests
/// would only cost both sides time.
pub struct BlobStream {
    what: What,
    /// Bytes given so far, with those before the stream began.
    offset: u64,
    state: State,
}

/// What is wanted, and where it can be had.
#[derive(Clone)]
struct What {
    client: Client,
    /// The registry last, its mirrors before it.
    places: Vec<Endpoint>,
    digest: Digest,
    size: u64,
}

enum State {
    /// The first part of a large one, and how long was waited for what has come of it.
    First(Box<RangeStream>, Duration),
    One(Box<RangeStream>),
    Several(Parts),
    /// All was given, or an error.
    Ended,
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("BlobStream");
        shown.field("digest", &self.what.digest).field("size", &self.what.size).field("offset", &self.offset);
        shown.finish_non_exhaustive()
    }
}

impl BlobStream {
    /// Opens the stream at an offset; returns when somebody begins to answer.
    pub(crate) async fn open(
        client: Client,
        places: Vec<Endpoint>,
        (digest, size): (Digest, u64),
        offset: u64,
    ) -> Result<Self, RegistryError> {
        let what = What { client, places, digest, size };
        if offset == size && size > 0 {
            return Ok(Self { what, offset, state: State::Ended });
        }
        if size - offset < LARGE {
            let stream = RangeStream::open(what.clone(), offset..size).await?;
            return Ok(Self { what, offset, state: State::One(Box::new(stream)) });
        }
        let state = match RangeStream::open(what.clone(), offset..offset + parts::LENGTH).await {
            // It sends everything.
            Ok(first) if first.is_whole() => State::One(Box::new(first)),
            Ok(first) => State::First(Box::new(first), Duration::ZERO),
            // It does not like to be asked for a part.
            Err(RegistryError::Length { .. } | RegistryError::Status { .. }) => {
                State::One(Box::new(RangeStream::open(what.clone(), offset..size).await?))
            }
            Err(error) => return Err(error),
        };
        Ok(Self { what, offset, state })
    }

    /// Waits for the next bytes; `None` when all have been given. After an error nothing more comes.
    pub async fn next(&mut self) -> Option<Result<Bytes, RegistryError>> {
        loop {
            let step = match &mut self.state {
                State::Ended => return None,
                State::First(stream, waited) => {
                    let began = Instant::now();
                    let step = stream.next().await;
                    *waited += began.elapsed();
                    step
                }
                State::One(stream) => stream.next().await,
                State::Several(parts) => parts.next().await,
            };
            match (step, &self.state) {
                (Some(Ok(bytes)), _) => {
                    self.offset += bytes.len() as u64;
                    return Some(Ok(bytes));
                }
                (None, State::First(_, waited)) => self.state = self.after_first(*waited),
                (Some(Err(error)), State::First(..) | State::Several(_)) => {
                    // What is still wrong over one connection is an error.
                    tracing::debug!(%error, digest = %self.what.digest, "going on over one connection");
                    let rest = RangeStream::unopened(self.what.clone(), self.offset..self.what.size);
                    self.state = State::One(Box::new(rest));
                }
                (Some(Err(error)), _) => {
                    self.state = State::Ended;
                    return Some(Err(error));
                }
                (None, _) => self.state = State::Ended,
            }
        }
    }

    /// How the rest comes, when the first part took so long.
    fn after_first(&self, waited: Duration) -> State {
        let What { client, size, .. } = &self.what;
        if client.is_brisk(parts::LENGTH, waited) {
            return State::One(Box::new(RangeStream::unopened(self.what.clone(), self.offset..*size)));
        }
        let end = (*size).min(self.offset + parts::LENGTH);
        let next = RangeStream::unopened(self.what.clone(), self.offset..end);
        State::Several(Parts::new(self.what.clone(), next))
    }
}
