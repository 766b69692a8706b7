//! `--publish`: `[[ADDRESS:][HOST]:]CONTAINER[/PROTOCOL]`, either port also a range; IPv6 addresses in brackets.

use std::net::IpAddr;

use loam_model::{PortMapping, Protocol, shown};

use super::Parsed;

/// Parses one `--publish`; a range gives several mappings.
pub(super) fn publish(text: &str) -> Parsed<Vec<PortMapping>> {
    let (address, rest) = address(text)?;
    let (rest, protocol) = match rest.split_once('/') {
        None => (rest, Protocol::Tcp),
        Some((rest, protocol)) => (rest, self::protocol(protocol)?),
    };
    let (host, container) = match rest.split_once(':') {
        Some((host, container)) => (host, container),
        None if address.is_some() => {
            return Err("a port of the container is missing after the address".to_owned());
        }
        None => ("", rest),
    };
    let container = range(container)?;
    if container.0 == 0 {
        return Err("a port of the container can't be 0".to_owned());
    }
    let count = container.1 - container.0;
    let host = match host {
        "" => None,
        host => Some(range(host)?),
    };
    if let Some((first, last)) = host
        && (last - first != count || (first == 0 && count > 0))
    {
        return Err("the ranges of host and container differ in length".to_owned());
    }
    let first = host.map_or(0, |(first, _)| first);
    let mapping = |offset| PortMapping {
        host_address: address,
        host_port: if first == 0 { 0 } else { first + offset },
        container_port: container.0 + offset,
        protocol,
    };
    Ok((0..=count).map(mapping).collect())
}

/// Parses an image's exposed port, `PORT[/PROTOCOL]`, for `--publish-all`.
pub(super) fn exposed(text: &str) -> Parsed<Vec<PortMapping>> {
    publish(text)
}

/// Splits the host's address off, if there is one.
fn address(text: &str) -> Parsed<(Option<IpAddr>, &str)> {
    let invalid = |address: &str| format!("`{}` is not an IP address", shown(address));
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("the bracket of the address is not closed")?;
        let rest = rest.strip_prefix(':').ok_or("a colon is missing after the address")?;
        let address = address.parse::<std::net::Ipv6Addr>().map_err(|_| invalid(address))?;
        if address.is_loopback() {
            return Err("a port of `::1` can't be published: the kernel lets nothing for it out of a link; \
                        publish one of 127.0.0.1, or of every address"
                .to_owned());
        }
        return Ok((Some(address.into()), rest));
    }
    if text.matches(':').count() < 2 {
        return Ok((None, text));
    }
    let (address, rest) = text.split_once(':').unwrap_or((text, ""));
    if address.is_empty() {
        return Ok((None, rest));
    }
    let parsed = address.parse::<std::net::Ipv4Addr>().map_err(|_| invalid(address))?;
    Ok((Some(parsed.into()), rest))
}

fn protocol(text: &str) -> Parsed<Protocol> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err(format!("the protocol `{}` can't be published, only tcp and udp", shown(text))),
    }
}

fn range(text: &str) -> Parsed<(u16, u16)> {
    let invalid = || format!("`{}` is not a port", shown(text));
    let port = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u16>().map_err(|_| invalid()),
        false => Err(invalid()),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first)?, port(last)?) {
        (first, last) if first <= last => Ok((first, last)),
        _ => Err(format!("the range `{}` ends before it begins", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        match publish(text) {
            Err(sentence) => sentence,
            Ok(mappings) => {
                let show = |m: &PortMapping| {
                    let address = m.host_address.map(|address| format!("{address} ")).unwrap_or_default();
                    format!("{address}{}->{}/{}", m.host_port, m.container_port, m.protocol.as_str())
                };
                mappings.iter().map(show).collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn every_form_of_dockers_is_understood() {
        for (text, expected) in [
            ("80", "0->80/tcp"),
            ("8080:80", "8080->80/tcp"),
            ("8080:80/udp", "8080->80/udp"),
            (":80", "0->80/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080->80/tcp"),
            ("127.0.0.1::80", "127.0.0.1 0->80/tcp"),
            ("[2001:db8::1]:8080:80/TCP", "2001:db8::1 8080->80/tcp"),
            ("[::]::53/udp", ":: 0->53/udp"),
            ("0:80", "0->80/tcp"),
            ("7000-7002:8000-8002", "7000->8000/tcp, 7001->8001/tcp, 7002->8002/tcp"),
            ("80-81", "0->80/tcp, 0->81/tcp"),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        for (text, expected) in [
            ("", "`` is not a port"),
            ("http:80", "`http` is not a port"),
            ("8080:0", "a port of the container can't be 0"),
            ("8080:70000", "`70000` is not a port"),
            ("8080:80/sctp", "the protocol `sctp` can't be published, only tcp and udp"),
            ("7000-7002:80", "the ranges of host and container differ in length"),
            ("90-80", "the range `90-80` ends before it begins"),
            (
                "[::1]:80:80",
                "a port of `::1` can't be published: the kernel lets nothing for it out of a link; \
                 publish one of 127.0.0.1, or of every address",
            ),
            ("[::1:80:80", "the bracket of the address is not closed"),
            ("[::1]80", "a colon is missing after the address"),
            ("[::2]:80", "a port of the container is missing after the address"),
            ("300.1.1.1:80:80", "`300.1.1.1` is not an IP address"),
            ("+80", "`+80` is not a port"),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }
}
