//! Published ports in Garden's words.

use serde_json::{Value, json};

/// A port of the capability `portMappings` in the form that Garden has for it (`garden.NetIn`); `None` for one that is not
/// TCP's, which Garden does not know.
fn net_in(mapping: &Value) -> Option<Value> {
    let protocol = mapping.get("protocol").and_then(Value::as_str).unwrap_or("tcp");
    if !protocol.eq_ignore_ascii_case("tcp") {
        return None;
    }
    let number = |key: &str| mapping.get(key).and_then(Value::as_u64).unwrap_or(0);
    Some(json!({ "host_port": number("hostPort"), "container_port": number("containerPort") }))
}

/// All ports of the capability `portMappings` that Garden has a form for.
pub(crate) fn net_ins(mappings: Option<&Value>) -> Vec<Value> {
    mappings.and_then(Value::as_array).into_iter().flatten().filter_map(net_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_translated_and_those_of_udp_are_not_garden_s() {
        let mappings = json!([
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"},
            {"hostPort": 53, "containerPort": 53, "protocol": "udp"},
            {"hostPort": 0, "containerPort": 7},
        ]);
        assert_eq!(
            Value::from(net_ins(Some(&mappings))),
            json!([{"host_port": 8080, "container_port": 80}, {"host_port": 0, "container_port": 7}])
        );
        assert!(net_ins(None).is_empty());
    }
}
