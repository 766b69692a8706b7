//! What a plugin chain's result says of an attachment.

use std::net::IpAddr;

use loam_cni::CniResult;
use loam_model::{AttachedInterface, Attachment, NetworkName};

use crate::conflist::NetworkList;

/// The interface that an attachment made.
pub(crate) fn interface(
    network: &NetworkName,
    name: &str,
    list: &NetworkList,
    result: &CniResult,
) -> AttachedInterface {
    let found = result.interfaces.iter().find(|found| found.name == name && !found.sandbox.is_empty());
    // Results of old versions do not say which interface an address is on.
    let ours = |ip: &&loam_cni::protocol::IpConfig| {
        let index = ip.interface_index().and_then(|index| result.interfaces.get(index));
        index.is_none_or(|found| found.name == name && !found.sandbox.is_empty())
    };
    AttachedInterface {
        network: network.clone(),
        name: name.to_owned(),
        mac: found.map(|found| found.mac.clone()).filter(|mac| !mac.is_empty()),
        addresses: result.ips.iter().filter(ours).map(|ip| ip.address).collect(),
        gateways: result
            .ips
            .iter()
            .filter(ours)
            .filter_map(|ip| ip.gateway)
            .filter(|_| !list.internal)
            .collect(),
    }
}

/// Whether a text can be a word of a line in `/etc/resolv.conf`, and no more than that.
pub(crate) fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|character: char| character.is_whitespace() || character.is_control())
}

/// Adds what a network says of name service. A search domain that would be more than a word is left out.
pub(crate) fn add_name_service(result: &CniResult, attachment: &mut Attachment) {
    for server in result.dns.nameservers.iter().filter_map(|text| text.parse::<IpAddr>().ok()) {
        if !attachment.name_servers.contains(&server) {
            attachment.name_servers.push(server);
        }
    }
    let domain = Some(&result.dns.domain).filter(|domain| !domain.is_empty());
    for domain in domain.into_iter().chain(&result.dns.search).filter(|domain| is_word(domain)) {
        if !attachment.search_domains.contains(domain) {
            attachment.search_domains.push(domain.clone());
        }
    }
}
