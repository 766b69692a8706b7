//! Networks with a subnet for each container, as Garden's field `network` means them.
//!
//! Such a network is a list with `"loam": {"subnetPerContainer": true}`, whose first plugin is a `bridge` with a pool of
//! IPv4 addresses. It is a pattern. Each container is attached by a list of its own, made from it: with the bridge of its
//! subnet, an address that is set, the name `NETWORK.SUBNET`, and `"loam": {"containerSubnet": "ADDRESS/LENGTH"}`.
//!
//! Nothing else is written down: which subnets and addresses are taken is what the attachments' files say, so they are
//! taken as long as there is an attachment, over restarts, too. Whoever chooses, and whoever removes the bridge of a subnet
//! that nobody is in any more, has the lock `locks/@container-subnets` alone, reads all attachments, and writes its own
//! before it lets go. Whoever has it takes no other lock. Other state directories of the host have attachments and locks of
//! their own; what they have, and are just about to have, is found as [`claim`] says.

mod claim;
mod select;

use ipnet::{IpNet, Ipv4Net};
use loam_cni::firewall::Firewall;
use loam_cni::netlink::RouteSocket;
use loam_model::{ContainerId, ErrorKind, Failure, Result};
use serde_json::{Value, json};

use crate::attachments::Intent;
use crate::conflist::{self, ConflistError, NetworkList, OWN_KEY, kind};
use crate::failure::of_files;
use crate::lock::NetworkLock;
use crate::network::CniNetwork;
use crate::plan::Planned;
use crate::remove::remove_bridge;
use crate::subnets;
use claim::{Claim, is_there};
use select::{Existing, gateway, select};

/// The key of a pattern.
pub(crate) const PATTERN: &str = "subnetPerContainer";
/// The key of a container's own list.
const OWN: &str = "containerSubnet";
/// The lock. No network is called so.
const LOCK: &str = "@container-subnets";

/// The pool of a pattern; the error is why the list can't be one.
pub(crate) fn pool(list: &NetworkList) -> std::result::Result<Ipv4Net, String> {
    if list.plugins.first().is_none_or(|plugin| kind(plugin) != "bridge") {
        return Err(format!("`{PATTERN}` is for lists that begin with the plugin `bridge`"));
    }
    match list.subnets().as_slice() {
        [IpNet::V4(pool)] => Ok(*pool),
        _ => Err(format!("`{PATTERN}` is for networks with one subnet, of IPv4")),
    }
}

/// The address of a container with its subnet, when a list is its own.
fn own(list: &str) -> Option<Ipv4Net> {
    // Most lists are others, and not read a second time.
    let value: Value =
        Some(list).filter(|text| text.contains(OWN)).and_then(|text| serde_json::from_str(text).ok())?;
    value.get(OWN_KEY)?.get(OWN)?.as_str()?.parse().ok()
}

/// The bridge of a subnet. Subnets that begin at the same address overlap, so that there is but one of them.
fn bridge(subnet: Ipv4Net) -> String {
    format!("loam-{:08x}", u32::from(subnet.network()))
}

/// Makes a container's own list from the pattern.
fn compose(
    pattern: &NetworkList,
    subnet: Ipv4Net,
    address: std::net::Ipv4Addr,
) -> std::result::Result<NetworkList, ConflistError> {
    let with_length = format!("{address}/{}", subnet.prefix_len());
    let mut value = pattern.value();
    value["name"] =
        format!("{}.{:08x}-{}", pattern.name, u32::from(subnet.network()), subnet.prefix_len()).into();
    if let Some(keys) = value.get_mut(OWN_KEY).and_then(Value::as_object_mut) {
        keys.remove(PATTERN);
        keys.insert(OWN.to_owned(), with_length.clone().into());
    }
    let first = &mut value["plugins"][0];
    first["bridge"] = bridge(subnet).into();
    first["ipam"] =
        json!({ "type": "static", "addresses": [{ "address": with_length, "gateway": gateway(subnet) }] });
    NetworkList::parse(value.to_string())
}

impl CniNetwork {
    /// Replaces patterns in a plan by lists of the container's own. What is chosen is to be written while the lock is
    /// held, and attached while the claims are.
    pub(crate) fn choose_subnets(
        &self,
        plan: &mut [Planned<'_>],
    ) -> Result<(Option<NetworkLock>, Vec<Claim>)> {
        let mut claims = Vec::new();
        if !plan.iter().any(|planned| planned.list.pool.is_some()) {
            return Ok((None, claims));
        }
        let lock = self.locks.alone(LOCK)?;
        let all = self.attachments.all().map_err(|error| of_files("listing attachments failed", error))?;
        let mut intents: Vec<Intent> = all.into_iter().flat_map(|(_, intents)| intents).collect();
        for planned in plan {
            let Some(pool) = planned.list.pool else { continue };
            let mut existing = self.existing(&planned.list.name, &intents)?;
            if planned.choice.options.subnet.is_some() {
                existing.theirs.extend(of_host(&intents)?);
            }
            let (subnet, address) = loop {
                let chosen = select(pool, &existing, planned.choice.options.subnet);
                let (subnet, address) =
                    chosen.map_err(|error| Failure::new(error.kind(), error.to_string()))?;
                if existing.ours.iter().any(|(ours, _)| *ours == subnet) {
                    break (subnet, address);
                }
                match Claim::take(&bridge(subnet))? {
                    Some(claim) => claims.push(claim),
                    None => {
                        existing.theirs.push(subnet);
                        continue;
                    }
                }
                break (subnet, address);
            };
            planned.list = compose(&planned.list, subnet, address)
                .map_err(|error| of_files("the container's own configuration can't be made", error))?;
            planned.intent.config = planned.list.text.clone();
            intents.push(planned.intent.clone());
        }
        Ok((Some(lock), claims))
    }

    /// What others have, from where a network stands.
    fn existing(&self, network: &str, intents: &[Intent]) -> Result<Existing> {
        let mut existing = Existing::default();
        for intent in intents {
            let Some(address) = own(&intent.config) else { continue };
            match intent.network == network {
                true => existing.ours.push((address.trunc(), address.addr())),
                false => existing.theirs.push(address.trunc()),
            }
        }
        let lists = conflist::all(&self.config.conf_dir)
            .map_err(|error| of_files("reading the other networks failed", error))?;
        let others = lists.iter().filter(|list| list.name != network).flat_map(NetworkList::subnets);
        existing.theirs.extend(others.filter_map(|net| match net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        }));
        Ok(existing)
    }

    /// Removes the bridge of a subnet, and what the firewall has for it, when the attachment that goes is its last. Success
    /// for lists that are no container's own.
    pub(crate) fn leave_subnet(&self, container: &str, intent: &Intent, list: &NetworkList) -> Result<()> {
        let Some(address) = own(&list.text) else { return Ok(()) };
        let subnet = address.trunc();
        let _lock = self.locks.alone(LOCK)?;
        let all = self.attachments.all().map_err(|error| of_files("listing attachments failed", error))?;
        let is_other = |id: &ContainerId, other: &Intent| {
            own(&other.config).is_some_and(|address| address.trunc() == subnet)
                && (id.as_str() != container || other.network != intent.network)
        };
        if all.iter().any(|(id, intents)| intents.iter().any(|other| is_other(id, other))) {
            return Ok(());
        }
        let bridge = bridge(subnet);
        // Another state directory may have taken the subnet, when a restart of the machine had removed our bridge.
        let Some(_claim) = Claim::regain(&bridge)? else { return Ok(()) };
        remove_bridge(&bridge, &[subnet.into()])?;
        if is_there(&bridge)? {
            return Ok(());
        }
        Firewall::open(&self.host)
            .and_then(|mut firewall| firewall.forget_network(&list.name, Some(&bridge), &[subnet.into()]))
            .map_err(|error| of_files("taking the subnet out of the firewall failed", error))
    }

    /// The lists that containers on a network have of their own, one for each subnet.
    pub(crate) fn own_lists(&self, network: &str) -> Result<Vec<NetworkList>> {
        let all = self.attachments.all().map_err(|error| of_files("listing attachments failed", error))?;
        let ours = all.into_iter().flat_map(|(_, intents)| intents);
        let ours = ours.filter(|intent| intent.network == network && own(&intent.config).is_some());
        let mut lists = Vec::<NetworkList>::new();
        for intent in ours {
            let list = NetworkList::parse(intent.config)
                .map_err(|error| of_files("an attachment's own configuration can't be read", error))?;
            if !lists.iter().any(|other| other.name == list.name) {
                lists.push(list);
            }
        }
        Ok(lists)
    }
}

/// The subnets that the host has a route to, but for those of containers.
fn of_host(intents: &[Intent]) -> Result<Vec<Ipv4Net>> {
    let failed = |error| of_files("reading the host's routes failed", error);
    let routes =
        RouteSocket::open().and_then(|mut socket| subnets::of_routes(&mut socket)).map_err(failed)?;
    let is_ours = |net: &Ipv4Net| {
        intents.iter().any(|intent| own(&intent.config).is_some_and(|own| own.trunc().contains(net)))
    };
    let nets = routes.into_iter().filter_map(|route| match route {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    });
    Ok(nets.filter(|net| !is_ours(net)).collect())
}

/// Refuses a subnet of one's own on a network that has one for all.
pub(crate) fn refuse_wish(list: &NetworkList) -> Failure {
    let message = format!("network `{}` can't give a subnet that is asked for", list.name);
    Failure::new(ErrorKind::Invalid, message)
        .hint("make one with `loam network create --subnet-per-container`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERN_LIST: &str = r#"{"name":"garden","cniVersion":"1.1.0","loam":{"subnetPerContainer":true,"labels":{}},
        "plugins":[{"type":"bridge","isDefaultGateway":true,"mtu":1400,
            "ipam":{"type":"host-local","ranges":[[{"subnet":"10.254.0.0/22"}]]}},{"type":"portmap"}]}"#;

    #[test]
    fn a_container_s_own_list_has_its_bridge_and_address() {
        let pattern = NetworkList::parse(PATTERN_LIST.to_owned()).expect("valid");
        assert_eq!(pattern.pool, "10.254.0.0/22".parse().ok());
        assert_eq!(pattern.host_interface(), None, "a pattern has no bridge");
        let list =
            compose(&pattern, "10.9.0.0/24".parse().expect("valid"), "10.9.0.7".parse().expect("valid"));
        let list = list.expect("a list that we can read");
        assert_eq!((list.name.as_str(), list.pool), ("garden.0a090000-24", None));
        assert_eq!(list.host_interface(), Some("loam-0a090000"));
        assert_eq!(own(&list.text), "10.9.0.7/24".parse().ok());
        let value = list.value();
        let addresses = json!([{"address": "10.9.0.7/24", "gateway": "10.9.0.1"}]);
        assert_eq!(value["plugins"][0]["ipam"], json!({"type": "static", "addresses": addresses}));
        assert_eq!(
            (&value["plugins"][0]["mtu"], &value["plugins"][1]["type"]),
            (&json!(1400), &json!("portmap"))
        );
        assert_eq!(own(PATTERN_LIST), None);
    }

    #[test]
    fn a_pattern_must_be_a_bridge_with_a_pool() {
        for (from, to, thing) in [
            ("\"type\":\"bridge\"", "\"type\":\"ptp\"", "begin with the plugin `bridge`"),
            ("10.254.0.0/22", "fd00::/64", "one subnet, of IPv4"),
            ("\"subnetPerContainer\":true", "\"subnetPerContainer\":\"yes\"", "neither true nor false"),
        ] {
            let error = NetworkList::parse(PATTERN_LIST.replace(from, to)).expect_err(thing);
            assert!(error.to_string().contains(thing), "{error}");
        }
    }
}
