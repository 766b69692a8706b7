//! Namespaces, id mappings, and the kernel settings that belong to a namespace.

use std::collections::HashMap;

use loam_model::oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType,
};
use loam_model::{BundleInput, IdMapping, Namespace};

/// The highest group id that the kernel takes in a range.
const LAST_GROUP: u32 = i32::MAX.cast_unsigned();

/// The namespaces of a container: its own, but for the network, which may be shared.
pub(super) fn list(input: &BundleInput<'_>) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let new = |kind| LinuxNamespaceBuilder::default().typ(kind).build().expect("a kind is enough");
    let mut list: Vec<LinuxNamespace> = [Pid, Ipc, Uts, Mount, Cgroup].map(new).into();
    match &input.network {
        Namespace::New => list.push(new(Network)),
        Namespace::Host => {}
        Namespace::Path(path) => {
            let mut network = new(Network);
            network.set_path(Some(path.clone()));
            list.push(network);
        }
    }
    if input.mapping.is_some() {
        list.push(new(User));
    }
    list
}

/// An id mapping in the words of the runtime specification (config-linux.md, "User namespace mappings").
pub fn id_mappings(mapping: &IdMapping) -> Vec<LinuxIdMapping> {
    let one = |range: &loam_model::IdRange| {
        LinuxIdMappingBuilder::default()
            .container_id(range.container)
            .host_id(range.host)
            .size(range.size)
            .build()
            .expect("every member of a mapping has a default")
    };
    mapping.ranges.iter().map(one).collect()
}

/// Settings of a network namespace of the container's own: every port can be bound, and ICMP echo be sent, without a
/// capability. They reach no further than the namespace.
pub(super) fn sysctl(input: &BundleInput<'_>) -> Option<HashMap<String, String>> {
    if input.network != Namespace::New {
        return None;
    }
    let last_group = match input.mapping {
        None => LAST_GROUP,
        // The kernel refuses a range with groups that the user namespace lacks.
        Some(mapping) => {
            let first = mapping.ranges.iter().find(|range| range.container == 0);
            first.map_or(0, |range| (range.size - 1).min(LAST_GROUP))
        }
    };
    let settings = [
        ("net.ipv4.ip_unprivileged_port_start", "0".to_owned()),
        ("net.ipv4.ping_group_range", format!("0 {last_group}")),
    ];
    Some(settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
