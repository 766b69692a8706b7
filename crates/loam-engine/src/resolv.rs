//! The container's `/etc/resolv.conf` (resolv.conf(5)), from the networks' name servers and the host's file.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::record::NetworkFacts;

/// No resolver reads more of the file than this.
const LIMIT: u64 = 64 * 1024;

/// What a resolver configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolver {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    /// Reads the first of these files that names a server which a network namespace of its own can reach. On the
    /// host's own network the first file that names any will do.
    pub(crate) fn of_host(files: &[PathBuf], host_network: bool) -> Self {
        let mut first = None;
        for text in files.iter().filter_map(read_bounded) {
            let mut resolver = Self::parse(&text);
            if !host_network {
                resolver.servers.retain(|server| is_reachable(server));
            }
            if !resolver.servers.is_empty() {
                return resolver;
            }
            first.get_or_insert(resolver);
        }
        first.unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            // A comment begins with `#` or `;` in the first column; later on a line it is no comment for the
            // resolver, but people write it so.
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            let keyword = words.next();
            let rest = || words.map(str::to_owned);
            match keyword {
                Some("nameserver") => resolver.servers.extend(rest().take(1)),
                // The last of these lines wins.
                Some("search" | "domain") => resolver.search = rest().collect(),
                Some("options") => resolver.options.extend(rest()),
                _ => {}
            }
        }
        resolver
    }

    /// The text for a container, with what its networks gave first.
    pub(crate) fn text(&self, network: &NetworkFacts) -> String {
        let given: Vec<String> = network.name_servers.iter().map(ToString::to_string).collect();
        let servers = if given.is_empty() { &self.servers } else { &given };
        let search = if network.search_domains.is_empty() { &self.search } else { &network.search_domains };
        let mut text = String::new();
        if !search.is_empty() {
            text.push_str(&format!("search {}\n", search.join(" ")));
        }
        for server in servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

/// Whether a server's address is one that leads out of a network namespace: no loopback, and no link-local address of
/// an interface that the container has not got.
fn is_reachable(server: &str) -> bool {
    let (address, zone) = server.split_once('%').map_or((server, None), |(a, z)| (a, Some(z)));
    match address.parse::<IpAddr>() {
        Ok(address) => !address.is_loopback() && !address.is_unspecified() && zone.is_none(),
        Err(_) => false,
    }
}

fn read_bounded(path: &PathBuf) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# made by hand\nsearch old\nnameserver 127.0.0.53\nnameserver 192.0.2.1 # first\n\
                        nameserver ::1\nnameserver fe80::1%eth0\nsearch example.org lan\noptions edns0 trust-ad\n";

    fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    #[test]
    fn loopback_servers_are_left_out() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = [file(&directory, "a", HOST)];
        let text = Resolver::of_host(&files, false).text(&NetworkFacts::default());
        assert_eq!(text, "search example.org lan\nnameserver 192.0.2.1\noptions edns0 trust-ad\n");
        let text = Resolver::of_host(&files, true).text(&NetworkFacts::default());
        assert_eq!(text.matches("nameserver").count(), 4);
    }

    #[test]
    fn a_stub_resolver_gives_way_to_the_next_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = [
            directory.path().join("missing"),
            file(&directory, "stub", "nameserver 127.0.0.53\noptions edns0\n"),
            file(&directory, "real", "nameserver 192.0.2.9\n"),
        ];
        let text = |files: &[PathBuf]| Resolver::of_host(files, false).text(&NetworkFacts::default());
        assert_eq!(text(&files), "nameserver 192.0.2.9\n");
        assert_eq!(text(&files[..2]), "options edns0\n");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn what_networks_give_comes_first() {
        let network = NetworkFacts {
            name_servers: vec!["192.0.2.53".parse().expect("an address")],
            search_domains: vec!["inside".to_owned()],
            ..NetworkFacts::default()
        };
        let host = Resolver::parse(HOST);
        assert_eq!(host.text(&network), "search inside\nnameserver 192.0.2.53\noptions edns0 trust-ad\n");
    }
}
