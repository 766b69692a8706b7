//! What a networker gives: written as the reference does, and read as Guardian reads it, keys in any case, unknown ones passed
//! over, `null` as nothing. The error of reading is what is wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::port::MappedPort;
use crate::property;

/// What `up` gives, to be written.
#[derive(Clone, Debug, Default, Serialize)]
pub struct UpOutputs {
    /// What is to be known of the container, by Garden's names.
    pub properties: BTreeMap<&'static str, String>,
    /// Name servers; none leaves the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_servers: Option<Vec<IpAddr>>,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search_domains: Vec<String>,
}

/// What `up` gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpAnswer {
    /// What is to be known of the container, by Garden's names.
    pub properties: BTreeMap<String, String>,
    /// Name servers.
    pub dns_servers: Vec<IpAddr>,
    /// Search domains.
    pub search_domains: Vec<String>,
}

/// A value under a key in any case.
fn under<'a>(object: &'a Map<String, Value>, key: &str) -> &'a Value {
    let found = object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
    object.get(key).or(found.map(|(_, value)| value)).unwrap_or(&Value::Null)
}

fn object(answer: &Value) -> Result<&Map<String, Value>, String> {
    answer.as_object().ok_or_else(|| "it is no object".to_owned())
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
    pub fn read(answer: Option<&Value>) -> Result<Self, String> {
        let Some(answer) = answer.filter(|answer| !answer.is_null()) else { return Ok(Self::default()) };
        let keys = object(answer)?;
        let servers = texts(under(keys, "dns_servers"), "dns_servers")?;
        let server = |text: &String| {
            text.parse().map_err(|_| format!("name server `{}` is no address", loam_model::shown(text)))
        };
        Ok(Self {
            properties: properties(under(keys, "properties"))?,
            dns_servers: servers.iter().map(server).collect::<Result<_, _>>()?,
            search_domains: texts(under(keys, "search_domains"), "search_domains")?,
        })
    }

    /// A property that has something to say.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A property that is an address.
    pub fn address(&self, key: &str) -> Result<Option<IpAddr>, String> {
        let read = |text: &str| {
            let wrong = || format!("property `{key}` is no address but `{}`", loam_model::shown(text));
            text.parse().map_err(|_| wrong())
        };
        self.property(key).map(read).transpose()
    }

    /// The published ports.
    pub fn mapped_ports(&self) -> Result<Vec<MappedPort>, String> {
        let Some(text) = self.property(property::MAPPED_PORTS) else { return Ok(Vec::new()) };
        let read: Result<Option<Vec<MappedPort>>, _> = serde_json::from_str(text);
        read.map(Option::unwrap_or_default).map_err(|cause| {
            let cause = loam_model::shown(&cause.to_string());
            format!("property `{}` can't be read: {cause}", property::MAPPED_PORTS)
        })
    }
}

/// Reads what `net-in` gives: the host port.
pub fn host_port(answer: Option<&Value>) -> Result<u16, String> {
    let answer = answer.ok_or("it is empty")?;
    let number = under(object(answer)?, "host_port").as_u64().and_then(|port| u16::try_from(port).ok());
    number.filter(|port| *port > 0).ok_or_else(|| "`host_port` is no port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(answer: Value) -> Result<UpAnswer, String> {
        UpAnswer::read(Some(&answer))
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
        ] {
            assert_eq!(read(answer), Err(said.to_owned()));
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
