//! The default network: written once, when it is first used, and from then on the administrator's to change.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv6Addr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use loam_cni::netlink::{NetlinkError, RouteSocket};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::conflist::{self, ConflistError};

/// The name of the default network.
pub const DEFAULT_NETWORK: &str = "loam";

/// Subnets that are tried in turn: private, and the first choice of no other engine.
const SUBNETS: [&str; 12] = [
    "10.90.0.0/16",
    "10.91.0.0/16",
    "10.92.0.0/16",
    "10.93.0.0/16",
    "10.94.0.0/16",
    "10.95.0.0/16",
    "10.97.0.0/16",
    "10.98.0.0/16",
    "172.29.0.0/16",
    "172.30.0.0/16",
    "192.168.230.0/24",
    "192.168.231.0/24",
];
/// How many bridge names are tried.
const BRIDGES: u32 = 100;

/// Why the default network can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DefaultNetworkError {
    #[error("making directory `{0}` failed")]
    Directory(PathBuf, #[source] io::Error),
    #[error("locking `{0}` failed")]
    Lock(PathBuf, #[source] io::Error),
    #[error("looking at the host's routes failed")]
    Routes(#[source] NetlinkError),
    #[error("reading the other networks failed")]
    Others(#[source] ConflistError),
    #[error("reading random bytes failed")]
    Random(#[source] io::Error),
    #[error("every private subnet that Loam knows is in use")]
    NoSubnet,
    #[error("every bridge name that Loam knows is in use")]
    NoBridge,
    #[error("writing `{0}` failed")]
    Write(PathBuf, #[source] io::Error),
}

/// Writes the default network unless it exists.
pub(crate) fn ensure(conf_dir: &Path, data_dir: &Path) -> Result<(), DefaultNetworkError> {
    let path = conf_dir.join(format!("{DEFAULT_NETWORK}.conflist"));
    if path.exists() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(conf_dir)
        .map_err(|cause| DefaultNetworkError::Directory(conf_dir.to_owned(), cause))?;
    let _lock = lock(conf_dir)?;
    if path.exists() {
        return Ok(());
    }
    let text = compose(conf_dir, data_dir)?;
    let failed = |cause| DefaultNetworkError::Write(path.clone(), cause);
    let beside = conf_dir.join(".loam.conflist.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)?;
    fs::rename(&beside, &path).map_err(failed)
}

fn lock(conf_dir: &Path) -> Result<File, DefaultNetworkError> {
    let failed = |cause| DefaultNetworkError::Lock(conf_dir.to_owned(), cause);
    let directory = File::open(conf_dir).map_err(failed)?;
    loop {
        match flock(&directory, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map(|()| directory).map_err(|cause| failed(cause.into())),
        }
    }
}

fn compose(conf_dir: &Path, data_dir: &Path) -> Result<String, DefaultNetworkError> {
    let mut socket = RouteSocket::open().map_err(DefaultNetworkError::Routes)?;
    let routes = socket.routes().map_err(DefaultNetworkError::Routes)?;
    let mut used: Vec<IpNet> =
        routes.iter().map(|route| route.destination).filter(|net| net.prefix_len() > 0).collect();
    for list in conflist::all(conf_dir).map_err(DefaultNetworkError::Others)? {
        list.plugins.iter().for_each(|plugin| collect_subnets(plugin.values(), &mut used));
    }
    let four = free_subnet(&used).ok_or(DefaultNetworkError::NoSubnet)?;
    let six = if Path::new("/proc/sys/net/ipv6").exists() {
        Some(unique_local_subnet().map_err(DefaultNetworkError::Random)?)
    } else {
        None
    };
    let links = socket.links().map_err(DefaultNetworkError::Routes)?;
    let bridge = (0..BRIDGES)
        .map(|number| format!("loam{number}"))
        .find(|name| links.iter().all(|link| link.name != *name))
        .ok_or(DefaultNetworkError::NoBridge)?;
    Ok(text(&bridge, four, six, data_dir))
}

fn text(bridge: &str, four: Ipv4Net, six: Option<Ipv6Net>, data_dir: &Path) -> String {
    let mut ranges = vec![json!([{ "subnet": four.to_string() }])];
    ranges.extend(six.map(|six| json!([{ "subnet": six.to_string() }])));
    let list = json!({
        "cniVersion": "1.1.0",
        "name": DEFAULT_NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isDefaultGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": { "type": "host-local", "dataDir": data_dir, "ranges": ranges },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    format!("{list:#}\n")
}

fn free_subnet(used: &[IpNet]) -> Option<Ipv4Net> {
    let candidates = SUBNETS.iter().filter_map(|text| text.parse::<Ipv4Net>().ok());
    candidates.into_iter().find(|candidate| {
        let candidate = IpNet::V4(*candidate);
        !used.iter().any(|net| net.contains(&candidate) || candidate.contains(net))
    })
}

/// Every value of a key `subnet`, at any depth.
fn collect_subnets<'a>(values: impl Iterator<Item = &'a Value>, into: &mut Vec<IpNet>) {
    for value in values {
        match value {
            Value::Array(values) => collect_subnets(values.iter(), into),
            Value::Object(object) => {
                let subnet = object.get("subnet").and_then(Value::as_str);
                into.extend(subnet.and_then(|text| text.parse::<IpNet>().ok()));
                collect_subnets(object.values(), into);
            }
            _ => {}
        }
    }
}

/// A subnet of a random prefix of our own (RFC 4193, section 3.2.2).
fn unique_local_subnet() -> io::Result<Ipv6Net> {
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    File::open("/dev/urandom")?.read_exact(&mut bytes[1..6])?;
    Ok(Ipv6Net::new_assert(Ipv6Addr::from(bytes), 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_subnet_that_no_route_touches_is_taken() {
        let nets = |texts: &[&str]| -> Vec<IpNet> {
            texts.iter().map(|text| text.parse().expect("valid")).collect()
        };
        assert_eq!(free_subnet(&[]), "10.90.0.0/16".parse().ok());
        assert_eq!(
            free_subnet(&nets(&["10.90.7.0/24", "10.91.0.0/16", "fd00::/8"])),
            "10.92.0.0/16".parse().ok()
        );
        assert_eq!(free_subnet(&nets(&["10.0.0.0/8"])), "172.29.0.0/16".parse().ok());
        assert_eq!(free_subnet(&nets(&["0.0.0.0/1", "128.0.0.0/1"])), None);
    }

    #[test]
    fn the_list_is_one_that_we_can_read() {
        let six = unique_local_subnet().expect("random bytes");
        assert!(six.to_string().starts_with("fd") && six.trunc() == six, "{six}");
        let text = text("loam0", "10.90.0.0/16".parse().expect("valid"), Some(six), Path::new("/data"));
        let list = conflist::NetworkList::parse(text).expect("valid");
        assert_eq!((list.name.as_str(), list.plugins.len()), ("loam", 2));
        assert!(list.has_capability("portMappings"));
        let mut used = Vec::new();
        collect_subnets(list.plugins[0].values(), &mut used);
        assert_eq!(used, ["10.90.0.0/16".parse().expect("valid"), IpNet::V6(six)]);
    }
}
