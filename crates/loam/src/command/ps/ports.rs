//! Published ports, as people write them.

use loam_model::PortMapping;

/// All of them; what follows one on the other is one range.
pub(super) fn ports(mappings: &[PortMapping]) -> String {
    mappings.chunk_by(follows).map(range).collect::<Vec<_>>().join(", ")
}

fn follows(one: &PortMapping, next: &PortMapping) -> bool {
    // Ports that are still to be chosen follow nothing.
    let is_chosen = one.host_port != 0 && next.host_port != 0;
    let are_alike = one.host_address == next.host_address && one.protocol == next.protocol;
    let is_next = |port: u16, next: u16| port.checked_add(1) == Some(next);
    is_chosen
        && are_alike
        && is_next(one.host_port, next.host_port)
        && is_next(one.container_port, next.container_port)
}

fn range(mappings: &[PortMapping]) -> String {
    let (Some(first), Some(last)) = (mappings.first(), mappings.last()) else { return String::new() };
    let address = match first.host_address {
        None => String::new(),
        Some(address) if address.is_ipv6() => format!("[{address}]:"),
        Some(address) => format!("{address}:"),
    };
    let numbers = |first: u16, last: u16| match first {
        0 => "?".to_owned(),
        _ if first == last => first.to_string(),
        _ => format!("{first}-{last}"),
    };
    let host = numbers(first.host_port, last.host_port);
    let container = numbers(first.container_port, last.container_port);
    format!("{address}{host}->{container}/{}", first.protocol.as_str())
}

#[cfg(test)]
mod tests {
    use loam_model::Protocol;

    use super::*;

    #[test]
    fn what_follows_one_on_the_other_is_one_range() {
        let port = |host_address: Option<&str>, host_port, container_port, protocol| PortMapping {
            host_address: host_address.map(|address| address.parse().expect("an address")),
            host_port,
            container_port,
            protocol,
        };
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        for (mappings, expected) in [
            (vec![], ""),
            (vec![port(None, 8080, 80, tcp)], "8080->80/tcp"),
            (vec![port(None, 0, 1, tcp), port(None, 0, 2, tcp)], "?->1/tcp, ?->2/tcp"),
            (
                vec![port(None, 8000, 80, tcp), port(None, 8001, 81, tcp), port(None, 8002, 82, tcp)],
                "8000-8002->80-82/tcp",
            ),
            (vec![port(None, 8000, 80, tcp), port(None, 8001, 80, tcp)], "8000->80/tcp, 8001->80/tcp"),
            (vec![port(None, 53, 53, tcp), port(None, 54, 54, udp)], "53->53/tcp, 54->54/udp"),
            (
                vec![port(Some("::1"), 1, 1, udp), port(Some("::1"), 2, 2, udp), port(None, 3, 3, udp)],
                "[::1]:1-2->1-2/udp, 3->3/udp",
            ),
            (vec![port(None, 65535, 65535, tcp), port(None, 0, 0, tcp)], "65535->65535/tcp, ?->?/tcp"),
        ] {
            assert_eq!(ports(&mappings), expected);
        }
    }
}
