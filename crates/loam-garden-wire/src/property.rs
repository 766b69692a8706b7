//! Garden's names of properties that have a meaning (`guardian/gardener`).

/// The container's IPv4 address.
pub const CONTAINER_IP: &str = "garden.network.container-ip";
/// The container's IPv6 address.
pub const CONTAINER_IPV6: &str = "garden.network.container-ipv6";
/// The host's address as the container sees it.
pub const HOST_IP: &str = "garden.network.host-ip";
/// The interface's name in the container.
pub const INTERFACE: &str = "garden.network.interface";
/// The published ports, a list of [`crate::MappedPort`] as text.
pub const MAPPED_PORTS: &str = "garden.network.mapped-ports";
