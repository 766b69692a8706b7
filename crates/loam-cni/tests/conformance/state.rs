//! The state of a network namespace: links, addresses, routes, rules, permanent neighbours, qdiscs, forwarding.

use loam_testkit::lab::Sandbox;
use serde_json::Value;

/// A name without the digits that each implementation chooses for itself.
pub(crate) fn plain_name(name: &str) -> String {
    for prefix in ["veth", "gate-", "bwp"] {
        if name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return if prefix == "gate-" { "veth".to_owned() } else { prefix.to_owned() };
        }
    }
    name.to_owned()
}

/// A hardware address that was asked for is kept, by its first bytes: tests ask for `0e:00:00:…`.
pub(crate) fn plain_mac(mac: &str) -> String {
    if mac.starts_with("0e:00:00:") { mac.to_owned() } else { "some".to_owned() }
}

/// What is looked at, in one go: processes are what takes the time on an emulated machine. Each line of output is a list.
const LOOK: &str = "printf 'addr show\nneigh show nud permanent\nroute show table all\nrule show\n' | ip -j -d -batch -; \
                    printf 'route show table all\nrule show\n' | ip -6 -j -d -batch -; \
                    tc -j qdisc show; \
                    echo \"[$(cat /proc/sys/net/ipv4/ip_forward), $(cat /proc/sys/net/ipv6/conf/all/forwarding)]\"";

/// The lists, in the order in which they were asked for. `ip` prints nothing for some that are empty, so each is told by
/// what its members have.
fn read(sandbox: &Sandbox) -> Vec<Vec<Value>> {
    let text = sandbox.command(&["sh", "-ec", LOOK]);
    let lists = serde_json::Deserializer::from_str(&text).into_iter::<Vec<Value>>();
    lists.map(|list| list.expect("JSON")).collect()
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
    let mut lists = read(sandbox);
    let forwarding = lists.pop().unwrap_or_default();
    let mut lines = vec![format!("forwarding {}", Value::from(forwarding))];
    for member in lists.iter().flatten() {
        let has = |key: &str| !member[key].is_null();
        if has("addr_info") {
            link(member, &mut lines);
        } else if has("lladdr") {
            let mac = plain_mac(&word(member, "lladdr"));
            lines.push(format!("neighbour {} {} {mac}", word(member, "dst"), name(member, "dev")));
        } else if has("priority") {
            rule(member, &mut lines);
        } else if has("handle") {
            qdisc(member, &mut lines);
        } else if has("dst") {
            route(member, &mut lines);
        }
    }
    lines.sort();
    lines
}

fn qdisc(qdisc: &Value, lines: &mut Vec<String>) {
    let kind = word(qdisc, "kind");
    if ["tbf", "ingress", "htb", "clsact"].contains(&kind.as_str()) {
        lines.push(format!("qdisc {kind} {} {}", name(qdisc, "dev"), qdisc["options"]));
    }
}

/// What a port of a bridge does.
fn slave_details(info: &Value) -> Vec<String> {
    let is_set = |key: &&str| info["info_slave_data"][*key] == true;
    ["hairpin", "isolated"].into_iter().filter(is_set).map(str::to_owned).collect()
}

fn link(link: &Value, lines: &mut Vec<String>) {
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
        name(link, "ifname"),
        if up { "up" } else { "down" },
        word(link, "mtu"),
        plain_mac(&word(link, "address")),
        name(link, "master"),
        details.join(" "),
    ));
    for address in link["addr_info"].as_array().into_iter().flatten() {
        if address["family"] == "inet6" && address["scope"] == "link" {
            continue;
        }
        lines.push(format!(
            "address {} {}/{} scope {} broadcast {}",
            name(link, "ifname"),
            word(address, "local"),
            word(address, "prefixlen"),
            word(address, "scope"),
            word(address, "broadcast"),
        ));
    }
}

fn route(route: &Value, lines: &mut Vec<String>) {
    let (destination, table) = (word(route, "dst"), word(route, "table"));
    // The kernel makes these by itself.
    if table == "local" || ["fe80::/64", "ff00::/8"].contains(&destination.as_str()) {
        return;
    }
    lines.push(format!(
        "route {} {destination} via {} dev {} table {table} scope {} source {} metric {}",
        word(route, "type"),
        word(route, "gateway"),
        name(route, "dev"),
        word(route, "scope"),
        word(route, "prefsrc"),
        word(route, "metric"),
    ));
}

fn rule(rule: &Value, lines: &mut Vec<String>) {
    // The kernel's own three.
    if ["0", "32766", "32767"].contains(&word(rule, "priority").as_str()) {
        return;
    }
    lines.push(format!(
        "rule {} from {} to {} table {}",
        word(rule, "priority"),
        word(rule, "src"),
        word(rule, "dst"),
        word(rule, "table"),
    ));
}
