//! The subnet that a container wants for itself, on networks that have one for each container.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// The prefix length of a subnet that is given without one: the network itself, a gateway, a container, broadcast.
const PREFIX: u8 = 30;

/// A subnet, and maybe the address in it, as the field `network` of a Garden container says it: `a.b.c.d/n`, or `a.b.c.d`
/// for `a.b.c.d/30`. Where the address is the subnet's own, the next free address of the subnet is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubnetWish {
    /// The subnet, without bits beyond its prefix.
    pub subnet: Ipv4Net,
    /// The address; the next free one when absent.
    pub address: Option<Ipv4Addr>,
}

/// Why a text is no subnet. The sentence is Go's, which Garden's clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct InvalidSubnet(String);

impl FromStr for SubnetWish {
    type Err = InvalidSubnet;

    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let whole = if text.contains('/') { text.to_owned() } else { format!("{text}/{PREFIX}") };
        let given: Ipv4Net = whole.parse().map_err(|_| InvalidSubnet(crate::shown(&whole)))?;
        let subnet = given.trunc();
        Ok(Self { subnet, address: Some(given.addr()).filter(|address| *address != subnet.addr()) })
    }
}

impl fmt::Display for SubnetWish {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.unwrap_or_else(|| self.subnet.addr());
        write!(formatter, "{address}/{}", self.subnet.prefix_len())
    }
}

impl TryFrom<String> for SubnetWish {
    type Error = InvalidSubnet;
    fn try_from(text: String) -> Result<Self, InvalidSubnet> {
        text.parse()
    }
}

impl From<SubnetWish> for String {
    fn from(wish: SubnetWish) -> String {
        wish.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Option<String>) {
        let wish: SubnetWish = text.parse().expect("valid");
        (wish.subnet.to_string(), wish.address.map(|address| address.to_string()))
    }

    #[test]
    fn an_address_without_a_length_is_one_of_four() {
        assert_eq!(read("10.9.0.6"), ("10.9.0.4/30".to_owned(), Some("10.9.0.6".to_owned())));
        assert_eq!(read("10.9.0.4"), ("10.9.0.4/30".to_owned(), None));
    }

    #[test]
    fn the_subnet_s_own_address_leaves_the_choice_open() {
        assert_eq!(read("10.9.0.0/24"), ("10.9.0.0/24".to_owned(), None));
        assert_eq!(read("10.9.0.7/24"), ("10.9.0.0/24".to_owned(), Some("10.9.0.7".to_owned())));
        let wish: SubnetWish = "10.9.0.7/24".parse().expect("valid");
        assert_eq!(wish.to_string(), "10.9.0.7/24");
    }

    #[test]
    fn what_is_no_subnet_is_refused_in_go_s_words() {
        for (text, said) in [
            ("10.9.0", "invalid CIDR address: 10.9.0/30"),
            ("10.9.0.0/33", "invalid CIDR address: 10.9.0.0/33"),
            ("10.9.0.0/", "invalid CIDR address: 10.9.0.0/"),
            ("fd00::1/64", "invalid CIDR address: fd00::1/64"),
            ("house", "invalid CIDR address: house/30"),
        ] {
            assert_eq!(text.parse::<SubnetWish>().expect_err(text).to_string(), said);
        }
    }
}
