//! `dhcp` on `ipvlan`: links that share a hardware address, so that the server tells them apart by the client identifier alone,
//! and that hear no answer which is sent to an address that they don't have yet.

use serde_json::json;

use super::case::{Case, Step};
use super::service::Service;

/// A link whose other end is the server's.
const UPLINK: &str = "ip link add up0 type veth peer name far0; ip link set up0 up; ip link set far0 up; \
                      ip addr add 10.5.0.1/24 dev far0";
/// The server knows the identifier: type 0, then `one/net/eth0`.
const KNOWN: &str = "grep -q '10.5.0.50 .* 00:6f:6e:65:2f:6e:65:74:2f:65:74:68:30$' {DIR}/dnsmasq.leases";

/// The cases. The reference takes no part: only its newest releases can be told to ask for answers to all.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("on ipvlan", json!({ "type": "ipvlan", "master": "up0", "ipam": { "type": "dhcp" } }))
            .version("1.1.0")
            .needs("ipvlan")
            .on_host(UPLINK)
            .with(Service::DhcpServer("far0", &[]))
            .steps(&[
                Step::Add,
                Step::Host(KNOWN),
                Step::Container("ip -4 -o addr show dev eth0 | grep -q 10.5.0.50/24"),
                Step::Check,
                Step::Gc(&["one"]),
                Step::Check,
                Step::Del,
                Step::Host("test ! -s {DIR}/dnsmasq.leases"),
                Step::Host("! ls /run/cni/dhcp.sock.leases/*.json 2>/dev/null"),
                Step::Del,
            ]),
    ]
}
