//! Who is asked for what is in a repository, and in which order: the mirrors of `registries.conf`, the hosts of
//! `hosts.toml`, the registry itself.

use super::Settings;
use super::host_file::Host;
use super::registries_file::{Only, Registry};
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::home::Home;
use crate::reference::Reference;

/// What a host is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To tell what a tag points to.
    Resolve,
    /// To give what a digest names.
    Pull,
    /// To take something, or remove it.
    Push,
}

impl Settings {
    /// The places to ask about a reference, the registry itself last and its mirrors before it. `insecure` is what the
    /// person said of the registry itself.
    pub(crate) fn endpoints(
        &self,
        reference: &Reference,
        need: Need,
        insecure: bool,
    ) -> Result<Vec<Endpoint>, RegistryError> {
        let name = reference.name();
        let registry = self.registry(&name);
        if let Some((registry, _)) = registry.filter(|(registry, _)| registry.blocked) {
            return Err(RegistryError::Blocked {
                what: name,
                prefix: registry.prefix.clone(),
                path: registry.file.clone(),
            });
        }
        let mut endpoints = Vec::new();
        let mut origin = (reference.clone(), insecure);
        if let Some((registry, matched)) = registry {
            let rest = &name[matched..];
            let moved = |location: &str| {
                let place = format!("{location}{rest}");
                reference.relocated(&place).ok_or_else(|| RegistryError::Settings {
                    path: registry.file.clone(),
                    reason: format!(
                        "with the location `{location}`, `{name}` becomes `{place}`, which is no name"
                    ),
                })
            };
            let by_digest = reference.digest().is_some();
            for mirror in registry.mirrors.iter().filter(|_| need != Need::Push) {
                let suits = match mirror.only {
                    Only::All => true,
                    Only::Digests => by_digest,
                    Only::Tags => !by_digest,
                };
                if suits {
                    endpoints.push(Endpoint::plain(moved(&mirror.location)?, mirror.insecure));
                }
            }
            if !registry.location.is_empty() {
                origin.0 = moved(&registry.location)?;
            }
            origin.1 |= registry.insecure;
        }
        self.add_hosts(&origin.0, need, origin.1, &mut endpoints)?;
        Ok(endpoints)
    }

    /// The registry whose prefix is the longest that a name has, and how much of the name that is.
    fn registry(&self, name: &str) -> Option<(&Registry, usize)> {
        let fits = |registry: &'_ Registry| prefix_length(&registry.prefix, name);
        let fitting = self.registries.iter().filter_map(|registry| Some((registry, fits(registry)?)));
        // A name beats a pattern that covers as much.
        fitting.max_by_key(|(registry, length)| (*length, !registry.prefix.starts_with('*')))
    }

    /// Adds a registry, and before it those who answer for it.
    fn add_hosts(
        &self,
        reference: &Reference,
        need: Need,
        insecure: bool,
        endpoints: &mut Vec<Endpoint>,
    ) -> Result<(), RegistryError> {
        let domain = reference.domain();
        let Some(file) = self.host_file(domain)? else {
            endpoints.push(Endpoint::plain(reference.clone(), insecure));
            return Ok(());
        };
        for host in file.hosts.iter().filter(|host| host.can(need)) {
            endpoints.push(at_host(host, reference, false));
        }
        if file.server.can(need) {
            endpoints.push(at_host(&file.server, reference, insecure));
        }
        if endpoints.is_empty() {
            return Err(RegistryError::NoHost { domain: domain.to_owned() });
        }
        Ok(())
    }
}

fn at_host(host: &Host, reference: &Reference, insecure: bool) -> Endpoint {
    let domain = reference.domain();
    let is_own = host.host == crate::reference::host_of_domain(domain);
    let there = if is_own { reference.clone() } else { reference.at_host(&host.host) };
    let insecure = host.insecure || insecure;
    // A registry that was called insecure may speak plain HTTP all the same.
    let scheme = if insecure && is_own { None } else { Some(host.scheme) };
    Endpoint {
        home: Home::new(there.host(), insecure).with(scheme, host.files.clone()),
        reference: there,
        base: host.base.clone(),
        headers: host.headers.clone(),
        namespace: (!is_own).then(|| domain.to_owned()),
    }
}

/// How much of a name a prefix covers, if it does. A pattern `*.domain` covers the host.
fn prefix_length(prefix: &str, name: &str) -> Option<usize> {
    let length = match prefix.strip_prefix('*') {
        Some(domain) => {
            let host = name.split('/').next()?;
            host.strip_suffix(domain).filter(|rest| !rest.is_empty())?;
            host.len()
        }
        None => name.strip_prefix(prefix).map(|_| prefix.len())?,
    };
    let rest = &name[length..];
    (rest.is_empty() || rest.starts_with('/')).then_some(length)
}
