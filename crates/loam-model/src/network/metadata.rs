//! What Garden knows of a container and plugins for Cloud Foundry want to be told.

use serde_json::{Map, Value};

use crate::EgressRule;

/// What Garden knows of a container. Plugins get it as CNI configuration when their network says so, external networkers
/// always (Guardian, `netplugin/external_networker.go`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerMetadata {
    /// The name by which an external networker knows the container; its id when absent.
    pub handle: Option<String>,
    /// The container's properties that are the network's, without the prefix `network.`, and `log_config`.
    pub properties: Map<String, Value>,
    /// What it may reach.
    pub rules: Vec<EgressRule>,
}
