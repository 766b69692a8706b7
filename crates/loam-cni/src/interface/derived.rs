//! Names and hardware addresses of veth pairs, which follow from the attachment, so that DEL finds them without any record.

use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

/// What follows from container id and interface: the name of the host's end, and both hardware addresses.
///
/// Addresses that are set when a link is made are left alone by device managers, which else change them later.
#[derive(Debug)]
pub(crate) struct Derived {
    /// The name of the end on the host.
    pub(crate) host_name: String,
    /// The hardware address of the end on the host.
    pub(crate) host_mac: [u8; 6],
    /// The hardware address of the end in the container.
    pub(crate) mac: [u8; 6],
}

impl Derived {
    /// For an attachment.
    pub(crate) fn new(container_id: &str, interface: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(container_id.as_bytes());
        hash.update([0]);
        hash.update(interface.as_bytes());
        let hash = hash.finalize();
        let digits: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let mac = |at: usize| {
            let mut mac = [0; 6];
            mac.copy_from_slice(&hash[at..at + 6]);
            // Locally administered, not a group (IEEE 802, clause 8.4).
            mac[0] = (mac[0] & 0xfc) | 0x02;
            mac
        };
        Self { host_name: format!("veth{}", &digits[..11]), host_mac: mac(8), mac: mac(16) }
    }

    /// The hardware address of whoever has an address of IPv4, on any link. So no neighbour's memory is ever wrong about
    /// it, whoever had it before, and it need not be announced.
    pub(crate) fn mac_of(address: Ipv4Addr) -> [u8; 6] {
        let [a, b, c, d] = address.octets();
        // Locally administered, not a group (IEEE 802, clause 8.4).
        [0x02, 0x6c, a, b, c, d]
    }

    /// Whether a name is of the form that is given here.
    pub(crate) fn is_host_name(name: &str) -> bool {
        let digits = name.strip_prefix("veth").unwrap_or_default();
        digits.len() == 11 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_the_attachment() {
        let one = Derived::new("abc", "eth0");
        let two = Derived::new("abc", "eth1");
        assert_eq!(one.host_name.len(), 15);
        assert_ne!(one.host_name, two.host_name);
        assert_ne!(Derived::new("abce", "th0").host_name, one.host_name);
        assert_eq!(one.mac[0] & 3, 2);
        assert!(Derived::is_host_name(&one.host_name));
        for other in ["veth0", "vethABCDEF01234", "br0", "veth0123456789g"] {
            assert!(!Derived::is_host_name(other), "{other}");
        }
    }
}
