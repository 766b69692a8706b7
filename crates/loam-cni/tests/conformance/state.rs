//! The state of a network namespace: links, addresses, routes, rules, permanent neighbours, qdiscs, forwarding.

use loam_testkit::lab::Sandbox;
use serde_json::Value;

/// A name without the digits that each implementation chooses for itself.
pub(crate) fn plain_name(name: &str) -> String {
    for prefix in ["veth", "bwp"] {
        if name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return prefix.to_owned();
        }
    }
    name.to_owned()
}

/// A hardware address that was asked for is kept, by its first bytes: tests ask for `0e:00:00:…`.
pub(crate) fn plain_mac(mac: &str) -> String {
    if mac.starts_with("0e:00:00:") { mac.to_owned() } else { "some".to_owned() }
}

fn read(sandbox: &Sandbox, command: &str) -> Vec<Value> {
    let words: Vec<&str> = command.split(' ').collect();
    let text = sandbox.command(&words);
    serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text }).expect("JSON")
}

/// A member as text, without quotes; `-` when it is absent.
fn word(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn name(value: &Value, key: &str) -> String {
    plain_name(&word(value, key))
}

/// The state of a namespace, sorted.
pub(crate) fn lines(sandbox: &Sandbox) -> Vec<String> {
    let mut lines = Vec::new();
    links(sandbox, &mut lines);
    routes(sandbox, &mut lines);
    for neighbour in read(sandbox, "ip -j neigh show nud permanent") {
        let mac = plain_mac(&word(&neighbour, "lladdr"));
        lines.push(format!("neighbour {} {} {mac}", word(&neighbour, "dst"), name(&neighbour, "dev")));
    }
    for qdisc in read(sandbox, "tc -j qdisc show") {
        let kind = word(&qdisc, "kind");
        if ["tbf", "ingress", "htb", "clsact"].contains(&kind.as_str()) {
            lines.push(format!("qdisc {kind} {} {}", name(&qdisc, "dev"), qdisc["options"]));
        }
    }
    let forwarding = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding";
    let text = sandbox.command(&forwarding.split(' ').collect::<Vec<_>>());
    lines.push(format!("forwarding {}", text.trim().replace('\n', " ")));
    lines.sort();
    lines
}

/// What a port of a bridge does.
fn slave_details(info: &Value) -> Vec<String> {
    let is_set = |key: &&str| info["info_slave_data"][*key] == true;
    ["hairpin", "isolated"].into_iter().filter(is_set).map(str::to_owned).collect()
}

fn links(sandbox: &Sandbox, lines: &mut Vec<String>) {
    for link in read(sandbox, "ip -j -d addr show") {
        let info = &link["linkinfo"];
        let (kind, data) = (word(info, "info_kind"), &info["info_data"]);
        let up = link["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "UP"));
        let details: Vec<String> = ["mode", "id", "type", "persist", "user", "group", "multi_queue"]
            .iter()
            .filter(|key| kind != "bridge" && !data[**key].is_null())
            .map(|key| format!("{key} {}", word(data, key)))
            .chain(slave_details(info))
            .collect();
        lines.push(format!(
            "link {} {kind} {} mtu {} mac {} master {} {}",
            name(&link, "ifname"),
            if up { "up" } else { "down" },
            word(&link, "mtu"),
            plain_mac(&word(&link, "address")),
            name(&link, "master"),
            details.join(" "),
        ));
        for address in link["addr_info"].as_array().into_iter().flatten() {
            if address["family"] == "inet6" && address["scope"] == "link" {
                continue;
            }
            lines.push(format!(
                "address {} {}/{} scope {} broadcast {}",
                name(&link, "ifname"),
                word(address, "local"),
                word(address, "prefixlen"),
                word(address, "scope"),
                word(address, "broadcast"),
            ));
        }
    }
}

fn routes(sandbox: &Sandbox, lines: &mut Vec<String>) {
    for family in ["-4", "-6"] {
        for route in read(sandbox, &format!("ip {family} -j route show table all")) {
            let (destination, table) = (word(&route, "dst"), word(&route, "table"));
            if table == "local" || destination == "fe80::/64" || destination == "ff00::/8" {
                continue;
            }
            lines.push(format!(
                "route {} {destination} via {} dev {} table {table} scope {} source {} metric {}",
                word(&route, "type"),
                word(&route, "gateway"),
                name(&route, "dev"),
                word(&route, "scope"),
                word(&route, "prefsrc"),
                word(&route, "metric"),
            ));
        }
        for rule in read(sandbox, &format!("ip {family} -j rule show")) {
            // The kernel's own three.
            if ["0", "32766", "32767"].contains(&word(&rule, "priority").as_str()) {
                continue;
            }
            lines.push(format!(
                "rule {family} {} from {} to {} table {}",
                word(&rule, "priority"),
                word(&rule, "src"),
                word(&rule, "dst"),
                word(&rule, "table"),
            ));
        }
    }
}
