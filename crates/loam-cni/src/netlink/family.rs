//! Settings of links that belong to a family of addresses.
//!
//! By netlink rather than by files below `/proc/sys/net`, the way to which is the longer one (`sysctl/own_proc.rs`).

use netlink_packet_core::{DefaultNla, Emitable as _, NLA_F_NESTED};
use netlink_packet_route::link::{AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute};

use super::batch::Batch;
use super::link::Link;
use super::link_request::{by_index, by_name};

/// `IFLA_INET_CONF` (linux/if_link.h).
const INET_CONF: u16 = 1;
/// `IPV4_DEVCONF_ARP_NOTIFY` (linux/ip.h).
const ARP_NOTIFY: u16 = 22;

impl Batch {
    /// From now on the link's addresses of IPv4 are announced when it comes up or gets another hardware address (kernel
    /// documentation, ip-sysctl, `arp_notify`).
    pub fn announce_changes(&mut self, index: u32) -> &mut Self {
        let setting = DefaultNla::new(ARP_NOTIFY, 1_u32.to_ne_bytes().to_vec());
        let mut settings = vec![0; setting.buffer_len()];
        setting.emit(&mut settings);
        let conf = AfSpecInet::Other(DefaultNla::new(INET_CONF | NLA_F_NESTED, settings));
        let mut message = by_index(index);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![conf])]));
        self.set_link(message);
        self
    }

    /// Gives a link the hardware address that it has, which the kernel takes for a change (net/core/dev.c,
    /// `netif_set_mac_address`): what announces changes announces the addresses that are there.
    pub fn set_same_address(&mut self, link: &Link) -> &mut Self {
        let mut message = by_index(link.index);
        message.attributes.push(LinkAttribute::Address(link.mac.clone()));
        self.set_link(message);
        self
    }

    /// The kernel makes no address of IPv6 for the link by itself (kernel documentation, ip-sysctl, `addr_gen_mode`).
    pub fn make_no_address(&mut self, name: &str) -> &mut Self {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let mut message = by_name(name);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
        self.set_link(message);
        self
    }
}
