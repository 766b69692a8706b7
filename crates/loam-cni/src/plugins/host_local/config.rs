//! The configuration of `host-local`.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use super::range::{RangeConfig, RangeSet};
use crate::protocol::{CniError, Context, Dns, Route, Version};

/// The largest `resolvConf` that is read.
const MAX_RESOLV_CONF: u64 = 64 << 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ipam {
    ranges: Vec<Vec<RangeConfig>>,
    routes: Vec<Route>,
    #[serde(rename = "resolvConf")]
    resolv_conf: String,
    #[serde(rename = "dataDir")]
    data_directory: String,
}

/// The configuration, checked.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) sets: Vec<RangeSet>,
    pub(super) routes: Vec<Route>,
    pub(super) requested: Vec<IpAddr>,
    pub(super) data_directory: Option<PathBuf>,
    resolv_conf: Option<PathBuf>,
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

impl Config {
    /// Reads the configuration.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let config = &context.config;
        let ipam: Ipam =
            config.get(&["ipam"])?.ok_or_else(|| CniError::invalid_config("`ipam` is missing"))?;
        let mut ranges: Vec<Vec<RangeConfig>> =
            config.get(&["runtimeConfig", "ipRanges"])?.unwrap_or_default();
        // The old form: one range beside the type.
        if config.raw.get("ipam").and_then(|ipam| ipam.get("subnet")).is_some_and(|subnet| !subnet.is_null())
        {
            ranges.extend(config.get::<RangeConfig>(&["ipam"])?.map(|range| vec![range]));
        }
        ranges.extend(ipam.ranges);
        let sets = ranges.iter().map(|set| RangeSet::new(set)).collect::<Result<Vec<_>, _>>()?;
        check_sets(&sets, config.version)?;
        Ok(Self {
            sets,
            routes: ipam.routes,
            requested: requested(context)?,
            data_directory: path(&ipam.data_directory),
            resolv_conf: path(&ipam.resolv_conf),
        })
    }

    /// Reads what DEL and GC need, so that a configuration whose ranges have become wrong does not hold them up.
    pub(super) fn read_for_removal(context: &Context<'_>) -> Result<Self, CniError> {
        let data_directory: Option<String> = context.config.get(&["ipam", "dataDir"])?;
        Ok(Self {
            sets: Vec::new(),
            routes: Vec::new(),
            requested: Vec::new(),
            data_directory: data_directory.as_deref().and_then(path),
            resolv_conf: None,
        })
    }

    /// Name service as `resolvConf` has it.
    pub(super) fn dns(&self) -> Result<Dns, CniError> {
        let Some(path) = &self.resolv_conf else { return Ok(Dns::default()) };
        let failed = |cause: std::io::Error| {
            CniError::io(format!("reading `resolvConf` `{}` failed", path.display()), &cause)
        };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_RESOLV_CONF).read_to_string(&mut text).map_err(failed)?;
        Ok(parse_resolv_conf(&text))
    }
}

fn check_sets(sets: &[RangeSet], version: Version) -> Result<(), CniError> {
    if sets.is_empty() {
        return Err(CniError::invalid_config("no IP ranges specified"));
    }
    for (index, set) in sets.iter().enumerate() {
        if sets[..index].iter().any(|other| set.overlaps(other)) {
            return Err(CniError::invalid_config("range sets overlap"));
        }
    }
    let of = |four: bool| sets.iter().filter(|set| set.is_ipv4() == four).count();
    if version < Version::V0_3_0 && (of(true) > 1 || of(false) > 1) {
        return Err(CniError::invalid_config(format!(
            "CNI version {version} does not support more than one address per family"
        )));
    }
    Ok(())
}

/// The addresses that are asked for, from all three sources.
fn requested(context: &Context<'_>) -> Result<Vec<IpAddr>, CniError> {
    let mut texts: Vec<String> = Vec::new();
    texts.extend(context.argument("IP").into_iter().flat_map(|ips| ips.split(',')).map(str::to_owned));
    for source in [&["args", "cni", "ips"][..], &["runtimeConfig", "ips"]] {
        texts.extend(context.config.get::<Vec<String>>(source)?.unwrap_or_default());
    }
    let parse = |text: &String| {
        let text = text.trim();
        let address = text.parse::<IpAddr>().or_else(|_| text.parse::<IpNet>().map(|net| net.addr()));
        address.map_err(|_| {
            CniError::invalid_config(format!("requested address `{}` is no address", text.escape_default()))
        })
    };
    texts.iter().filter(|text| !text.trim().is_empty()).map(parse).collect()
}

fn parse_resolv_conf(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
        let (Some(key), rest) = (words.next(), words) else { continue };
        let mut rest = rest.map(str::to_owned);
        match key {
            "nameserver" => dns.nameservers.extend(rest.next()),
            "domain" => dns.domain = rest.next().unwrap_or_default(),
            "search" => dns.search.extend(rest),
            "options" => dns.options.extend(rest),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read() {
        let dns = parse_resolv_conf(
            "# c\nnameserver 10.0.0.1\nsearch a.b c\noptions ndots:2 ; x\ndomain d\njunk\n",
        );
        assert_eq!(dns.nameservers, ["10.0.0.1"]);
        assert_eq!(dns.search, ["a.b", "c"]);
        assert_eq!((dns.domain.as_str(), dns.options.as_slice()), ("d", &["ndots:2".to_owned()][..]));
    }
}
