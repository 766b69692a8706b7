//! What plugins can leave on a host, and the difference between two moments.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loam_cni::netlink::{NetlinkError, RouteSocket};
use serde_json::Value;

use crate::measure::milliseconds;
use crate::place::{DIRECTORY, STATE};
use crate::report::Remains;

/// How long what is left is given to vanish.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long the kernel may take to find out that no address of this host is somebody else's (RFC 4862, 5.4).
const PROBING: Duration = Duration::from_secs(3);
/// How many lines of what is left are told.
const LINES: usize = 12;

/// The kinds of things that are counted, as they are named in the report.
const KINDS: [&str; 6] = ["link", "address", "route", "rule", "qdisc", "file"];

/// Everything that is there, each thing as a line and with how often it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<String, usize>);

impl Snapshot {
    /// Looks as [`Snapshot::take`] does, at what is there before something is tried. The kernel adds a route for an address
    /// once it has probed for it: that comes first.
    pub(crate) fn before() -> Result<Self, String> {
        let begun = Instant::now();
        while begun.elapsed() < PROBING
            && is_probing().map_err(|error| format!("listing addresses: {error}"))?
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self::take()
    }

    /// Looks at the network namespace of the calling thread and at the directories that plugins keep state in.
    pub(crate) fn take() -> Result<Self, String> {
        let mut snapshot = Self::default();
        snapshot.look_at_links().map_err(|error| format!("listing links, addresses and routes: {error}"))?;
        for line in tool("nft", &["-j", "list", "ruleset"]).iter().flat_map(|text| rules(text)) {
            snapshot.add("rule", &line);
        }
        for line in tool("tc", &["qdisc", "show"]).iter().flat_map(|text| text.lines()) {
            snapshot.add("qdisc", line.trim());
        }
        for directory in STATE {
            snapshot.look_at_files(Path::new(directory));
        }
        Ok(snapshot)
    }

    fn add(&mut self, kind: &str, line: &str) {
        *self.0.entry(format!("{kind} {line}")).or_default() += 1;
    }

    fn look_at_links(&mut self) -> Result<(), NetlinkError> {
        let mut socket = RouteSocket::open()?;
        let links = socket.links()?;
        let name = |index: u32| {
            let found = links.iter().find(|link| link.index == index);
            found.map_or_else(|| index.to_string(), |link| link.name.clone())
        };
        for link in &links {
            self.add("link", &format!("{} {}", link.name, link.kind));
        }
        for address in socket.addresses(None)? {
            self.add("address", &format!("{} on {}", address.net, name(address.index)));
        }
        for route in socket.routes()? {
            let via = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
            let out = route.link.map(|link| format!(" dev {}", name(link))).unwrap_or_default();
            self.add("route", &format!("{}{via}{out} table {}", route.destination, route.table));
        }
        Ok(())
    }

    fn look_at_files(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path == Path::new(DIRECTORY) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.look_at_files(&path),
                _ => self.add("file", &path.display().to_string()),
            }
        }
    }

    /// What is here and was not there before.
    pub(crate) fn since(&self, before: &Self) -> Remains {
        let mut remains = Remains::default();
        for (line, count) in &self.0 {
            let more = count.saturating_sub(before.0.get(line).copied().unwrap_or_default());
            if more == 0 {
                continue;
            }
            let kind = KINDS.into_iter().find(|kind| line.split(' ').next() == Some(kind)).unwrap_or("other");
            *remains.counts.entry(kind.to_owned()).or_default() += more;
            if remains.lines.len() < LINES {
                remains.lines.push(line.clone());
            }
        }
        remains
    }
}

fn is_probing() -> Result<bool, NetlinkError> {
    Ok(RouteSocket::open()?.addresses(None)?.iter().any(|address| address.tentative))
}

/// Looks until nothing is left, for some seconds at most; gives what is left then and after how many milliseconds
/// nothing was.
pub(crate) fn settle(before: &Snapshot) -> Result<(Remains, Option<f64>), String> {
    let begun = Instant::now();
    loop {
        let remains = Snapshot::take()?.since(before);
        let passed = begun.elapsed();
        if remains.is_empty() {
            return Ok((remains, Some(milliseconds(passed))));
        }
        if passed >= PATIENCE {
            return Ok((remains, None));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The kinds that can't be counted because a program is missing.
pub(crate) fn uncounted() -> Vec<&'static str> {
    let missing = |program: &str, kind| tool(program, &["-V"]).is_none().then_some(kind);
    [missing("nft", "rules"), missing("tc", "qdiscs")].into_iter().flatten().collect()
}

/// What a program prints; `None` when it is missing or fails.
fn tool(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Removes all rules, as a firewall manager does when it starts; whether it could.
pub(crate) fn flush_rules() -> bool {
    tool("nft", &["flush", "ruleset"]).is_some()
}

/// The lines of a ruleset in nft's JSON form: one for each table, chain, rule, and element of a set. Handles and
/// counters are left out, since they differ between one moment and the next.
fn rules(text: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let objects = value["nftables"].as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for mut object in objects {
        strip(&mut object);
        let Some((kind, body)) = object.as_object_mut().and_then(|object| object.iter_mut().next()) else {
            continue;
        };
        if kind == "metainfo" {
            continue;
        }
        let elements = body.as_object_mut().and_then(|body| body.remove("elem"));
        let (table, name) = (body["table"].clone(), body["name"].clone());
        for element in elements.as_ref().and_then(Value::as_array).into_iter().flatten() {
            lines.push(format!("element {table} {name} {element}"));
        }
        lines.push(format!("{kind} {body}"));
    }
    lines
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for key in ["handle", "packets", "bytes", "expires"] {
                object.remove(key);
            }
            object.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ruleset_is_told_by_rules_and_elements() {
        let text = r#"{"nftables":[{"metainfo":{"version":"1"}},
            {"table":{"family":"inet","name":"t","handle":7}},
            {"rule":{"family":"inet","table":"t","chain":"c","handle":9,
                     "expr":[{"counter":{"packets":3,"bytes":4}},{"accept":null}]}},
            {"map":{"family":"inet","table":"t","name":"ports","elem":[[80,"10.0.0.2"],[81,"10.0.0.3"]]}}]}"#;
        let lines = rules(text);
        assert_eq!(lines.len(), 5, "{lines:#?}");
        assert!(lines.iter().any(|line| line == r#"element "t" "ports" [80,"10.0.0.2"]"#), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("handle") || line.contains("packets")), "{lines:#?}");
        assert!(rules("no JSON").is_empty());
    }

    #[test]
    fn a_difference_counts_what_came_and_not_what_went() {
        let snapshot = |lines: &[(&str, &str)]| {
            let mut snapshot = Snapshot::default();
            lines.iter().for_each(|(kind, line)| snapshot.add(kind, line));
            snapshot
        };
        let before = snapshot(&[("link", "lo"), ("rule", "accept"), ("file", "/run/gone")]);
        let after = snapshot(&[("link", "lo"), ("link", "veth1"), ("rule", "accept"), ("rule", "accept")]);
        let remains = after.since(&before);
        assert_eq!(remains.counts, BTreeMap::from([("link".into(), 1), ("rule".into(), 1)]));
        assert_eq!(remains.lines, ["link veth1", "rule accept"]);
        assert!(before.since(&before).is_empty());
    }
}
