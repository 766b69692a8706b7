//! `certs.d/HOST/hosts.toml` (containerd, docs/hosts.md): hosts that are asked for a registry's contents, in the order
//! in which they stand, and the server that is asked last.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::Need;
use super::toml_file;
use crate::error::{RegistryError, printable};
use crate::home::{Scheme, host_of};
use crate::tls::TlsFiles;

/// The name of the file.
const NAME: &str = "hosts.toml";

/// The file as it stands. What is beside `server` and `host` is about the server.
#[derive(Deserialize)]
struct Raw {
    server: Option<String>,
    #[serde(default = "Ordered::default")]
    host: Ordered<RawHost>,
    #[serde(default)]
    capabilities: Option<Vec<String>>,
    ca: Option<Paths>,
    client: Option<Identities>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    header: BTreeMap<String, Values>,
    #[serde(default)]
    override_path: bool,
}

#[derive(Deserialize)]
struct RawHost {
    #[serde(default)]
    capabilities: Option<Vec<String>>,
    ca: Option<Paths>,
    client: Option<Identities>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    header: BTreeMap<String, Values>,
    #[serde(default)]
    override_path: bool,
}

/// One text or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts")]
enum Values {
    One(String),
    Many(Vec<String>),
}

type Paths = Values;

/// Files with a certificate and its key: both in one, or in a pair of files.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a path, a list of paths, or a list of pairs of paths")]
enum Identities {
    One(String),
    Many(Vec<Identity>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a path or a pair of paths")]
enum Identity {
    One(String),
    Pair([String; 2]),
}

/// A table in the order in which it was written.
struct Ordered<T>(Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Vec<(String, T)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table of hosts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

/// What the file says.
#[derive(Debug)]
pub(super) struct HostFile {
    /// Hosts to ask first.
    pub(super) hosts: Vec<Host>,
    /// The registry itself.
    pub(super) server: Host,
}

/// A host that answers for a registry.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) scheme: Scheme,
    /// `host` or `host:port`.
    pub(super) host: String,
    /// What requests' paths begin with: `v2/` in most cases.
    pub(super) base: String,
    capabilities: Capabilities,
    pub(super) insecure: bool,
    pub(super) files: TlsFiles,
    pub(super) headers: HeaderMap,
}

#[derive(Clone, Copy, Debug)]
struct Capabilities {
    pull: bool,
    resolve: bool,
    push: bool,
}

impl HostFile {
    /// Reads the file of a directory, about this registry; `None` when there is none.
    pub(super) fn read(directory: &Path, domain: &str) -> Result<Option<Self>, RegistryError> {
        let path = directory.join(NAME);
        let Some(raw) = toml_file::read::<Raw>(&path)? else { return Ok(None) };
        Self::check(raw, &Place { path: &path, directory }, domain).map(Some)
    }

    /// Reads the text of a file.
    #[cfg(feature = "fuzzing")]
    pub(super) fn parse(text: &str, directory: &Path, domain: &str) -> Result<Self, RegistryError> {
        let path = directory.join(NAME);
        Self::check(toml_file::parse(text, &path)?, &Place { path: &path, directory }, domain)
    }

    fn check(raw: Raw, place: &Place<'_>, domain: &str) -> Result<Self, RegistryError> {
        let mut hosts = Vec::new();
        for (url, host) in raw.host.0 {
            hosts.push(place.host(&url, "host", host)?);
        }
        let server =
            raw.server.unwrap_or_else(|| format!("https://{}", crate::reference::host_of_domain(domain)));
        let about_server = RawHost {
            capabilities: raw.capabilities,
            ca: raw.ca,
            client: raw.client,
            skip_verify: raw.skip_verify,
            header: raw.header,
            override_path: raw.override_path,
        };
        Ok(Self { hosts, server: place.host(&server, "server", about_server)? })
    }
}

impl Host {
    /// Whether it may be asked for this.
    pub(super) fn can(&self, need: Need) -> bool {
        match need {
            Need::Resolve => self.capabilities.resolve,
            Need::Pull => self.capabilities.pull,
            Need::Push => self.capabilities.push,
        }
    }
}

/// Where the file is.
struct Place<'a> {
    path: &'a Path,
    directory: &'a Path,
}

impl Place<'_> {
    fn bad(&self, reason: String) -> RegistryError {
        toml_file::bad(self.path, reason)
    }

    fn host(&self, text: &str, key: &str, raw: RawHost) -> Result<Host, RegistryError> {
        let wrong = |what: &str| self.bad(format!("`{key}` is `{}`, {what}", printable(text, 120)));
        let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&whole).map_err(|_| wrong("which is no URL"))?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(wrong("which is neither http nor https")),
        };
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong("which has more than host, port and path"));
        }
        let path = url.path().trim_matches('/');
        let base = match (path, raw.override_path) {
            ("", true) => String::new(),
            (path, true) => format!("{path}/"),
            ("", false) => "v2/".to_owned(),
            (path, false) if path == "v2" || path.ends_with("/v2") => format!("{path}/"),
            (path, false) => format!("{path}/v2/"),
        };
        Ok(Host {
            scheme,
            host: host_of(&url),
            base,
            capabilities: self.capabilities(raw.capabilities)?,
            insecure: raw.skip_verify,
            files: TlsFiles { authorities: self.paths(raw.ca), identities: self.identities(raw.client) },
            headers: self.headers(raw.header)?,
        })
    }

    /// All of them when none is named.
    fn capabilities(&self, named: Option<Vec<String>>) -> Result<Capabilities, RegistryError> {
        let Some(named) = named else { return Ok(Capabilities { pull: true, resolve: true, push: true }) };
        let mut capabilities = Capabilities { pull: false, resolve: false, push: false };
        for name in named {
            match name.to_ascii_lowercase().as_str() {
                "pull" => capabilities.pull = true,
                "resolve" => capabilities.resolve = true,
                "push" => capabilities.push = true,
                // What hosts may do beyond is of no concern here.
                "referrers" => {}
                other => {
                    let other = printable(other, 40);
                    return Err(
                        self.bad(format!("`capabilities` holds `{other}`, not pull, resolve or push"))
                    );
                }
            }
        }
        Ok(capabilities)
    }

    fn path(&self, text: &str) -> PathBuf {
        // An absolute path stays as it is.
        self.directory.join(text)
    }

    fn paths(&self, paths: Option<Paths>) -> Vec<PathBuf> {
        let texts = match paths {
            None => Vec::new(),
            Some(Values::One(text)) => vec![text],
            Some(Values::Many(texts)) => texts,
        };
        texts.iter().map(|text| self.path(text)).collect()
    }

    fn identities(&self, identities: Option<Identities>) -> Vec<(PathBuf, PathBuf)> {
        let identities = match identities {
            None => Vec::new(),
            Some(Identities::One(path)) => vec![Identity::One(path)],
            Some(Identities::Many(identities)) => identities,
        };
        let files = identities.iter().map(|identity| match identity {
            Identity::One(path) => (self.path(path), self.path(path)),
            Identity::Pair([certificate, key]) => (self.path(certificate), self.path(key)),
        });
        files.collect()
    }

    fn headers(&self, raw: BTreeMap<String, Values>) -> Result<HeaderMap, RegistryError> {
        let mut headers = HeaderMap::new();
        for (name, values) in raw {
            let bad = || self.bad(format!("`header.{}` can't be sent", printable(&name, 40)));
            let header: HeaderName = name.parse().map_err(|_| bad())?;
            let values = match values {
                Values::One(value) => vec![value],
                Values::Many(values) => values,
            };
            for value in values {
                let mut value = HeaderValue::from_str(&value).map_err(|_| bad())?;
                value.set_sensitive(true);
                headers.append(&header, value);
            }
        }
        Ok(headers)
    }
}
