//! A file at a URL: what lies beside registries, such as layers that a descriptor says are elsewhere
//! (image specification, descriptor.md: `urls`).

use std::path::Path;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::body::{Body, Pace};
use crate::client::{ClientOptions, Notes};
use crate::error::{RegistryError, printable};
use crate::home::{Home, host_of};
use crate::patience::Patience;
use crate::refusal::refusal;
use crate::tls::TlsFiles;
use crate::transport::{Send, Transport};

/// A file on its way. It is asked for again as long as nobody answers; once it has begun to come, a break is an error.
pub struct RemoteFile {
    body: Body,
    /// How many bytes may still come; `None` when nobody knows.
    left: Option<u64>,
}

impl std::fmt::Debug for RemoteFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RemoteFile").field("left", &self.left).finish_non_exhaustive()
    }
}

impl RemoteFile {
    /// Asks for the file. `certificates` is a directory with authorities in `*.crt` and a certificate of one's own in
    /// `*.cert` and `*.key`, both for the URL's own host alone. No login is sent.
    pub async fn open(
        url: &str,
        size: Option<u64>,
        certificates: Option<&Path>,
        options: &ClientOptions,
        notes: &Notes,
    ) -> Result<Self, RegistryError> {
        let refused = |reason: &str| RegistryError::Setup {
            host: printable(url, 80),
            source: reason.to_owned().into(),
        };
        let url = Url::parse(url).map_err(|_| refused("it is no valid address"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("it is neither HTTP nor HTTPS"));
        }
        let files = match certificates {
            Some(directory) => TlsFiles::in_directory(directory)?,
            None => TlsFiles::default(),
        };
        let home = Home::new(&host_of(&url), false).with(None, files);
        let pace = Pace { idle: options.idle_timeout, window: options.slow_timeout };
        let transport = Transport::new(pace, options.settings.hosts.clone());
        let mut patience = Patience::new();
        loop {
            match ask(&transport, &home, &url).await {
                Ok(body) => return Ok(Self { body, left: size }),
                Err(error) => patience.after(error, options, notes).await?,
            }
        }
    }

    /// Waits for the next bytes; `None` at the end. More than the size is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let Some(piece) = self.body.chunk().await? else { return Ok(None) };
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(piece.len() as u64).ok_or_else(|| RegistryError::Broken {
                host: self.body.host(),
                source: "it sends more bytes than were promised".into(),
            })?;
        }
        Ok(Some(piece))
    }
}

async fn ask(transport: &Transport, home: &Home, url: &Url) -> Result<Body, RegistryError> {
    let reply = transport.request(home, url.clone(), HeaderMap::new(), &Send::Get).await?;
    if !reply.response.status().is_success() {
        // What follows the path may be a signature.
        let what = printable(url.path(), 200);
        return Err(refusal(transport, reply.response, &what, false).await);
    }
    Ok(Body::new(reply.response, transport.pace()))
}
