//! One blob on its way into a registry: POST begins an upload, PATCH sends the bytes as a stream, PUT ends it. When the
//! stream breaks, GET tells how much has arrived, and the rest is sent.

use std::sync::Arc;

use bytes::Bytes;
use loam_model::Digest;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{StatusCode, Url};

use super::{Upload, check_digest};
use crate::ask::{Access, Ask, Target};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{RegistryError, printable};
use crate::home::{host_of, same_origin};
use crate::outgoing::Outgoing;
use crate::patience::Patience;
use crate::transport::{Reply, Send};

/// An upload that got on by so many bytes has earned its retries anew.
const PROGRESS: u64 = 1024 * 1024;

/// Pushes a blob.
pub(super) async fn run(
    client: &Client,
    place: &Endpoint,
    upload: &dyn Upload,
    what: &str,
) -> Result<(Digest, u64), RegistryError> {
    let mut session = Session { client, place, what, url: None, offset: 0 };
    let (mut patience, mut mark) = (Patience::new(), 0);
    loop {
        let error = match session.go_on(upload).await {
            Ok(whole) => return Ok(whole),
            Err(error) => error,
        };
        if session.offset >= mark + PROGRESS {
            patience.refresh();
            mark = session.offset;
        }
        client.pause(&mut patience, error).await?;
    }
}

/// An upload that was begun, or is to be.
struct Session<'a> {
    client: &'a Client,
    place: &'a Endpoint,
    what: &'a str,
    /// Where the registry wants to hear of it next.
    url: Option<Url>,
    /// How many bytes have arrived.
    offset: u64,
}

impl Session<'_> {
    /// Sends what is missing, and ends the upload.
    async fn go_on(&mut self, upload: &dyn Upload) -> Result<(Digest, u64), RegistryError> {
        let url = self.locate().await?;
        let sent = Arc::new(Outgoing::new(upload.open(self.offset)));
        let reply = self.patch(url, &sent, upload).await;
        let outcome = sent.outcome();
        if let Some(failure) = outcome.failure {
            return Err(RegistryError::Source { failure });
        }
        let reply = reply?;
        let Some((digest, size)) = outcome.whole else {
            return Err(self.wrong(&reply, "it is content before all was sent"));
        };
        let arrived = arrived(&reply);
        if arrived.is_some_and(|arrived| arrived != size) {
            return Err(self.wrong(&reply, "it says that another number of bytes has arrived than was sent"));
        }
        self.offset = size;
        let url = location(self.place, &reply)?;
        self.url = Some(url.clone());
        self.finish(url, &digest).await?;
        Ok((digest, size))
    }

    /// The address of the upload, and how much of it has arrived: begins it when there is none, or none any more.
    async fn locate(&mut self) -> Result<Url, RegistryError> {
        if let Some(url) = self.url.take() {
            match self.request(Send::Get, Target::Url(url)).await {
                // Whoever the registry redirects to does not speak for it; the upload begins anew.
                Ok(reply) if reply.away => {}
                Ok(reply) => {
                    self.offset = arrived(&reply).unwrap_or(0);
                    let url = location(self.place, &reply).unwrap_or_else(|_| reply.response.url().clone());
                    self.url = Some(url.clone());
                    return Ok(url);
                }
                // The registry has forgotten it, or does not tell.
                Err(RegistryError::NotFound { .. } | RegistryError::Status { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.offset = 0;
        let reply = self.request(Send::Post, Target::Path("blobs/uploads/".to_owned())).await?;
        if reply.response.status() != StatusCode::ACCEPTED {
            return Err(self.wrong(&reply, "it does not begin an upload"));
        }
        let url = location(self.place, &reply)?;
        self.url = Some(url.clone());
        Ok(url)
    }

    async fn patch(
        &self,
        url: Url,
        outgoing: &Arc<Outgoing>,
        upload: &dyn Upload,
    ) -> Result<Reply, RegistryError> {
        let octets = HeaderValue::from_static("application/octet-stream");
        let ask = Ask {
            send: Send::Stream(Arc::clone(outgoing)),
            target: Target::Url(url),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, octets)]),
            access: Access::Push(None),
            ..Ask::get(self.place, String::new(), self.what.to_owned())
        };
        let mut told = 0;
        let mut tell = |outgoing: &Outgoing| {
            let sent = outgoing.sent();
            upload.sent(sent - std::mem::replace(&mut told, sent));
        };
        let mut answer = std::pin::pin!(self.client.send(&ask));
        loop {
            match tokio::time::timeout(std::time::Duration::from_millis(100), &mut answer).await {
                Ok(answer) => {
                    tell(outgoing);
                    return answer;
                }
                Err(_elapsed) => tell(outgoing),
            }
        }
    }

    /// Ends the upload.
    async fn finish(&self, mut url: Url, digest: &Digest) -> Result<(), RegistryError> {
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        match self.request(Send::Put(Bytes::new()), Target::Url(url)).await {
            Ok(reply) if reply.response.status() == StatusCode::CREATED => {
                check_digest(&reply, digest.clone(), self.what).map(drop)
            }
            Ok(reply) => Err(self.wrong(&reply, "it does not say that it has it")),
            // It may have got that far all the same.
            Err(error) if error.is_passing() => match self.client.has_blob_once(self.place, digest).await {
                Ok(true) => Ok(()),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn request(&self, send: Send<'_>, target: Target) -> Result<Reply, RegistryError> {
        let access = Access::Push(None);
        let ask = Ask { send, target, access, ..Ask::get(self.place, String::new(), self.what.to_owned()) };
        self.client.send(&ask).await
    }

    fn wrong(&self, reply: &Reply, reason: &str) -> RegistryError {
        let (host, what) = (host_of(reply.response.url()), self.what.to_owned());
        RegistryError::Upload { host, what, reason: reason.to_owned() }
    }
}

/// How many bytes a registry says have arrived: `Range: 0-9` are ten. Some write `0-0` for none; then nothing is said.
fn arrived(reply: &Reply) -> Option<u64> {
    arrived_of(reply.response.headers().get(RANGE)?.to_str().ok()?)
}

pub(crate) fn arrived_of(range: &str) -> Option<u64> {
    let range = range.trim();
    let (start, last) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    let last: u64 = last.parse().ok().filter(|last| start == "0" && *last > 0)?;
    last.checked_add(1)
}

/// Where the registry wants to hear more: on itself, and nowhere else.
pub(super) fn location(place: &Endpoint, reply: &Reply) -> Result<Url, RegistryError> {
    let asked = reply.response.url();
    let refuse = |reason: String| RegistryError::Redirect { host: place.host().to_owned(), reason };
    let text = reply.response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| refuse("an upload without saying where".to_owned()))?;
    location_of(asked, text).map_err(refuse)
}

/// The address that is meant by `text` in an answer from `asked`; an error continues a sentence.
pub(crate) fn location_of(asked: &Url, text: &str) -> Result<Url, String> {
    let invalid = || "an upload to no valid address".to_owned();
    let mut url = asked.join(text).map_err(|_| invalid())?;
    // Behind a proxy that speaks TLS for it, a registry may not know that it is spoken to in TLS.
    if asked.scheme() == "https" && url.scheme() == "http" && url.host_str() == asked.host_str() {
        let port = asked.port();
        if url.set_scheme("https").is_err() || url.set_port(port).is_err() {
            return Err(invalid());
        }
    }
    if !same_origin(asked, &url) {
        let to = format!("`{}://{}`", url.scheme(), printable(&host_of(&url), 80));
        return Err(format!("an upload to {to}, which is not the registry"));
    }
    Ok(url)
}
