//! Names of images as people write them: `[domain[:port]/]path[:tag][@digest]`, and what Docker made of them long
//! ago: no domain is Docker Hub, a single word there is below `library/`, and no tag is `latest`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use loam_model::{Digest, ErrorKind, Failure};

use crate::error::printable;

/// The domain of references without one.
pub(crate) const HUB: &str = "docker.io";
/// The host that serves Docker Hub's images.
const HUB_HOST: &str = "registry-1.docker.io";
/// The longest domain and path together.
const LONGEST_NAME: usize = 255;
/// The longest tag.
const LONGEST_TAG: usize = 128;
/// The longest reference looked at: a name, a tag and a sha512 digest.
const LONGEST: usize = LONGEST_NAME + 1 + LONGEST_TAG + 1 + 7 + 128;

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid image name: {rule}")]
pub struct InvalidReference {
    text: String,
    rule: String,
}

impl InvalidReference {
    fn new(text: &str, rule: impl Into<String>) -> Self {
        Self { text: printable(text, 80), rule: rule.into() }
    }

    /// Turns it into what crosses the seam.
    pub fn into_failure(self) -> Failure {
        Failure::new(ErrorKind::Invalid, self.to_string())
    }
}

/// A checked and normalised reference. It has a tag, a digest or both; where both stand, the digest decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry, `host` or `host:port`, such as `docker.io`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, such as `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; `latest` when neither a tag nor a digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The whole reference with nothing left out, such as `docker.io/library/debian:latest`.
    pub fn canonical(&self) -> String {
        self.to_string()
    }

    /// Registry and repository, without tag and digest, such as `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Whether a name, as a person wrote it, begins with a registry.
    pub fn names_registry(text: &str) -> bool {
        text.split_once('/').is_some_and(|(first, _)| looks_like_domain(first))
    }

    /// A name that must begin with a registry.
    pub(crate) fn in_registry(text: &str) -> Option<Self> {
        if Self::names_registry(text) { text.parse().ok() } else { None }
    }

    /// What a person wrote of a name, without tag and digest.
    pub(crate) fn written_name(text: &str) -> &str {
        split_tag(text.split('@').next().unwrap_or_default()).0
    }

    /// The same tag and digest of another repository, `host[:port]/path`.
    pub(crate) fn relocated(&self, name: &str) -> Option<Self> {
        let there = Self::in_registry(name).filter(|there| there.name().len() <= LONGEST_NAME)?;
        Some(Self { domain: there.domain, path: there.path, ..self.clone() })
    }

    /// The same repository, tag and digest on another host, which is the host of a URL.
    pub(crate) fn at_host(&self, host: &str) -> Self {
        Self { domain: host.to_owned(), ..self.clone() }
    }

    /// The host that the registry's API is served from, with its port if one was given.
    pub(crate) fn host(&self) -> &str {
        host_of_domain(&self.domain)
    }

    /// What the manifest is asked for by.
    pub(crate) fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }

    /// The same repository with this digest.
    pub(crate) fn with_digest(&self, digest: &Digest) -> Self {
        Self { digest: Some(digest.clone()), ..self.clone() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |rule: &str| InvalidReference::new(text, rule);
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.len() > LONGEST {
            return Err(invalid("it is too long"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest: Digest = digest.parse().map_err(|error: loam_model::InvalidName| {
                    InvalidReference::new(text, error.to_string())
                })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid(
                "a tag is letters, digits and `_.-`, the first no `.` or `-`, at most 128 characters",
            ));
        }
        let (domain, path) = split_domain(name);
        if !is_domain(&domain) {
            return Err(invalid("the registry is no host name or address, with or without a port"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(invalid(
                "the path is lower-case letters and digits, joined by `/`, `.`, `_`, `__` or hyphens",
            ));
        }
        if domain.len() + 1 + path.len() > LONGEST_NAME {
            return Err(invalid("the name is longer than 255 characters"));
        }
        if digest.is_none() && tag.is_none() && is_image_id(name) {
            return Err(invalid("64 hexadecimal digits name an image in the store, not in a registry"));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { domain, path, tag, digest })
    }
}

/// Splits the tag off: what follows the last colon, unless a slash comes after it.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

/// Splits a name into domain and path, and makes both whole.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if looks_like_domain(first) => (first, path),
        _ => (HUB, name),
    };
    if domain != HUB && domain != "index.docker.io" {
        return (domain.to_owned(), path.to_owned());
    }
    let path = if path.contains('/') { path.to_owned() } else { format!("library/{path}") };
    (HUB.to_owned(), path)
}

fn looks_like_domain(component: &str) -> bool {
    component == "localhost" || component.contains(['.', ':']) || component.chars().any(char::is_uppercase)
}

/// The host that a registry's API is served from.
pub(crate) fn host_of_domain(domain: &str) -> &str {
    if domain == HUB { HUB_HOST } else { domain }
}

/// Splits `host[:port]`; `None` when the port is none. An IPv6 address keeps its brackets.
pub(crate) fn split_port(domain: &str) -> Option<(&str, Option<u16>)> {
    let after_host = domain.rfind(']').map_or(0, |bracket| bracket + 1);
    match domain[after_host..].rfind(':') {
        None => Some((domain, None)),
        Some(colon) => {
            let (host, port) = (&domain[..after_host + colon], &domain[after_host + colon + 1..]);
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| digits && *port != 0)?;
            Some((host, Some(port)))
        }
    }
}

/// The address, when a host is written as one.
pub(crate) fn literal_address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_domain(domain: &str) -> bool {
    let Some((host, _)) = split_port(domain) else { return false };
    if let Some(inside) = host.strip_prefix('[') {
        return inside.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    host.split('.').all(|label| {
        let allowed = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        allowed && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    })
}

/// Whether a text is a tag.
pub(crate) fn is_tag(tag: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=LONGEST_TAG).contains(&tag.len()) && tag.bytes().all(allowed) && !tag.starts_with(['.', '-'])
}

/// Whether a component is runs of letters and digits with one separator between each two (distribution
/// specification, "Pulling manifests"): `.`, `_`, `__` or any number of hyphens.
fn is_path_component(component: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let allowed = component.bytes().all(|byte| word(byte) || b"._-".contains(&byte));
    let ends = [component.bytes().next(), component.bytes().next_back()];
    let separator =
        |text: &str| text == "." || text == "_" || text == "__" || text.bytes().all(|b| b == b'-');
    allowed
        && ends.into_iter().all(|end| end.is_some_and(word))
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .filter(|gap| !gap.is_empty())
            .all(separator)
}

fn is_image_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Reference>().map_or_else(|error| error.to_string(), |reference| reference.canonical())
    }

    #[test]
    fn short_names_become_whole() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let cases = [
            ("debian", "docker.io/library/debian:latest".to_owned()),
            ("debian:12", "docker.io/library/debian:12".to_owned()),
            ("docker.io/debian", "docker.io/library/debian:latest".to_owned()),
            ("index.docker.io/a/b:c", "docker.io/a/b:c".to_owned()),
            ("a/b", "docker.io/a/b:latest".to_owned()),
            ("localhost", "docker.io/library/localhost:latest".to_owned()),
            ("localhost/a", "localhost/a:latest".to_owned()),
            ("localhost:5000/a", "localhost:5000/a:latest".to_owned()),
            ("Host/a", "Host/a:latest".to_owned()),
            ("[::1]:5000/a/b_c__d--e.f:T", "[::1]:5000/a/b_c__d--e.f:T".to_owned()),
            ("10.0.0.1:80/a", "10.0.0.1:80/a:latest".to_owned()),
            ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1".to_owned()),
        ];
        for (text, whole) in cases {
            assert_eq!(canonical(text), whole, "{text}");
        }
        assert_eq!(canonical(&format!("a@{digest}")), format!("docker.io/library/a@{digest}"));
        assert_eq!(canonical(&format!("h.x/a:t@{digest}")), format!("h.x/a:t@{digest}"));
    }

    #[test]
    fn the_digest_decides_over_the_tag() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let reference: Reference = format!("a:t@{digest}").parse().expect("valid");
        assert_eq!(reference.selector(), digest);
        assert_eq!(reference.tag(), Some("t"));
    }

    #[test]
    fn the_hub_is_served_from_another_host() {
        let reference: Reference = "debian".parse().expect("valid");
        assert_eq!((reference.domain(), reference.host()), ("docker.io", "registry-1.docker.io"));
    }

    #[test]
    fn nonsense_is_refused() {
        let long = "a".repeat(300);
        let digest = format!("sha256:{}", "0a".repeat(32));
        let cases = [
            "",
            " ",
            "a b",
            "A",
            "a/B",
            "a//b",
            "/a",
            "a/",
            "a/../b",
            "../a",
            "a/./b",
            "a:",
            ":a",
            "a:b:c",
            "a:.t",
            "a:-t",
            "a@",
            "a@sha256:zz",
            "a@md5:0a",
            "a-",
            "-a",
            "a___b",
            "a._b",
            "a\nb",
            "a\0",
            "ü",
            "host:99999/a",
            "host:0/a",
            "host:/a",
            "host:+5/a",
            "-h.x/a",
            "h..x/a",
            "[::1/a",
            "[zz]:5/a",
            "http://h.x/a",
            "u:p@h.x/a",
            &long,
            &"0".repeat(64),
        ];
        for text in cases {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert!(format!("a@{digest}@{digest}").parse::<Reference>().is_err());
        assert!(format!("a:{}", "t".repeat(129)).parse::<Reference>().is_err());
    }

    #[test]
    fn the_message_names_the_text_and_the_rule() {
        assert_eq!(
            canonical("De\u{1b}bian"),
            "`De\\u{1b}bian` is not a valid image name: the path is lower-case letters and digits, joined by `/`, \
             `.`, `_`, `__` or hyphens"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _checked = text.parse::<Reference>();
        }

        #[test]
        fn what_was_made_whole_stays_so(
            text in "([a-z]{1,8}(\\.[a-z]{1,3}(:[1-9][0-9]{0,3})?)/)?[a-z0-9]{1,5}([_/-][a-z0-9]{1,5}){0,3}(:[A-Za-z0-9_][a-z.-]{0,5})?"
        ) {
            let reference: Reference = text.parse().expect("built after the grammar");
            let again: Reference = reference.canonical().parse().expect("canonical form is valid");
            prop_assert_eq!(reference, again);
        }

        #[test]
        fn accepted_names_fit_into_a_url(text in "[a-zA-Z0-9._:/@-]{1,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let url = format!("https://{}/v2/{}/manifests/{}", reference.host(), reference.path(), reference.selector());
                prop_assert!(!reference.path().split('/').any(|part| part == ".." || part == "." || part.is_empty()));
                prop_assert!(!url.contains(['?', '#', ' ', '%', '\\']));
            }
        }
    }
}
