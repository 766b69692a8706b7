//! The tags of a repository (distribution specification, "Listing Tags"), page by page.

use std::collections::BTreeSet;

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;

use crate::ask::{Ask, Target};
use crate::body::Body;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::home::{host_of, same_origin};
use crate::patience::Patience;
use crate::reference::{Reference, is_tag};
use crate::settings::Need;
use crate::transport::Reply;

/// How many tags a page shall have.
const PAGE: usize = 1000;
/// The longest page that is read, in bytes.
const LONGEST_PAGE: usize = 4 * 1024 * 1024;
/// The most tags that a repository may have.
const MOST_TAGS: usize = 1_000_000;

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

impl Client {
    /// The tags of a reference's repository, as the registry itself knows them, in order.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>, RegistryError> {
        let places = self.endpoints(reference, Need::Resolve)?;
        let Some(place) = places.last() else {
            return Err(RegistryError::NoHost { domain: reference.domain().to_owned() });
        };
        let what = reference.name();
        let (mut tags, mut next) = (BTreeSet::new(), None);
        loop {
            let target = next.take().map_or_else(|| Target::Path(format!("tags/list?n={PAGE}")), Target::Url);
            let (page, link) = self.page(place, target, &what).await?;
            let before = tags.len();
            for tag in page {
                if !is_tag(&tag) {
                    return Err(RegistryError::Tags {
                        host: place.host().to_owned(),
                        what,
                        reason: "one of them is no tag",
                    });
                }
                tags.insert(tag);
            }
            let Some(link) = link else { return Ok(tags.into_iter().collect()) };
            let lie = match tags.len() {
                count if count > MOST_TAGS => Some("they don't end"),
                // Else the same pages might come for ever.
                count if count == before => Some("a page says that more follow, and has none that is new"),
                _ => None,
            };
            if let Some(reason) = lie {
                return Err(RegistryError::Tags { host: place.host().to_owned(), what, reason });
            }
            next = Some(link);
        }
    }

    /// One page, and where the next one is.
    async fn page(
        &self,
        place: &Endpoint,
        target: Target,
        what: &str,
    ) -> Result<(Vec<String>, Option<Url>), RegistryError> {
        let ask = Ask { target, ..Ask::get(place, String::new(), what.to_owned()) };
        let mut patience = Patience::new();
        let reply = loop {
            match self.send(&ask).await {
                Ok(reply) => break reply,
                Err(error) => self.pause(&mut patience, error).await?,
            }
        };
        let bad =
            |reason| RegistryError::Tags { host: place.host().to_owned(), what: what.to_owned(), reason };
        let next = match next_link(reply.response.headers()) {
            Some(link) => {
                Some(followed(&reply, link).ok_or_else(|| bad("the next page is not on the registry"))?)
            }
            None => None,
        };
        let body = Body::new(reply.response, self.pace()).all(LONGEST_PAGE, "a list of tags").await?;
        let page: Page = serde_json::from_slice(&body).map_err(|_| bad("the answer is no list of tags"))?;
        Ok((page.tags.unwrap_or_default(), next))
    }
}

/// The address of the next page, in `Link: <…>; rel="next"` (RFC 8288).
fn next_link(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let mut links = values.flat_map(|value| value.split(", <").map(|link| link.trim_start_matches('<')));
    links.find_map(|link| {
        let (address, parameters) = link.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let parameter = parameter.trim().to_ascii_lowercase();
            matches!(parameter.as_str(), "rel=\"next\"" | "rel=next")
        });
        is_next.then_some(address)
    })
}

/// The address of a link, if it leads to the same registry.
fn followed(reply: &Reply, link: &str) -> Option<Url> {
    joined(reply.response.url(), link).filter(|_| !reply.away)
}

fn joined(asked: &Url, link: &str) -> Option<Url> {
    asked.join(link).ok().filter(|url| same_origin(url, asked) && host_of(url) == host_of(asked))
}

/// The address of the next page of tags, as an answer from this address says it.
#[cfg(feature = "fuzzing")]
pub(crate) fn next_page(asked: &Url, headers: &HeaderMap) -> Option<Url> {
    next_link(headers).and_then(|link| joined(asked, link))
}

/// The tags in the body of an answer.
#[cfg(feature = "fuzzing")]
pub(crate) fn in_body(body: &[u8]) -> Option<Vec<String>> {
    serde_json::from_slice::<Page>(body).ok()?.tags
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn links_are_read() {
        let next = |value: &str| {
            let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_str(value).expect("valid"))]);
            next_link(&headers).map(str::to_owned)
        };
        assert_eq!(
            next("</v2/a/tags/list?n=2&last=b>; rel=\"next\"").as_deref(),
            Some("/v2/a/tags/list?n=2&last=b")
        );
        assert_eq!(next("<a>; rel=prev, <b>; title=\"x\"; rel=next").as_deref(), Some("b"));
        assert_eq!(next("<a>; rel=\"prev\""), None);
        assert_eq!(next("nonsense"), None);
    }
}
