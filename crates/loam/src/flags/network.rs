//! `--network`, repeatable, and `--userns`.

use loam_model::{NetworkMode, NetworkName, UserNamespace};

use super::Parsed;

/// Joins all `--network` flags; none is the default network.
pub(super) fn network(names: &[String]) -> Parsed<NetworkMode> {
    let mut networks = Vec::new();
    for name in names {
        match name.as_str() {
            "none" | "host" if names.len() > 1 => {
                return Err(format!("the network `{name}` can't be joined with others"));
            }
            "none" => return Ok(NetworkMode::None),
            "host" => return Ok(NetworkMode::Host),
            // Other engines' words for the default network.
            "default" | "bridge" => networks.extend(default_networks()),
            name => networks.push(name.parse::<NetworkName>().map_err(|error| error.to_string())?),
        }
    }
    Ok(if networks.is_empty() { NetworkMode::default() } else { NetworkMode::Networks(networks) })
}

fn default_networks() -> Vec<NetworkName> {
    match NetworkMode::default() {
        NetworkMode::Networks(names) => names,
        NetworkMode::None | NetworkMode::Host => Vec::new(),
    }
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

    #[test]
    fn networks_keep_their_order() {
        for (names, expected) in [
            (&[][..], NetworkMode::default()),
            (&["none"][..], NetworkMode::None),
            (&["host"][..], NetworkMode::Host),
            (&["bridge"][..], NetworkMode::default()),
            (&["b", "a"][..], named(&["b", "a"])),
        ] {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            assert_eq!(network(&names), Ok(expected), "{names:?}");
        }
        for names in [&["none", "a"][..], &["a", "host"], &["container:x"], &[""]] {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            assert!(network(&names).is_err(), "{names:?}");
        }
    }
}
