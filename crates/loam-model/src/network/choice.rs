//! A network that a container shall be on, and how.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::mac::MacAddress;
use super::subnet::SubnetWish;
use crate::{InvalidName, NetworkName};

/// How a container is on one network. Everything left at its default is the network's to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkOptions {
    /// Static addresses, at most one of each subnet of the network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// The subnet, on a network that has one for each container; a free one of four addresses when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<SubnetWish>,
    /// The hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Further names that others on this network find the container by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The interface's name in the container; `eth0`, `eth1`, … when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Whether this network gives the default route; the first of a container's networks when none says so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default_route: bool,
}

/// A network and the options on it. Written as the name alone when there are no options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct NetworkChoice {
    /// The network.
    pub name: NetworkName,
    /// How the container is on it.
    pub options: NetworkOptions,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Name(NetworkName),
    Whole {
        name: NetworkName,
        #[serde(flatten)]
        options: NetworkOptions,
    },
}

impl From<Written> for NetworkChoice {
    fn from(written: Written) -> Self {
        match written {
            Written::Name(name) => name.into(),
            Written::Whole { name, options } => Self { name, options },
        }
    }
}

impl From<NetworkChoice> for Written {
    fn from(NetworkChoice { name, options }: NetworkChoice) -> Self {
        match options == NetworkOptions::default() {
            true => Written::Name(name),
            false => Written::Whole { name, options },
        }
    }
}

impl From<NetworkName> for NetworkChoice {
    fn from(name: NetworkName) -> Self {
        Self { name, options: NetworkOptions::default() }
    }
}

impl FromStr for NetworkChoice {
    type Err = InvalidName;

    /// Reads a name; there are no options then.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        text.parse::<NetworkName>().map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_is_written_as_before_there_were_options() {
        let plain: NetworkChoice = serde_json::from_str(r#""db""#).expect("a name");
        assert_eq!(serde_json::to_string(&plain).expect("JSON"), r#""db""#);
        let text = r#"{"name":"db","addresses":["10.0.0.9"],"mac":"02:00:00:00:00:01","aliases":["main"]}"#;
        let whole: NetworkChoice = serde_json::from_str(text).expect("a choice");
        assert_eq!(serde_json::to_string(&whole).expect("JSON"), text);
        for bad in [r#""../x""#, r#"{"name":"db","mac":"x"}"#, r#"{"name":"db","addresses":["x"]}"#] {
            assert!(serde_json::from_str::<NetworkChoice>(bad).is_err(), "{bad}");
        }
    }
}
