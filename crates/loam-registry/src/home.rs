//! The registry that a request belongs to, and what may be done for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use crate::reference::{literal_address, split_port};
use crate::tls::TlsFiles;

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    /// HTTP over TLS.
    Https,
    /// Plain HTTP.
    Http,
}

/// A registry: its host and port as written in the reference (Docker Hub's real one), and what the person and the
/// settings say of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Home {
    host: String,
    insecure: bool,
    scheme: Option<Scheme>,
    files: TlsFiles,
}

impl Home {
    /// A registry at `host` or `host:port`.
    pub(crate) fn new(host: &str, insecure: bool) -> Self {
        Self { host: host.to_owned(), insecure, scheme: None, files: TlsFiles::default() }
    }

    /// With the scheme and the certificate files that settings name.
    pub(crate) fn with(self, scheme: Option<Scheme>, files: TlsFiles) -> Self {
        Self { scheme, files, ..self }
    }

    /// The scheme, where settings name it.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// The certificate files that settings name for a URL: those of the registry's own host.
    pub(crate) fn files(&self, url: &Url) -> TlsFiles {
        if host_of(url).eq_ignore_ascii_case(&self.host) { self.files.clone() } else { TlsFiles::default() }
    }

    /// `host` or `host:port`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether plain HTTP may be spoken to it: on this machine, and where the person called it insecure.
    pub(crate) fn allows_plain(&self) -> bool {
        self.insecure || self.is_loopback() || self.scheme == Some(Scheme::Http)
    }

    /// Whether the registry is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(self.name())
    }

    /// Whether any certificate will do at this URL: that of the registry's own host, when it was called insecure.
    pub(crate) fn trusts_blindly(&self, url: &Url) -> bool {
        self.insecure && url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(self.name()))
    }

    /// The URL of something on the host.
    pub(crate) fn url(&self, scheme: Scheme, path: &str) -> Option<Url> {
        let scheme = match scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        Url::parse(&format!("{scheme}://{}/{path}", self.host)).ok()
    }

    /// The host and the port to connect to when it speaks this scheme.
    pub(crate) fn address(&self, scheme: Scheme) -> (String, u16) {
        let (host, port) = split_port(&self.host).unwrap_or((&self.host, None));
        let usual = if scheme == Scheme::Https { 443 } else { 80 };
        (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port.unwrap_or(usual))
    }

    /// The host without its port.
    fn name(&self) -> &str {
        split_port(&self.host).map_or(&*self.host, |(host, _)| host)
    }

    /// Whether the registry itself is at a link-local address.
    pub(crate) fn is_link_local(&self) -> bool {
        is_link_local(self.name())
    }
}

/// The addresses of this machine.
pub(crate) const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Whether a host is this machine, by its name or its address.
pub(crate) fn is_loopback(host: &str) -> bool {
    is_loopback_name(host)
        || literal_address(host).is_some_and(|address| match address {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => {
                address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
            }
        })
}

/// Whether a name is one of this machine: `localhost`, and everything below it (RFC 6761, section 6.3). Resolvers are not asked for
/// such names, of which they might know something else: they have the addresses of [`LOOPBACK`].
pub(crate) fn is_loopback_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit_once('.').map_or(host, |(_, last)| last);
    last.eq_ignore_ascii_case("localhost")
}

/// Whether a host is a link-local address: there live the metadata services of clouds, which no registry has reason
/// to point at.
pub(crate) fn is_link_local(host: &str) -> bool {
    match literal_address(host) {
        Some(IpAddr::V4(address)) => address.is_link_local(),
        Some(IpAddr::V6(address)) => {
            address.is_unicast_link_local() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_link_local())
        }
        None => false,
    }
}

/// `host:port` of a URL as people see it: the port only when it is not the scheme's own.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("nowhere");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether two URLs lead to the same scheme, host and port.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(text: &str, insecure: bool) -> Home {
        let reference: crate::reference::Reference = text.parse().expect("valid reference");
        Home::new(reference.host(), insecure)
    }

    #[test]
    fn plain_http_is_for_this_machine_and_for_insecure_registries() {
        for local in [
            "localhost/a",
            "localhost:5000/a",
            "Registry.LocalHost:5000/a",
            "127.0.0.1:5000/a",
            "127.9.9.9/a",
            "[::1]:5000/a",
            "[::ffff:127.0.0.1]:5000/a",
        ] {
            assert!(home(local, false).allows_plain(), "{local}");
        }
        for far in [
            "localhost.evil.example/a",
            "notlocalhost:5/a",
            "128.0.0.1/a",
            "debian",
            "[::2]/a",
            "127.0.0.1.example/a",
        ] {
            assert!(!home(far, false).allows_plain(), "{far}");
            assert!(home(far, true).allows_plain(), "{far}");
        }
    }

    #[test]
    fn names_of_this_machine_are_known_as_they_stand_in_urls() {
        for host in ["localhost", "LOCALHOST.", "a.localhost", "a.b.localhost."] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", ".", "localhost..", "alocalhost", "localhost.a", "local"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn blind_trust_does_not_leave_the_host() {
        let url = |text: &str| Url::parse(text).expect("valid");
        let insecure = home("h.example:5000/a", true);
        assert!(insecure.trusts_blindly(&url("https://h.example:5001/token")));
        assert!(!insecure.trusts_blindly(&url("https://other.example/token")));
        assert!(!home("h.example/a", false).trusts_blindly(&url("https://h.example/token")));
    }

    #[test]
    fn metadata_services_are_recognised() {
        for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"] {
            assert!(is_link_local(host), "{host}");
        }
        assert!(!is_link_local("10.0.0.1"));
    }

    #[test]
    fn addresses_have_the_schemes_port_unless_they_name_one() {
        assert_eq!(home("[::1]:5/a", false).address(Scheme::Https), ("::1".to_owned(), 5));
        assert_eq!(home("localhost/a", false).address(Scheme::Http), ("localhost".to_owned(), 80));
    }
}
