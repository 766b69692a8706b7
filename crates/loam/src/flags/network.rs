//! `--network`, repeatable, with its options, and `--userns`.

use std::net::IpAddr;

use clap::Args;
use loam_model::{MacAddress, NetworkChoice, NetworkMode, NetworkName, NetworkOptions, UserNamespace};

use super::Parsed;
use super::options::{self, needed, switch, unknown};

/// How a container is on its network, where it has but one.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AddressFlags {
    /// The IPv4 address on the network
    #[arg(long, value_name = "ADDRESS", value_parser = four, help_heading = "Network")]
    ip: Option<IpAddr>,
    /// The IPv6 address on the network
    #[arg(long, value_name = "ADDRESS", value_parser = six, help_heading = "Network")]
    ip6: Option<IpAddr>,
    /// The hardware address on the network
    #[arg(long, value_name = "MAC", help_heading = "Network")]
    mac_address: Option<MacAddress>,
}

impl AddressFlags {
    /// Whether none is given.
    fn is_empty(&self) -> bool {
        self.ip.is_none() && self.ip6.is_none() && self.mac_address.is_none()
    }

    /// Adds them to the options of a network, with further names.
    pub(crate) fn add_to(&self, options: &mut NetworkOptions, aliases: &[String]) {
        options.addresses.extend(self.ip.into_iter().chain(self.ip6));
        options.mac = self.mac_address.or(options.mac);
        options.aliases.extend_from_slice(aliases);
    }
}

/// Joins all `--network` flags, and those that are about the one network there is; none is the default network.
pub(super) fn network(names: &[String], flags: &AddressFlags, aliases: &[String]) -> Parsed<NetworkMode> {
    let mut mode = joined(names)?;
    if flags.is_empty() && aliases.is_empty() {
        return Ok(mode);
    }
    match &mut mode {
        NetworkMode::Networks(choices) => match choices.as_mut_slice() {
            [only] => flags.add_to(&mut only.options, aliases),
            _ => {
                return Err("addresses and aliases of one of several networks are said with it, as in \
                            `--network NAME:ip=ADDRESS,alias=NAME`"
                    .to_owned());
            }
        },
        NetworkMode::None | NetworkMode::Host => {
            return Err(format!("the network `{}` gives no addresses and no names", names.join(" ")));
        }
    }
    Ok(mode)
}

fn joined(names: &[String]) -> Parsed<NetworkMode> {
    let mut choices = Vec::new();
    for name in names {
        match name.as_str() {
            "none" | "host" if names.len() > 1 => {
                return Err(format!("the network `{name}` can't be joined with others"));
            }
            "none" => return Ok(NetworkMode::None),
            "host" => return Ok(NetworkMode::Host),
            text => choices.push(choice(text)?),
        }
    }
    Ok(if choices.is_empty() { NetworkMode::default() } else { NetworkMode::Networks(choices) })
}

/// Parses `NAME[:KEY=VALUE[,…]]`.
fn choice(text: &str) -> Parsed<NetworkChoice> {
    let (name, given) = text.split_once(':').unwrap_or((text, ""));
    // Other engines' words; networks may be called so.
    if matches!(name, "container" | "ns") && !given.is_empty() && !given.contains('=') {
        return Err(format!(
            "`{text}`: a container has a network of its own, the host's or none, and shares no other's yet"
        ));
    }
    let mut choice = NetworkChoice::from(network_name(name)?);
    for (key, value) in options::list(given) {
        set(&mut choice.options, key, value).map_err(|sentence| format!("network `{name}`: {sentence}"))?;
    }
    Ok(choice)
}

/// Parses the name of a network that there may be.
pub(crate) fn network_name(text: &str) -> Parsed<NetworkName> {
    match text {
        // Other engines' words for the default network.
        "default" | "bridge" => Ok(NetworkName::default_network()),
        text => text.parse().map_err(|error: loam_model::InvalidName| error.to_string()),
    }
}

fn set(options: &mut NetworkOptions, key: &str, value: Option<&str>) -> Parsed<()> {
    match key {
        "ip" | "ip6" => {
            let text = needed(key, value)?;
            options.addresses.push(text.parse().map_err(|_| not_an_address(text))?);
        }
        "subnet" => {
            let wish = needed(key, value)?.parse();
            options.subnet = Some(wish.map_err(|error: loam_model::InvalidSubnet| error.to_string())?);
        }
        "mac" => {
            let mac = needed(key, value)?.parse();
            options.mac = Some(mac.map_err(|error: loam_model::InvalidMac| error.to_string())?);
        }
        "alias" => options.aliases.push(needed(key, value)?.to_owned()),
        "interface_name" => options.interface = Some(needed(key, value)?.to_owned()),
        "default_route" => options.default_route = switch(key, value)?,
        _ => return unknown(key),
    }
    Ok(())
}

fn not_an_address(text: &str) -> String {
    format!("`{text}` is not an address")
}

fn four(text: &str) -> Parsed<IpAddr> {
    text.parse().ok().filter(IpAddr::is_ipv4).ok_or_else(|| "it is not an address of IPv4".to_owned())
}

fn six(text: &str) -> Parsed<IpAddr> {
    text.parse().ok().filter(IpAddr::is_ipv6).ok_or_else(|| "it is not an address of IPv6".to_owned())
}

/// Parses `--userns auto|host`.
pub(super) fn user_namespace(text: &str) -> Parsed<UserNamespace> {
    match text {
        "auto" => Ok(UserNamespace::Auto),
        "host" => Ok(UserNamespace::Host),
        _ => Err("the user namespace is auto or host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> NetworkMode {
        NetworkMode::Networks(names.iter().map(|name| name.parse().expect("valid")).collect())
    }

    fn read(names: &[&str], flags: &AddressFlags, aliases: &[&str]) -> Parsed<NetworkMode> {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        network(&owned(names), flags, &owned(aliases))
    }

    #[test]
    fn networks_keep_their_order() {
        let none = AddressFlags::default();
        for (names, expected) in [
            (&[][..], NetworkMode::default()),
            (&["none"][..], NetworkMode::None),
            (&["host"][..], NetworkMode::Host),
            (&["bridge"][..], NetworkMode::default()),
            (&["b", "a"][..], named(&["b", "a"])),
        ] {
            assert_eq!(read(names, &none, &[]), Ok(expected), "{names:?}");
        }
        for names in [
            &["none", "a"][..],
            &["a", "host"],
            &["container:x"],
            &[""],
            &["a:ip=x"],
            &["a:speed=9"],
            &["a:mac=1"],
            &["a:ip=10.0.0.1,x"],
        ] {
            assert!(read(names, &none, &[]).is_err(), "{names:?}");
        }
        let refused = read(&["container:x"], &none, &[]).expect_err("there is no such thing yet");
        assert!(refused.contains("shares no other's"), "{refused}");
        assert_eq!(read(&["ns"], &none, &[]), Ok(named(&["ns"])), "a network may be called so");
    }

    #[test]
    fn options_stand_with_the_name_or_in_flags_of_their_own() {
        let text = "db:ip=10.1.2.3,ip6=fd00::3,mac=02:00:00:00:00:01,alias=a,alias=b,interface_name=db0,default_route";
        let none = AddressFlags::default();
        let Ok(NetworkMode::Networks(choices)) = read(&["x", text], &none, &[]) else { panic!("networks") };
        let options = &choices[1].options;
        assert_eq!(options.addresses.len(), 2);
        assert_eq!((options.aliases.join(" ").as_str(), options.interface.as_deref()), ("a b", Some("db0")));
        assert!(options.default_route && options.mac.is_some());
        let flags = AddressFlags { ip: "10.1.2.3".parse().ok(), ..none.clone() };
        let Ok(NetworkMode::Networks(choices)) = read(&["x"], &flags, &["y"]) else { panic!("networks") };
        assert_eq!((choices[0].options.addresses.len(), choices[0].options.aliases.len()), (1, 1));
        assert!(read(&["x", "y"], &flags, &[]).is_err());
        assert!(read(&["none"], &flags, &[]).is_err());
    }
}
