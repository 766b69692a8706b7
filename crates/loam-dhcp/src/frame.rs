//! The IPv4 and UDP headers around a message (RFC 791, RFC 768), which a packet socket leaves to us.

use std::net::Ipv4Addr;

/// The ports of servers and clients (RFC 2131, section 4.1).
const SERVER_PORT: u16 = 67;
pub(crate) const CLIENT_PORT: u16 = 68;
const IPV4_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;
const TIME_TO_LIVE: u8 = 64;
/// More fragments, or not the first one.
const IS_FRAGMENT: u16 = 0x3fff;

/// The sum of 16-bit words that both headers use (RFC 1071).
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// Puts a client's message into a packet; `None` when it is too long for one.
pub(crate) fn wrap(source: Ipv4Addr, destination: Ipv4Addr, message: &[u8]) -> Option<Vec<u8>> {
    let datagram = u16::try_from(UDP_HEADER + message.len()).ok()?;
    let total = u16::try_from(IPV4_HEADER + UDP_HEADER + message.len()).ok()?;
    let mut packet = vec![0; IPV4_HEADER + UDP_HEADER];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[8] = TIME_TO_LIVE;
    packet[9] = UDP;
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&packet[..IPV4_HEADER]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet[20..22].copy_from_slice(&CLIENT_PORT.to_be_bytes());
    packet[22..24].copy_from_slice(&SERVER_PORT.to_be_bytes());
    packet[24..26].copy_from_slice(&datagram.to_be_bytes());
    let pseudo = [&packet[12..20], &[0, UDP], &packet[24..26]].concat();
    // A sum of 0 would mean that there is none (RFC 768).
    let sum = match checksum(&[&pseudo, &packet[IPV4_HEADER..], message]) {
        0 => u16::MAX,
        sum => sum,
    };
    packet[26..28].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(message);
    Some(packet)
}

/// Takes a server's message out of a packet; `None` when it is none. The sum of UDP is not verified: between two ends on
/// one machine nobody computes it.
pub(crate) fn unwrap(packet: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let first = packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    let total = usize::from(word(2)?);
    if first >> 4 != 4 || header < IPV4_HEADER || total > packet.len() || total < header + UDP_HEADER {
        return None;
    }
    if packet[9] != UDP || word(6)? & IS_FRAGMENT != 0 || checksum(&[&packet[..header]]) != 0 {
        return None;
    }
    let datagram = usize::from(word(header + 4)?);
    if word(header)? != SERVER_PORT || word(header + 2)? != CLIENT_PORT {
        return None;
    }
    if datagram < UDP_HEADER || header + datagram > total {
        return None;
    }
    Some(&packet[header + UDP_HEADER..header + datagram])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet as a server sends it.
    fn reply(message: &[u8]) -> Vec<u8> {
        let mut packet =
            wrap(Ipv4Addr::new(10, 5, 0, 1), Ipv4Addr::new(10, 5, 0, 9), message).expect("short");
        packet[20..22].copy_from_slice(&67_u16.to_be_bytes());
        packet[22..24].copy_from_slice(&68_u16.to_be_bytes());
        packet
    }

    #[test]
    fn sums_are_those_of_the_standards() {
        // The example of RFC 1071, section 3.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(checksum(&[&[0xff]]), !0xff00);
        let packet = wrap(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, b"odd").expect("short");
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let pseudo = [&packet[12..20], &[0, 17], &packet[24..26]].concat();
        assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0);
        assert_eq!(wrap(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, &vec![0; 70_000]), None);
    }

    #[test]
    fn only_whole_packets_from_servers_are_taken() {
        let good = reply(&[0; 40]);
        assert_eq!(unwrap(&good).map(<[u8]>::len), Some(40));
        // Links pad short frames.
        assert_eq!(unwrap(&[&good[..], &[0; 9]].concat()).map(<[u8]>::len), Some(40));
        let changed = |at: usize, value: u8| {
            let mut packet = good.clone();
            packet[at] = value;
            // Only what is tried is wrong.
            packet[10..12].copy_from_slice(&[0, 0]);
            let sum = checksum(&[&packet[..20]]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            unwrap(&packet).is_some()
        };
        assert!(changed(8, 1));
        for (at, value) in [(0, 0x65), (0, 0x44), (0, 0x4f), (2, 0xff), (3, 20), (6, 0x20), (7, 1), (9, 6)] {
            assert!(!changed(at, value), "{at} {value}");
        }
        for (at, value) in [(21, 66), (23, 69), (24, 0xff), (25, 7)] {
            assert!(!changed(at, value), "{at} {value}");
        }
        let mut packet = good.clone();
        packet[10] ^= 1;
        assert_eq!(unwrap(&packet), None);
        for length in 0..good.len() {
            assert_eq!(unwrap(&good[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some(message) = unwrap(&bytes) {
                prop_assert!(message.len() + IPV4_HEADER + UDP_HEADER <= bytes.len());
            }
        }
    }
}
