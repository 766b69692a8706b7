//! Answers that are no success, and what they mean.

use std::time::SystemTime;

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use crate::body::Body;
use crate::error::{RegistryError, printable};
use crate::home::host_of;
use crate::patience::retry_after;
use crate::transport::Transport;

/// As much as is read of a refusal.
const LONGEST: usize = 64 * 1024;

/// The body of a refusal (distribution specification, "Error Codes").
#[derive(Deserialize)]
struct Errors {
    errors: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// Makes an error of an answer that is no success. `what` is what was asked for; `with_login` whether credentials
/// were sent.
pub(crate) async fn refusal(
    transport: &Transport,
    response: Response,
    what: &str,
    with_login: bool,
) -> RegistryError {
    let (host, status) = (host_of(response.url()), response.status());
    let headers = response.headers().clone();
    let body = Body::new(response, transport.pace()).beginning(LONGEST).await;
    let errors = read(&body);
    let has = |code: &str| errors.iter().any(|error| error.code.eq_ignore_ascii_case(code));
    let detail = detail(&errors);
    let what = what.to_owned();
    match status.as_u16() {
        429 => rate_limited(host, detail, &headers),
        400..500 if has("TOOMANYREQUESTS") => rate_limited(host, detail, &headers),
        401 | 403 => RegistryError::Denied { host, what, detail, with_login },
        400..500 if has("UNAUTHORIZED") || has("DENIED") => {
            RegistryError::Denied { host, what, detail, with_login }
        }
        404 | 410 => RegistryError::NotFound { host, what, detail },
        _ => RegistryError::Status { host, what: format!("`{what}`"), status, detail },
    }
}

/// The errors that a body names; none when it is something else.
fn read(body: &[u8]) -> Vec<Detail> {
    serde_json::from_slice::<Errors>(body).map(|parsed| parsed.errors).unwrap_or_default()
}

/// What a person is told of a body.
#[cfg(feature = "fuzzing")]
pub(crate) fn told(body: &[u8]) -> String {
    detail(&read(body))
}

fn rate_limited(host: String, detail: String, headers: &HeaderMap) -> RegistryError {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let wait = text(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, SystemTime::now()));
    let limits: Vec<String> = ["ratelimit-limit", "ratelimit-remaining"]
        .iter()
        .filter_map(|name| Some(format!("{name} {}", printable(text(name)?, 40))))
        .collect();
    let detail = if limits.is_empty() { detail } else { format!("{detail} ({})", limits.join(", ")) };
    RegistryError::RateLimited { host, detail, wait }
}

/// What the registry says, as a continuation of a sentence.
fn detail(errors: &[Detail]) -> String {
    let Some(first) = errors.first() else { return String::new() };
    let message = first.message.as_deref().filter(|message| !message.is_empty()).unwrap_or(&first.code);
    if message.is_empty() { String::new() } else { format!(": {}", printable(message, 200)) }
}
