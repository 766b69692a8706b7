//! What the fuzz targets (`fuzz/`) reach of this crate's parsers of strangers' bytes. It is no part of the interface.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, LINK, WWW_AUTHENTICATE};

use crate::credentials::Login;
use crate::error::RegistryError;
use crate::home::Scheme;
use crate::manifest::Manifest;
use crate::reference::Reference;
use crate::settings::{Need, Settings};

/// What a registry wants, by the values of its `WWW-Authenticate` headers.
pub fn challenge(values: &[&[u8]]) -> Result<String, String> {
    crate::challenge::choose(&headers(WWW_AUTHENTICATE, values), "repository:a/b:pull")
        .map(|challenge| format!("{challenge:?}"))
}

/// Scopes with further ones.
pub fn scopes(scopes: &str, further: &[String]) -> String {
    crate::challenge::join_scopes(scopes, further)
}

fn headers(name: reqwest::header::HeaderName, values: &[&[u8]]) -> HeaderMap {
    let values = values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok());
    HeaderMap::from_iter(values.map(|value| (name.clone(), value)))
}

/// First byte, last byte and total of a `Content-Range`.
pub fn content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    crate::blob::range::content_range(value)
}

/// How long a `Retry-After` asks to wait.
pub fn retry_after(value: &str) -> Option<Duration> {
    crate::patience::retry_after(value, UNIX_EPOCH + Duration::from_secs(1_700_000_000))
}

/// How many bytes of an upload have arrived, by a `Range`.
pub fn arrived(value: &str) -> Option<u64> {
    crate::push::upload::arrived_of(value)
}

/// Where an upload goes on, by a `Location` in an answer from this address.
pub fn upload(asked: &str, location: &str) -> Option<Result<String, String>> {
    let asked = Url::parse(asked).ok()?;
    Some(crate::push::upload::location_of(&asked, location).map(String::from))
}

/// Where the next page of tags is, by a `Link` in an answer from this address.
pub fn next_page(asked: &str, link: &[u8]) -> Option<String> {
    crate::tags::next_page(&Url::parse(asked).ok()?, &headers(LINK, &[link])).map(String::from)
}

/// A manifest or an index as a registry sends it.
pub fn manifest(bytes: &[u8], content_type: Option<&str>) -> Result<Manifest, RegistryError> {
    Manifest::verify("h.x".to_owned(), "x", content_type, bytes.to_vec(), None)
}

/// The tags in the body of an answer.
pub fn tags(body: &[u8]) -> Option<Vec<String>> {
    crate::tags::in_body(body)
}

/// Whether the answer of a token service holds a token; else what is wrong with it.
pub fn token(body: &[u8]) -> Result<(), String> {
    crate::token::header_of(body).map(drop).map_err(str::to_owned)
}

/// What a person is told of the body of a refusal.
pub fn refusal(body: &[u8]) -> String {
    crate::refusal::told(body)
}

/// The login that a credential helper answers with.
pub fn helper(said: &[u8]) -> Result<Option<Login>, String> {
    crate::helper::login(said)
}

/// The login for a repository in the text of a credentials file.
pub fn credentials(text: &[u8], file: &str, reference: &Reference) -> Result<Option<Login>, RegistryError> {
    crate::credentials::in_text(text, Path::new(file), reference)
}

/// The addresses that are asked about a name, given the text of a `registries.conf`, and that of a `hosts.toml` for a
/// registry.
pub fn addresses(
    registries: &str,
    hosts: Option<(&str, &str)>,
    name: &str,
) -> Result<Vec<String>, RegistryError> {
    let settings = Settings::of_texts(registries, hosts)?;
    let reference = settings.meaning(name)?;
    let mut addresses = Vec::new();
    for need in [Need::Resolve, Need::Pull, Need::Push] {
        for place in settings.endpoints(&reference, need, false)? {
            addresses.extend(place.url(Scheme::Https, "manifests/x").map(String::from));
        }
    }
    Ok(addresses)
}
