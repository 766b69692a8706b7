//! Finds out whether a server speaks TLS, for those that may do without: the first record of a handshake is sent,
//! and the first byte of the answer tells. Nothing of a request, and no credentials, go out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::home::{Home, LOOPBACK, Scheme, is_loopback_name};

/// How long a server may take to take a connection, and to answer a handshake.
const PATIENCE: Duration = Duration::from_secs(3);
/// First bytes of TLS records: an alert and a handshake (RFC 8446, section 5.1).
const TLS_RECORDS: [u8; 2] = [21, 22];

/// The scheme that the registry speaks. One that can't be reached counts as what it would be elsewhere; the request
/// that follows says why.
pub(crate) async fn scheme(home: &Home) -> Scheme {
    let (secure, plain) = (home.address(Scheme::Https), home.address(Scheme::Http));
    if let Some(stream) = connect(&secure).await {
        return if speaks_tls(stream, &secure.0).await { Scheme::Https } else { Scheme::Http };
    }
    let is_plain = if secure == plain { home.is_loopback() } else { connect(&plain).await.is_some() };
    if is_plain { Scheme::Http } else { Scheme::Https }
}

async fn connect((host, port): &(String, u16)) -> Option<TcpStream> {
    let connecting = async {
        if is_loopback_name(host) {
            return TcpStream::connect(&LOOPBACK.map(|address| SocketAddr::new(address, *port))[..]).await;
        }
        TcpStream::connect((host.as_str(), *port)).await
    };
    tokio::time::timeout(PATIENCE, connecting).await.ok()?.ok()
}

/// Whether a server answers a handshake with one. One that hangs up on it, or waits for more, does not.
async fn speaks_tls(mut stream: TcpStream, host: &str) -> bool {
    let answer = async {
        stream.write_all(&client_hello(host)?).await?;
        stream.read_u8().await
    };
    matches!(tokio::time::timeout(PATIENCE, answer).await, Ok(Ok(first)) if TLS_RECORDS.contains(&first))
}

/// The first flight of a handshake that will not be finished, so that no root certificates are needed for it.
fn client_hello(host: &str) -> std::io::Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes)?;
    Ok(bytes)
}
