//! What networkers give, read as Guardian reads it: keys in any case, unknown ones passed over, `null` as nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::NetworkerError;
use crate::result::is_word;

/// What `up` gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UpAnswer {
    /// What is to be known of the container, by Garden's names.
    pub(super) properties: BTreeMap<String, String>,
    /// Name servers.
    pub(super) dns_servers: Vec<IpAddr>,
    /// Search domains.
    pub(super) search_domains: Vec<String>,
}

/// A published port as the property `garden.network.mapped-ports` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct MappedPort {
    #[serde(rename = "HostPort")]
    pub(super) host_port: u16,
    #[serde(rename = "ContainerPort")]
    pub(super) container_port: u16,
}

/// A value under a key in any case.
fn under<'a>(object: &'a Map<String, Value>, key: &str) -> &'a Value {
    let found = object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
    object.get(key).or(found.map(|(_, value)| value)).unwrap_or(&Value::Null)
}

fn object<'a>(action: &'static str, answer: &'a Value) -> Result<&'a Map<String, Value>, NetworkerError> {
    let what = "it is no object".to_owned();
    answer.as_object().ok_or(NetworkerError::Form { action, what })
}

fn texts(value: &Value, key: &str) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(all) => {
            let texts = all.iter().map(|one| one.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or_else(|| format!("`{key}` are no texts"))
        }
        _ => Err(format!("`{key}` is no list")),
    }
}

/// Search domains, which become words of a line.
fn search_domains(value: &Value) -> Result<Vec<String>, String> {
    let domains = texts(value, "search_domains")?;
    match domains.iter().find(|domain| !is_word(domain)) {
        Some(domain) => Err(format!("search domain `{}` is no name", loam_model::shown(domain))),
        None => Ok(domains),
    }
}

fn properties(value: &Value) -> Result<BTreeMap<String, String>, String> {
    match value {
        Value::Null => Ok(BTreeMap::new()),
        Value::Object(all) => {
            let one = |(key, value): (&String, &Value)| match value {
                Value::Null => Ok((key.clone(), String::new())),
                Value::String(text) => Ok((key.clone(), text.clone())),
                _ => Err(format!("property `{}` is no text", loam_model::shown(key))),
            };
            all.iter().map(one).collect()
        }
        _ => Err("`properties` is no object".to_owned()),
    }
}

impl UpAnswer {
    /// Reads the answer; nothing is an empty one.
    pub(super) fn read(answer: Option<&Value>) -> Result<Self, NetworkerError> {
        let action = "up";
        let Some(answer) = answer.filter(|answer| !answer.is_null()) else { return Ok(Self::default()) };
        let keys = object(action, answer)?;
        let form = |what| NetworkerError::Form { action, what };
        let servers = texts(under(keys, "dns_servers"), "dns_servers").map_err(form)?;
        let server = |text: &String| {
            text.parse().map_err(|_| form(format!("name server `{}` is no address", loam_model::shown(text))))
        };
        Ok(Self {
            properties: properties(under(keys, "properties")).map_err(form)?,
            dns_servers: servers.iter().map(server).collect::<Result<_, _>>()?,
            search_domains: search_domains(under(keys, "search_domains")).map_err(form)?,
        })
    }

    /// A property that has something to say.
    pub(super) fn property(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A property that is an address.
    pub(super) fn address(&self, key: &str) -> Result<Option<IpAddr>, NetworkerError> {
        let read = |text: &str| {
            let what = || format!("property `{key}` is no address but `{}`", loam_model::shown(text));
            text.parse().map_err(|_| NetworkerError::Form { action: "up", what: what() })
        };
        self.property(key).map(read).transpose()
    }

    /// The published ports.
    pub(super) fn mapped_ports(&self) -> Result<Vec<MappedPort>, NetworkerError> {
        let Some(text) = self.property(super::up::MAPPED_PORTS) else { return Ok(Vec::new()) };
        let read: Result<Option<Vec<MappedPort>>, _> = serde_json::from_str(text);
        read.map(Option::unwrap_or_default).map_err(|cause| {
            let what = format!("property `{}` can't be read: {cause}", super::up::MAPPED_PORTS);
            NetworkerError::Form { action: "up", what }
        })
    }
}

/// Reads what `net-in` gives: the host port.
pub(super) fn host_port(answer: Option<&Value>) -> Result<u16, NetworkerError> {
    let action = "net-in";
    let form = |what: &str| NetworkerError::Form { action, what: what.to_owned() };
    let answer = answer.ok_or_else(|| form("it is empty"))?;
    let number =
        under(object(action, answer)?, "host_port").as_u64().and_then(|port| u16::try_from(port).ok());
    number.filter(|port| *port > 0).ok_or_else(|| form("`host_port` is no port"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(answer: Value) -> Result<UpAnswer, String> {
        UpAnswer::read(Some(&answer)).map_err(|error| error.to_string())
    }

    #[test]
    fn answers_are_read_as_guardian_reads_them() {
        let whole =
            read(json!({"Properties": {"garden.network.container-ip": "10.0.0.2", "a": null}, "other": 1,
                "DNS_Servers": ["10.0.0.53", "fd00::53"], "search_domains": ["a.b"],
            }));
        let answer = whole.expect("valid");
        assert_eq!(answer.address("garden.network.container-ip").expect("valid"), "10.0.0.2".parse().ok());
        assert_eq!((answer.dns_servers.len(), answer.search_domains.len()), (2, 1));
        assert_eq!(answer.property("a"), None);
        for nothing in [json!(null), json!({}), json!({"properties": null, "dns_servers": null})] {
            assert_eq!(read(nothing), Ok(UpAnswer::default()));
        }
        assert_eq!(UpAnswer::read(None).expect("nothing"), UpAnswer::default());
    }

    #[test]
    fn answers_of_another_form_are_told() {
        for (answer, said) in [
            (json!([]), "it is no object"),
            (json!("x"), "it is no object"),
            (json!({"properties": []}), "`properties` is no object"),
            (json!({"properties": {"a\nb": 7}}), "property `a\\nb` is no text"),
            (json!({"dns_servers": "10.0.0.1"}), "`dns_servers` is no list"),
            (json!({"dns_servers": [7]}), "`dns_servers` are no texts"),
            (json!({"dns_servers": ["here"]}), "name server `here` is no address"),
            (json!({"search_domains": {}}), "`search_domains` is no list"),
            (
                json!({"search_domains": ["a\nnameserver 192.0.2.1"]}),
                "search domain `a\\nnameserver 192.0.2.1` is no name",
            ),
        ] {
            let expected = format!("what action `up` gave can't be used: {said}");
            assert_eq!(read(answer), Err(expected));
        }
    }

    #[test]
    fn ports_are_read_from_the_property_s_text() {
        let with =
            |text: &str| read(json!({"properties": {"garden.network.mapped-ports": text}})).expect("valid");
        let ports = with(r#"[{"HostPort":61001,"ContainerPort":8080}]"#).mapped_ports().expect("valid");
        assert_eq!(ports, [MappedPort { host_port: 61001, container_port: 8080 }]);
        assert_eq!(with("null").mapped_ports().expect("nothing"), []);
        for bad in ["x", "[{}]", r#"[{"HostPort":70000,"ContainerPort":1}]"#] {
            assert!(with(bad).mapped_ports().is_err(), "{bad}");
        }
        assert_eq!(host_port(Some(&json!({"host_port": 7, "container_port": 8}))).expect("valid"), 7);
        for bad in [json!({}), json!({"host_port": 0}), json!({"host_port": 70000}), json!(7)] {
            assert!(host_port(Some(&bad)).is_err(), "{bad}");
        }
        assert!(host_port(None).is_err());
    }
}
